//! Elects one leader at a time, in terms that only grow; the writes of an ex-leader are refused.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, Election};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let election = Election::new(&session, "cron")?;
//!
//! let lead = election.campaign(b"10.0.0.7:9000", &Deadline::after(Duration::from_secs(1)))?;
//! assert_eq!(election.leader()?.unwrap().value, b"10.0.0.7:9000");
//! // Refused once another leads, whatever this process believes.
//! let last_run = store.key("cron/last")?;
//! lead.commit(&[Op::put(&last_run, b"03:00")])?;
//! lead.resign()?;
//! assert!(election.leader()?.is_none());
//! # Ok(())
//! # }
//! ```
//! At most one leader per term; every write to the store can be guarded by the term ([`Lead::commit`]); whatever lies
//! outside must compare terms itself and refuse smaller ones.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/t/…` | a candidate's ticket: see [`lock`](super::lock) | by its session's lease |
//! | `NAME/leader` | `TERM PID SINCE COMMAND`, NUL, and what the leader proclaims; or `resigned TERM` | by the leader's lease; having resigned, for ever |
//!
//! # How
//! Candidates wait in the queue, and the first one leads: its ticket's revision is the term. Tickets are ordered by the
//! store, so of any number of candidates at once all find one first, and a newcomer is always behind a leader. The leader
//! then puts its name and value into `NAME/leader`, by a commit that checks its ticket: so terms there only grow, and an
//! ex-leader's commit is refused.
//!
//! # Phases
//! ```text
//!  candidate ──► elected ──► resigned     put by the leader in the commit that deletes its ticket
//!      │            └──────► lost         it died, was stopped past its lease, or was deposed: the entry is gone
//!      └► gave up (its deadline passed), or died: the next one moves up
//! ```
//! [`Observer`] reports them, [`Election::candidates`] lists the queue.
//!
//! # When a process dies
//! A candidate leaves the queue. The leader's ticket and entry go, at once where the store can prove the death, else
//! when the lease ends, and the next in the queue is elected with a larger term.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::Owner;
use super::queue::{self, HeldTickets, InUse, Lost, Mode, Queue, Ticket, from_queue};
use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Revision, Token};
use crate::error::{Kind, next_moves};

/// The result of an election's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong in an election. Nothing is written then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// Another leads, or stands before us, and the deadline has passed.
    #[error(transparent)]
    InUse(Box<InUse>),
    /// The lead, or the candidacy, is not ours any more.
    #[error(transparent)]
    Lost(Lost),
    /// No process leads in this term.
    #[error("election {name:?}: nobody leads in term {term} any more; look who does now")]
    NotLeader {
        /// The election.
        name: String,
        /// The term.
        term: Token,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::InUse(_) => Kind::Busy,
            Self::Lost(_) | Self::NotLeader { .. } => Kind::Lost,
        }
    }
}

next_moves!(Error);
from_queue!(Error);

/// An election of one name, shared by all processes that use the store. Clones are one handle.
pub struct Election<B: Backend> {
    queue: Queue<B>,
    key: B::Key,
}

/// The lead, held for as long as this is kept. Dropped, it is given up without a resignation: others find it lost.
pub struct Lead<B: Backend> {
    held: HeldTickets<B>,
    key: B::Key,
}

/// A leader as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// Its term: larger than that of every leader before.
    pub term: Token,
    /// Its process, and since when it leads.
    pub owner: Owner,
    /// The value it proclaims.
    pub value: Vec<u8>,
}

/// The phase of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for those ahead of it.
    Candidate,
    /// It leads, or is about to proclaim its value.
    Elected,
}

/// A change that an observer reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderChange {
    /// There is a leader of a new term.
    Elected(Leader),
    /// The leader proclaims another value.
    Proclaimed(Leader),
    /// The leader of this term has resigned.
    Resigned(Token),
    /// The leader of this term is gone and did not resign.
    Lost(Token),
}

/// Reports changes of the leader, in the order of terms. A leader that stays only for a moment may be missed.
pub struct Observer<B: Backend> {
    election: Election<B>,
    seen: Seen,
}

/// The content of `NAME/leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nobody,
    Resigned(Token),
    Leading(Leader),
}

