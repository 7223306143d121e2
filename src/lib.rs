//! Versioned records and claims shared by the processes of one machine: no server, nothing lost, nothing stuck after
//! `kill -9`.
#![deny(unsafe_code)]
// Under loom only the protocol is compiled, and what uses it is the model tests.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(target_os = "linux"))]
compile_error!("slotguard needs Linux: open-file-description locks, futexes and memfd");

pub mod clock;
mod error;
pub mod memory;
mod mutant;

pub use clock::{Cancel, Causality, ClockOverflow, Deadline, Revision, Token, VectorClock, Version};
pub use error::{Error, ErrorKind, Holder, LeaseEnd, Mismatch, Resource, Result, Usage};
pub use memory::*;
