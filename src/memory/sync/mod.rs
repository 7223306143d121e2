//! Atomics, retries and protocol errors: what every other file of the engine is written with.
//!
//! ```text
//!  atomics     the standard atomics, or (under loom) those of `modelled`
//!  modelled    atomics that a model checker can explore, and kill a thread at
//!  backoff     waiting a moment after a lost race
//!  error       what can go wrong in the protocol, and how often a step is retried
//! ```

pub(crate) mod atomics;
pub(crate) mod backoff;
pub(crate) mod error;
#[cfg(loom)]
pub(crate) mod modelled;
