//! State that several threads change and wait for, under one lock, until a [`Deadline`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Cancel, Deadline};
use crate::error::{Error, Result};

/// A mutex and those who wait for what it guards to change.
#[derive(Debug, Default)]
pub(super) struct Monitor<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T: Send + 'static> Monitor<T> {
    pub(super) fn new(state: T) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing of a caller's runs under the lock, and what runs there leaves the state whole at every call out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has everybody who waits look again. What they are to see has been stored under the lock before.
    pub(super) fn notify_all(&self) {
        self.changed.notify_all();
    }

    /// Looks until there is an answer; `None` once the deadline has passed. A past deadline is one look.
    pub(super) fn wait<R>(
        self: &Arc<Self>,
        deadline: &Deadline,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Result<Option<R>> {
        // Declared before the lock, so given back after it: a cancellation takes its own lock first and this one second.
        let _registration = deadline.cancel().map(|cancel| {
            let monitor = Arc::clone(self);
            cancel.register(Box::new(move || {
                // Not between a waiter's last look at the switch and its sleep.
                drop(monitor.lock());
                monitor.notify_all();
            }))
        });
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(Some(found));
            }
            if deadline.cancel().is_some_and(Cancel::is_cancelled) {
                return Err(Error::Cancelled);
            }
            state = match deadline.remaining() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}
