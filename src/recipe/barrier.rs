//! Where a number of processes wait for each other: the last one to come lets all of them go on, again and again.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Barrier};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let worker = || -> slotguard::recipe::Result<bool> {
//!     let session = recipe::join(&store, Duration::from_secs(10))?;
//!     let phase = Barrier::new(&session, "phase", 2)?;
//!     Ok(phase.wait(&Deadline::never())?.last)
//! };
//! std::thread::scope(|scope| {
//!     let other = scope.spawn(worker);
//!     assert_ne!(worker().unwrap(), other.join().unwrap().unwrap(), "one of them was the last");
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/b/…` | a ticket: the generation it came for, who; at most 38 bytes and the digits | from coming to going on, at most by the session's lease |
//! | `NAME/b-arrivals` | `GENERATION PARTIES`: who comes now comes for this one; at most 31 bytes | until [`remove`](Barrier::remove) |
//! | `NAME/b-passed` | the last generation that went on, 0 before the first; at most 20 bytes | until [`remove`](Barrier::remove) |
//!
//! # How
//! Whoever comes reads `arrivals`, counts the tickets of its generation, and commits a ticket provided that `arrivals`
//! is still as it was read, writing it again in the same commit. So comings take place one after the other, each
//! knowing of all before it. The one that makes the number full begins the next generation and writes `passed` in that
//! same commit, which is all the others wait for. Exactly the number goes on, of any generation: that commit also
//! checks that each ticket it counts is still there. Whoever gives up deletes its ticket provided that its generation
//! has not passed, so nobody goes on counting on somebody who has been told that it failed.
//!
//! The first to come creates `arrivals` and `passed` in one commit, whose revision tells this barrier from others of
//! its name, before and after: a ticket of an earlier one is older, and who waited at one that was removed finds
//! another `passed`.
//!
//! # More than a commit can check
//! The commit that makes the number full has four operations of its own, so it can check four tickets fewer than
//! [`Limits::ops`](crate::backend::Limits::ops): barriers for up to three fewer than that keep the word above. Of more
//! parties the last to come only looks at some before. A peer whose lease ends between that look and the commit (or
//! that gives up just then in a store that is too full to write `arrivals` again) is counted as if it had come and then
//! died.
//!
//! # When a process dies
//! Having come and waiting, it is not counted any more: its ticket goes with the session's lease, and somebody else can
//! come in its place. The one that makes the number full asks after each of the others before it commits. After that
//! commit all go on, the dead ones excepted. Who was stopped past its lease and wakes when its generation has passed,
//! perhaps with another in its place, is told that its session is over.

use std::fmt;
use std::sync::Arc;

use super::queue::{self, HeldTickets, Queue, QueuedTicket};
use super::refusal::{BadCount, Damaged, OtherCount};
use super::waiting::{session_ended, wait_while_alive};
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Deadline, Revision};
use crate::error::{Kind, next_moves};

/// The result of a barrier's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong at a barrier. [`Barrier::wait`] says whether this process is counted then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// An entry holds what this recipe never wrote. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A barrier for no parties.
    #[error(transparent)]
    BadCount(#[from] BadCount),
    /// Others use the barrier for another number of parties.
    #[error(transparent)]
    OtherCount(#[from] OtherCount),
    /// Not all came before the deadline.
    #[error("{what} {name:?}: {there} of {parties} are there; wait longer, or look for those that are missing")]
    NotAllThere {
        /// `barrier` or `double barrier`.
        what: &'static str,
        /// Its name.
        name: String,
        /// How many are there, this process included.
        there: u64,
        /// How many are expected.
        parties: u64,
    },
    /// The barrier at which we waited was removed.
    #[error("{what} {name:?} was removed; come again to meet at the new one of this name, if there is to be one")]
    Removed {
        /// `barrier` or `double barrier`.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) => Kind::Damaged,
            Self::BadCount(_) => Kind::Misuse,
            Self::OtherCount(_) => Kind::Incompatible,
            Self::NotAllThere { .. } => Kind::TimedOut,
            Self::Removed { .. } => Kind::Lost,
        }
    }
}

next_moves!(Error);

/// Operations of the deciding commit besides the checks of others' tickets: ticket, session, `arrivals`, `passed`.
const OWN_OPS: usize = 4;

/// A barrier of this name, for whoever shares the store.
pub struct Barrier<B: Backend>(Gathering<B>);

/// Having passed a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How often the barrier has been passed, this time included.
    pub generation: u64,
    /// Whether this was the last to come, as one of all is: for what one of them is to do.
    pub last: bool,
}

impl<B: Backend> Barrier<B> {
    /// The barrier of this name, for this many.
    ///
    /// # Errors
    /// [`Error::BadCount`] for none. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty,
    /// contains a NUL, or is longer than the store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, parties: u32) -> Result<Self> {
        Gathering::new(session, "barrier", name, "b", parties).map(Self)
    }

    /// Comes, and waits until all are there.
    ///
    /// # Errors
    /// [`Error::NotAllThere`] once the deadline has passed; [`Error::Removed`] if somebody did meanwhile;
    /// [`Error::OtherCount`] if the barrier is used for another number; [`Error::Damaged`]; the store's.
    ///
    /// We are not counted after any of them, with two exceptions: who is told
    /// [`LeaseExpired`](crate::Error::LeaseExpired) or `Removed` may have been before that happened; and a
    /// ticket that the store refuses to delete counts until the session's next renewal, which deletes it, at most until
    /// its lease ends.
    pub fn wait(&self, deadline: &Deadline) -> Result<Passed> {
        let met = self.0.meet(deadline)?;
        Ok(Passed { generation: met.round.generation, last: met.last })
    }

    /// Removes it for all: its name is free for a new one, of any number, that begins with generation 1 when the next one
    /// comes.
    ///
    /// Who waits is told [`Error::Removed`] and is not counted by the new one. Who has not yet returned from a
    /// generation that has just passed may be told so as well.
    ///
    /// # Errors
    /// Those of [`Backend::commit`].
    pub fn remove(self) -> crate::Result<()> {
        self.0.remove()
    }
}

/// A place where a number of tickets come together, generation after generation.
pub(super) struct Gathering<B: Backend> {
    pub(super) queue: Queue<B>,
    what: &'static str,
    parties: u32,
    arrivals: B::Key,
    passed: B::Key,
}

/// A generation of one barrier of a name.
#[derive(Clone, Copy)]
pub(super) struct Round {
    pub(super) generation: u64,
    /// The first and the last revision at which its tickets may have been drawn.
    from: Revision,
    to: Revision,
}

/// Having come for a round, and met the others once it has passed.
pub(super) struct Met<B: Backend> {
    pub(super) round: Round,
    pub(super) last: bool,
    pub(super) held: HeldTickets<B>,
}

/// What `arrivals` says.
struct Arrivals {
    /// Since when there is a barrier of this name.
    since: Revision,
    /// When somebody came or gave up last.
    changed: Revision,
    generation: u64,
    parties: u32,
}

impl<B: Backend> Gathering<B> {
    pub(super) fn new(
        session: &Arc<Session<B>>,
        what: &'static str,
        name: &str,
        word: &str,
        parties: u32,
    ) -> Result<Self> {
        let queue = Queue::new(session, what, name, word)?;
        if parties == 0 {
            let why = "there would be nobody to wait for; give it at least 1";
            return Err(BadCount { what, name: name.to_owned(), asked: 0, why }.into());
        }
        let key = |rest: &str| session.store().key(&format!("{name}/{word}-{rest}"));
        Ok(Self { queue, what, parties, arrivals: key("arrivals")?, passed: key("passed")? })
    }

    /// Comes, and waits until all are there; the ticket stays until it is dropped.
    pub(super) fn meet(&self, deadline: &Deadline) -> Result<Met<B>> {
        let mut met = self.come()?;
        if met.last {
            return Ok(met);
        }
        let round = met.round;
        let waited = self.wait_passed(round, deadline);
        if let Ok(Some(at)) = waited {
            return self.pass(met, at);
        }
        // If the last one came just now, ours is counted.
        if let Some(at) = self.go(round, &mut met.held)? {
            return self.pass(met, at);
        }
        waited?;
        let (what, name) = (self.what, self.queue.name().to_owned());
        let there = round.tickets(self.queue.look_alive(usize::MAX)?).len() as u64 + 1;
        Err(Error::NotAllThere { what, name, there, parties: self.parties.into() })
    }

    pub(super) fn remove(&self) -> crate::Result<()> {
        self.queue.session.store().commit(&[Op::delete(&self.arrivals), Op::delete(&self.passed)])?;
        Ok(())
    }

    /// The tickets of a round.
    pub(super) fn there(&self, round: Round) -> crate::Result<Vec<QueuedTicket<B::Key>>> {
        Ok(round.tickets(self.queue.look()?.0))
    }

    /// Draws a ticket for the present generation; if it makes the number full, that one passes.
    fn come(&self) -> Result<Met<B>> {
        loop {
            let arrivals = self.arrivals()?;
            let to = Revision(u64::MAX);
            let (mut round, before) = match &arrivals {
                Some(now) if now.parties != self.parties => {
                    let (what, name, asked) = (self.what, self.queue.name().to_owned(), self.parties.into());
                    return Err(OtherCount { what, name, asked, found: now.parties.into() }.into());
                }
                Some(now) => (Round { generation: now.generation, from: now.since, to }, now.unchanged()),
                // Its tickets begin with ours.
                None => (Round { generation: 1, from: to, to }, When::Absent),
            };
            let there = self.there(round)?;
            let last = there.len() + 1 >= self.parties as usize;
            if last && self.queue.any_gone(&there)? {
                continue;
            }
            let now = round.generation.to_string();
            let next = format!("{} {}", round.generation.wrapping_add(u64::from(last)), self.parties);
            let mut besides = vec![Op::put(&self.arrivals, next.as_bytes()).when(before)];
            if last {
                besides.push(Op::put(&self.passed, now.as_bytes()));
                besides.extend(there.iter().take(Self::room()).map(|seen| {
                    let created = Revision(seen.ticket.token.0);
                    Op::check(&seen.key, When::CreatedAt(created))
                }));
            } else if arrivals.is_none() {
                besides.push(Op::put(&self.passed, b"0"));
            }
            let Some(held) = HeldTickets::draw_if(&[(&self.queue, &now)], &besides)? else { continue };
            let at = Revision(held.token().0);
            round.from = round.from.min(at);
            round.to = if last { at } else { to };
            return Ok(Met { round, last, held });
        }
    }

    /// How many tickets of others the deciding commit can check.
    fn room() -> usize {
        B::LIMITS.ops.saturating_sub(OWN_OPS)
    }

    /// Goes on, the generation having passed by then: as one of it only if our ticket is there, because it was there then.
    /// In place of one whose lease ended before, somebody else may have come.
    fn pass(&self, met: Met<B>, by: Revision) -> Result<Met<B>> {
        match met.held.check() {
            Err(queue::Error::Lost(_)) => Err(session_ended(&self.queue.session).into()),
            Err(queue::Error::Store(error)) => Err(error.into()),
            Ok(()) => Ok(Met { round: Round { to: by, ..met.round }, ..met }),
        }
    }

    /// Takes our ticket back, unless the generation has passed: then by when.
    fn go(&self, round: Round, held: &mut HeldTickets<B>) -> Result<Option<Revision>> {
        loop {
            let Some(now) = self.arrivals()?.filter(|now| now.since == round.from) else {
                return Err(self.removed());
            };
            if now.generation > round.generation {
                return Ok(Some(now.changed));
            }
            // Who counts us checks our ticket. Who has no room for that is told by another `arrivals`, if there is room
            // for it.
            let told = format!("{} {}", now.generation, self.parties);
            let told = Op::put(&self.arrivals, told.as_bytes()).when(now.unchanged());
            let not_passed = Op::check(&self.arrivals, now.unchanged());
            let checked = self.parties as usize <= Self::room() + 1;
            let gone = if checked {
                held.try_give_back(&[not_passed])
            } else {
                held.try_give_back(&[told]).or_else(|_| held.try_give_back(&[not_passed]))
            };
            if gone? {
                return Ok(None);
            }
            match held.check() {
                Ok(()) => {}
                Err(queue::Error::Lost(_)) => return Ok(None),
                Err(queue::Error::Store(error)) => return Err(error.into()),
            }
        }
    }

    fn removed(&self) -> Error {
        Error::Removed { what: self.what, name: self.queue.name().to_owned() }
    }

    /// What `arrivals` says; `None` if nobody has come yet.
    fn arrivals(&self) -> Result<Option<Arrivals>> {
        let mut value = Vec::new();
        let (meta, _) = self.queue.session.store().read(&self.arrivals, &mut value)?;
        let Some(meta) = meta else { return Ok(None) };
        let text = std::str::from_utf8(&value).unwrap_or_default();
        let numbers = text.split_once(' ').and_then(|(now, parties)| Some((now.parse().ok()?, parties.parse().ok()?)));
        let Some((generation, parties)) = numbers else {
            let what = format!("it holds {text:?}, no generation and number");
            return Err(Damaged::new(&self.arrivals, what).into());
        };
        Ok(Some(Arrivals { since: meta.created, changed: meta.modified, generation, parties }))
    }

    /// Waits until a generation has passed; by when it had.
    fn wait_passed(&self, round: Round, deadline: &Deadline) -> Result<Option<Revision>> {
        let session = &self.queue.session;
        let mut value = Vec::new();
        loop {
            let (meta, seen_at) = session.store().read(&self.passed, &mut value)?;
            let Some(meta) = meta.filter(|meta| meta.created == round.from) else {
                return Err(self.removed());
            };
            let text = String::from_utf8_lossy(&value);
            let damaged = |_| Damaged::new(&self.passed, format!("it holds {text:?}, no generation"));
            let passed: u64 = text.parse().map_err(damaged)?;
            if round.generation <= passed {
                return Ok(Some(meta.modified));
            }
            if !wait_while_alive(session, &self.passed, seen_at, deadline)? {
                return Ok(None);
            }
        }
    }
}

impl Arrivals {
    /// What holds as long as nobody comes, and the barrier is not removed.
    fn unchanged(&self) -> When {
        When::ModifiedAt(self.changed)
    }
}

impl Round {
    /// Those of its tickets that are in a queue.
    fn tickets<K>(self, mut queue: Vec<QueuedTicket<K>>) -> Vec<QueuedTicket<K>> {
        let generation = self.generation.to_string();
        let created = self.from.0..=self.to.0;
        queue.retain(|seen| seen.ticket.kind == generation && created.contains(&seen.ticket.token.0));
        queue
    }
}

impl<B: Backend> fmt::Debug for Gathering<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, parties, .. } = self;
        f.debug_struct(self.what).field("name", &queue.name()).field("parties", parties).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Barrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
