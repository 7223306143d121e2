//! A pause after a holder that ended without releasing: its writes elsewhere may still be under way.
//!
//! The entry `NAME/held`, the mark, is put by the holder in a commit that checks its ticket, and deleted by the commit that
//! releases. The first in the queue that finds a mark knows that a holder has ended otherwise, waits, and replaces it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Revision, Token};
use crate::recipe::queue::{HeldTickets, Mode, Result};
use crate::recipe::waiting::{sooner, wait_while_alive};

pub(super) struct Delay<B: Backend> {
    key: B::Key,
    time: Duration,
    /// The last mark that was found, and when this handle first saw it.
    noticed: Arc<Mutex<Option<(Revision, Instant)>>>,
}

/// How waiting for the delay ended.
pub(super) enum DelayOutcome {
    /// There is none, or it is over.
    Over,
    /// The deadline was first: the token of the holder that ended, and the time left.
    Left(Token, Duration),
}

impl<B: Backend> Delay<B> {
    pub(super) fn new(key: B::Key, time: Duration) -> Self {
        Self { key, time, noticed: Arc::default() }
    }

    pub(super) fn key(&self) -> &B::Key {
        &self.key
    }

    /// Waits until the delay is over and replaces the mark by our own, provided that our ticket, the first in the queue, is
    /// still there. Without a ticket, only waits.
    pub(super) fn pass(
        &self,
        session: &Session<B>,
        ticket: Option<(&HeldTickets<B>, usize)>,
        mode: Mode,
        deadline: &Deadline,
    ) -> Result<DelayOutcome> {
        let store = session.store();
        let mut value = Vec::new();
        loop {
            let (meta, _) = store.read(&self.key, &mut value)?;
            if let Some(meta) = meta {
                let left = self.left(meta.modified, store.now());
                if !left.is_zero() {
                    if wait_while_alive(session, &self.key, meta.modified, &sooner(deadline, left))? {
                        continue;
                    }
                    // On a clock that only a test moves, the wait may end early.
                    let left = self.left(meta.modified, store.now());
                    if !left.is_zero() && deadline.has_passed() {
                        let token = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                        return Ok(DelayOutcome::Left(Token(token.unwrap_or(0)), left));
                    }
                    continue;
                }
            }
            let Some((held, at)) = ticket else { return Ok(DelayOutcome::Over) };
            let before = meta.map(|meta| meta.modified);
            if before.is_none() && mode == Mode::Shared {
                return Ok(DelayOutcome::Over);
            }
            let token = held.token().to_string();
            let change = match mode {
                Mode::Exclusive => Op::put(&self.key, token.as_bytes()),
                Mode::Shared => Op::delete(&self.key),
            };
            let change = before.map_or(change.if_absent(), |before| change.if_modified_at(before));
            let ours = Op::check(held.key(at), held.condition());
            if let Outcome::Committed(_) = store.commit(&[ours, change])? {
                return Ok(DelayOutcome::Over);
            }
            let (ticket, _) = store.read(held.key(at), &mut Vec::new())?;
            if !held.condition().holds(ticket.as_ref()) {
                return Err(held.taken(at));
            }
        }
    }

    /// The time left of the delay after the holder that put the mark at this revision.
    fn left(&self, put: Revision, now: Instant) -> Duration {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *noticed {
            Some((of, since)) if of == put => since,
            _ => noticed.insert((put, now)).1,
        };
        self.time.saturating_sub(now.saturating_duration_since(since))
    }
}

impl<B: Backend> Clone for Delay<B> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), time: self.time, noticed: Arc::clone(&self.noticed) }
    }
}
