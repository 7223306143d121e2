//! How a transition is made: begun, acted, ended; or undone, by whoever has the claim.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};

use super::error::{Error, Result};
use super::record::{Now, Stand};
use super::{Change, Machine, Manner, Rule, State, Step, Transition};
use crate::Revision;
use crate::backend::{Backend, Op, When};
use crate::clock::Token;
use crate::recipe::failure::said;
use crate::recipe::{Failure, Owner};

/// A ticket of somebody who waits: its entry, and the revision that created it.
pub(super) type Ticket<'a, K> = (&'a K, Revision);

/// What somebody who acts has in the store.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// The revision that created `acting`.
    acting: Revision,
    /// The one that created `begun`.
    begun: Revision,
    /// Nothing is left to be rolled back.
    is_settled: bool,
}

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
        let (state, past) = (change.after(), self.past(change.number)?);
        let record = change.encode();
        let mut ops = vec![
            self.session.condition(),
            Op::check(&self.begun, When::Absent),
            Op::put(&self.state, &state).when(now.when),
            Op::put(&past, &record),
        ];
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
        let begun = self.change(now, to, Manner::Moved, reason);
        let (owner, record, past) = (begun.by.to_bytes(), begun.encode(), self.past(begun.number)?);
        let mut begin = vec![
            self.session.condition(),
            Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
            Op::put(&self.begun, &record).if_absent(),
            Op::check(&self.state, now.when),
        ];
        begin.extend(ticket.map(leave));
        let Some(claim) = self.commit(&begin)? else { return Ok(None) };
        let machine = || self.name.clone();
        let (claim, token) = (Claim { acting: claim, begun: claim, is_settled: false }, Token(claim.0));
        let step = Step { from, to, reason, token, abandoned: false };
        let (from, to) = (from.name(), to.name());
        if let Err(cause) = contained(|| rule.action.as_ref().map_or(Ok(()), |action| action(&step))) {
            let failed = |rollback| Error::ActionFailed { machine: machine(), from, to, cause, rollback };
            return Err(self.undo(rule, &step, claim, failed));
        }
        let change = Change { by: Owner::me(), ..begun };
        let (state, record) = (change.after(), change.encode());
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
            // It may have taken place all the same.
            Err(_) if self.holds(&past, &record) => Ok(Some(change)),
            Err(cause) => {
                let cause = Box::new(cause);
                let refused = |rollback| Error::EndRefused { machine: machine(), from, to, cause, rollback };
                Err(self.undo(rule, &step, claim, refused))
            }
        }
    }

    /// Runs the rollback if the claim is still ours, and says how it all ended.
    fn undo(
        &self,
        rule: &Rule<S>,
        step: &Step<'_, S>,
        claim: Claim,
        why: impl FnOnce(Option<Failure>) -> Error,
    ) -> Error {
        let lost = || Error::Lost { machine: self.name.clone(), from: step.from.name(), to: step.to.name() };
        match self.has(claim) {
            Ok(true) => {}
            Ok(false) => return lost(),
            // Freed without a rollback, it is for whoever comes next to undo.
            Err(error) => return self.not_freed(step, claim, Some(why(None)), error),
        }
        let undone = rule.rollback.as_ref().map_or(Ok(()), |rollback| contained(|| rollback(step)));
        let claim = Claim { is_settled: true, ..claim };
        match self.free(claim) {
            Ok(true) => why(undone.err()),
            Ok(false) => lost(),
            Err(error) => self.not_freed(step, claim, Some(why(undone.err())), error),
        }
    }

    /// Whether the claim is ours: nobody else can have it while it is there.
    fn has(&self, claim: Claim) -> crate::Result<bool> {
        let (meta, _) = self.session.store().read(&self.acting, &mut Vec::new())?;
        Ok(meta.is_some_and(|meta| meta.created == claim.acting))
    }

    /// Whether the entry is known to hold this.
    fn holds(&self, key: &B::Key, value: &[u8]) -> bool {
        let mut found = Vec::new();
        matches!(self.session.store().read(key, &mut found), Ok((Some(_), _)) if found == value)
    }

    /// Nobody acts any more, and if the claim is settled, nothing is begun. `false` if it is not ours.
    ///
    /// It puts nothing: a store that is full does not refuse it.
    fn free(&self, claim: Claim) -> crate::Result<bool> {
        let begun = Op::delete(&self.begun).if_created_at(claim.begun);
        let ops = [Op::delete(&self.acting).if_created_at(claim.acting), begun];
        Ok(self.commit(if claim.is_settled { &ops } else { &ops[..1] })?.is_some())
    }

    /// That the machine stays occupied for now.
    fn not_freed(&self, step: &Step<'_, S>, claim: Claim, why: Option<Error>, cause: crate::Error) -> Error {
        *self.left() = Some(claim);
        let (machine, from, to) = (self.name.clone(), step.from.name(), step.to.name());
        Error::NotFreed { machine, from, to, why: why.map(Box::new), cause: Box::new(cause) }
    }

    /// Frees what could not be freed when it was time.
    pub(super) fn free_left(&self) -> crate::Result<()> {
        let mut left = self.left();
        if let Some(claim) = *left {
            self.free(claim)?;
            *left = None;
        }
        Ok(())
    }

    fn left(&self) -> MutexGuard<'_, Option<Claim>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands, once nothing is left that somebody began and abandoned.
    pub(super) fn settled(&self) -> Result<Now<S>> {
        loop {
            self.free_left()?;
            let now = self.now()?;
            let Some((begun, since)) = now.begun.as_ref().filter(|_| now.acting.is_none()) else {
                return Ok(now);
            };
            let rollback = self.rules.find(begun.from, begun.to).and_then(|rule| rule.rollback.as_ref());
            let Some(rollback) = rollback else {
                let forget = Op::delete(&self.begun).if_created_at(*since);
                if self.commit(&[self.session.condition(), Op::check(&self.acting, When::Absent), forget])?.is_none() {
                    self.still_here()?;
                }
                continue;
            };
            let owner = Owner::me().to_bytes();
            let claimed = self.commit(&[
                Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
                Op::check(&self.begun, When::CreatedAt(*since)),
            ])?;
            let Some(acting) = claimed else { continue };
            let claim = Claim { acting, begun: *since, is_settled: true };
            let token = Token(acting.0);
            let step = Step { from: begun.from, to: begun.to, reason: &begun.reason, token, abandoned: true };
            let undone = contained(|| rollback(&step));
            let failed = undone.err().map(|cause| {
                let (machine, from, to) = (self.name.clone(), step.from.name(), step.to.name());
                Error::RollbackFailed { machine, from, to, cause }
            });
            match (self.free(claim), failed) {
                (Ok(true), Some(failed)) => return Err(failed),
                // Whoever has the claim by now runs it again, or has: what ours came to decides nothing.
                (Ok(_), _) => {}
                (Err(error), failed) => return Err(self.not_freed(&step, claim, failed, error)),
            }
        }
    }

    /// Changes the state whatever is begun: that stays to be undone.
    pub(super) fn impose(&self, to: S, manner: Manner, reason: &str) -> Result<Change<S>> {
        loop {
            let now = self.now()?;
            let change = self.change(&now, to, manner, reason);
            let (state, past) = (change.after(), self.past(change.number)?);
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
    fn after(&self) -> Vec<u8> {
        Stand { number: self.number, state: self.to }.encode()
    }
}

fn leave<'a, K>((key, created): Ticket<'a, K>) -> Op<'a, K> {
    Op::delete(key).if_created_at(created)
}

/// Runs what is the program's; a panic is a failure that says what the panic said.
fn contained(run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(said(&*panic).into()))
}
