//! The rows of the throughput bench: what one record costs.
//!
//! ```text
//!  alone      one thread: criterion, then the same closures in turns
//!  contended  several workers ── job (who does what) ── place (ours, rivals)
//!  reading    reads beside a writer
//!  handover   from a change to the waiter ── handoff (ways to wait)
//!  quiet      no system call without a waiter
//!     │
//!  goals      what they should come to
//! ```

pub mod alone;
pub mod contended;
pub mod goals;
mod handoff;
pub mod handover;
pub mod job;
mod place;
pub mod quiet;
pub mod reading;
mod rivals;
