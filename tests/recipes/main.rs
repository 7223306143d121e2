//! The recipes' promises, on every backend. A test that answers to a case of the acceptance list carries its id.

#[cfg(not(all(feature = "conformance", feature = "file-table")))]
compile_error!(
    "run it with --features conformance,file-table: in the repository the crate's dev-dependency on itself does so"
);

#[path = "../support/forked.rs"]
mod forked;
#[path = "../conformance/shared_memory.rs"]
mod in_segment;
#[path = "../support/weather.rs"]
mod weather;

mod assignment;
mod barrier;
mod counter;
mod delivery;
mod double_barrier;
mod election;
mod every_backend;
mod executor;
mod guard;
mod jobs;
mod latch;
mod lock;
mod member;
mod rate_limiter;
mod refusals;
mod semaphore;
mod state_machine;
