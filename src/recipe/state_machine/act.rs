//! Changing the state: a transition in one commit, or in two with its action between them; and force.

use super::error::{Error, Result};
use super::machine::{Machine, MachineSnapshot};
use super::record::{ActingClaim, Manner, StateChange, checked_reason};
use super::rules::{Rule, State, Step};
use super::undo::catch_panic;
use crate::backend::{Backend, Op, When};
use crate::clock::Token;
use crate::recipe::Owner;

/// The answer of a transition.
#[must_use = "it may not have taken place"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition<S> {
    /// It took place, by this call.
    Done(StateChange<S>),
    /// It did not take place: another call was first, or is carrying out a transition. Being in the target state already,
    /// without a rule from it to itself, answers this as well.
    NotNow {
        /// The state now.
        state: S,
        /// The process that carries out a transition at this moment.
        acting: Option<Owner>,
    },
    /// It did not take place: the rule's guard refused.
    Refused {
        /// The state now.
        state: S,
    },
}

impl<B: Backend, S: State> Machine<B, S> {
    /// Goes to `to`, if it can go there now. Of any number of calls at once, in any processes, one wins.
    ///
    /// # Errors
    /// [`Error::NoTransition`] if no rule leads there; [`Error::ActionFailed`], after the rollback, with the state
    /// unchanged; [`Error::Overruled`]; [`Error::EndRefused`]; [`Error::NotFreed`]; [`Error::Lost`];
    /// [`Error::RollbackFailed`] if a transition that another process abandoned could not be undone. Those of the store.
    pub fn transition(&self, to: S) -> Result<Transition<S>> {
        self.transition_because(to, "")
    }

    /// The same as [`transition`](Machine::transition), with a reason for the guard, the action and the record.
    ///
    /// # Errors
    /// As [`transition`](Machine::transition), and [`Error::LongReason`].
    pub fn transition_because(&self, to: S, reason: &str) -> Result<Transition<S>> {
        let reason = checked_reason(reason)?;
        let mut is_first = true;
        loop {
            let now = self.settled()?;
            let Some(rule) = self.rules.find(now.state, to) else {
                // Impossible from the beginning, it is a mistake; since another call was faster, a lost race.
                return if is_first && now.state != to { Err(self.no_way(&now, to)) } else { Ok(now.not_now()) };
            };
            if now.acting.is_some() {
                return Ok(now.not_now());
            }
            if let Some(answer) = self.go(&now, rule, reason, None)? {
                return Ok(answer);
            }
            is_first = false;
        }
    }

    /// Changes the state regardless of the rules, and records it ([`StateChange`]).
    ///
    /// # Errors
    /// [`Error::LongReason`]; [`Error::UnknownState`]; those of the store.
    pub fn force(&self, to: S, reason: &str) -> Result<StateChange<S>> {
        self.force_to(to, Manner::Forced, checked_reason(reason)?)
    }

    /// Goes back to the initial state, as [`force`](Machine::force) does.
    ///
    /// # Errors
    /// As [`force`](Machine::force).
    pub fn reset(&self, reason: &str) -> Result<StateChange<S>> {
        self.force_to(self.rules.initial(), Manner::Reset, checked_reason(reason)?)
    }

    /// Makes the transition from the state in `now`; `None` if that has changed meanwhile. `leave` deletes the caller's
    /// ticket.
    pub(super) fn go(
        &self,
        now: &MachineSnapshot<S>,
        rule: &Rule<S>,
        reason: &str,
        leave: Option<Op<'_, B::Key>>,
    ) -> Result<Option<Transition<S>>> {
        if !rule.allows(now.state, reason) {
            return Ok(Some(Transition::Refused { state: now.state }));
        }
        let done = match rule.action {
            None => self.change_at_once(now, rule.to, reason, leave)?,
            Some(_) => self.change_by_action(now, rule, reason, leave)?,
        };
        if done.is_none() {
            self.check_session()?;
        }
        Ok(done.map(Transition::Done))
    }

    /// Makes a transition without an action: one commit, and no claim.
    fn change_at_once(
        &self,
        now: &MachineSnapshot<S>,
        to: S,
        reason: &str,
        leave: Option<Op<'_, B::Key>>,
    ) -> Result<Option<StateChange<S>>> {
        let change = now.change(to, Manner::Moved, reason);
        let (state, past, record) = (change.encode_state(), self.past(change.number)?, change.encode());
        let mut ops = vec![
            self.session.condition(),
            Op::check(&self.begun, When::Absent),
            Op::put(&self.state, &state).when(now.when),
            Op::put(&past, &record),
        ];
        ops.extend(leave);
        Ok(self.commit(&ops)?.map(|_| change))
    }

