//! The recipes' promises, on every backend. A test that answers to a case of the acceptance list carries its id.

#[path = "../conformance/shared_memory.rs"]
mod in_segment;

mod every_backend;
