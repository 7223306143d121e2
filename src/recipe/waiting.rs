//! Waits for changed entries, for no longer than the caller's session lives.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::backend::{Backend, Session};
use crate::clock::{Cancel, Deadline, Revision};
use crate::error::{Error, Result};

/// The earlier of a deadline and this long from now, cancelled by the deadline's switch.
pub(super) fn sooner(deadline: &Deadline, left: Duration) -> Deadline {
    if deadline.remaining().is_some_and(|most| most <= left) {
        return deadline.clone();
    }
    let soon = Deadline::after(left);
    deadline.cancel().map_or(soon.clone(), |by| soon.or_cancelled(by))
}

/// Waits as [`Backend::wait`] does, but no longer than the session lives.
pub(super) fn wait_while_alive<B: Backend>(
    session: &Session<B>,
    key: &B::Key,
    newer_than: Revision,
    deadline: &Deadline,
) -> Result<bool> {
    let wait = |until: &Deadline| Ok(session.store().wait(key, newer_than, until)?.then_some(()));
    Ok(until_session_ends(session, deadline, wait)?.is_some())
}

/// Calls `wait` until it answers or the deadline passes, but for no longer than the session lives: each call gets a deadline
/// no later than the session's end, and is repeated if the session has been renewed meanwhile.
pub(super) fn until_session_ends<B: Backend, T>(
    session: &Session<B>,
    deadline: &Deadline,
    mut wait: impl FnMut(&Deadline) -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        let until = session.alive_until().ok_or_else(|| session_ended(session))?;
        let left = until.saturating_duration_since(session.store().now());
        let found = wait(&sooner(deadline, left))?;
        if found.is_some() || deadline.has_passed() {
            return Ok(found);
        }
    }
}

/// The error of a session that has ended.
pub(super) fn session_ended<B: Backend>(session: &Session<B>) -> Error {
    Error::LeaseExpired { lease: session.lease() }
}

/// Waits until one of the entries has changed after the revision beside it, as [`wait_while_alive`] does for one.
///
/// A store waits for one entry a thread: each but the last has one of its own until the call returns.
pub(super) fn wait_any<B: Backend>(
    session: &Session<B>,
    entries: &[(&B::Key, Revision)],
    deadline: &Deadline,
) -> Result<bool> {
    let Some((last, others)) = entries.split_last() else { return Ok(false) };
    if others.is_empty() {
        return wait_while_alive(session, last.0, last.1, deadline);
    }
    let found = FirstAnswer { first: Mutex::new(None), stop: Cancel::new() };
    // A deadline has one switch: ours, which the caller's throws as well.
    let _thrown = deadline.cancel().map(|by| {
        let stop = found.stop.clone();
        by.register(Box::new(move || stop.cancel()))
    });
    if deadline.cancel().is_some_and(Cancel::is_cancelled) {
        found.stop.cancel();
    }
    let until = deadline.clone().or_cancelled(&found.stop);
    let wait = |(key, newer_than): (&B::Key, Revision)| match wait_while_alive(session, key, newer_than, &until) {
        Ok(false) => {}
        other => found.ends(other),
    };
    thread::scope(|scope| {
        for entry in others {
            if let Err(cause) = thread::Builder::new().spawn_scoped(scope, || wait(*entry)) {
                let action = "start a thread that waits for one of several entries";
                found.ends(Err(Error::Io { action, path: None, cause }));
            }
        }
        wait(*last);
    });
    found.first.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(Ok(false))
}

/// The first answer of several waits, and the switch that ends the others.
struct FirstAnswer {
    first: Mutex<Option<Result<bool>>>,
    stop: Cancel,
}

impl FirstAnswer {
    fn ends(&self, answer: Result<bool>) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
        self.stop.cancel();
    }
}
