//! How a transition is made: begun, acted, ended; or undone, by whoever has the claim.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::record::{Now, Stand};
use super::{Change, Machine, Manner, Rule, State, Step, Transition};
use crate::Revision;
use crate::backend::{Backend, Op, When};
use crate::clock::Token;
use crate::error::Error as StoreError;
use crate::mutant::planted;
use crate::recipe::error::said;
use crate::recipe::{Error, Failure, Owner, Result};

/// A ticket of somebody who waits: its entry, and the revision that created it.
pub(super) type Ticket<'a, K> = (&'a K, Revision);

impl<B: Backend, S: State> Machine<B, S> {
    pub(super) fn try_to(&self, to: S, reason: &str) -> Result<Transition<S>> {
        let mut first = true;
        loop {
            let now = self.settled()?;
            let Some(rule) = self.rules.find(now.stand.state, to) else {
                // Not there when we came, or there and gone: the one is a mistake, the other a race.
                return if first && now.stand.state != to { Err(self.no_way(&now, to)) } else { Ok(now.not_now()) };
            };
            if now.acting.is_some() {
                return Ok(now.not_now());
            }
            if let Some(answer) = self.go(&now, rule, reason, None)? {
                return Ok(answer);
            }
            first = false;
        }
    }

    /// Makes the transition from what was seen, unless somebody else has changed that: then `None`.
    pub(super) fn go(
        &self,
        now: &Now<S>,
        rule: &Rule<S>,
        reason: &str,
        ticket: Option<Ticket<'_, B::Key>>,
    ) -> Result<Option<Transition<S>>> {
        let from = now.stand.state;
        if !rule.allows(from, reason) {
            return Ok(Some(Transition::Refused { state: from }));
        }
        let done = match rule.action {
            None => self.change_at_once(now, rule.to, reason, ticket)?,
            Some(_) => self.change_by_action(now, rule, reason, ticket)?,
        };
        if done.is_none() {
            self.still_here()?;
        }
        Ok(done.map(Transition::Done))
    }

    /// Without an action there is nothing to claim: one commit.
    fn change_at_once(
        &self,
        now: &Now<S>,
        to: S,
        reason: &str,
        ticket: Option<Ticket<'_, B::Key>>,
    ) -> Result<Option<Change<S>>> {
        let change = self.change(now, to, Manner::Moved, reason);
        let (state, past) = (change.after(None), self.past(change.number)?);
        let record = change.encode();
        let mut ops = vec![
            self.session.condition(),
            Op::check(&self.acting, When::Absent),
            Op::put(&self.state, &state).when(now.when),
            Op::put(&past, &record),
        ];
        if planted("state machine: look then put") {
            ops[2].when = When::Always;
        }
        ops.extend(ticket.map(leave));
        Ok(self.commit(&ops)?.map(|_| change))
    }

    fn change_by_action(
        &self,
        now: &Now<S>,
        rule: &Rule<S>,
        reason: &str,
        ticket: Option<Ticket<'_, B::Key>>,
    ) -> Result<Option<Change<S>>> {
        let (from, to) = (now.stand.state, rule.to);
        let begun = Stand { begun: Some((from, to)), ..now.stand.clone() }.encode();
        let owner = Owner::me().to_bytes();
        let mut ops = vec![
            self.session.condition(),
            Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
            Op::put(&self.state, &begun).when(now.when),
        ];
        ops.extend(ticket.map(leave));
        let claimed = self.commit(&ops)?;
        let loser_acts = planted("state machine: the loser runs the action");
        let Some(claim) = claimed.or_else(|| loser_acts.then_some(now.at)) else {
            return Ok(None);
        };
        let step = Step { from, to, reason, token: Token(claim.0), abandoned: false };
        if let Err(source) = contained(|| rule.action.as_ref().map_or(Ok(()), |action| action(&step))) {
            let machine = self.name.clone();
            let failed = |rollback| Error::ActionFailed { machine, from: from.name(), to: to.name(), source, rollback };
            return Err(self.undo(rule, &step, claim, failed));
        }
        let change = self.change(now, to, Manner::Moved, reason);
        let (state, past) = (change.after(None), self.past(change.number)?);
        let record = change.encode();
        let ended = self.commit(&[
            Op::delete(&self.acting).if_created_at(claim),
            Op::put(&self.state, &state).if_modified_at(claim),
            Op::put(&past, &record),
        ]);
        match ended {
            Ok(Some(_)) => Ok(Some(change)),
            Ok(None) => {
                let machine = self.name.clone();
                let overruled = |rollback| Error::Overruled { machine, from: from.name(), to: to.name(), rollback };
                Err(self.undo(rule, &step, claim, overruled))
            }
            Err(error) => Err(self.undo(rule, &step, claim, |_| error)),
        }
    }

