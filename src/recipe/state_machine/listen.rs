//! Following a machine's changes: each is delivered once and in order, or counted as missed.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use super::error::{Error, Result};
use super::machine::Machine;
use super::record::{KEPT, StateChange, past, past_name, unknown};
use super::rules::State;
use crate::backend::Backend;
use crate::clock::{Cancel, Deadline};
use crate::error::Error as StoreError;

/// A machine's changes from one change on, in order.
pub struct Changes<B: Backend, S: State> {
    store: Arc<B>,
    name: String,
    /// The number of the next change.
    next: u64,
    states: PhantomData<S>,
}

/// The argument of a listener's call.
#[derive(Debug)]
pub enum ChangeEvent<'a, S> {
    /// The next change.
    Changed(&'a StateChange<S>),
    /// The listener was too slow: this many changes are not kept any more. The oldest that is kept comes next.
    Missed(u64),
    /// The store failed. The listener is not called again.
    Failed(&'a Error),
}

/// A registered listener of a machine; dropping it removes the listener, after a call that is running has returned.
#[must_use = "dropping it removes the listener at once"]
#[derive(Debug)]
pub struct ChangeListener {
    stop: Cancel,
    panics: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    /// The process that the thread runs in.
    pid: u32,
}

impl<B: Backend, S: State> Machine<B, S> {
    /// Follows the machine from now on: the first change that is delivered is the next one.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn changes(&self) -> Result<Changes<B, S>> {
        let next = self.read_state()?.0 + 1;
        Ok(Changes { store: Arc::clone(self.session.store()), name: self.name.clone(), next, states: PhantomData })
    }

    /// Calls `listener` with every change from now on, on a thread of its own: it may use the machine, and delays no
    /// transition. After a panic ([`ChangeListener::panics`]) it is called with the next change as well.
    ///
    /// # Errors
    /// As [`changes`](Machine::changes); [`Io`](StoreError::Io) if the thread cannot be started.
    pub fn listen(&self, mut listener: impl FnMut(ChangeEvent<'_, S>) + Send + 'static) -> Result<ChangeListener>
    where
        B: 'static,
    {
        let mut changes = self.changes()?;
        let (stop, panics) = (Cancel::new(), Arc::new(AtomicU64::new(0)));
        let (until, counted) = (Deadline::never().or_cancelled(&stop), Arc::clone(&panics));
        let mut call = move |event: ChangeEvent<'_, S>| {
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
                counted.fetch_add(1, Relaxed);
            }
        };
        let follow = move || {
            loop {
                match changes.next(&until) {
                    Ok(Some(change)) => call(ChangeEvent::Changed(&change)),
                    Ok(None) | Err(Error::Store(StoreError::Cancelled)) => return,
                    Err(Error::Missed { missed, .. }) => call(ChangeEvent::Missed(missed)),
                    Err(error) => return call(ChangeEvent::Failed(&error)),
                }
            }
        };
        let failed = |cause| StoreError::Io { action: "start the thread of a listener", path: None, cause };
        let thread = thread::Builder::new().name("slotguard-tell".to_owned()).spawn(follow).map_err(failed)?;
        Ok(ChangeListener { stop, panics, thread: Some(thread), pid: process::id() })
    }
}

impl<B: Backend, S: State> Changes<B, S> {
    /// Waits for the next change; `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::Missed`] if it is not kept any more; the next call answers the oldest that is. [`Error::UnknownState`].
    /// Those of the store.
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<StateChange<S>>> {
        let mut value = Vec::new();
        let entry = past(&*self.store, &self.name, self.next)?;
        loop {
            let (meta, at) = self.store.read(&entry, &mut value)?;
            if meta.is_some() {
                let change = self.read(&entry, &value)?;
                if change.number == self.next {
                    self.next = change.number + 1;
                    return Ok(Some(change));
                }
                if change.number > self.next {
                    return Err(self.skip_missed(change.number)?);
                }
            }
            if !self.store.wait(&entry, at, deadline)? {
                return Ok(None);
            }
        }
    }

    /// Decodes the change in an entry, if its number belongs there.
    fn read(&self, entry: &B::Key, value: &[u8]) -> Result<StateChange<S>> {
        let change = StateChange::decode(&self.name, value)?;
        let belongs_here = entry.as_ref() == past_name(&self.name, change.number);
        if belongs_here { Ok(change) } else { Err(unknown::<S>(&self.name, value)) }
    }

    /// Moves on to the oldest change that is kept, and answers how many were missed.
    fn skip_missed(&mut self, seen: u64) -> Result<Error> {
        let (mut newest, mut unreadable) = (seen, None);
        self.store.range(&format!("{}/past/", self.name), &mut |entry, value, _| match self.read(&entry, value) {
            Ok(change) => newest = newest.max(change.number),
            Err(error) => unreadable = Some(error),
        })?;
        if let Some(error) = unreadable {
            return Err(error);
        }
        let oldest = newest + 1 - KEPT;
        let missed = oldest - self.next;
        self.next = oldest;
        Ok(Error::Missed { machine: self.name.clone(), missed, next: oldest })
    }
}

impl ChangeListener {
    /// How many of the listener's calls ended with a panic.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        // A forked child has no such thread to join.
        if self.pid != process::id() {
            return std::mem::forget(self.thread.take());
        }
        self.stop.cancel();
        // A listener may own its own handle: its thread cannot join itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl<B: Backend, S: State> fmt::Debug for Changes<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("name", &self.name).field("next", &self.next).finish_non_exhaustive()
    }
}
