//! Several locks at once, without deadlock.
//!
//! [`all`] draws the tickets of all its locks in one commit: they share one revision, which puts any two calls in one
//! order in every queue where they meet. So of two calls that have locks in common, one is ahead in all of them, whatever
//! the order in which each names them, and no circle of waits can form. It costs one round trip and gives one token;
//! locks acquired one by one in the order of their names cost a round trip each and a later place in every queue but the
//! first.
//!
//! A process that *holds* a lock while it asks for another leaves that order: ask for all at once, or with a deadline.

use std::sync::Arc;

use super::acquire::{Wanted, acquire};
use super::guard::Guard;
use super::handle::Lock;
use crate::backend::Backend;
use crate::clock::Deadline;
use crate::error::{Kind, next_moves};
use crate::recipe::queue::Mode;

/// The result of [`all`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with several locks at once. None of them is held then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the locks was not acquired; or the store's.
    #[error(transparent)]
    Lock(#[from] super::error::Error),
    /// No locks were named.
    #[error("no locks to acquire; name at least one")]
    NoLocks,
    /// The locks are of several sessions.
    #[error("lock {name:?} is of another session than the first; make all of them with one session")]
    OtherSession {
        /// The first lock of another session.
        name: String,
    },
    /// A lock is named twice.
    #[error("lock {name:?} is named twice; name it once, exclusively if one of the two is to be")]
    NamedTwice {
        /// The lock.
        name: String,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Lock(error) => error.kind(),
            Self::NoLocks | Self::OtherSession { .. } | Self::NamedTwice { .. } => Kind::Misuse,
        }
    }
}

next_moves!(Error);

/// Acquires all these locks at once, each in its mode, by one guard with one token. The order in which they are named does
/// not matter. A deadline that has passed: writes nothing if any of them is in use.
///
/// ```
/// # use slotguard::{Deadline, backend::Model, recipe::{self, Lock, lock::{self, Mode}}};
/// # let store = std::sync::Arc::new(Model::new());
/// # let session = recipe::join(&store, std::time::Duration::from_secs(10))?;
/// let (from, to) = (Lock::new(&session, "accounts/7")?, Lock::new(&session, "accounts/3")?);
/// let guard = lock::all(&[(&from, Mode::Exclusive), (&to, Mode::Exclusive)], &Deadline::never())?;
/// guard.release()?;
/// # Ok::<(), recipe::Error>(())
/// ```
///
/// # Errors
/// [`Error::Lock`]: those of [`Lock::acquire`], naming the lock that was in the way; of the store also
/// [`TooManyOps`](crate::Error::TooManyOps): one less than the store's commits have operations is the most, and half as
/// many where they have a [`delay`](Lock::delay). [`Error::NoLocks`], [`Error::OtherSession`], [`Error::NamedTwice`].
pub fn all<B: Backend>(wanted: &[(&Lock<B>, Mode)], deadline: &Deadline) -> Result<Guard<B>> {
    let wanted: Vec<_> = wanted.iter().map(|(lock, mode)| lock.wanted(*mode)).collect();
    let session = &wanted.first().ok_or(Error::NoLocks)?.queue.session;
    let name = |one: &Wanted<'_, B>| one.queue.name().to_owned();
    if let Some(other) = wanted.iter().find(|one| !Arc::ptr_eq(&one.queue.session, session)) {
        return Err(Error::OtherSession { name: name(other) });
    }
    let ops = wanted.len() + wanted.iter().filter(|one| one.delay.is_some()).count();
    if ops > B::LIMITS.ops {
        let error = crate::Error::TooManyOps { ops, limit: B::LIMITS.ops };
        return Err(Error::Lock(error.into()));
    }
    for (at, one) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|earlier| earlier.queue.prefix() == one.queue.prefix()) {
            return Err(Error::NamedTwice { name: name(one) });
        }
    }
    Ok(acquire(&wanted, deadline)?)
}
