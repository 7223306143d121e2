//! One state that processes change together: along the transitions that are allowed, one at a time, each known to all.
//!
//! ```
//! use slotguard::Deadline;
//! use slotguard::backend::Model;
//! use slotguard::recipe;
//! use slotguard::recipe::state_machine::{Machine, Rule, Rules, Transition};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! slotguard::states! {
//!     /// A door that several programs open and close.
//!     pub enum Door {
//!         /// Nobody gets through.
//!         Closed = "CLOSED",
//!         /// Anybody does.
//!         Open = "OPEN",
//!     }
//! }
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let rules = || {
//!     Rules::new(Door::Closed)
//!         .rule(Rule::new([Door::Closed], Door::Open).action(|_step| Ok(())).rollback(|_step| Ok(())))
//!         .allow(Door::Open, Door::Closed)
//! };
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let door = Machine::new(&session, "doors/7", rules())?;
//! let mut changes = door.changes()?;
//!
//! let Transition::Done(opened) = door.transition(Door::Open)? else { panic!("nobody else is here") };
//! assert_eq!((opened.from, opened.to, opened.number), (Door::Closed, Door::Open, 1));
//! // Somebody was first: an answer, no error.
//! assert!(matches!(door.transition(Door::Open)?, Transition::NotNow { state: Door::Open, .. }));
//! assert_eq!(changes.next(&Deadline::never())?, Some(opened));
//! # Ok(())
//! # }
//! ```
//!
//! A state that does not exist does not compile:
//!
//! ```compile_fail
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "OPEN" } }
//! let rules = slotguard::recipe::state_machine::Rules::new(Door::Closed).allow(Door::Closed, Door::Ajar);
//! ```
//!
//! nor do two states of one name, or a name that cannot be stored:
//!
//! ```compile_fail
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "CLOSED" } }
//! ```
//!
//! ```
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "OPEN" } }
//! let rules = slotguard::recipe::state_machine::Rules::new(Door::Closed).allow(Door::Closed, Door::Open);
//! ```
//!
//! # What is kept
//! | entry | what it says | lives |
//! |---|---|---|
//! | `<name>/now/state` | number of changes, and state; absent: none yet, the initial state; at most 53 bytes | for ever |
//! | `<name>/now/begun` | the transition that is begun and not decided, as the change it is to be; at most 343 bytes | until it is decided |
//! | `<name>/now/acting` | who carries out that transition, or its rollback; at most 48 bytes | by that session |
//! | `<name>/now/wait/…` | to where somebody waits to go; at most 32 bytes | by that session |
//! | `<name>/past/0` … `63` | change *n* in entry *n* mod 64: from, to, how, who, when, why; at most 343 bytes | for ever |
//!
//! # Why it is right
//! * **One winner.** Every change is one commit on the condition that `state` is as it was read, with the change's record
//!   in the same commit: changes are numbered 1, 2, 3 … without a gap.
//! * **The action runs at most once, by the winner.** A transition with an action first commits `acting` and `begun`
//!   (there is neither). Only then the action runs, and then a second commit deletes both, on the condition that they
//!   are those of the first and `state` is as it was. Without an action it is one commit.
//! * **The rollback runs once**, as long as nobody dies or is stopped. It belongs to whoever has `acting`, and who is
//!   about to run it looks whether that is so still. Then `acting` and `begun` are deleted. What was undone is no
//!   change.
//! * **Death and expiry.** `acting` goes with the session and `begun` stays. Whoever comes next takes `acting`, runs *its
//!   own* rollback of that transition ([`Step::abandoned`]), and goes on from the state before. Should it die too, or be
//!   stopped for longer than its lease, the next does: see [`Rule::rollback`] for what that asks of a rollback. A process
//!   that was only stopped cannot end its transition any more; outside acts compare [`Step::token`].
//! * **Force.** [`force`](Machine::force) and [`reset`](Machine::reset) change the state whatever is begun. The action
//!   that runs meanwhile cannot end its transition; its rollback runs, and its caller is told ([`Error::Overruled`]).
//!
//! * **A full store.** `begun` is as long as the change's record, so what is too large for the store is refused before
//!   the action runs. Should the store refuse the commit that ends the transition, the rollback runs and the caller is
//!   told of both ([`Error::EndRefused`]). Freeing the machine deletes and puts nothing, so it needs no room. Should it
//!   fail all the same ([`Error::NotFreed`]), the next call of that [`Machine`] does it, or its drop, or at last the
//!   session's end.
//!
//! An action that waits for its own machine waits for itself.
//!
//! All processes must bring the same rules. The order of waiting is that of the revisions that created the tickets, so it
//! holds across processes: of those whose transition is possible in the present state, the oldest goes first. Who does not
//! wait ([`transition`](Machine::transition)) may go before them.

