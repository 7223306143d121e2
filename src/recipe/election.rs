//! One leader at a time, in terms that only grow; who has lost the lead cannot write in its name.
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
//! // Refused once somebody else leads, whatever this process believes.
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
//! store, so of any number of candidates at once everybody finds the same one first, and a newcomer is always behind a
//! leader. The leader then says who it is in `NAME/leader`, by a commit that checks its ticket: so terms there only
//! grow, and what an ex-leader says is refused.
//!
//! # Phases
//! ```text
//!  candidate ──► elected ──► resigned     said by the leader, with its ticket given back in the same commit
//!      │            └──────► lost         it died, was stopped past its lease, or was deposed: the entry is gone
//!      └► gave up (its deadline passed), or died: the next one moves up
//! ```
//! [`Observer`] tells them, [`Election::candidates`] lists who stands where.
//!
//! # When a process dies
//! A candidate leaves the queue. The leader's ticket and entry go, at once where the store can prove the death, else
//! when the lease ends, and the next in the queue is elected with a larger term.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::lock::{Guard, Lock};
use super::queue::Ticket;
use super::{Error, Owner, Result};
use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Revision, Token};

/// An election of this name, for whoever shares the store. Clones are the same.
pub struct Election<B: Backend> {
    lock: Lock<B>,
    session: Arc<Session<B>>,
    key: B::Key,
}

/// Leading, for as long as this is kept. Dropped, it gives up the lead without a word: others find it lost.
pub struct Lead<B: Backend> {
    guard: Guard<B>,
    session: Arc<Session<B>>,
    key: B::Key,
}

/// A leader as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// Its term: larger than that of every leader before.
    pub term: Token,
    /// Who it is, and since when it leads.
    pub owner: Owner,
    /// What it proclaims.
    pub value: Vec<u8>,
}

/// Where somebody stands who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for those ahead of it.
    Candidate,
    /// It leads, or is about to say so.
    Elected,
}

/// What an observer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a leader of a new term.
    Elected(Leader),
    /// The leader proclaims something else.
    Proclaimed(Leader),
    /// The leader of this term has resigned.
    Resigned(Token),
    /// The leader of this term is gone and did not resign.
    Lost(Token),
}

/// Sees every leader that stays for long enough to be seen, in the order of terms.
pub struct Observer<B: Backend> {
    election: Election<B>,
    seen: Seen,
}

/// What `NAME/leader` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nobody,
    Resigned(Token),
    Leading(Leader),
}

impl<B: Backend> Election<B> {
    /// The election of this name.
    ///
    /// # Errors
    /// As [`Lock::new`].
    pub fn new(session: &Arc<Session<B>>, name: &str) -> Result<Self> {
        let lock = Lock::of(session, "election", name)?;
        let key = session.store().key(&format!("{name}/leader"))?;
        Ok(Self { lock, session: Arc::clone(session), key })
    }

    /// Stands as a candidate until elected, and then proclaims `value`.
    ///
    /// A deadline that has passed means: only if nobody leads or stands before us.
    ///
    /// # Errors
    /// [`Error::InUse`], naming the leader and how many are ahead, once the deadline has passed, and the others of
    /// [`Lock::acquire`]. Those of [`Lead::proclaim`]. We do not stand any more after any of them.
    pub fn campaign(&self, value: &[u8], deadline: &Deadline) -> Result<Lead<B>> {
        let guard = self.lock.acquire(deadline)?;
        let lead = Lead { guard, session: Arc::clone(&self.session), key: self.key.clone() };
        lead.proclaim(value)?;
        Ok(lead)
    }

    /// Who leads now; `None` if nobody does, or whoever has been elected has not yet said so. Whose death the store can
    /// prove does not lead.
    ///
    /// # Errors
    /// Those of [`Backend::read`], [`Backend::range`] and [`Backend::wait`].
    pub fn leader(&self) -> Result<Option<Leader>> {
        let (seen, _) = self.look()?;
        let Seen::Leading(leader) = seen else { return Ok(None) };
        Ok((self.lock.first()? == Some(leader.term)).then_some(leader))
    }

