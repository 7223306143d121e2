//! Who is told of changes: each of them once and in order, or how many were missed.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use super::error::{Error, Result};
use super::record::unknown;
use super::{Change, KEPT, Machine, State, past, past_name};
use crate::backend::Backend;
use crate::clock::{Cancel, Deadline};
use crate::error::Error as StoreError;

/// The changes after a moment, one by one.
pub struct Changes<B: Backend, S: State> {
    store: Arc<B>,
    name: String,
    /// The number of the next.
    next: u64,
    states: PhantomData<S>,
}

/// What a listener is told.
#[derive(Debug)]
pub enum News<'a, S> {
    /// The next change.
    Changed(&'a Change<S>),
    /// The listener was too slow: this many changes are not kept any more. What follows is the oldest that is.
    Missed(u64),
    /// The store failed. The listener is told nothing else.
    Failed(&'a Error),
}

/// A listener of a machine; dropping it ends the listening, once a call that runs has returned.
#[must_use = "dropping it removes the listener at once"]
#[derive(Debug)]
pub struct Listening {
    stop: Cancel,
    panics: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    home: u32,
}

impl<B: Backend, S: State> Machine<B, S> {
    /// The changes from now on.
    ///
    /// # Errors
    /// As [`state`](Machine::state).
    pub fn changes(&self) -> Result<Changes<B, S>> {
        let next = self.read_state()?.0.number + 1;
        Ok(Changes { store: Arc::clone(self.session.store()), name: self.name.clone(), next, states: PhantomData })
    }

    /// Has `listener` told of every change from now on, on a thread of its own: it may use the machine, and nobody waits
    /// for it. A listener that panics is told the next change all the same ([`Listening::panics`]).
    ///
    /// # Errors
    /// As [`changes`](Machine::changes); [`Io`](StoreError::Io) if there can be no thread.
    pub fn listen(&self, mut listener: impl FnMut(News<'_, S>) + Send + 'static) -> Result<Listening>
    where
        B: 'static,
    {
        let mut changes = self.changes()?;
        let (stop, panics) = (Cancel::new(), Arc::new(AtomicU64::new(0)));
        let (until, counted) = (Deadline::never().or_cancelled(&stop), Arc::clone(&panics));
        let mut tell = move |news: News<'_, S>| {
            if catch_unwind(AssertUnwindSafe(|| listener(news))).is_err() {
                counted.fetch_add(1, Relaxed);
            }
        };
        let follow = move || {
            loop {
                match changes.next(&until) {
                    Ok(Some(change)) => tell(News::Changed(&change)),
                    Ok(None) | Err(Error::Store(StoreError::Cancelled)) => return,
                    Err(Error::Missed { missed, .. }) => tell(News::Missed(missed)),
                    Err(error) => return tell(News::Failed(&error)),
                }
            }
        };
        let failed = |cause| StoreError::Io { action: "start the thread of a listener", path: None, cause };
        let thread = thread::Builder::new().name("slotguard-tell".to_owned()).spawn(follow).map_err(failed)?;
        Ok(Listening { stop, panics, thread: Some(thread), home: process::id() })
    }
}

impl<B: Backend, S: State> Changes<B, S> {
    /// Waits for the next change; `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::Missed`] if it is not kept any more; then go on with the oldest that is. [`Error::UnknownState`]. Those of
    /// the store.
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<Change<S>>> {
        let mut value = Vec::new();
        let place = past(&*self.store, &self.name, self.next)?;
        loop {
            let (meta, at) = self.store.read(&place, &mut value)?;
            if meta.is_some() {
                let change = self.read(&place, &value)?;
                if change.number == self.next {
                    self.next = change.number + 1;
                    return Ok(Some(change));
                }
                if change.number > self.next {
                    return Err(self.outrun(change.number)?);
                }
            }
            if !self.store.wait(&place, at, deadline)? {
                return Ok(None);
            }
        }
    }

    /// The change in an entry, if it is one that can be there.
    fn read(&self, place: &B::Key, value: &[u8]) -> Result<Change<S>> {
        let change = Change::decode(&self.name, value)?;
        let is_its_place = place.as_ref() == past_name(&self.name, change.number);
        if is_its_place { Ok(change) } else { Err(unknown::<S>(&self.name, value)) }
    }

    /// Moves on to the oldest change that is kept.
    fn outrun(&mut self, seen: u64) -> Result<Error> {
        let (mut newest, mut unreadable) = (seen, None);
        self.store.range(&format!("{}/past/", self.name), &mut |place, value, _| match self.read(&place, value) {
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

impl Listening {
    /// How many of the listener's calls ended with a panic.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // In a forked child there is no thread to end, and nobody would answer a join.
        if self.home != process::id() {
            return std::mem::forget(self.thread.take());
        }
        self.stop.cancel();
        // A listener may own its own handle.
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