    /// Makes a transition with an action: claims the machine, runs the action, and commits the change.
    fn change_by_action(
        &self,
        now: &MachineSnapshot<S>,
        rule: &Rule<S>,
        reason: &str,
        leave: Option<Op<'_, B::Key>>,
    ) -> Result<Option<StateChange<S>>> {
        let begun = now.change(rule.to, Manner::Moved, reason);
        let (owner, record, past) = (begun.by.to_bytes(), begun.encode(), self.past(begun.number)?);
        let mut begin = vec![
            self.session.condition(),
            Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
            Op::put(&self.begun, &record).if_absent(),
            Op::check(&self.state, now.when),
        ];
        begin.extend(leave);
        let Some(at) = self.commit(&begin)? else { return Ok(None) };
        let claim = ActingClaim { acting: at, begun: at, is_settled: false };
        let step = Step { from: now.state, to: rule.to, reason, token: Token(at.0), abandoned: false };
        let (from, to) = (now.state.name(), rule.to.name());
        let machine = || self.name.clone();
        if let Err(cause) = catch_panic(|| rule.action.as_ref().map_or(Ok(()), |action| action(&step))) {
            let failed = |rollback| Error::ActionFailed { machine: machine(), from, to, cause, rollback };
            return Err(self.undo(rule, &step, claim, failed));
        }
        let change = StateChange { by: Owner::me(), ..begun };
        let (state, record) = (change.encode_state(), change.encode());
        let ended = self.commit(&[
            Op::delete(&self.acting).if_created_at(claim.acting),
            Op::delete(&self.begun).if_created_at(claim.begun),
            Op::put(&self.state, &state).when(now.when),
            Op::put(&past, &record),
        ]);
        match ended {
            Ok(Some(_)) => Ok(Some(change)),
            Ok(None) => {
                let overruled = |rollback| Error::Overruled { machine: machine(), from, to, rollback };
                Err(self.undo(rule, &step, claim, overruled))
            }
            // The store's error leaves open whether the commit took place.
            Err(_) if self.holds(&past, &record) => Ok(Some(change)),
            Err(cause) => {
                let cause = Box::new(cause);
                let refused = |rollback| Error::EndRefused { machine: machine(), from, to, cause, rollback };
                Err(self.undo(rule, &step, claim, refused))
            }
        }
    }

    /// Whether the entry is known to hold this value.
    fn holds(&self, key: &B::Key, value: &[u8]) -> bool {
        let mut found = Vec::new();
        matches!(self.session.store().read(key, &mut found), Ok((Some(_), _)) if found == value)
    }

    /// Changes the state even if a transition is begun: that is rolled back later.
    fn force_to(&self, to: S, manner: Manner, reason: &str) -> Result<StateChange<S>> {
        loop {
            let now = self.snapshot()?;
            let change = now.change(to, manner, reason);
            let (state, past, record) = (change.encode_state(), self.past(change.number)?, change.encode());
            let state = Op::put(&self.state, &state).when(now.when);
            if self.commit(&[self.session.condition(), state, Op::put(&past, &record)])?.is_some() {
                return Ok(change);
            }
            self.check_session()?;
        }
    }

    /// The error that no rule leads to `to`.
    pub(super) fn no_way(&self, now: &MachineSnapshot<S>, to: S) -> Error {
        let possible = self.rules.possible(now.state).into_iter().map(S::name).collect();
        Error::NoTransition { machine: self.name.clone(), from: now.state.name(), to: to.name(), possible }
    }
}

impl<S: State> MachineSnapshot<S> {
    /// The change from this state to another.
    fn change(&self, to: S, manner: Manner, reason: &str) -> StateChange<S> {
        let (number, from) = (self.number + 1, self.state);
        StateChange { number, from, to, manner, by: Owner::me(), reason: reason.to_owned() }
    }

    pub(super) fn not_now(self) -> Transition<S> {
        Transition::NotNow { state: self.state, acting: self.acting.map(|(owner, _)| owner) }
    }
}
