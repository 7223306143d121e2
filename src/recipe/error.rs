//! What can go wrong in recipes, beyond what can go wrong in the store.

use std::time::Duration;

use super::failure::{Failure, and_undone};
use super::{
    assignment, barrier, counter, delivery, double_barrier, election, guard, latch, lock, rate_limiter, semaphore,
    state_machine,
};
use crate::clock::Token;
use crate::error::{Kind, next_moves};

/// The result of a recipe's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in a recipe. Whatever it is, the call changed nothing, unless the variant or
/// the call's `# Errors` says otherwise.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// An assignment's.
    #[error(transparent)]
    Assignment(#[from] assignment::Error),
    /// A lock's.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Of several locks at once.
    #[error(transparent)]
    SeveralLocks(#[from] lock::several::Error),
    /// A semaphore's.
    #[error(transparent)]
    Semaphore(#[from] semaphore::Error),
    /// A barrier's.
    #[error(transparent)]
    Barrier(#[from] barrier::Error),
    /// A double barrier's.
    #[error(transparent)]
    DoubleBarrier(#[from] double_barrier::Error),
    /// An election's.
    #[error(transparent)]
    Election(#[from] election::Error),
    /// Of something guarded.
    #[error(transparent)]
    Guard(#[from] guard::Error),
    /// A counter's.
    #[error(transparent)]
    Counter(#[from] counter::Error),
    /// A latch's.
    #[error(transparent)]
    Latch(#[from] latch::Error),
    /// A rate limiter's.
    #[error(transparent)]
    RateLimiter(#[from] rate_limiter::Error),
    /// A delivery's.
    #[error(transparent)]
    Delivery(#[from] delivery::Error),
    /// A state machine's.
    #[error(transparent)]
    StateMachine(#[from] state_machine::Error),

    // executor
    /// An operation or job of this id is known already.
    #[error("{id:?} is {state} already; give every operation an id of its own")]
    IdTwice {
        /// The id.
        id: String,
        /// What became of the first.
        state: &'static str,
    },
    /// No operation or job can have this id.
    #[error("{id:?} is no id: it has 1 to {limit} bytes, without spaces, commas, slashes and control characters")]
    BadId {
        /// The id, its first 64 characters.
        id: String,
        /// Most bytes.
        limit: usize,
    },
    /// There is no such operation or job, or it has been forgotten.
    #[error(
        "there is no {id:?}, or its end is too long ago to be remembered; look for a misspelling, or have more ends kept"
    )]
    UnknownId {
        /// The id.
        id: String,
    },
    /// An operation is to run after one that nobody has submitted.
    #[error("{id:?} depends on {dependency:?}, which is not known; submit that first, or both in one batch")]
    UnknownDependency {
        /// The operation.
        id: String,
        /// What it depends on.
        dependency: String,
    },
    /// Operations depend on one another in a circle.
    #[error("operations wait for one another in a circle: {}; leave one of these dependencies out", path.join(" -> "))]
    DependencyCycle {
        /// The circle, each depending on the next; the first is named again at the end.
        path: Vec<String>,
    },
    /// A job depends on more others than one commit can check.
    #[error("{id:?} depends on {count} others, at most {limit} are possible; let one job stand for several")]
    TooManyDependencies {
        /// The job.
        id: String,
        /// How many it depends on.
        count: usize,
        /// How many it may.
        limit: usize,
    },
    /// What an operation was to run after has failed, so it did not run.
    #[error(
        "{id:?} did not run because {dependency:?} failed; see what that said, then submit both again under other ids"
    )]
    DependencyFailed {
        /// The operation.
        id: String,
        /// The one that failed, of those it depends on.
        dependency: String,
    },
    /// As many wait as may.
    #[error("{limit} wait already, which is the limit; submit again when some have run, or raise the limit")]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// An operation did not return in time. Its result, should there be one, is dropped.
    #[error(
        "{id:?} did not return within {after:.1?} and has been told to stop; see how its rollback went, or give it longer"
    )]
    OperationTimedOut {
        /// The operation.
        id: String,
        /// How long it was given.
        after: Duration,
    },
    /// An operation failed.
    #[error("{id:?} failed: {source}{}", and_undone(rollback))]
    OperationFailed {
        /// The operation.
        id: String,
        /// What it said.
        source: Failure,
        /// What the rollback said, if it failed as well.
        rollback: Option<Failure>,
    },
    /// An operation panicked.
    #[error("{id:?} panicked: {message}{}", and_undone(rollback))]
    OperationPanicked {
        /// The operation.
        id: String,
        /// What the panic said.
        message: String,
        /// What the rollback said, if it failed.
        rollback: Option<Failure>,
    },
    /// An operation was cancelled.
    #[error("{id:?} was cancelled, or its batch never submitted; submit it again under another id if it is to be done")]
    OperationCancelled {
        /// The operation.
        id: String,
    },
    /// The executor was built before a fork, and this is the child: its threads are not here.
    #[error("this executor's threads are those of the parent process; build another one in the child")]
    ForkedExecutor,
    /// An executor was to be shut down by code that it runs, and would wait for itself.
    #[error(
        "{what} cannot shut down the executor it runs in, since that waits for it; drop the executor there, or have another thread shut it down"
    )]
    ShutDownInside {
        /// Which code of the program's: an operation or rollback, by its id.
        what: String,
    },
    /// The executor takes nothing more, and runs nothing that has not begun.
    #[error("the executor is shut down; build another one for what is still to be done")]
    ShutDown,
    /// A job's claim ended: the session did, or somebody took the job away.
    #[error("the claim on job {id:?} with token {token} is lost; nothing of it was written, and the job runs again")]
    ClaimLost {
        /// The job.
        id: String,
        /// The token of the lost claim.
        token: Token,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Assignment(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::SeveralLocks(error) => error.kind(),
            Self::Semaphore(error) => error.kind(),
            Self::Barrier(error) => error.kind(),
            Self::DoubleBarrier(error) => error.kind(),
            Self::Election(error) => error.kind(),
            Self::Guard(error) => error.kind(),
            Self::Counter(error) => error.kind(),
            Self::Delivery(error) => error.kind(),
            Self::Latch(error) => error.kind(),
            Self::RateLimiter(error) => error.kind(),
            Self::StateMachine(error) => error.kind(),
            Self::ClaimLost { .. } | Self::ForkedExecutor { .. } => Kind::Lost,
            Self::OperationTimedOut { .. } => Kind::TimedOut,
            Self::OperationCancelled { .. } => Kind::Cancelled,
            Self::IdTwice { .. } => Kind::Conflict,
            Self::QueueFull { .. } => Kind::Full,
            Self::UnknownId { .. } | Self::UnknownDependency { .. } | Self::ShutDown { .. } => Kind::Unavailable,
            Self::DependencyFailed { .. } | Self::OperationFailed { .. } | Self::OperationPanicked { .. } => {
                Kind::Failed
            }
            Self::BadId { .. }
            | Self::DependencyCycle { .. }
            | Self::TooManyDependencies { .. }
            | Self::ShutDownInside { .. } => Kind::Misuse,
        }
    }

    /// The store's own error, if it is what a recipe met.
    pub fn store(&self) -> Option<&crate::Error> {
        match self {
            Self::Store(error)
            | Self::Lock(lock::Error::Store(error))
            | Self::SeveralLocks(lock::several::Error::Lock(lock::Error::Store(error)))
            | Self::Semaphore(semaphore::Error::Store(error))
            | Self::Barrier(barrier::Error::Store(error))
            | Self::DoubleBarrier(
                double_barrier::Error::Store(error) | double_barrier::Error::Barrier(barrier::Error::Store(error)),
            )
            | Self::Election(election::Error::Store(error))
            | Self::Guard(guard::Error::Store(error))
            | Self::Assignment(assignment::Error::Store(error))
            | Self::Counter(counter::Error::Store(error))
            | Self::Delivery(delivery::Error::Store(error))
            | Self::Latch(latch::Error::Store(error))
            | Self::RateLimiter(rate_limiter::Error::Store(error))
            | Self::StateMachine(state_machine::Error::Store(error)) => Some(error),
            _ => None,
        }
    }
}

next_moves!(Error);

#[cfg(feature = "file-table")]
impl From<assignment::TableError> for Error {
    fn from(error: assignment::TableError) -> Self {
        Self::Assignment(error.into())
    }
}
