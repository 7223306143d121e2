//! A machine's handle, and reading its state, status and history.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::error::Result;
use super::record::{ActingClaim, StateChange, decode_state, past};
use super::rules::{Rules, State};
use crate::backend::{Backend, Op, Session, When};
use crate::error::Error as StoreError;
use crate::recipe::Owner;
use crate::recipe::name::check_recipe_name;
use crate::{Outcome, Revision};

/// `/now/wait/SESSION-NUMBER`, both in decimal.
const LONGEST_REST: usize = 10 + 20 + 1 + 20;

/// A handle on the state machine of a name, with the rules of this program.
pub struct Machine<B: Backend, S: State> {
    pub(super) session: Arc<Session<B>>,
    pub(super) name: String,
    pub(super) rules: Rules<S>,
    pub(super) state: B::Key,
    pub(super) begun: B::Key,
    pub(super) acting: B::Key,
    /// A claim that the store refused to release when its transition was over.
    pub(super) unreleased: Mutex<Option<ActingClaim>>,
}

/// A machine at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus<S> {
    /// The state.
    pub state: S,
    /// The number of changes so far.
    pub number: u64,
    /// The transition that is begun and not decided. Its own end decides it, or the next transition.
    pub begun: Option<(S, S)>,
    /// The process that carries it out, or rolls it back.
    pub acting: Option<Owner>,
    /// How many calls wait for a transition.
    pub waiting: usize,
    /// The states that rules lead to from here; guards are not asked.
    pub possible: Vec<S>,
}

/// Every entry of a machine except its past changes, at one revision.
pub(super) struct MachineSnapshot<S> {
    pub number: u64,
    pub state: S,
    /// The condition under which `state` is still this.
    pub when: When,
    /// The change that the transition under way is to make, and the revision that created the entry.
    pub begun: Option<(StateChange<S>, Revision)>,
    /// The process that acts, and the revision of its claim.
    pub acting: Option<(Owner, Revision)>,
    /// The tickets, oldest first: revision, and state waited for if this program knows it.
    pub waiting: Vec<(Revision, Option<S>)>,
    pub at: Revision,
}

impl<B: Backend, S: State> Machine<B, S> {
    /// Makes a handle on the machine of this name. The first change stores the first entry.
    ///
    /// # Errors
    /// [`Error::RuleTwice`](super::Error::RuleTwice) if two rules lead from one state to one other;
    /// [`BadName`](crate::Error::BadName) if the name is empty, has a NUL, or is longer than the store's names less 51
    /// bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, rules: Rules<S>) -> Result<Self> {
        rules.check()?;
        check_recipe_name::<B>(name, LONGEST_REST)?;
        let key = |part: &str| session.store().key(&format!("{name}/{part}"));
        let (state, begun, acting) = (key("now/state")?, key("now/begun")?, key("now/acting")?);
        let (session, name, unreleased) = (Arc::clone(session), name.to_owned(), Mutex::new(None));
        Ok(Self { session, name, rules, state, begun, acting, unreleased })
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the state; during a transition, the state before it.
    ///
    /// # Errors
    /// [`Error::UnknownState`](super::Error::UnknownState) if this program has no such state. Those of the store.
    pub fn state(&self) -> Result<S> {
        Ok(self.read_state()?.1)
    }

    /// Reads the state, the transition under way, its process, and the number of waits, all at one moment.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn status(&self) -> Result<MachineStatus<S>> {
        let now = self.snapshot()?;
        Ok(MachineStatus {
            state: now.state,
            number: now.number,
            begun: now.begun.map(|(change, _)| (change.from, change.to)),
            acting: now.acting.map(|(owner, _)| owner),
            waiting: now.waiting.len(),
            possible: self.rules.possible(now.state),
        })
    }

    /// Reads which states rules lead to from the present one, in the order of the rules. Guards are not asked.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn possible(&self) -> Result<Vec<S>> {
        Ok(self.rules.possible(self.state()?))
    }

    /// Tells whether a rule leads from the present state to `to` and its guard accepts an empty reason. Another process
    /// may change the state before the caller acts on the answer.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn can(&self, to: S) -> Result<bool> {
        let state = self.state()?;
        Ok(self.rules.find(state, to).is_some_and(|rule| rule.allows(state, "")))
    }

    /// Reads the last changes, at most [`KEPT`](super::KEPT), oldest first.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn history(&self) -> Result<Vec<StateChange<S>>> {
        let mut found = Vec::new();
        let mut note = |_, value: &[u8], _| found.push(StateChange::decode(&self.name, value));
        self.session.store().range(&format!("{}/past/", self.name), &mut note)?;
        let mut changes = found.into_iter().collect::<Result<Vec<_>>>()?;
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }

    /// Reads the number of changes and the state.
    pub(super) fn read_state(&self) -> Result<(u64, S)> {
        let mut value = Vec::new();
        match self.session.store().read(&self.state, &mut value)?.0 {
            Some(_) => decode_state(&self.name, &value),
            None => Ok((0, self.rules.initial())),
        }
    }

    /// Reads every entry except the past changes, at one revision.
    pub(super) fn snapshot(&self) -> Result<MachineSnapshot<S>> {
        let (mut state, mut when) = (Ok((0, self.rules.initial())), When::Absent);
        let (mut begun, mut acting, mut waiting) = (None, None, Vec::new());
        let at = self.session.store().range(&format!("{}/now/", self.name), &mut |key, value, meta| {
            if key == self.state {
                (state, when) = (decode_state(&self.name, value), When::ModifiedAt(meta.modified));
            } else if key == self.begun {
                begun = Some(StateChange::decode(&self.name, value).map(|change| (change, meta.created)));
            } else if key == self.acting {
                acting = Some((Owner::from_bytes(value), meta.created));
            } else {
                waiting.push((meta.created, str::from_utf8(value).ok().and_then(S::from_name)));
            }
        })?;
        waiting.sort_by_key(|(created, _)| *created);
        let (number, state) = state?;
        Ok(MachineSnapshot { number, state, when, begun: begun.transpose()?, acting, waiting, at })
    }

    /// The entry that keeps the change of this number.
    pub(super) fn past(&self, number: u64) -> crate::Result<B::Key> {
        past(&**self.session.store(), &self.name, number)
    }

    /// Fails if the session has ended: every commit on its condition would conflict for ever.
    pub(super) fn check_session(&self) -> crate::Result<()> {
        let (meta, _) = self.session.store().read(self.session.key(), &mut Vec::new())?;
        match meta {
            Some(meta) if meta.created.0 == self.session.token().0 => Ok(()),
            _ => Err(StoreError::LeaseExpired { lease: self.session.lease() }),
        }
    }

    /// Commits; `None` if a condition does not hold.
    pub(super) fn commit(&self, ops: &[Op<'_, B::Key>]) -> crate::Result<Option<Revision>> {
        match self.session.store().commit(ops)? {
            Outcome::Committed(revision) => Ok(Some(revision)),
            Outcome::Conflict => Ok(None),
        }
    }
}

impl<B: Backend, S: State> fmt::Debug for Machine<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}