mod act;
pub mod connection;
mod error;
mod listen;
mod record;
mod rules;
mod wait;

use std::fmt;
use std::sync::{Arc, Mutex};

use self::act::Claim;
use self::record::Now;
use crate::backend::{Backend, Op, Session};
use crate::clock::Deadline;
use crate::error::Error as StoreError;
use crate::recipe::Owner;
use crate::recipe::name::check_recipe_name;
use crate::{Outcome, Revision};

pub use self::error::{Error, Result};
pub use self::listen::{Changes, Listening, News};
pub use self::record::{Change, Manner};
#[doc(hidden)]
pub use self::rules::names_are_good;
pub use self::rules::{Rule, Rules, State, Step};

/// How many changes are kept for those who follow: 64.
pub const KEPT: u64 = 64;

/// Most bytes of a reason: 200.
pub const LONGEST_REASON: usize = 200;

/// `/now/wait/SESSION-NUMBER`, both in decimal.
const LONGEST_REST: usize = 10 + 20 + 1 + 20;

/// A state shared by all who use its name.
pub struct Machine<B: Backend, S: State> {
    session: Arc<Session<B>>,
    name: String,
    rules: Rules<S>,
    state: B::Key,
    begun: B::Key,
    acting: B::Key,
    /// What we could not free.
    left: Mutex<Option<Claim>>,
}

/// What a transition came to.
#[must_use = "it may not have taken place"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition<S> {
    /// It took place, by this call.
    Done(Change<S>),
    /// It did not: somebody else was first, or is at it. Being where one wants to go, without a rule for going there from
    /// there, is this as well.
    NotNow {
        /// The state it is in now.
        state: S,
        /// Who carries out a transition at this moment.
        acting: Option<Owner>,
    },
    /// It did not: the rule's guard said no.
    Refused {
        /// The state it is in now.
        state: S,
    },
}

/// A machine as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look<S> {
    /// The state.
    pub state: S,
    /// How many changes there have been.
    pub number: u64,
    /// The transition that is begun and not decided. Its own end, or the next call of anybody, decides it.
    pub begun: Option<(S, S)>,
    /// Who carries it out, or its rollback.
    pub acting: Option<Owner>,
    /// How many wait.
    pub waiting: usize,
    /// Where it can go from here by the rules, guards not asked.
    pub possible: Vec<S>,
}

impl<B: Backend, S: State> Machine<B, S> {
    /// The machine of this name. Nothing is stored before the first change.
    ///
    /// # Errors
    /// [`Error::RuleTwice`] if two rules lead from one state to the same; [`BadName`](crate::Error::BadName) if the
    /// name is empty, has a NUL, or leaves less than 51 bytes of the store's longest.
    pub fn new(session: &Arc<Session<B>>, name: &str, rules: Rules<S>) -> Result<Self> {
        rules.check()?;
        check_recipe_name::<B>(name, LONGEST_REST)?;
        let key = |part: &str| session.store().key(&format!("{name}/{part}"));
        let (state, begun, acting) = (key("now/state")?, key("now/begun")?, key("now/acting")?);
        let (session, name, left) = (Arc::clone(session), name.to_owned(), Mutex::new(None));
        Ok(Self { session, name, rules, state, begun, acting, left })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state. While a transition is carried out, the one before.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if it is none of ours.
    pub fn state(&self) -> Result<S> {
        Ok(self.read_state()?.0.state)
    }

    /// All there is to know of this moment.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn look(&self) -> Result<Look<S>> {
        let now = self.now()?;
        let possible = self.rules.possible(now.stand.state);
        let waiting = now.waiting.len();
        let (state, number) = (now.stand.state, now.stand.number);
        let begun = now.begun.map(|(change, _)| (change.from, change.to));
        Ok(Look { state, number, begun, acting: now.acting.map(|(owner, _)| owner), waiting, possible })
    }

