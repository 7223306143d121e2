//! Atomics, backoff and protocol errors, used by every other file of the engine.
//!
//! ```text
//!  atomics     the standard atomics, or (under loom) those of `modelled`
//!  modelled    atomics that a model checker can explore, and kill a thread at
//!  backoff     waiting a moment after a lost race
//!  error       errors of the protocol, and how often a step is retried before one
//! ```

pub(crate) mod atomics;
pub(crate) mod backoff;
pub(crate) mod error;
#[cfg(loom)]
pub(crate) mod modelled;
