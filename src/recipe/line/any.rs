//! Waiting for whichever of several entries changes first.

use std::sync::{Mutex, PoisonError};
use std::thread;

use super::wait_as;
use crate::Error as StoreError;
use crate::backend::{Backend, Session};
use crate::clock::{Cancel, Deadline, Revision};
use crate::recipe::Result;

/// Waits until one of the entries has changed after the revision beside it, as [`wait_as`] does for one.
///
/// A store waits for one entry a thread: each but the last has one of its own until the call returns.
pub(super) fn wait_any<B: Backend>(
    session: &Session<B>,
    entries: &[(&B::Key, Revision)],
    deadline: &Deadline,
) -> Result<bool> {
    let Some((last, others)) = entries.split_last() else { return Ok(false) };
    if others.is_empty() {
        return wait_as(session, last.0, last.1, deadline);
    }
    let found = Found { first: Mutex::new(None), stop: Cancel::new() };
    // A deadline has one switch: ours, which the caller's throws as well.
    let _thrown = deadline.cancel().map(|by| {
        let stop = found.stop.clone();
        by.register(Box::new(move || stop.cancel()))
    });
    if deadline.cancel().is_some_and(Cancel::is_cancelled) {
        found.stop.cancel();
    }
    let until = deadline.clone().or_cancelled(&found.stop);
    let wait = |(key, newer_than): (&B::Key, Revision)| match wait_as(session, key, newer_than, &until) {
        Ok(false) => {}
        other => found.ends(other),
    };
    thread::scope(|scope| {
        for entry in others {
            if let Err(cause) = thread::Builder::new().spawn_scoped(scope, || wait(*entry)) {
                let action = "start a thread that waits for one of several entries";
                found.ends(Err(StoreError::Io { action, path: None, cause }.into()));
            }
        }
        wait(*last);
    });
    found.first.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(Ok(false))
}

/// The answer of whoever has one first, and what ends the others' waits.
struct Found {
    first: Mutex<Option<Result<bool>>>,
    stop: Cancel,
}

impl Found {
    fn ends(&self, answer: Result<bool>) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
        self.stop.cancel();
    }
}
