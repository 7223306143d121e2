//! Rolling back a transition that did not take place, one's own or an abandoned one, and freeing the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};

use super::error::{Error, Result};
use super::machine::{Machine, MachineSnapshot};
use super::record::ActingClaim;
use super::rules::{Rule, State, Step};
use crate::backend::{Backend, Op, When};
use crate::clock::Token;
use crate::recipe::failure::said;
use crate::recipe::{Failure, Owner};

impl<B: Backend, S: State> Machine<B, S> {
    /// Runs the rollback of a transition of ours if the claim is still ours, and answers the caller's error.
    pub(super) fn undo(
        &self,
        rule: &Rule<S>,
        step: &Step<'_, S>,
        claim: ActingClaim,
        why: impl FnOnce(Option<Failure>) -> Error,
    ) -> Error {
        let lost = || Error::Lost { machine: self.name.clone(), from: step.from.name(), to: step.to.name() };
        match self.has(claim) {
            Ok(true) => {}
            Ok(false) => return lost(),
            // Freed without a rollback, it is for the next transition to undo.
            Err(error) => return self.not_freed(step, claim, Some(why(None)), error),
        }
        let undone = rule.rollback.as_ref().map_or(Ok(()), |rollback| catch_panic(|| rollback(step)));
        let claim = ActingClaim { is_settled: true, ..claim };
        match self.free(claim) {
            Ok(true) => why(undone.err()),
            Ok(false) => lost(),
            Err(error) => self.not_freed(step, claim, Some(why(undone.err())), error),
        }
    }

    /// Reads the machine, once every transition that was begun and abandoned is rolled back.
    pub(super) fn settled(&self) -> Result<MachineSnapshot<S>> {
        loop {
            self.free_unreleased()?;
            let now = self.snapshot()?;
            let Some((begun, since)) = now.begun.as_ref().filter(|_| now.acting.is_none()) else {
                return Ok(now);
            };
            let rollback = self.rules.find(begun.from, begun.to).and_then(|rule| rule.rollback.as_ref());
            let Some(rollback) = rollback else {
                let forget = Op::delete(&self.begun).if_created_at(*since);
                if self.commit(&[self.session.condition(), Op::check(&self.acting, When::Absent), forget])?.is_none() {
                    self.check_session()?;
                }
                continue;
            };
            let owner = Owner::me().to_bytes();
            let claimed = self.commit(&[
                Op::put_leased(&self.acting, &owner, self.session.lease()).if_absent(),
                Op::check(&self.begun, When::CreatedAt(*since)),
            ])?;
            let Some(acting) = claimed else { continue };
            let claim = ActingClaim { acting, begun: *since, is_settled: true };
            let token = Token(acting.0);
            let step = Step { from: begun.from, to: begun.to, reason: &begun.reason, token, abandoned: true };
            let undone = catch_panic(|| rollback(&step));
            let failed = undone.err().map(|cause| {
                let (machine, from, to) = (self.name.clone(), step.from.name(), step.to.name());
                Error::RollbackFailed { machine, from, to, cause }
            });
            match (self.free(claim), failed) {
                (Ok(true), Some(failed)) => return Err(failed),
                // If the claim is lost, its next holder runs the rollback again: the result of ours decides nothing.
                (Ok(_), _) => {}
                (Err(error), failed) => return Err(self.not_freed(&step, claim, failed, error)),
            }
        }
    }

    /// Whether the claim is ours: while its entry is there, no other process can have one.
    fn has(&self, claim: ActingClaim) -> crate::Result<bool> {
        let (meta, _) = self.session.store().read(&self.acting, &mut Vec::new())?;
        Ok(meta.is_some_and(|meta| meta.created == claim.acting))
    }

    /// Deletes the claim and, if it is settled, the transition that was begun; `false` if the claim is not ours.
    ///
    /// It puts nothing: a store that is full does not refuse it.
    fn free(&self, claim: ActingClaim) -> crate::Result<bool> {
        let begun = Op::delete(&self.begun).if_created_at(claim.begun);
        let ops = [Op::delete(&self.acting).if_created_at(claim.acting), begun];
        Ok(self.commit(if claim.is_settled { &ops } else { &ops[..1] })?.is_some())
    }

    /// Keeps the claim for [`free_unreleased`](Machine::free_unreleased), and answers the error about it.
    fn not_freed(&self, step: &Step<'_, S>, claim: ActingClaim, why: Option<Error>, cause: crate::Error) -> Error {
        *self.unreleased() = Some(claim);
        let (machine, from, to) = (self.name.clone(), step.from.name(), step.to.name());
        Error::NotFreed { machine, from, to, why: why.map(Box::new), cause: Box::new(cause) }
    }

    /// Releases the claim that the store refused to release before.
    fn free_unreleased(&self) -> crate::Result<()> {
        let mut unreleased = self.unreleased();
        if let Some(claim) = *unreleased {
            self.free(claim)?;
            *unreleased = None;
        }
        Ok(())
    }

    fn unreleased(&self) -> MutexGuard<'_, Option<ActingClaim>> {
        self.unreleased.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend, S: State> Drop for Machine<B, S> {
    fn drop(&mut self) {
        // Should it fail, the claim ends with the session.
        let _ = self.free_unreleased();
    }
}

/// Runs the program's code; a panic becomes a failure of its message.
pub(super) fn catch_panic(run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(said(&*panic).into()))
}
