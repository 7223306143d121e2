//! The caller's next move.

use std::fmt;

/// What to do about an error: every error of this crate has one, whatever its details.
///
/// ```
/// use slotguard::recipe::{self, Kind, Lock};
/// # use slotguard::{Deadline, backend::Model};
/// # let store = std::sync::Arc::new(Model::new());
/// # let session = recipe::join(&store, std::time::Duration::from_secs(10))?;
/// # let other = recipe::join(&store, std::time::Duration::from_secs(10))?;
/// # let _held = Lock::new(&other, "nightly")?.try_acquire()?;
/// match Lock::new(&session, "nightly")?.try_acquire() {
///     Ok(_guard) => println!("the job runs here"),
///     Err(error) if error.is_busy() => println!("the job runs elsewhere: {error}"),
///     Err(error) if error.kind() == Kind::Os => println!("see to the machine: {error}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), recipe::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Others use it: try later, or wait longer.
    Busy,
    /// The deadline passed: wait longer, or look for what is missing.
    TimedOut,
    /// The wait was ended by the program: stop as it asked.
    Cancelled,
    /// What was held is not held any more: rejoin, and read again before writing.
    Lost,
    /// Others changed it, or have it, otherwise than the call expects: read it and decide anew.
    Conflict,
    /// There is no room: make some, or build with more.
    Full,
    /// The call makes no sense: mend the program.
    Misuse,
    /// Builds, settings, or systems that do not go together: mend the deployment.
    Incompatible,
    /// What is stored makes no sense: stop and look. Nothing is repaired or wiped.
    Damaged,
    /// There is nothing of that name, or not any more: create it, or name another.
    Unavailable,
    /// Nobody knows how much of it took place: look at what it was to change.
    Indeterminate,
    /// An action of the program's own failed: see what it said.
    Failed,
    /// The operating system refused: see what it said.
    Os,
}

impl Kind {
    /// Whether others use it now, so that trying later may do.
    pub fn is_busy(self) -> bool {
        self == Self::Busy
    }

    /// Whether what was held is held no more, so that only rejoining helps.
    pub fn is_lost(self) -> bool {
        self == Self::Lost
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Gives an error that has a `kind` the two questions asked most.
macro_rules! next_moves {
    ($error:ty) => {
        impl $error {
            /// Whether others use it now: [`Kind::Busy`](crate::recipe::Kind::Busy).
            pub fn is_busy(&self) -> bool {
                crate::error::Kind::from(self.kind()).is_busy()
            }

            /// Whether what was held is held no more: [`Kind::Lost`](crate::recipe::Kind::Lost).
            pub fn is_lost(&self) -> bool {
                crate::error::Kind::from(self.kind()).is_lost()
            }
        }
    };
}

pub(crate) use next_moves;
