//! The protocols of a segment, explored over every interleaving of their threads within a bound on preemptions and every
//! value a load may answer: the very code of `src/memory`, placed on the heap.
//!
//! `ci/loom` runs it. A planted bug (`ci/mutants`) shows for every ordering edge, and for every step that could be
//! forgotten, that a model here turns red without it.
//!
//! Every actor is a spawned thread and the main thread only sets the stage and joins: loom does not go back to a read of
//! the main thread for the sake of a later write of another.
#![cfg(loom)]
#![allow(dead_code, unused_imports)]

#[path = "../src/edge.rs"]
mod edge;
#[path = "../src/memory/mod.rs"]
mod memory;

#[path = "loom/claims.rs"]
mod claims;
#[path = "loom/commits.rs"]
mod commits;
#[path = "loom/explore.rs"]
mod explore;
#[path = "loom/helping.rs"]
mod helping;
#[path = "loom/pool.rs"]
mod pool;
#[path = "loom/ranges.rs"]
mod ranges;
#[path = "loom/records.rs"]
mod records;
#[path = "loom/recovery.rs"]
mod recovery;
#[path = "loom/stage.rs"]
mod stage;
#[path = "loom/waiting.rs"]
mod waiting;
#[path = "loom/watching.rs"]
mod watching;
