//! A lock that is held: its token, commits that check it, and the release.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::error::Result;
use crate::backend::{Backend, Op};
use crate::clock::{Deadline, Token};
use crate::recipe::queue::HeldTickets;
use crate::{Error as StoreError, Outcome};

/// A lock that is held, or several of one [`all`](super::all). Dropped, they are released; should that fail, the session's
/// next renewal tries it again, and the end of its lease does it.
///
/// It may be handed to other threads. Ending the session ends it, too.
pub struct Guard<B: Backend> {
    pub(super) grant: Arc<Grant<B>>,
}

/// The tickets that the guards of one acquisition share: one guard, or more of a re-entrant handle.
pub(super) struct Grant<B: Backend> {
    pub(super) held: HeldTickets<B>,
    /// The delay's mark of each lock, deleted with its ticket.
    pub(super) marks: Vec<Option<B::Key>>,
}

impl<B: Backend> Guard<B> {
    /// The fencing token: larger than that of every earlier holder. Hand it to whatever the lock protects and let that
    /// refuse smaller ones.
    pub fn token(&self) -> Token {
        self.grant.held.token()
    }

    /// Whether the lock may be counted on at this moment, as far as this process knows. Once `false`, always `false`.
    ///
    /// The store is not asked. Against the time between the question and the act, and against force, only
    /// [`commit`](Guard::commit) helps.
    pub fn is_alive(&self) -> bool {
        self.grant.held.is_alive()
    }

    /// Commits, provided that the lock is still ours: that is part of the commit.
    ///
    /// [`Outcome::Conflict`] means that a condition among `ops` was false. The commit takes one operation more for each
    /// lock.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost) if it is not ours any more; nothing has been written then. Those of [`Backend::commit`].
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        Ok(self.grant.held.commit(ops)?)
    }

    /// The operations, and with them the condition that the lock is still ours: for a commit made elsewhere.
    pub fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        self.grant.held.protect(ops)
    }

    /// Renews the session's lease now, and asks the store whether the lock is still ours; answers until when it may be
    /// counted on, on the store's clock. Only sessions made by [`Session::manual`](crate::backend::Session::manual) need it.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost), naming the holder now. After any other error of the store: try again, while
    /// [`is_alive`](Guard::is_alive).
    pub fn renew(&self) -> Result<Instant> {
        Ok(self.grant.held.renew()?)
    }

    /// Asks the store whether the lock is still ours.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost) if it is not. Those of [`Backend::read`].
    pub fn check(&self) -> Result<()> {
        Ok(self.grant.held.check()?)
    }

    /// Waits until the lock is lost: its ticket was taken away, or the session may not be counted on any more. `false`
    /// once the deadline has passed.
    ///
    /// Of several locks, any; each but one takes a thread of this process while the call waits.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`]. Of several locks, [`Io`](crate::Error::Io) if there can be no
    /// thread.
    pub fn wait_lost(&self, deadline: &Deadline) -> crate::Result<bool> {
        self.grant.held.wait_lost(deadline)
    }

    /// Releases the lock; when this returns, the next one has it. Of a re-entrant handle's guards, the last one releases.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost) if it was not ours any more: whatever was done under it may have been done beside others.
    pub fn release(self) -> Result<()> {
        Arc::into_inner(self.grant).map_or(Ok(()), |mut last| last.give_back())
    }

    /// Reads which process asks for the lock, as `command[pid]`; the last, if several do. To release it is up to the holder.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost) if the lock is not ours any more. Those of [`Backend::read`].
    pub fn asked_by(&self) -> Result<Option<String>> {
        Ok(self.grant.held.look()?.0)
    }

    /// Waits until a process asks for the lock; `None` once the deadline has passed.
    ///
    /// Of several locks, for any; each but one takes a thread of this process while the call waits.
    ///
    /// # Errors
    /// [`Error::Lost`](super::Error::Lost) as soon as the lock is not ours any more. The store's. Of several locks,
    /// [`Io`](crate::Error::Io) if there can be no thread.
    pub fn wait_asked(&self, deadline: &Deadline) -> Result<Option<String>> {
        let held = &self.grant.held;
        loop {
            let (asker, put) = held.look()?;
            if asker.is_some() {
                return Ok(asker);
            }
            match held.wait_changed(&put, deadline) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(StoreError::LeaseExpired { .. }) => return Err(held.lost().into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<B: Backend> Grant<B> {
    /// Deletes the tickets, and the delays' marks with them.
    fn give_back(&mut self) -> Result<()> {
        let marks: Vec<_> = self.marks.iter().map(|mark| mark.as_ref().map(Op::delete)).collect();
        Ok(self.held.give_back(&marks, &[])?)
    }
}

impl<B: Backend> Drop for Grant<B> {
    fn drop(&mut self) {
        // If this fails: the next renewal deletes the tickets, or they go with the lease.
        let _ = self.give_back();
    }
}

impl<B: Backend> fmt::Debug for Guard<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("locks", &self.grant.held.names().collect::<Vec<_>>())
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}