impl<B: Backend> Election<B> {
    /// Opens the election of this name; the lead is held for no longer than the session lives.
    ///
    /// # Errors
    /// As [`Lock::new`](super::Lock::new).
    pub fn new(session: &Arc<Session<B>>, name: &str) -> crate::Result<Self> {
        let queue = Queue::new(session, "election", name, "t")?;
        Ok(Self { queue, key: session.store().key(&format!("{name}/leader"))? })
    }

    /// Stands as a candidate until elected, and then proclaims `value`.
    ///
    /// A deadline that has passed: writes nothing if another leads or stands before us.
    ///
    /// # Errors
    /// [`Error::InUse`], naming the leader and how many are ahead, once the deadline has passed; [`Error::Lost`] if our
    /// candidacy was taken away by force; those of [`Lead::proclaim`]; of the store also
    /// [`LeaseExpired`](crate::Error::LeaseExpired) if the session has ended. We do not stand any more after any of them.
    pub fn campaign(&self, value: &[u8], deadline: &Deadline) -> Result<Lead<B>> {
        let held = self.queue.acquire(Mode::Exclusive, deadline)?.map_err(Error::InUse)?;
        let lead = Lead { held, key: self.key.clone() };
        lead.proclaim(value)?;
        Ok(lead)
    }

    /// Reads the present leader; `None` if there is none, or one that has not yet proclaimed its value. A process proven
    /// dead does not lead.
    ///
    /// # Errors
    /// Those of [`Backend::read`], [`Backend::range`] and [`Backend::wait`].
    pub fn leader(&self) -> crate::Result<Option<Leader>> {
        let (seen, _) = self.look()?;
        let Seen::Leading(leader) = seen else { return Ok(None) };
        Ok((self.queue.first()? == Some(leader.term)).then_some(leader))
    }

    /// Lists the leader and the candidates, in the order in which they will lead, without processes proven dead.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn candidates(&self) -> crate::Result<Vec<(Phase, Ticket)>> {
        let (elected, waiting) = self.queue.holders_and_waiters()?;
        let elected = elected.into_iter().map(|ticket| (Phase::Elected, ticket));
        Ok(elected.chain(waiting.into_iter().map(|ticket| (Phase::Candidate, ticket))).collect())
    }

    /// Takes the lead of this term away: its leader's writes are refused from then on, and the next is elected.
    ///
    /// # Errors
    /// [`Error::NotLeader`] if no process leads in this term. Those of [`Backend::commit`].
    pub fn depose(&self, term: Token) -> Result<()> {
        let not_leader = || Error::NotLeader { name: self.queue.name().to_owned(), term };
        if self.queue.first()? != Some(term) {
            return Err(not_leader());
        }
        // As long as its ticket is there, no later leader can have proclaimed anything.
        match self.queue.take_from(term, &[Op::delete(&self.key)]) {
            Err(queue::Error::Lost(_)) => Err(not_leader()),
            other => Ok(other?),
        }
    }

    /// Observes from now on; the first change reported is the present leader, if there is one.
    pub fn observe(&self) -> Observer<B> {
        Observer { election: self.clone(), seen: Seen::Nobody }
    }

    fn look(&self) -> crate::Result<(Seen, Revision)> {
        let mut bytes = Vec::new();
        let (meta, at) = self.queue.session.store().read(&self.key, &mut bytes)?;
        Ok((meta.map_or(Seen::Nobody, |_| Seen::from_bytes(&bytes)), at))
    }
}

impl<B: Backend> Lead<B> {
    /// The term: larger than that of every earlier leader. Hand it to whatever the leader commands and let that refuse
    /// smaller ones.
    pub fn term(&self) -> Token {
        self.held.token()
    }

    /// Whether the lead may be counted on at this moment, as far as this process knows. Once `false`, always `false`.
    ///
    /// Against the time between the question and the act, and against force, only [`commit`](Lead::commit) helps.
    pub fn is_alive(&self) -> bool {
        self.held.is_alive()
    }

