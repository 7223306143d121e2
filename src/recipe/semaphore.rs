//! A number of permits shared by many: whoever has one may do what only so many may do at once.
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
//! | `NAME/s/…` | a ticket: the number of permits, who; at most 38 bytes and the digits | from the asking to the release, at most by the session's lease |
//!
//! # How
//! As in a [`lock`](super::lock) each draws a ticket in one commit, and the tickets with the smallest tokens have the
//! permits, so many as there are. Who is among them stays among them, because those ahead can only go: served in the order
//! of asking, and never more at once than there are permits.
//!
//! Any of the holders may be the next to go, so who waits watches the whole queue, and a release has each of them look
//! once. A lock wakes one instead, because there all depend on the one before them anyway. Here nobody does: to be
//! woken by the one before would be to wait, with permits free, for whoever was stopped before it could pass the word
//! on.
//!
//! The number of permits is in every ticket. Whoever finds the first in the queue to believe in another number is
//! refused, and nobody has a permit behind one who does: of any two who have one, the later has seen the earlier's
//! number. So two programs that disagree are told instead of sharing wrongly.
//!
//! # When a process dies
//! Its permit, or its place in the queue, goes with the session's lease: permits expire.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::queue::{HeldTickets, Queue, QueuedTicket};
use super::waiting::{session_ended, sooner};
use super::{Error, Result};
use crate::Outcome;
use crate::backend::{Backend, Op, Session, Watch};
use crate::clock::{Deadline, Revision, Token};

/// A semaphore of this name, for whoever shares the store.
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
    /// The semaphore of this name with this many permits, held for as long as the session lives.
    ///
    /// # Errors
    /// [`Error::BadCount`] for no permits. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty,
    /// contains a NUL, or is longer than the store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, permits: u32) -> Result<Self> {
        if permits == 0 {
            let why = "nobody could ever have a permit; give it at least 1";
            return Err(Error::BadCount { what: "semaphore", name: name.to_owned(), asked: 0, why });
        }
        Ok(Self { queue: Queue::new(session, "semaphore", name, "s")?, permits })
    }

    /// Waits in the queue for a permit. A deadline that has passed is [`try_acquire`](Semaphore::try_acquire).
    ///
    /// # Errors
    /// [`Error::InUse`] once the deadline has passed, naming the holders; [`Error::OtherCount`] if others have it for
    /// another number of permits; [`Error::NotHolder`] if our place was taken away; the store's. We are not in the
    /// queue any more after any of them.
    pub fn acquire(&self, deadline: &Deadline) -> Result<Permit<B>> {
        if deadline.has_passed() {
            self.wait_turn(None, deadline)?;
        }
        let held = HeldTickets::from(&[(&self.queue, &self.permits.to_string())], &[])?;
        let held = held.ok_or_else(|| session_ended(&self.queue.session))?;
        self.wait_turn(Some(&held), deadline)?;
        Ok(Permit { held })
    }

    /// Takes a permit if one is free and nobody waits for it; writes nothing if not.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    pub fn try_acquire(&self) -> Result<Permit<B>> {
        self.acquire(&Deadline::now())
    }

    /// How many permits were free, at one moment. Whose death the store can prove has none.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn free(&self) -> Result<u32> {
        let queue = self.queue.look_alive(self.permits as usize)?;
        Ok(self.permits.saturating_sub(u32::try_from(queue.len()).unwrap_or(u32::MAX)))
    }

    /// Waits until fewer are ahead of our ticket than there are permits; without one, of anybody who asks now.
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
            // One who believes in another number and is not first has not looked yet, and goes, or will be the first.
            let agreed = queue.iter().all(|seen| self.agrees(seen));
            if queue.len() < permits && agreed {
                return Ok(());
            }
            if deadline.has_passed() {
                if self.queue.any_gone(&queue[..queue.len().min(permits)])? {
                    continue;
                }
                return Err(self.queue.in_use(&queue, permits, began.elapsed()));
            }
            if changes.is_none() {
                changes = Some(session.store().watch(self.queue.prefix(), Revision(at.0 + 1))?);
            }
            if let Some(changes) = &mut changes {
                let until = session.alive_until().ok_or_else(|| session_ended(session))?;
                let left = until.saturating_duration_since(session.store().now());
                // Whatever has changed, or nothing: the queue says what it means.
                changes.next(&sooner(deadline, left), &mut |_| {})?;
            }
        }
    }

    fn agrees(&self, seen: &QueuedTicket<B::Key>) -> bool {
        seen.ticket.kind.parse().is_ok_and(|found: u32| found == self.permits)
    }

    fn check_number(&self, first: Option<&QueuedTicket<B::Key>>) -> Result<()> {
        match first.map(|first| first.ticket.kind.parse::<u32>()) {
            Some(Ok(found)) if found != self.permits => Err(Error::OtherCount {
                what: "semaphore",
                name: self.queue.name().to_owned(),
                asked: self.permits.into(),
                found: found.into(),
            }),
            _ => Ok(()),
        }
    }
}

impl<B: Backend> Permit<B> {
    /// The fencing token: larger than that of everybody who had the permit before.
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
    /// [`Error::NotHolder`] if it is not ours any more; nothing has been written then. Those of [`Backend::commit`].
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        self.held.commit(ops)
    }

    /// The operations, and with them that the permit is still ours: for a commit made elsewhere.
    pub fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        self.held.protect(ops)
    }

    /// Asks the store whether the permit is still ours.
    ///
    /// # Errors
    /// [`Error::NotHolder`] if it is not. Those of [`Backend::read`].
    pub fn check(&self) -> Result<()> {
        self.held.check()
    }

    /// Waits until the permit is lost: its ticket was taken away, or the session may not be counted on any more. `false`
    /// once the deadline has passed.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`].
    pub fn wait_lost(&self, deadline: &Deadline) -> Result<bool> {
        self.held.wait_lost(deadline)
    }

    /// Renews the session's lease now and looks whether the permit is still ours; answers until when it may be counted on.
    ///
    /// # Errors
    /// [`Error::NotHolder`]. The store's.
    pub fn renew(&self) -> Result<Instant> {
        self.held.renew()
    }

    /// Gives the permit back; when this returns, it is the next one's.
    ///
    /// # Errors
    /// [`Error::NotHolder`] if it was not ours any more.
    pub fn release(mut self) -> Result<()> {
        self.held.give_back(&[], &[])
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
