//! What goes wrong with a lock.

use std::time::Duration;

use crate::clock::Token;
use crate::error::{Kind, next_moves};
use crate::recipe::queue::{InUse, Lost, from_queue};

/// The result of a lock's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with a lock. Nothing is held then that was not held before.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// Others are ahead in the queue, and the deadline has passed.
    #[error(transparent)]
    InUse(Box<InUse>),
    /// The lock, or the place in its queue, is not ours any more.
    #[error(transparent)]
    Lost(Lost),
    /// The last holder ended without releasing the lock, and its delay is not over.
    #[error(
        "lock {name:?}: the holder with token {token} ended without releasing it; wait for {left:.1?} more, with this handle"
    )]
    Delayed {
        /// The lock.
        name: String,
        /// The token of the holder that ended.
        token: Token,
        /// The time until the delay is over.
        left: Duration,
    },
    /// This thread reads under a re-entrant lock, and asks to hold it alone.
    #[error("lock {name:?} is held by this thread for reading, token {token}; release that before acquiring it")]
    Upgrade {
        /// The lock.
        name: String,
        /// The token with which it reads.
        token: Token,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::InUse(_) | Self::Delayed { .. } => Kind::Busy,
            Self::Lost(_) => Kind::Lost,
            Self::Upgrade { .. } => Kind::Misuse,
        }
    }
}

next_moves!(Error);
from_queue!(Error);
