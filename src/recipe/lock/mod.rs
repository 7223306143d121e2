//! Being the only one, or one of several readers, for as long as one lives: in the order of asking, with a token that
//! every write of the holder can be checked by.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, Lock};
//! use slotguard::{Deadline, Outcome};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let lock = Lock::new(&session, "billing-cap")?;
//!
//! let guard = lock.acquire(&Deadline::after(Duration::from_secs(1)))?;
//! let cap = store.key("caps/billing")?;
//! // Refused if the lock is somebody else's by now, whatever this process believes.
//! assert!(matches!(guard.commit(&[Op::put(&cap, b"100")])?, Outcome::Committed(_)));
//! guard.release()?;
//! # Ok(())
//! # }
//! ```
//! At most one holder per token; every write to the store can be guarded by the token ([`Guard::commit`]); whatever lies
//! outside must compare [`Guard::token`] itself and refuse smaller ones.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/t/…` | a ticket: `w` or `r`, who, and who asks for it back; at most 64 bytes | from the asking to the release, at most by the session's lease |
//! | `NAME/held` | the holder's token, at most 20 bytes; only with [`delay`](Lock::delay) | from grant to release, by no lease |
//!
//! # How
//! To ask is to draw a ticket, in one commit. The ticket with the smallest token has the lock; readers have it while no
//! writer's ticket is smaller than theirs. Who has it has it as long as the ticket is there. Each waiter waits for one
//! ticket only, the last that is in its way, so a release wakes one waiter (or the readers behind one writer) and whoever
//! gives up in the midst of the queue moves the next one up to wait for the one before.
//!
//! A ticket's revision is the fencing token: tokens grow from holder to holder, because holders follow each other in the
//! order of their tickets.
//!
//! # Several at once
//! [`all`] draws the tickets of all its locks in one commit: they share one revision, which puts any two calls in the same
//! order in every queue where they meet. So of two that have locks in common one is ahead in all of them, whatever order
//! each named them in, and nobody waits in a circle. It costs one round trip and gives one token, where locks taken one by
//! one in the order of their names cost a round trip each and a later place in every queue but the first.
//! Who *holds* a lock while asking for another leaves that order: ask for all at once, or with a deadline.
//!
//! # When a process dies
//! Before the commit of its ticket nothing has happened. After it the ticket goes with the session's lease, whether its
//! owner waited or held: at once where the store can prove the death, else when the lease ends. A holder that is stopped
//! past its lease finds its writes refused. With [`delay`](Lock::delay) the next one waits a while longer, for the
//! sake of what the dead one may have had under way elsewhere.

mod delay;
mod guard;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use self::delay::{Delay, Passed};
use self::guard::Grant;
use super::queue::{HeldTickets, Queue, QueuedTicket, Ticket};
use super::waiting::session_ended;
use super::{Error, Result};
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Revision, Token};
use crate::{Error as StoreError, Outcome};

pub use guard::Guard;

/// A lock of this name, for whoever shares the store.
///
/// Clones are the same handle.
pub struct Lock<B: Backend> {
    queue: Queue<B>,
    threads: Option<Arc<Threads<B>>>,
    delay: Option<Delay<B>>,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Together with others that hold it so.
    Shared,
    /// Alone.
    Exclusive,
}

/// Who has a lock, and who waits for it, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who has it: one, or several readers. With [`Lock::delay`] the first may still be waiting for the delay to end.
    pub holders: Vec<Ticket>,
    /// Who waits.
    pub waiting: Vec<Ticket>,
}

/// What each thread holds by a re-entrant handle.
struct Threads<B: Backend>(Mutex<Held<B>>);

type Held<B> = HashMap<ThreadId, (Weak<Grant<B>>, Mode)>;

