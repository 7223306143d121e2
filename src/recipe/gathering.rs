//! Gathers a number of processes, generation by generation: the algorithm of [`barrier`](super::barrier), whose page has its
//! layout and its argument, and of [`double_barrier`](super::double_barrier).

use std::fmt;
use std::sync::Arc;

use super::queue::{self, HeldTickets, Queue, QueuedTicket};
use super::refusal::{BadCount, Damaged, OtherCount};
use super::waiting::{session_ended, wait_while_alive};
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Deadline, Revision};
use crate::error::{Kind, next_moves};

/// Operations of the deciding commit besides the checks of others' tickets: ticket, session, `arrivals`, `passed`.
const OWN_OPS: usize = 4;

/// Gathers a number of tickets, generation by generation: the algorithm of both barriers.
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
    /// The first and the last revision at which its tickets can have been drawn.
    from: Revision,
    to: Revision,
}

/// Our ticket for a generation, and whether it completed the number.
pub(super) struct Met<B: Backend> {
    pub(super) round: Round,
    pub(super) last: bool,
    pub(super) held: HeldTickets<B>,
}

/// The content of `NAME/b-arrivals`.
struct Arrivals {
    /// The revision that created the barrier.
    since: Revision,
    /// The revision of the last arrival or departure.
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

    /// Draws a ticket and waits until all are there; the ticket stays until it is dropped.
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
        // If the number was completed just now, ours is counted.
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

    /// Reads the tickets of a generation.
    pub(super) fn there(&self, round: Round) -> crate::Result<Vec<QueuedTicket<B::Key>>> {
        Ok(round.tickets(self.queue.look()?.0))
    }

    /// Draws a ticket for the present generation, which passes if that completes the number.
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

    /// The number of others' tickets that the deciding commit can check.
    fn room() -> usize {
        B::LIMITS.ops.saturating_sub(OWN_OPS)
    }

    /// Goes on after the generation passed at this revision. If our ticket is still there, it was there then; if not, its
    /// lease may have ended before, and another process may have been counted in its place.
    fn pass(&self, met: Met<B>, by: Revision) -> Result<Met<B>> {
        match met.held.check() {
            Err(queue::Error::Lost(_)) => Err(session_ended(&self.queue.session).into()),
            Err(queue::Error::Store(error)) => Err(error.into()),
            Ok(()) => Ok(Met { round: Round { to: by, ..met.round }, ..met }),
        }
    }

    /// Deletes our ticket, unless the generation has passed: then answers a revision at which it had.
    fn go(&self, round: Round, held: &mut HeldTickets<B>) -> Result<Option<Revision>> {
        loop {
            let Some(now) = self.arrivals()?.filter(|now| now.since == round.from) else {
                return Err(self.removed());
            };
            if now.generation > round.generation {
                return Ok(Some(now.changed));
            }
            // The deciding commit checks our ticket. Where it has no room for that, `arrivals` is written again, which
            // makes it fail, if the store has room for it.
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

    /// Reads `arrivals`; `None` if no process has come yet.
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

    /// Waits until a generation has passed, and answers a revision at which it had; `None` once the deadline has passed.
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
    /// The condition that no process has come or gone since, and the barrier was not removed.
    fn unchanged(&self) -> When {
        When::ModifiedAt(self.changed)
    }
}

impl Round {
    /// Keeps the tickets of this generation.
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

/// The result of a barrier's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong at a barrier. [`Barrier::wait`](super::Barrier::wait) says whether this process is counted then.
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
    #[error("{what} {name:?} was removed; wait again to meet at the new one of this name, if there is to be one")]
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
