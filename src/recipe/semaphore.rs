//! Gives out a fixed number of permits: no more processes than that do something at once.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Semaphore};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let gpus = Semaphore::new(&session, "gpus", 2)?;
//! let first = gpus.acquire(&Deadline::never())?;
//! let second = gpus.try_acquire()?;
//! assert!(gpus.try_acquire().is_err());
//! first.release()?;
//! assert!(gpus.try_acquire().is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/s/…` | a ticket: the number of permits, its process; at most 38 bytes and the digits | from the asking to the release, at most by the session's lease |
//!
//! # How
//! As in a [`lock`](super::lock) each process draws a ticket in one commit, and the tickets with the smallest tokens have
//! the permits. A ticket among them stays among them, because those ahead can only go: permits are served in the order of
//! asking, and never more at once than there are.
//!
//! Any of the holders may be the next to go, so a waiter watches the whole queue, and a release has each waiter read it
//! once. A lock wakes one instead, because there each waiter depends on the one before it anyway. Here a waiter that
//! relied on the one before it would wait, with permits free, while that one is stopped.
//!
//! The number of permits is in every ticket. A process that finds another number in the first ticket is refused, and no
//! permit is given out behind a ticket with another number: of any two holders, the later has seen the earlier's number.
//! So two programs that disagree are told, instead of sharing wrongly.
//!
//! # When a process dies
//! Its permit, or its place in the queue, goes with the session's lease: permits expire.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::queue::{HeldTickets, InUse, Lost, Queue, QueuedTicket, from_queue};
use super::refusal::{BadCount, OtherCount};
use super::waiting::{session_ended, sooner};
use crate::Outcome;
use crate::backend::{Backend, Op, Session, Watch};
use crate::clock::{Deadline, Revision, Token};
use crate::error::{Kind, next_moves};

/// The result of a semaphore's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with a semaphore. No permit is held then that was not held before.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// All permits are taken or waited for, and the deadline has passed.
    #[error(transparent)]
    InUse(Box<InUse>),
    /// The permit, or the place in the queue, is not ours any more.
    #[error(transparent)]
    Lost(Lost),
    /// A semaphore of no permits.
    #[error(transparent)]
    BadCount(#[from] BadCount),
    /// Others use the semaphore with another number of permits.
    #[error(transparent)]
    OtherCount(#[from] OtherCount),
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::InUse(_) => Kind::Busy,
            Self::Lost(_) => Kind::Lost,
            Self::BadCount(_) => Kind::Misuse,
            Self::OtherCount(_) => Kind::Incompatible,
        }
    }
}

next_moves!(Error);
from_queue!(Error);

/// A semaphore of one name, shared by all processes that use the store.
pub struct Semaphore<B: Backend> {
    queue: Queue<B>,
    permits: u32,
}

/// A permit. Dropped, it is released; should that fail, the session's next renewal tries it again, and the end of its
/// lease does it.
pub struct Permit<B: Backend> {
    held: HeldTickets<B>,
}

