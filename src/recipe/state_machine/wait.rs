//! Waiting until a transition is possible, in the order of arrival across processes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::act::Transition;
use super::error::{Error, Result};
use super::machine::{Machine, MachineSnapshot};
use super::record::checked_reason;
use super::rules::State;
use crate::backend::{Backend, Op, Watch};
use crate::clock::{Deadline, Revision};

/// An entry among those that wait for a transition; dropping it deletes the entry. Should that fail, its lease does.
struct WaitTicket<'a, B: Backend> {
    store: &'a B,
    key: B::Key,
    created: Revision,
    /// Whether the commit of the transition has deleted it.
    is_used: bool,
}

impl<B: Backend, S: State> Machine<B, S> {
    /// Goes to `to` as soon as the state allows it and no older wait can go first. If the deadline passes before, the
    /// answer is [`Transition::NotNow`]. The guard is asked once, when the transition is possible.
    ///
    /// # Errors
    /// As [`transition_because`](Machine::transition_because), but [`Error::NoTransition`] only if no rule leads to `to`
    /// from any state. [`Error::Cleared`].
    ///
    /// # When a process dies
    /// Its waits end with its session.
    pub fn transition_when_possible(&self, to: S, reason: &str, deadline: &Deadline) -> Result<Transition<S>> {
        let reason = checked_reason(reason)?;
        let mut now = self.settled()?;
        if !self.rules.leads_to(to) {
            return Err(self.no_way(&now, to));
        }
        // If no other call waits, no ticket is needed.
        if let Some(answer) = self.go_in_turn(&now, to, reason, None)? {
            return Ok(answer);
        }
        if deadline.has_passed() {
            return Ok(self.settled()?.not_now());
        }
        let mut ticket = self.ticket(to)?;
        let mut watch = None;
        loop {
            now = self.settled()?;
            if !now.waiting.iter().any(|(created, _)| *created == ticket.created) {
                self.check_session()?;
                return Err(self.cleared(to));
            }
            if let Some(answer) = self.go_in_turn(&now, to, reason, Some(&ticket))? {
                ticket.is_used = matches!(answer, Transition::Done(_));
                return Ok(answer);
            }
            let store = &**self.session.store();
            let watch = match &mut watch {
                Some(watch) => watch,
                none => none.insert(store.watch(&format!("{}/now/", self.name), Revision(now.at.0 + 1))?),
            };
            if watch.next(deadline, &mut |_| {})?.is_none() {
                return Ok(now.not_now());
            }
        }
    }

    /// Ends all waits for transitions of this machine with [`Error::Cleared`]; answers how many there were.
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

    /// Makes the transition if the state allows it, no process acts, and no older ticket's transition is possible.
    fn go_in_turn(
        &self,
        now: &MachineSnapshot<S>,
        to: S,
        reason: &str,
        ticket: Option<&WaitTicket<'_, B>>,
    ) -> Result<Option<Transition<S>>> {
        let Some(rule) = self.rules.find(now.state, to).filter(|_| now.acting.is_none()) else {
            return Ok(None);
        };
        let is_before = |created: Revision| ticket.is_none_or(|ticket| created < ticket.created);
        let could_go = |to: S| self.rules.find(now.state, to).is_some();
        if now.waiting.iter().any(|(created, to)| is_before(*created) && to.is_some_and(could_go)) {
            return Ok(None);
        }
        self.go(now, rule, reason, ticket.map(|ticket| Op::delete(&ticket.key).if_created_at(ticket.created)))
    }

    fn ticket(&self, to: S) -> Result<WaitTicket<'_, B>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (store, session) = (&**self.session.store(), &self.session);
        // Unique: a token is one session's, and the number one call's.
        let name = format!("{}/now/wait/{}-{}", self.name, session.token(), NEXT.fetch_add(1, Relaxed));
        let key = store.key(&name)?;
        let put = Op::put_leased(&key, to.name().as_bytes(), session.lease());
        match self.commit(&[session.condition(), put])? {
            Some(created) => Ok(WaitTicket { store, key, created, is_used: false }),
            None => {
                self.check_session()?;
                Err(self.cleared(to))
            }
        }
    }

    fn cleared(&self, to: S) -> Error {
        Error::Cleared { machine: self.name.clone(), to: to.name() }
    }
}

impl<B: Backend> Drop for WaitTicket<'_, B> {
    fn drop(&mut self) {
        if !self.is_used {
            let _ = self.store.commit(&[Op::delete(&self.key)]);
        }
    }
}
