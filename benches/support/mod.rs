//! The parts of the throughput bench.
//!
//! ```text
//!  options ─ what was asked for        machine ─ where it runs        scratch ─ its folder, removed however it ends
//!     │
//!     ├─ alone      one thread: criterion, then the same closures in turns
//!     ├─ contended  several workers ── crew (threads, processes) ── place (ours, rivals, mapped)
//!     ├─ reading    reads beside a writer
//!     ├─ handover   from a change to the waiter ── baton (ways to wait)
//!     └─ quiet      no system call without a waiter
//!     │
//!  figures ─ every number, by round ── goals ─ ratios of them ── report ─ table and JSON
//! ```

pub mod alone;
mod baton;
pub mod contended;
mod crew;
pub mod errand;
pub mod figures;
pub mod goals;
pub mod handover;
mod latency;
pub mod machine;
mod mapped;
pub mod options;
mod pin;
mod place;
pub mod quiet;
pub mod reading;
pub mod report;
mod rivals;
pub mod scratch;
pub mod ticks;

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// One run: what was asked for, where, and what has been measured so far.
pub struct Run {
    /// What was asked for.
    pub options: options::Options,
    /// Where it runs.
    pub machine: machine::Machine,
    /// What the kernel had counted when it began.
    pub usage: Option<machine::Usage>,
    /// Its folder; none when rows are only listed.
    pub scratch: Option<scratch::Scratch>,
    /// How long a tick of the processor's counter is.
    pub ticks: ticks::Rate,
    /// Everything measured so far.
    pub figures: figures::Figures,
    /// Whether updates without a waiter made no system call, if that was tried.
    pub silent: Option<bool>,
}

/// Far longer than any row takes; a row that is still running then hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does `work`; if it hangs, says which row it was and ends the run, because workers that hang cannot be ended singly.
pub fn watched<R>(row: &str, work: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (done, ending) = mpsc::channel::<()>();
        scope.spawn(move || {
            if ending.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{row}: still running after {PATIENCE:?}; giving up");
                std::process::exit(1);
            }
        });
        let result = work();
        drop(done);
        result
    })
}
