//! The handle of a guarded thing.

use std::fmt;
use std::sync::Arc;

use super::claim::GuardedClaim;
use super::error::{Error, Result};
use super::state::State;
use crate::backend::{Backend, Session};
use crate::clock::Deadline;
use crate::recipe::lock::Lock;
use crate::recipe::queue::Mode;

/// A thing outside the store that one process at a time changes.
pub struct Guarded<B: Backend> {
    lock: Lock<B>,
    session: Arc<Session<B>>,
    key: B::Key,
}

impl<B: Backend> Guarded<B> {
    /// Opens the guarded thing of this name; claims are held for no longer than the session lives.
    ///
    /// # Errors
    /// As [`Lock::new`].
    pub fn new(session: &Arc<Session<B>>, name: &str) -> crate::Result<Self> {
        let lock = Lock::new(session, name)?;
        let key = session.store().key(name)?;
        Ok(Self { lock, session: Arc::clone(session), key })
    }

    /// The lock that claims are made of: its holder and waiters, asking for it back, taking it away by force.
    pub fn lock(&self) -> &Lock<B> {
        &self.lock
    }

    /// Reads the state in the store, without a claim.
    ///
    /// # Errors
    /// [`Error::NotARecord`] if the entry holds something else. Those of [`Backend::read`].
    pub fn read(&self) -> Result<State> {
        State::read(&**self.session.store(), &self.key)
    }

    /// Waits in the queue to claim the thing, which is ours until the claim is committed, released or dropped.
    ///
    /// # Errors
    /// [`Error::InUse`], naming the holder, once the deadline has passed; [`Error::Lost`] if our place in the queue was
    /// taken away by force; those of [`read`](Guarded::read); of the store also
    /// [`LeaseExpired`](crate::Error::LeaseExpired) if the session has ended. We are not in the queue any more after any
    /// of them.
    pub fn claim(&self, deadline: &Deadline) -> Result<GuardedClaim<B>> {
        let held = self.lock.queue().acquire(Mode::Exclusive, deadline)?.map_err(Error::InUse)?;
        Ok(GuardedClaim { held, key: self.key.clone(), state: self.read()? })
    }
}

impl<B: Backend> fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("name", &self.lock.name()).finish_non_exhaustive()
    }
}
