//! Where an operation's end is left for whoever waits for it.

use std::fmt;
use std::marker::PhantomData;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::operation::Value;
use crate::clock::{Cancel, Deadline};
use crate::error::Error as StoreError;
use crate::recipe::{Error, Result};

/// The end of an operation, to be waited for.
pub struct Handle<T> {
    slot: Arc<Slot>,
    returns: PhantomData<fn() -> T>,
}

/// The one who tells the end, once. Dropped without a word, it tells that the operation was cancelled.
pub(super) struct Teller(Option<Arc<Slot>>);

struct Slot {
    id: String,
    /// The process in which it is told.
    home: u32,
    end: Mutex<Option<Result<Value>>>,
    told: Condvar,
}

impl<T: 'static> Handle<T> {
    /// The operation's id.
    pub fn id(&self) -> &str {
        &self.slot.id
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.slot.lock().is_some()
    }

    /// Waits for the end; `false` once the deadline has passed.
    ///
    /// # Errors
    /// [`Cancelled`](StoreError::Cancelled) if the deadline's switch was thrown. [`Error::ForkedExecutor`].
    pub fn wait(&self, deadline: &Deadline) -> Result<bool> {
        let slot = &self.slot;
        if slot.home != process::id() {
            // The lock may have been held when we were forked.
            let has_ended = slot.end.try_lock().is_ok_and(|end| end.is_some());
            return if has_ended { Ok(true) } else { Err(Error::ForkedExecutor) };
        }
        let _registration = deadline.cancel().map(|cancel| {
            let slot = Arc::clone(slot);
            cancel.register(Box::new(move || slot.wake()))
        });
        let mut end = slot.lock();
        loop {
            if end.is_some() {
                return Ok(true);
            }
            if deadline.cancel().is_some_and(Cancel::is_cancelled) {
                return Err(StoreError::Cancelled.into());
            }
            end = match deadline.remaining() {
                None => slot.told.wait(end).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Ok(false),
                Some(left) => slot.told.wait_timeout(end, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Waits for the end, and takes what the operation returned.
    ///
    /// # Errors
    /// [`Error::OperationFailed`], [`Error::OperationPanicked`], [`Error::OperationTimedOut`],
    /// [`Error::OperationCancelled`], [`Error::DependencyFailed`], [`Error::ShutDown`], [`Error::ForkedExecutor`].
    pub fn join(self) -> Result<T> {
        self.wait(&Deadline::never())?;
        let end = self.slot.lock().take().expect("it has ended, and only we take");
        Ok(*end?.downcast().expect("what the operation returned"))
    }
}

/// Both ends of an operation's end.
pub(super) fn pair<T: 'static>(id: &str) -> (Teller, Handle<T>) {
    let slot = Arc::new(Slot { id: id.to_owned(), home: process::id(), end: Mutex::new(None), told: Condvar::new() });
    (Teller(Some(Arc::clone(&slot))), Handle { slot, returns: PhantomData })
}

impl Teller {
    /// Tells whoever waits.
    pub fn tell(mut self, how: Result<Value>) {
        if let Some(slot) = self.0.take() {
            slot.tell(how);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.tell(Err(Error::OperationCancelled { id: slot.id.clone() }));
        }
    }
}

impl Slot {
    fn tell(&self, how: Result<Value>) {
        *self.lock() = Some(how);
        self.told.notify_all();
    }

    fn wake(&self) {
        // Not between a waiter's last look at the switch and its sleep.
        drop(self.lock());
        self.told.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<Value>>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.slot.id).finish_non_exhaustive()
    }
}
