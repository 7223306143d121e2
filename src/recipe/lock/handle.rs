//! The handle of a lock: acquiring it in either mode, listing its holders, taking it away by force.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::acquire::{Wanted, acquire};
use super::delay::Delay;
use super::error::{Error, Result};
use super::guard::Guard;
use super::threads::Threads;
use crate::backend::{Backend, Session};
use crate::clock::{Deadline, Token};
use crate::recipe::queue::{Mode, Queue, Ticket};

/// A lock of one name, shared by all processes that use the store. Clones are one handle.
pub struct Lock<B: Backend> {
    queue: Queue<B>,
    threads: Option<Arc<Threads<B>>>,
    delay: Option<Delay<B>>,
}

/// The holders of a lock, and the waiters in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its holder, or several readers. With [`Lock::delay`] the first may still be waiting for the delay to end.
    pub holders: Vec<Ticket>,
    /// Those that wait for it.
    pub waiting: Vec<Ticket>,
}

impl<B: Backend> Lock<B> {
    /// Opens the lock of this name; it is held for no longer than the session lives.
    ///
    /// # Errors
    /// [`BadName`](crate::Error::BadName) if the name is empty, contains a NUL, or is longer than the
    /// store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str) -> crate::Result<Self> {
        Ok(Self { queue: Queue::new(session, "lock", name, "t")?, threads: None, delay: None })
    }

    /// Makes the handle re-entrant: a thread that holds the lock by this handle (or a clone of it) and asks again has it
    /// at once, with one token; it is released with the last of these guards.
    ///
    /// An exclusive holder may ask in either mode. A reader may ask to read again, also past a writer that waits; asking
    /// for exclusive mode is [`Error::Upgrade`], because two such readers would wait for each other for ever. The thread
    /// that acquired counts, wherever its guards have gone meanwhile. Other handles of the name, and
    /// [`all`](super::all), know nothing of it.
    #[must_use]
    pub fn reentrant(self) -> Self {
        Self { threads: Some(Arc::new(Threads::new())), ..self }
    }

    /// Gives the lock a delay: after an exclusive holder that ended without releasing, it stays free for this long, as
    /// Chubby's lock-delay: for resources that cannot compare tokens.
    ///
    /// Each waiter measures the time on its own monotonic clock, from when its handle noticed, so it is never shorter; it
    /// begins anew with each handle that begins to ask, so keep the handle to ask again. All users of the lock must give
    /// it a delay: a handle without one leaves no trace of its death and waits for none. It costs one more commit per
    /// grant.
    ///
    /// # Errors
    /// Those of [`Backend::key`].
    pub fn delay(self, time: Duration) -> crate::Result<Self> {
        let key = self.queue.session.store().key(&format!("{}/held", self.queue.name()))?;
        Ok(Self { delay: Some(Delay::new(key, time)), ..self })
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        self.queue.name()
    }

    /// Waits in the queue to hold the lock alone. A deadline that has passed is [`try_acquire`](Lock::try_acquire).
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::Delayed`] once the deadline has passed, [`Error::Lost`] if our place in the queue was
    /// taken away by force, [`Error::Upgrade`] of a [re-entrant](Lock::reentrant) handle, and the store's:
    /// [`LeaseExpired`](crate::Error::LeaseExpired) if the session has ended, [`Cancelled`](crate::Error::Cancelled). We
    /// are not in the queue any more after any of them.
    pub fn acquire(&self, deadline: &Deadline) -> Result<Guard<B>> {
        self.enter(Mode::Exclusive, deadline)
    }

    /// Acquires the lock alone if no ticket is ahead; else writes nothing.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn try_acquire(&self) -> Result<Guard<B>> {
        self.acquire(&Deadline::now())
    }

    /// Waits in the queue to hold the lock together with other readers, behind every writer that asked before.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn read(&self, deadline: &Deadline) -> Result<Guard<B>> {
        self.enter(Mode::Shared, deadline)
    }

    /// Acquires the lock together with other readers if no writer is ahead; else writes nothing.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn try_read(&self) -> Result<Guard<B>> {
        self.read(&Deadline::now())
    }

    /// Lists the holders and the waiters. Processes proven dead are neither.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn status(&self) -> crate::Result<Status> {
        let (holders, waiting) = self.queue.holders_and_waiters()?;
        Ok(Status { holders, waiting })
    }

    /// Asks the holders to give the lock up; answers whom. They learn of it by [`Guard::asked_by`], and nothing else
    /// happens to them.
    ///
    /// # Errors
    /// Those of [`Backend::range`], [`Backend::wait`] and [`Backend::commit`].
    pub fn ask_to_release(&self) -> crate::Result<Vec<Ticket>> {
        self.queue.ask_holders()
    }

    /// Takes the lock, or the place in the queue, away from the ticket of this token; the next one has it at once, or
    /// after the [`delay`](Lock::delay). The victim's writes by [`Guard::commit`] are refused from then on. Its writes
    /// elsewhere go on.
    ///
    /// # Errors
    /// [`Error::Lost`] if there is no ticket of this token. The store's.
    pub fn break_holder(&self, token: Token) -> Result<()> {
        Ok(self.queue.take_from(token, &[])?)
    }

    /// The queue for the lock, without re-entrancy and delay.
    pub(in crate::recipe) fn queue(&self) -> &Queue<B> {
        &self.queue
    }

    pub(super) fn wanted(&self, mode: Mode) -> Wanted<'_, B> {
        Wanted { queue: &self.queue, delay: self.delay.as_ref(), mode }
    }

    fn enter(&self, mode: Mode, deadline: &Deadline) -> Result<Guard<B>> {
        let Some(threads) = &self.threads else {
            return acquire(&[self.wanted(mode)], deadline);
        };
        if let Some((grant, held)) = threads.of_this_thread() {
            if (mode, held) == (Mode::Exclusive, Mode::Shared) {
                return Err(Error::Upgrade { name: self.name().to_owned(), token: grant.held.token() });
            }
            grant.held.check()?;
            return Ok(Guard { grant });
        }
        let guard = acquire(&[self.wanted(mode)], deadline)?;
        threads.insert(&guard.grant, mode);
        Ok(guard)
    }
}

impl<B: Backend> Clone for Lock<B> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), threads: self.threads.clone(), delay: self.delay.clone() }
    }
}

impl<B: Backend> fmt::Debug for Lock<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("name", &self.name()).finish_non_exhaustive()
    }
}