impl<B: Backend> Semaphore<B> {
    /// Opens the semaphore of this name, of this many permits; they are held for no longer than the session lives.
    ///
    /// # Errors
    /// [`Error::BadCount`] for no permits. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty,
    /// contains a NUL, or is longer than the store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, permits: u32) -> Result<Self> {
        if permits == 0 {
            let why = "nobody could ever have a permit; give it at least 1";
            return Err(BadCount { what: "semaphore", name: name.to_owned(), asked: 0, why }.into());
        }
        Ok(Self { queue: Queue::new(session, "semaphore", name, "s")?, permits })
    }

    /// Waits in the queue for a permit. A deadline that has passed is [`try_acquire`](Semaphore::try_acquire).
    ///
    /// # Errors
    /// [`Error::InUse`] once the deadline has passed, naming the holders; [`Error::OtherCount`] if others use it
    /// with another number of permits; [`Error::Lost`] if our place was taken away by force; the store's. We are not in the
    /// queue any more after any of them.
    pub fn acquire(&self, deadline: &Deadline) -> Result<Permit<B>> {
        if deadline.has_passed() {
            self.wait_turn(None, deadline)?;
        }
        let held = HeldTickets::draw(&[(&self.queue, &self.permits.to_string())])?;
        self.wait_turn(Some(&held), deadline)?;
        Ok(Permit { held })
    }

    /// Acquires a permit if one is free and not waited for; else writes nothing.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    pub fn try_acquire(&self) -> Result<Permit<B>> {
        self.acquire(&Deadline::now())
    }

    /// Counts the permits that were free at one moment. A process proven dead has none.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn free(&self) -> crate::Result<u32> {
        let queue = self.queue.look_alive(self.permits as usize)?;
        Ok(self.permits.saturating_sub(u32::try_from(queue.len()).unwrap_or(u32::MAX)))
    }

    /// Waits until fewer tickets are ahead of ours than there are permits; without one, of a ticket drawn now.
    fn wait_turn(&self, ticket: Option<&HeldTickets<B>>, deadline: &Deadline) -> Result<()> {
        let session = &self.queue.session;
        let permits = self.permits as usize;
        let began = Instant::now();
        let mut changes: Option<B::Watch<'_>> = None;
        loop {
            let (mut queue, at) = self.queue.look()?;
            self.check_number(queue.first())?;
            if let Some(held) = ticket {
                let place = queue.iter().position(|seen| seen.key == *held.key(0));
                queue.truncate(place.ok_or_else(|| held.taken(0))?);
            }
            // A ticket with another number that is not first: its process has not looked yet, and goes, or will be the first.
            let agreed = queue.iter().all(|seen| self.agrees(seen));
            if queue.len() < permits && agreed {
                return Ok(());
            }
            if deadline.has_passed() {
                if self.queue.any_gone(&queue[..queue.len().min(permits)])? {
                    continue;
                }
                return Err(Error::InUse(self.queue.in_use(&queue, permits, began.elapsed())));
            }
            if changes.is_none() {
                changes = Some(session.store().watch(self.queue.prefix(), Revision(at.0 + 1))?);
            }
            if let Some(changes) = &mut changes {
                let until = session.alive_until().ok_or_else(|| session_ended(session))?;
                let left = until.saturating_duration_since(session.store().now());
                // Changed or not: the queue decides.
                changes.next(&sooner(deadline, left), &mut |_| {})?;
            }
        }
    }

    fn agrees(&self, seen: &QueuedTicket<B::Key>) -> bool {
        seen.ticket.kind.parse().is_ok_and(|found: u32| found == self.permits)
    }

    fn check_number(&self, first: Option<&QueuedTicket<B::Key>>) -> Result<()> {
        match first.map(|first| first.ticket.kind.parse::<u32>()) {
            Some(Ok(found)) if found != self.permits => {
                let (what, name) = ("semaphore", self.queue.name().to_owned());
                Err(OtherCount { what, name, asked: self.permits.into(), found: found.into() }.into())
            }
            _ => Ok(()),
        }
    }
}

impl<B: Backend> Permit<B> {
    /// The fencing token: larger than that of every holder before.
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// Whether the permit may be counted on at this moment, as far as this process knows. Once `false`, always `false`.
    pub fn is_alive(&self) -> bool {
        self.held.is_alive()
    }

    /// Commits, provided that the permit is still ours: that is part of the commit.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not ours any more; nothing has been written then. Those of [`Backend::commit`].
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        Ok(self.held.commit(ops)?)
    }

    /// The operations, and with them the condition that the permit is still ours: for a commit made elsewhere.
    pub fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        self.held.protect(ops)
    }

    /// Asks the store whether the permit is still ours.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not. Those of [`Backend::read`].
    pub fn check(&self) -> Result<()> {
        Ok(self.held.check()?)
    }

    /// Waits until the permit is lost: its ticket was taken away, or the session may not be counted on any more. `false`
    /// once the deadline has passed.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`].
    pub fn wait_lost(&self, deadline: &Deadline) -> crate::Result<bool> {
        self.held.wait_lost(deadline)
    }

    /// Renews the session's lease now, and asks the store whether the permit is still ours; answers until when it may be
    /// counted on.
    ///
    /// # Errors
    /// [`Error::Lost`]. The store's.
    pub fn renew(&self) -> Result<Instant> {
        Ok(self.held.renew()?)
    }

    /// Gives the permit back; when this returns, the next one can have it.
    ///
    /// # Errors
    /// [`Error::Lost`] if it was not ours any more.
    pub fn release(mut self) -> Result<()> {
        Ok(self.held.give_back(&[], &[])?)
    }
}

impl<B: Backend> fmt::Debug for Semaphore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, permits } = self;
        f.debug_struct("Semaphore").field("name", &queue.name()).field("permits", permits).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("token", &self.token()).finish_non_exhaustive()
    }
}
