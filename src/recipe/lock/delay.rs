//! A pause after a holder that ended without a word: what it had under way elsewhere may still arrive.
//!
//! The entry `NAME/held` is put by the holder in a commit that checks its ticket, and deleted by the commit that releases.
//! Whoever is first in the queue and finds it knows that a holder has gone otherwise, waits, and replaces it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Mode;
use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Revision, Token};
use crate::recipe::Result;
use crate::recipe::queue::HeldTickets;
use crate::recipe::waiting::{sooner, wait_while_alive};

pub(super) struct Delay<B: Backend> {
    key: B::Key,
    time: Duration,
    /// The last entry that was found, and when this handle first saw it.
    noticed: Arc<Mutex<Option<(Revision, Instant)>>>,
}

/// What came of asking to pass.
pub(super) enum Passed {
    /// The lock may be had.
    Yes,
    /// The deadline was first; the dead holder's token, and what is left of the delay.
    Later(Token, Duration),
}

impl<B: Backend> Delay<B> {
    pub(super) fn new(key: B::Key, time: Duration) -> Self {
        Self { key, time, noticed: Arc::default() }
    }

    pub(super) fn key(&self) -> &B::Key {
        &self.key
    }

    /// Lets who is first in the queue pass once the delay is over; an error if its ticket is not there any more. Without a
    /// ticket, only looks.
    pub(super) fn pass(
        &self,
        session: &Session<B>,
        ticket: Option<(&HeldTickets<B>, usize)>,
        mode: Mode,
        deadline: &Deadline,
    ) -> Result<Passed> {
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
                    // Who waits for a clock that only a test moves may be early.
                    let left = self.left(meta.modified, store.now());
                    if !left.is_zero() && deadline.has_passed() {
                        let token = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                        return Ok(Passed::Later(Token(token.unwrap_or(0)), left));
                    }
                    continue;
                }
            }
            let Some((held, at)) = ticket else { return Ok(Passed::Yes) };
            let before = meta.map(|meta| meta.modified);
            if before.is_none() && mode == Mode::Shared {
                return Ok(Passed::Yes);
            }
            let token = held.token().to_string();
            let change = match mode {
                Mode::Exclusive => Op::put(&self.key, token.as_bytes()),
                Mode::Shared => Op::delete(&self.key),
            };
            let change = before.map_or(change.if_absent(), |before| change.if_modified_at(before));
            let ours = Op::check(held.key(at), held.condition());
            if let Outcome::Committed(_) = store.commit(&[ours, change])? {
                return Ok(Passed::Yes);
            }
            let (ticket, _) = store.read(held.key(at), &mut Vec::new())?;
            if !held.condition().holds(ticket.as_ref()) {
                return Err(held.taken(at));
            }
        }
    }

    /// How long those who come after the holder that put the entry then still have to wait.
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
