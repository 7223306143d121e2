//! Values of time and order: versions, revisions and tokens, vector clocks, deadlines.
//!
//! * [`Version`], [`Revision`], [`Token`], [`Lease`]: numbers that must not be mixed up.
//! * [`Intent`]: the write outside the store that the holder of a token announces.
//! * [`VectorClock`]: which event happened before which, without a common clock.
//! * [`Deadline`] and [`Cancel`]: when a wait ends, and ending it from another thread.

mod deadline;
mod intent;
mod revision;
mod vector;

pub(crate) use deadline::Registration;
pub use deadline::{Cancel, Deadline};
pub use intent::Intent;
pub use revision::{Lease, Revision, Token, Version};
pub use vector::{Causality, ClockOverflow, VectorClock};