    /// Everybody who takes part, in the order in which they will lead. Whose death the store can prove does not.
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::wait`].
    pub fn candidates(&self) -> Result<Vec<(Phase, Ticket)>> {
        let status = self.lock.status()?;
        let elected = status.holders.into_iter().map(|ticket| (Phase::Elected, ticket));
        Ok(elected.chain(status.waiting.into_iter().map(|ticket| (Phase::Candidate, ticket))).collect())
    }

    /// Takes the lead from whoever has it in this term: its writes are refused from then on, and the next is elected.
    ///
    /// # Errors
    /// [`Error::NotLeader`] if nobody leads in this term. Those of [`Backend::commit`].
    pub fn depose(&self, term: Token) -> Result<()> {
        let not_leader = || Error::NotLeader { name: self.lock.name().to_owned(), term };
        if self.lock.first()? != Some(term) {
            return Err(not_leader());
        }
        // As long as its ticket is there, nobody after it can have said anything.
        match self.lock.take_from(term, &[Op::delete(&self.key)]) {
            Err(Error::NotHolder { .. }) => Err(not_leader()),
            other => other,
        }
    }

    /// Observes from now on; the first thing told is the leader there is, if there is one.
    pub fn observe(&self) -> Observer<B> {
        Observer { election: self.clone(), seen: Seen::Nobody }
    }

    fn look(&self) -> Result<(Seen, Revision)> {
        let mut bytes = Vec::new();
        let (meta, at) = self.session.store().read(&self.key, &mut bytes)?;
        Ok((meta.map_or(Seen::Nobody, |_| Seen::from_bytes(&bytes)), at))
    }
}

impl<B: Backend> Lead<B> {
    /// The term: larger than that of every earlier leader. Hand it to whatever the leader commands and let that refuse
    /// smaller ones.
    pub fn term(&self) -> Token {
        self.guard.token()
    }

    /// Whether the lead may be counted on at this moment, as far as this process knows. Once `false`, always `false`.
    ///
    /// Against the time between the question and the act, and against force, only [`commit`](Lead::commit) helps.
    pub fn is_alive(&self) -> bool {
        self.guard.is_alive()
    }

    /// Commits, provided that we still lead: that is part of the commit.
    ///
    /// # Errors
    /// As [`Guard::commit`]: [`Error::NotHolder`] once we do not; nothing has been written then.
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        self.guard.commit(ops)
    }

    /// The operations, and with them that we still lead: for a commit made elsewhere.
    pub fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        self.guard.protect(ops)
    }

    /// Says something else to those who look who leads.
    ///
    /// # Errors
    /// [`Error::NotHolder`] if we do not lead any more. Those of [`Backend::commit`].
    pub fn proclaim(&self, value: &[u8]) -> Result<()> {
        let term = self.term().0.to_string();
        let bytes = [term.as_bytes(), b" ", &Owner::me().to_bytes(), b"\0", value].concat();
        let put = Op::put_leased(&self.key, &bytes, self.session.lease());
        self.guard.commit(&[put]).map(drop)
    }

    /// Renews the session's lease now and looks whether we still lead.
    ///
    /// # Errors
    /// As [`Guard::renew`].
    pub fn renew(&self) -> Result<Instant> {
        self.guard.renew()
    }

    /// Waits until the lead is lost. `false` once the deadline has passed.
    ///
    /// # Errors
    /// As [`Guard::wait_lost`].
    pub fn wait_lost(&self, deadline: &Deadline) -> Result<bool> {
        self.guard.wait_lost(deadline)
    }

    /// Resigns; when this returns, the next in the queue leads.
    ///
    /// # Errors
    /// [`Error::NotHolder`] if we did not lead any more. Those of [`Backend::commit`]: the lead is then given up without a
    /// word, as by dropping it.
    pub fn resign(mut self) -> Result<()> {
        let said = format!("resigned {}", self.term().0);
        // Should there be no room for the word, it goes without one.
        self.guard.finish(&[Op::put(&self.key, said.as_bytes())])
    }
}

impl<B: Backend> Drop for Lead<B> {
    fn drop(&mut self) {
        // Nothing after a resignation. Whatever hinders it: ticket and entry go with the lease, the ticket by a renewal.
        let _ = self.guard.finish(&[Op::delete(&self.key)]);
    }
}

impl<B: Backend> Observer<B> {
    /// Waits for the next change; `None` once the deadline has passed.
    ///
    /// Who leads only for a moment may be skipped; terms never go back.
    ///
    /// # Errors
    /// Those of [`Backend::read`] and [`Backend::wait`].
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<Change>> {
        loop {
            let (seen, at) = self.election.look()?;
            if let Some(change) = self.seen.turn_into(&seen) {
                self.seen = seen;
                return Ok(Some(change));
            }
            self.seen = seen;
            if !self.election.session.store().wait(&self.election.key, at, deadline)? {
                return Ok(None);
            }
        }
    }
}

impl Seen {
    /// What an observer is told when the one becomes the other.
    fn turn_into(&self, now: &Self) -> Option<Change> {
        match (self, now) {
            (Self::Leading(before), Self::Nobody) => Some(Change::Lost(before.term)),
            (Self::Leading(before), Self::Resigned(term)) if before.term == *term => Some(Change::Resigned(*term)),
            // Another led and resigned in between; the one we knew had gone before.
            (Self::Leading(before), Self::Resigned(_)) => Some(Change::Lost(before.term)),
            (Self::Leading(before), Self::Leading(leader)) if before.term == leader.term => {
                (before.value != leader.value).then(|| Change::Proclaimed(leader.clone()))
            }
            (_, Self::Leading(leader)) => Some(Change::Elected(leader.clone())),
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
        Self { lock: self.lock.clone(), session: Arc::clone(&self.session), key: self.key.clone() }
    }
}

impl<B: Backend> fmt::Debug for Election<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("name", &self.lock.name()).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Lead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("term", &self.term()).field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}
