//! Waiting for a transition to become possible, in the order of arrival, whichever process one is in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::error::{Error, Result};
use super::record::Now;
use super::{Machine, State, Transition};
use crate::backend::{Backend, Op, Watch};
use crate::clock::{Deadline, Revision};

impl<B: Backend, S: State> Machine<B, S> {
    pub(super) fn wait_to(&self, to: S, reason: &str, deadline: &Deadline) -> Result<Transition<S>> {
        let mut now = self.settled()?;
        if !self.rules.leads_to(to) {
            return Err(self.no_way(&now, to));
        }
        // Nobody before us: no ticket is needed.
        if let Some(answer) = self.go_in_turn(&now, to, reason, None)? {
            return Ok(answer);
        }
        if deadline.has_passed() {
            return Ok(self.settled()?.not_now());
        }
        let mut ticket = self.queue(to)?;
        let mut watch = None;
        loop {
            now = self.settled()?;
            if !now.waiting.iter().any(|(created, _)| *created == ticket.created) {
                self.still_here()?;
                return Err(Error::Cleared { machine: self.name.clone(), to: to.name() });
            }
            if let Some(answer) = self.go_in_turn(&now, to, reason, Some(&ticket))? {
                ticket.has_left = matches!(answer, Transition::Done(_));
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

    /// Goes if the state allows it, nobody acts, and nobody who has waited longer could go as well.
    fn go_in_turn(
        &self,
        now: &Now<S>,
        to: S,
        reason: &str,
        ticket: Option<&Queued<'_, B>>,
    ) -> Result<Option<Transition<S>>> {
        let Some(rule) = self.rules.find(now.stand.state, to).filter(|_| now.acting.is_none()) else {
            return Ok(None);
        };
        let is_before = |created: Revision| ticket.is_none_or(|ticket| created < ticket.created);
        let could_go = |to: S| self.rules.find(now.stand.state, to).is_some();
        if now.waiting.iter().any(|(created, to)| is_before(*created) && to.is_some_and(could_go)) {
            return Ok(None);
        }
        self.go(now, rule, reason, ticket.map(|ticket| (&ticket.key, ticket.created)))
    }

    fn queue(&self, to: S) -> Result<Queued<'_, B>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (store, session) = (&**self.session.store(), &self.session);
        // Unlike any other: a token is one session's, and the number one call's.
        let name = format!("{}/now/wait/{}-{}", self.name, session.token(), NEXT.fetch_add(1, Relaxed));
        let key = store.key(&name)?;
        let ticket = Op::put_leased(&key, to.name().as_bytes(), session.lease());
        match self.commit(&[session.condition(), ticket])? {
            Some(created) => Ok(Queued { store, key, created, has_left: false }),
            None => {
                self.still_here()?;
                Err(Error::Cleared { machine: self.name.clone(), to: to.name() })
            }
        }
    }
}

/// A place in the queue; dropping it leaves the queue. Should that fail, the lease does it.
struct Queued<'a, B: Backend> {
    store: &'a B,
    key: B::Key,
    created: Revision,
    /// By the commit that made the transition.
    has_left: bool,
}

impl<B: Backend> Drop for Queued<'_, B> {
    fn drop(&mut self) {
        if !self.has_left {
            let _ = self.store.commit(&[Op::delete(&self.key)]);
        }
    }
}
