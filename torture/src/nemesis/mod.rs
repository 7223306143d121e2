//! Kills, stops and resumes the worker processes of a phase, as its schedule has drawn it.
//!
//! ```text
//! seed → schedule: lives, stops ─► injector: SIGKILL, SIGSTOP … SIGCONT, start again ─► faults, for the checks
//! ```

mod injector;
mod schedule;

pub use injector::{Fault, FaultKind, Nemesis, watch_lateness};
pub use schedule::{Aim, Lifetime, Schedule, Slot, Stops};