    /// Where it can go from the present state by the rules, in their order. Guards are not asked.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn possible(&self) -> Result<Vec<S>> {
        Ok(self.rules.possible(self.state()?))
    }

    /// Whether there is a rule from the present state to `to` and its guard says yes. By the time one acts, it may be
    /// otherwise.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn can(&self, to: S) -> Result<bool> {
        let state = self.state()?;
        Ok(self.rules.find(state, to).is_some_and(|rule| rule.allows(state, "")))
    }

    /// Goes to `to`, if it can go there now. Of any number of calls at once, anywhere, one wins.
    ///
    /// # Errors
    /// [`Error::NoTransition`] if there is no rule for it; [`Error::ActionFailed`], after the rollback, with the state
    /// unchanged; [`Error::Overruled`]; [`Error::EndRefused`]; [`Error::NotFreed`]; [`Error::Lost`];
    /// [`Error::RollbackFailed`] if what somebody else abandoned could not be undone. Those of the store.
    pub fn transition(&self, to: S) -> Result<Transition<S>> {
        self.transition_because(to, "")
    }

    /// The same, with a reason for the guard, the action and the record.
    ///
    /// # Errors
    /// As [`transition`](Machine::transition), and [`Error::LongReason`].
    pub fn transition_because(&self, to: S, reason: &str) -> Result<Transition<S>> {
        self.try_to(to, reason_of(reason)?)
    }

    /// Goes to `to` as soon as the state allows it and those who have waited longer have had their turn. What it finds
    /// when the deadline passes is [`Transition::NotNow`]. The guard is asked when its turn has come, once.
    ///
    /// # Errors
    /// As [`transition_because`](Machine::transition_because); [`Error::NoTransition`] only if no rule leads there at all.
    /// [`Error::Cleared`].
    ///
    /// # When a process dies
    /// What waits goes with its session.
    pub fn transition_when_possible(&self, to: S, reason: &str, deadline: &Deadline) -> Result<Transition<S>> {
        self.wait_to(to, reason_of(reason)?, deadline)
    }

    /// Changes the state whatever the rules say. Who, when, from where and why is on record ([`Change`]).
    ///
    /// # Errors
    /// [`Error::LongReason`]; those of the store.
    pub fn force(&self, to: S, reason: &str) -> Result<Change<S>> {
        self.impose(to, Manner::Forced, reason_of(reason)?)
    }

    /// Goes back to the initial state, as by [`force`](Machine::force).
    ///
    /// # Errors
    /// As [`force`](Machine::force).
    pub fn reset(&self, reason: &str) -> Result<Change<S>> {
        self.impose(self.rules.initial(), Manner::Reset, reason_of(reason)?)
    }

    /// Sends away all who wait at this moment; each is told [`Error::Cleared`]. Answers how many there were.
    ///
    /// # Errors
    /// Those of the store.
    pub fn clear(&self) -> crate::Result<usize> {
        let store = self.session.store();
        let mut waiting = Vec::new();
        store.range(&format!("{}/now/wait/", self.name), &mut |key, _, _| waiting.push(key))?;
        // A ticket's name is never used again, so a delete needs no condition.
        for some in waiting.chunks(B::LIMITS.ops) {
            let ops: Vec<_> = some.iter().map(Op::delete).collect();
            store.commit(&ops)?;
        }
        Ok(waiting.len())
    }

    /// The changes that are kept, oldest first: the last [`KEPT`] at most.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn history(&self) -> Result<Vec<Change<S>>> {
        let mut found = Vec::new();
        let mut note = |_, value: &[u8], _| found.push(Change::decode(&self.name, value));
        self.session.store().range(&format!("{}/past/", self.name), &mut note)?;
        let mut changes = found.into_iter().collect::<Result<Vec<_>>>()?;
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }

    /// The entry in which a change of this number is kept.
    fn past(&self, number: u64) -> crate::Result<B::Key> {
        past(&**self.session.store(), &self.name, number)
    }

    /// Says so if the session is over: then no commit of ours can hold, and to try again would be in vain.
    fn still_here(&self) -> crate::Result<()> {
        let (meta, _) = self.session.store().read(self.session.key(), &mut Vec::new())?;
        match meta {
            Some(meta) if meta.created.0 == self.session.token().0 => Ok(()),
            _ => Err(StoreError::LeaseExpired { lease: self.session.lease() }),
        }
    }

    fn commit(&self, ops: &[Op<'_, B::Key>]) -> crate::Result<Option<Revision>> {
        match self.session.store().commit(ops)? {
            Outcome::Committed(revision) => Ok(Some(revision)),
            Outcome::Conflict => Ok(None),
        }
    }
}

/// A reason that fits.
fn reason_of(reason: &str) -> Result<&str> {
    if reason.len() > LONGEST_REASON {
        return Err(Error::LongReason { length: reason.len(), limit: LONGEST_REASON });
    }
    Ok(reason)
}

fn past<B: Backend>(store: &B, name: &str, number: u64) -> crate::Result<B::Key> {
    store.key(&past_name(name, number))
}

fn past_name(name: &str, number: u64) -> String {
    format!("{name}/past/{}", number % KEPT)
}

impl<B: Backend, S: State> Drop for Machine<B, S> {
    fn drop(&mut self) {
        // Whatever hinders it: it ends with the session.
        let _ = self.free_left();
    }
}

impl<B: Backend, S: State> fmt::Debug for Machine<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl<S: State> Now<S> {
    fn not_now(self) -> Transition<S> {
        Transition::NotNow { state: self.stand.state, acting: self.acting.map(|(owner, _)| owner) }
    }
}
