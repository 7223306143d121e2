//! What goes wrong with a guarded thing.

use crate::clock::Token;
use crate::error::{Kind, next_moves};
use crate::recipe::queue::{InUse, Lost, from_queue};

/// The result of a call on a guarded thing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with a guarded thing. Nothing is written to the store then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// Others are ahead in the queue, and the deadline has passed.
    #[error(transparent)]
    InUse(Box<InUse>),
    /// The claim, or the place in the queue, is not ours any more.
    #[error(transparent)]
    Lost(Lost),
    /// The entry holds what this recipe never wrote.
    #[error("{name:?} holds {length} bytes that no guard wrote; use a name that nobody else uses")]
    NotARecord {
        /// Its name.
        name: String,
        /// How many bytes it holds.
        length: usize,
    },
    /// As many intents are abandoned as can be kept. Nothing was announced.
    #[error(
        "{name:?} has {count} abandoned intents, of the claims {}; look which of them happened, have the thing refuse those claims' tokens, then commit what is there",
        listed(tokens),
        count = tokens.len()
    )]
    TooManyIntents {
        /// Its name.
        name: String,
        /// The tokens of their claims, newest first.
        tokens: Vec<Token>,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::InUse(_) => Kind::Busy,
            Self::Lost(_) => Kind::Lost,
            Self::NotARecord { .. } => Kind::Damaged,
            Self::TooManyIntents { .. } => Kind::Indeterminate,
        }
    }
}

next_moves!(Error);
from_queue!(Error);

fn listed(tokens: &[Token]) -> String {
    tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