    /// Runs the rollback if the claim is still ours, and says how it all ended.
    fn undo(
        &self,
        rule: &Rule<S>,
        step: &Step<'_, S>,
        claim: Revision,
        why: impl FnOnce(Option<Failure>) -> Error,
    ) -> Error {
        let lost = || Error::TransitionLost { machine: self.name.clone(), from: step.from.name(), to: step.to.name() };
        // To know, not to tell: nobody else can have the claim while this holds.
        let owner = Owner::me().to_bytes();
        let again = [Op::put_leased(&self.acting, &owner, self.session.lease()).if_created_at(claim)];
        match self.commit(&again) {
            Ok(Some(_)) => {}
            _ if planted("state machine: who lost the claim undoes as well") => {}
            Ok(None) | Err(Error::Store(StoreError::LeaseExpired { .. })) => return lost(),
            Err(error) => return error,
        }
        let undone = rule.rollback.as_ref().map_or(Ok(()), |rollback| contained(|| rollback(step)));
        match self.lay_down(claim) {
            Ok(true) => why(undone.err()),
            Ok(false) => lost(),
            Err(error) => error,
        }
    }

    /// Nothing is begun any more, and nobody acts. `false` if the claim is not ours.
    fn lay_down(&self, claim: Revision) -> Result<bool> {
        loop {
            let (stand, when, _) = self.read_state()?;
            let quiet = Stand { begun: None, ..stand }.encode();
            let ops = [Op::delete(&self.acting).if_created_at(claim), Op::put(&self.state, &quiet).when(when)];
            if self.commit(&ops)?.is_some() {
                return Ok(true);
            }
            let (meta, _) = self.session.store().read(&self.acting, &mut Vec::new())?;
            if meta.is_none_or(|meta| meta.created != claim) {
                return Ok(false);
            }
            // The state was forced in between: again.
        }
    }

    /// How it stands, once nothing is left that somebody began and abandoned.
    pub(super) fn settled(&self) -> Result<Now<S>> {
        loop {
            let now = self.now()?;
            let Some((from, to)) = now.stand.begun.filter(|_| now.is_abandoned()) else {
                return Ok(now);
            };
            let rollback = self.rules.find(from, to).and_then(|rule| rule.rollback.as_ref());
            let rollback = rollback.filter(|_| !planted("state machine: what was abandoned is forgotten"));
            let Some(rollback) = rollback else {
                let quiet = Stand { begun: None, ..now.stand }.encode();
                let state = Op::put(&self.state, &quiet).when(now.when);
                if self.commit(&[self.session.condition(), Op::check(&self.acting, When::Absent), state])?.is_none() {
                    self.still_here()?;
                }
                continue;
            };
            let owner = Owner::me().to_bytes();
            let claim = self.commit(&[
                Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
                Op::check(&self.state, now.when),
            ])?;
            let Some(claim) = claim else { continue };
            let step = Step { from, to, reason: "", token: Token(claim.0), abandoned: true };
            let undone = contained(|| rollback(&step));
            self.lay_down(claim)?;
            undone.map_err(|source| {
                let (machine, from, to) = (self.name.clone(), from.name(), to.name());
                Error::RollbackFailed { machine, from, to, source }
            })?;
        }
    }

    /// Changes the state whatever is begun: that stays to be undone.
    pub(super) fn impose(&self, to: S, manner: Manner, reason: &str) -> Result<Change<S>> {
        loop {
            let now = self.now()?;
            let change = self.change(&now, to, manner, reason);
            let (state, past) = (change.after(now.stand.begun), self.past(change.number)?);
            let record = change.encode();
            let state = Op::put(&self.state, &state).when(now.when);
            if self.commit(&[self.session.condition(), state, Op::put(&past, &record)])?.is_some() {
                return Ok(change);
            }
            self.still_here()?;
        }
    }

    fn change(&self, now: &Now<S>, to: S, manner: Manner, reason: &str) -> Change<S> {
        let (number, from) = (now.stand.number + 1, now.stand.state);
        Change { number, from, to, manner, by: Owner::me(), reason: reason.to_owned() }
    }

    pub(super) fn no_way(&self, now: &Now<S>, to: S) -> Error {
        let from = now.stand.state;
        let possible = self.rules.possible(from).into_iter().map(S::name).collect();
        Error::NoTransition { machine: self.name.clone(), from: from.name(), to: to.name(), possible }
    }
}

impl<S: State> Change<S> {
    /// The state's entry after it.
    fn after(&self, begun: Option<(S, S)>) -> Vec<u8> {
        Stand { number: self.number, state: self.to, begun }.encode()
    }
}

fn leave<'a, K>((key, created): Ticket<'a, K>) -> Op<'a, K> {
    Op::delete(key).if_created_at(created)
}

/// Runs what is the program's; a panic is a failure that says what the panic said.
fn contained(run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(said(&*panic).into()))
}
