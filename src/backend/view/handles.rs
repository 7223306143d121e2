//! The handles of those who are told: a listener's, which removes it, and a subscriber's, which takes its batches.

use std::fmt;
use std::sync::{Arc, Weak};

use super::batch::Batch;
use super::listeners::{Listeners, Place, remove_listener};
use crate::backend::monitor::Monitor;
use crate::backend::process::OwnerProcess;
use crate::clock::{Deadline, Revision};
use crate::error::{Error, Result};

/// A listener of a [`View`](super::View). Dropping it removes the listener.
///
/// When the removal returns, the listener does not run and will not run again, also if a notification is under way: one
/// that runs on another thread at that moment is waited for, so hold no lock that it needs. A listener that removes itself
/// finishes its call and gets no other.
#[must_use = "dropping it removes the listener at once; `keep` leaves it for as long as the view lives"]
pub struct Listening<K: Clone + Ord + Send + Sync + 'static> {
    /// Weak, so that a listener may own its own handle.
    pub(super) listeners: Weak<Monitor<Listeners<K>>>,
    pub(super) place: Place,
    pub(super) since: Revision,
    pub(super) owner: OwnerProcess,
}

impl<K: Clone + Ord + Send + Sync + 'static> Listening<K> {
    /// The listener is told every change after this revision and none before.
    pub fn since(&self) -> Revision {
        self.since
    }

    /// Removes the listener, as dropping this does.
    pub fn remove(self) {}

    /// Leaves the listener for as long as the view is followed.
    pub fn keep(mut self) {
        self.listeners = Weak::new();
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> Drop for Listening<K> {
    fn drop(&mut self) {
        // In a forked child nobody tells anybody anything, and whoever held the lock will never give it back.
        if let Some(listeners) = self.listeners.upgrade().filter(|_| self.owner.is_current()) {
            remove_listener(&listeners, self.place);
        }
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> fmt::Debug for Listening<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("priority", &self.place.0.0)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// A place where a [`View`](super::View) leaves its batches, to be taken at leisure.
///
/// It holds one batch at most: those that come before the last is taken are merged with it into one difference. So however
/// slow the taker, nobody waits for it, the memory is bounded by two states of each name, and the last state is never lost.
///
/// ```
/// use slotguard::Deadline;
/// use slotguard::backend::{Backend, Model, Op, View};
/// use std::sync::Arc;
///
/// # fn main() -> slotguard::Result<()> {
/// let store = Arc::new(Model::new());
/// let view = View::spawn(&store, "nodes/")?;
/// let subscription = view.subscribe();
/// store.commit(&[Op::put(&store.key("nodes/a")?, b"up")])?;
/// let batch = subscription.next(&Deadline::never())?.unwrap();
/// assert_eq!(batch.changes[0].key.as_ref(), "nodes/a");
/// assert!(batch.changes[0].before.is_none());
/// # Ok(())
/// # }
/// ```
pub struct Subscription<K: Clone + Ord + Send + Sync + 'static> {
    pub(super) listeners: Arc<Monitor<Listeners<K>>>,
    pub(super) number: u64,
    pub(super) since: Revision,
    pub(super) owner: OwnerProcess,
}

impl<K: Clone + Ord + Send + Sync + 'static> Subscription<K> {
    /// It is told every change after this revision and none before.
    pub fn since(&self) -> Revision {
        self.since
    }

    /// Waits for the next batch and takes it; `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the deadline's switch was thrown, or if nobody follows the view any more and all has been
    /// taken.
    pub fn next(&self, deadline: &Deadline) -> Result<Option<Arc<Batch<K>>>> {
        let found = self.listeners.wait(deadline, |listeners| {
            let batch = listeners.take(self.number).map(Ok);
            batch.or_else(|| listeners.ended.then_some(Err(Error::Cancelled)))
        })?;
        found.transpose()
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> Drop for Subscription<K> {
    fn drop(&mut self) {
        if self.owner.is_current() {
            self.listeners.lock().remove_subscriber(self.number);
        }
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> fmt::Debug for Subscription<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("since", &self.since).finish_non_exhaustive()
    }
}
