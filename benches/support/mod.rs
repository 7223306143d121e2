//! What every bench of this folder stands on.
//!
//! ```text
//!  options ─ what was asked for        machine ─ where it runs
//!     │
//!     ├─ lineup     rows of one thread, in turns
//!     ├─ workers    several workers, threads or processes ── board, pin, mapped
//!     └─ sleeper    whether somebody sleeps who is to be woken
//!     │
//!  figures ─ every number, by round ── goals ─ ratios of them      (both of the crate `results`, which keeps them)
//!     │
//!  report ─ table and file
//! ```

pub mod latency;
pub mod lineup;
pub mod machine;
pub mod mapped;
pub mod options;
pub mod pin;
pub mod report;
pub mod sleeper;
pub mod ticks;
pub mod workers;

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use harness::scratch::{Place, Scratch};
use options::{Mode, Options};
pub use results::{figures, goals};

/// One run: what was asked for, where, and what has been measured so far.
pub struct Run {
    /// What was asked for.
    pub options: Options,
    /// Where it runs.
    pub machine: results::Machine,
    /// Load averages when it began.
    pub load: String,
    /// What the kernel had counted when it began.
    pub usage: Option<machine::Usage>,
    /// Its folder; none when rows are only listed.
    pub scratch: Option<Scratch>,
    /// How long a tick of the processor's counter is.
    pub ticks: ticks::Rate,
    /// Everything measured so far.
    pub figures: figures::Figures,
}

impl Run {
    /// Looks at the machine, makes the folder and, if rows are to be measured, says where.
    pub fn begin(options: Options) -> io::Result<Self> {
        let run = Self {
            machine: machine::here(),
            load: machine::load(),
            usage: machine::Usage::now(),
            scratch: match options.mode {
                Mode::List => None,
                _ => Some(Scratch::new(Place::SharedMemory, "slotguard-bench-")?),
            },
            ticks: ticks::Rate::measured(),
            figures: figures::Figures::default(),
            options,
        };
        if run.options.measures() {
            println!("{}, load {}", run.machine.in_a_line(), run.load);
            let (cost, step) = (figures::time(run.ticks.cost()), figures::time(run.ticks.step()));
            println!("single operations are timed in steps of {step}; the clock's own {cost} are taken off\n");
        }
        Ok(run)
    }
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
