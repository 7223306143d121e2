//! Where operations are, for who asks.

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a worker, or for others to be done.
    Waiting,
    /// It runs, or is rolled back after it failed.
    Running,
    /// It returned in time.
    Done,
    /// It failed or panicked.
    Failed,
    /// It did not return in time. It may run still.
    TimedOut,
    /// It was cancelled. It may run still.
    Cancelled,
    /// It did not run, because what it depends on failed.
    Skipped,
}

/// How a rollback went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It has not ended yet.
    Due,
    /// It ran.
    Done,
    /// It ran and failed, saying this.
    Failed(String),
}

/// How many operations are where, and how many have ended in which way since the executor was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each counts the operations of the `Stage` of the same name")]
pub struct Status {
    pub waiting: usize,
    pub running: usize,
    pub done: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub cancelled: u64,
    pub skipped: u64,
    /// Operations that have been told to stop and have not returned.
    pub stuck: usize,
    /// Rollbacks that are due or run, other than those of operations that failed.
    pub undoing: usize,
    /// Rollbacks that ran.
    pub rolled_back: u64,
    /// Those of them that failed.
    pub rollbacks_failed: u64,
    /// Threads.
    pub workers: usize,
}

impl Stage {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}