    /// Commits, provided that we still lead: that is part of the commit.
    ///
    /// # Errors
    /// [`Error::Lost`] if we do not any more; nothing has been written then. Those of [`Backend::commit`].
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        Ok(self.held.commit(ops)?)
    }

    /// The operations, and with them the condition that we still lead: for a commit made elsewhere.
    pub fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        self.held.protect(ops)
    }

    /// Replaces the value that others read of this leader.
    ///
    /// # Errors
    /// [`Error::Lost`] if we do not lead any more. Those of [`Backend::commit`].
    pub fn proclaim(&self, value: &[u8]) -> Result<()> {
        let term = self.term().0.to_string();
        let bytes = [term.as_bytes(), b" ", &Owner::me().to_bytes(), b"\0", value].concat();
        let put = Op::put_leased(&self.key, &bytes, self.held.session().lease());
        self.held.commit(&[put])?;
        Ok(())
    }

    /// Renews the session's lease now, and asks the store whether we still lead; answers until when the lead may be counted
    /// on, on the store's clock.
    ///
    /// # Errors
    /// [`Error::Lost`] if we do not. The store's.
    pub fn renew(&self) -> Result<Instant> {
        Ok(self.held.renew()?)
    }

    /// Waits until the lead is lost. `false` once the deadline has passed.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`].
    pub fn wait_lost(&self, deadline: &Deadline) -> crate::Result<bool> {
        self.held.wait_lost(deadline)
    }

    /// Resigns; when this returns, the next in the queue leads.
    ///
    /// # Errors
    /// [`Error::Lost`] if we did not lead any more. Those of [`Backend::commit`]: the lead is then given up as by
    /// dropping it.
    pub fn resign(mut self) -> Result<()> {
        let resigned = format!("resigned {}", self.term().0);
        Ok(self.held.give_back(&[], &[Op::put(&self.key, resigned.as_bytes())])?)
    }
}

impl<B: Backend> Drop for Lead<B> {
    fn drop(&mut self) {
        // Nothing after a resignation. If this fails: a renewal deletes the ticket, or both go with the lease.
        let _ = self.held.give_back(&[], &[Op::delete(&self.key)]);
    }
}

impl<B: Backend> Observer<B> {
    /// Waits for the next change; `None` once the deadline has passed.
    ///
    /// A leader that stays only for a moment may be skipped; terms never go back.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`].
    pub fn next(&mut self, deadline: &Deadline) -> crate::Result<Option<LeaderChange>> {
        loop {
            let (seen, at) = self.election.look()?;
            if let Some(change) = self.seen.turn_into(&seen) {
                self.seen = seen;
                return Ok(Some(change));
            }
            self.seen = seen;
            if !self.election.queue.session.store().wait(&self.election.key, at, deadline)? {
                return Ok(None);
            }
        }
    }
}

impl Seen {
    /// The change that an observer reports when the one becomes the other.
    fn turn_into(&self, now: &Self) -> Option<LeaderChange> {
        match (self, now) {
            (Self::Leading(before), Self::Nobody) => Some(LeaderChange::Lost(before.term)),
            (Self::Leading(before), Self::Resigned(term)) if before.term == *term => {
                Some(LeaderChange::Resigned(*term))
            }
            // Another led and resigned in between; the one we knew had gone before.
            (Self::Leading(before), Self::Resigned(_)) => Some(LeaderChange::Lost(before.term)),
            (Self::Leading(before), Self::Leading(leader)) if before.term == leader.term => {
                (before.value != leader.value).then(|| LeaderChange::Proclaimed(leader.clone()))
            }
            (_, Self::Leading(leader)) => Some(LeaderChange::Elected(leader.clone())),
            _ => None,
        }
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some(term) = bytes.strip_prefix(b"resigned ") {
            return Self::Resigned(Token(text(term).parse().unwrap_or(0)));
        }
        let (head, value) = match bytes.iter().position(|byte| *byte == 0) {
            Some(at) => (&bytes[..at], &bytes[at + 1..]),
            None => (bytes, &b""[..]),
        };
        let (term, owner) = head.split_at(head.iter().position(|byte| *byte == b' ').unwrap_or(head.len()));
        let term = Token(text(term).parse().unwrap_or(0));
        let owner = Owner::from_bytes(owner.get(1..).unwrap_or_default());
        Self::Leading(Leader { term, owner, value: value.to_vec() })
    }
}

impl<B: Backend> Clone for Election<B> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), key: self.key.clone() }
    }
}

impl<B: Backend> fmt::Debug for Election<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("name", &self.queue.name()).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Lead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("term", &self.term()).field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}