impl<B: Backend> Lock<B> {
    /// The lock of this name, held for as long as the session lives.
    ///
    /// # Errors
    /// [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty, contains a NUL, or is longer than the
    /// store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str) -> Result<Self> {
        Self::of(session, "lock", name)
    }

    /// What another recipe is made of, which errors call by that one's word.
    pub(super) fn of(session: &Arc<Session<B>>, what: &'static str, name: &str) -> Result<Self> {
        Ok(Self { queue: Queue::new(session, what, name, "t")?, threads: None, delay: None })
    }

    /// The same, re-entrant: a thread that holds the lock by this handle (or a clone of it) and asks again has it at
    /// once, with the same token; it is released with the last of these guards.
    ///
    /// Who holds it alone may ask in either mode. Who reads may ask to read again, also past a writer that waits;
    /// asking to have it alone is [`Error::Upgrade`], because two such would wait for each other for ever. What counts
    /// is the thread that acquired, wherever its guards have gone meanwhile. Other handles of the name, and [`all`],
    /// know nothing of it.
    #[must_use]
    pub fn reentrant(self) -> Self {
        Self { threads: Some(Arc::new(Threads(Mutex::default()))), ..self }
    }

    /// The same with a delay: after a holder (in [`Mode::Exclusive`]) that ended without releasing, nobody has the lock
    /// for this long, as Chubby's lock-delay: for resources that cannot compare tokens.
    ///
    /// The time is measured by who waits, on its own monotonic clock, from when its handle noticed, so it is never
    /// shorter; it begins anew with each handle that begins to ask, so keep the handle to ask again. Everybody who uses
    /// the lock must ask for a delay: a handle without one leaves no trace of its death and waits for none. It costs
    /// one more commit per grant.
    ///
    /// # Errors
    /// Those of [`Backend::key`].
    pub fn delay(self, time: Duration) -> Result<Self> {
        let key = self.queue.session.store().key(&format!("{}/held", self.queue.name()))?;
        Ok(Self { delay: Some(Delay::new(key, time)), ..self })
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        self.queue.name()
    }

    /// Waits in the queue to have it alone. A deadline that has passed is [`try_acquire`](Lock::try_acquire).
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::Delayed`] once the deadline has passed, [`Error::NotHolder`] if our place in the
    /// queue was taken away by force, and the store's: [`LeaseExpired`](crate::Error::LeaseExpired) if the session has
    /// ended, [`Cancelled`](crate::Error::Cancelled). We are not in the queue any more after any of them.
    pub fn acquire(&self, deadline: &Deadline) -> Result<Guard<B>> {
        self.enter(Mode::Exclusive, deadline)
    }

    /// Has it alone if nobody is ahead; writes nothing if somebody is.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn try_acquire(&self) -> Result<Guard<B>> {
        self.acquire(&Deadline::now())
    }

    /// Waits in the queue to have it together with other readers, behind every writer that asked before.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn read(&self, deadline: &Deadline) -> Result<Guard<B>> {
        self.enter(Mode::Shared, deadline)
    }

    /// Has it together with other readers if no writer is ahead; writes nothing if one is.
    ///
    /// # Errors
    /// As [`acquire`](Lock::acquire).
    pub fn try_read(&self) -> Result<Guard<B>> {
        self.read(&Deadline::now())
    }

    /// Who has it, and who waits. Whose death the store can prove does neither.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn status(&self) -> Result<Status> {
        let queue = self.queue.look_alive(usize::MAX)?;
        let first = holders(&queue);
        let mut holders: Vec<_> = queue.into_iter().map(|seen| seen.ticket).collect();
        let waiting = holders.split_off(first);
        Ok(Status { holders, waiting })
    }

    /// Asks the holders to give it up; answers who they are. They learn of it by [`Guard::asked_by`], and nothing else
    /// happens to them.
    ///
    /// # Errors
    /// Those of [`Backend::range`], [`Backend::wait`] and [`Backend::commit`].
    pub fn ask_to_release(&self) -> Result<Vec<Ticket>> {
        let queue = self.queue.look_alive(usize::MAX)?;
        let mut asked = Vec::new();
        for seen in &queue[..holders(&queue)] {
            let value = seen.ticket.asked_value();
            let put =
                seen.ticket.lease.map_or(Op::put(&seen.key, &value), |lease| Op::put_leased(&seen.key, &value, lease));
            match self.queue.session.store().commit(&[put.if_modified_at(seen.modified)]) {
                // Gone; or somebody else has just asked, which is as good.
                Ok(Outcome::Conflict) | Err(StoreError::LeaseExpired { .. } | StoreError::UnknownLease { .. }) => {}
                Ok(Outcome::Committed(_)) => asked.push(seen.ticket.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(asked)
    }

    /// The token of whoever is first in the queue.
    pub(super) fn first(&self) -> Result<Option<Token>> {
        Ok(self.queue.look_alive(1)?.first().map(|first| first.ticket.token))
    }

    /// Takes the lock, or the place in the queue, from whoever has this token; the next one has it at once, or after the
    /// [`delay`](Lock::delay). The victim's writes by [`Guard::commit`] are refused from then on. What it does elsewhere
    /// goes on.
    ///
    /// # Errors
    /// [`Error::NotHolder`] if nobody has this token. The store's.
    pub fn break_holder(&self, token: Token) -> Result<()> {
        self.take_from(token, &[])
    }

    /// The same, and in the same commit what `besides` says.
    pub(in crate::recipe) fn take_from(&self, token: Token, besides: &[Op<'_, B::Key>]) -> Result<()> {
        let (queue, _) = self.queue.look()?;
        let victim = queue.iter().find(|seen| seen.ticket.token == token);
        let victim = victim.ok_or_else(|| self.queue.not_holder(token))?;
        let gone = Op::delete(&victim.key).if_created_at(Revision(token.0));
        let ops: Vec<_> = [gone].into_iter().chain(besides.iter().copied()).collect();
        match self.queue.session.store().commit(&ops)? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(self.queue.not_holder(token)),
        }
    }

    fn enter(&self, mode: Mode, deadline: &Deadline) -> Result<Guard<B>> {
        let Some(threads) = &self.threads else {
            return all(&[(self, mode)], deadline);
        };
        if let Some((grant, held)) = threads.of_this_thread() {
            if (mode, held) == (Mode::Exclusive, Mode::Shared) {
                return Err(Error::Upgrade { name: self.name().to_owned(), token: grant.held.token() });
            }
            grant.held.check()?;
            return Ok(Guard { grant });
        }
        let guard = all(&[(self, mode)], deadline)?;
        threads.insert(&guard.grant, mode);
        Ok(guard)
    }

    /// Waits until nobody is in the way of our ticket, or without one, of anybody who asks now.
    fn wait_turn(&self, ticket: Option<(&HeldTickets<B>, usize)>, mode: Mode, deadline: &Deadline) -> Result<()> {
        let began = Instant::now();
        let mut looked_last = false;
        loop {
            let (mut queue, _) = self.queue.look()?;
            if let Some((held, at)) = ticket {
                let place = queue.iter().position(|seen| seen.key == *held.key(at));
                queue.truncate(place.ok_or_else(|| held.taken(at))?);
            }
            let Some(in_the_way) = last_in_the_way(&queue, mode) else { break };
            if looked_last {
                return Err(self.queue.in_use(&queue, holders(&queue), began.elapsed()));
            }
            looked_last = !self.queue.wait_for(in_the_way, deadline)?;
        }
        let Some(delay) = &self.delay else { return Ok(()) };
        match delay.pass(&self.queue.session, ticket, mode, deadline)? {
            Passed::Yes => Ok(()),
            Passed::Later(token, left) => Err(Error::Delayed { name: self.name().to_owned(), token, left }),
        }
    }
}

/// Has all these locks at once, each in its mode, by one guard with one token; the order in which they are named does not
/// matter. A deadline that has passed means that nobody may be ahead in any of them.
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
/// As [`Lock::acquire`], naming the lock that was in the way: then none is held. [`Error::NoLocks`],
/// [`Error::OtherSession`], [`Error::LockNamedTwice`]. Of the store, [`TooManyOps`](crate::Error::TooManyOps): one less
/// than the store's commits have operations is the most, and half as many where they have a [`delay`](Lock::delay).
pub fn all<B: Backend>(wanted: &[(&Lock<B>, Mode)], deadline: &Deadline) -> Result<Guard<B>> {
    let session = &wanted.first().ok_or(Error::NoLocks)?.0.queue.session;
    if let Some((other, _)) = wanted.iter().find(|(lock, _)| !Arc::ptr_eq(&lock.queue.session, session)) {
        return Err(Error::OtherSession { name: other.name().to_owned() });
    }
    let ops = wanted.len() + wanted.iter().filter(|(lock, _)| lock.delay.is_some()).count();
    if ops > B::LIMITS.ops {
        return Err(StoreError::TooManyOps { ops, limit: B::LIMITS.ops }.into());
    }
    for (at, (lock, _)) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|(earlier, _)| earlier.queue.prefix() == lock.queue.prefix()) {
            return Err(Error::LockNamedTwice { name: lock.name().to_owned() });
        }
    }
    if deadline.has_passed() {
        for (lock, mode) in wanted {
            lock.wait_turn(None, *mode, deadline)?;
        }
    }
    let queues: Vec<_> = wanted.iter().map(|(lock, mode)| (&lock.queue, mode.letter())).collect();
    let held = HeldTickets::from(&queues, &[])?.ok_or_else(|| session_ended(session))?;
    for (at, (lock, mode)) in wanted.iter().enumerate() {
        if let Err(error) = lock.wait_turn(Some((&held, at)), *mode, deadline) {
            // Those before this one were ours already; what their delays go by goes as by a release.
            drop(Grant { held, locks: granted(&wanted[..at]) });
            return Err(error);
        }
    }
    Ok(Guard { grant: Arc::new(Grant { held, locks: granted(wanted) }) })
}

fn granted<B: Backend>(wanted: &[(&Lock<B>, Mode)]) -> Vec<(Lock<B>, Mode)> {
    wanted.iter().map(|(lock, mode)| ((*lock).clone(), *mode)).collect()
}

/// Who is the last that somebody at the end of this queue, who asks in this mode, has to wait for.
fn last_in_the_way<K>(queue: &[QueuedTicket<K>], mode: Mode) -> Option<&QueuedTicket<K>> {
    match mode {
        Mode::Exclusive => queue.last(),
        Mode::Shared => queue.iter().rfind(|seen| !seen.reads()),
    }
}

/// How many at the beginning of the queue have the lock.
fn holders<K>(queue: &[QueuedTicket<K>]) -> usize {
    queue.iter().take_while(|seen| seen.reads()).count().max(queue.len().min(1))
}

impl<K> QueuedTicket<K> {
    fn reads(&self) -> bool {
        self.ticket.kind == Mode::Shared.letter()
    }
}

impl Mode {
    const fn letter(self) -> &'static str {
        match self {
            Self::Shared => "r",
            Self::Exclusive => "w",
        }
    }
}

impl<B: Backend> Threads<B> {
    fn lock(&self) -> MutexGuard<'_, Held<B>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_this_thread(&self) -> Option<(Arc<Grant<B>>, Mode)> {
        let held = self.lock();
        let (grant, mode) = held.get(&thread::current().id())?;
        Some((grant.upgrade()?, *mode))
    }

    fn insert(&self, grant: &Arc<Grant<B>>, mode: Mode) {
        let mut held = self.lock();
        held.retain(|_, (grant, _)| grant.strong_count() > 0);
        held.insert(thread::current().id(), (Arc::downgrade(grant), mode));
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
