//! Plain values of time and order: which change came first, what caused what, how long to wait.
//!
//! * [`Version`], [`Revision`], [`Token`], [`Lease`]: numbers that must not be mixed up.
//! * [`Intent`]: what the holder of a token is about to write outside.
//! * [`VectorClock`]: what happened before what, without a common clock.
//! * [`Deadline`] and [`Cancel`]: how long a call is willing to wait, and how another thread ends the wait.

mod deadline;
mod intent;
mod revision;
mod vector;

pub(crate) use deadline::Registration;
pub use deadline::{Cancel, Deadline};
pub use intent::Intent;
pub use revision::{Lease, Revision, Token, Version};
pub use vector::{Causality, ClockOverflow, VectorClock};
