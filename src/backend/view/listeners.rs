//! What a view, its follower, its listeners and its subscribers share: the map, and who has yet to be told what.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::batch::{Backlog, Batch, Entry};
use super::snapshot::{ByName, Map, News, Snapshot};
use crate::backend::Backend;
use crate::backend::monitor::Monitor;
use crate::backend::process::OwnerProcess;
use crate::clock::{Cancel, Deadline, Revision};
use crate::error::{Error, Result};

/// What is run for each batch.
pub(super) type Call<K> = Box<dyn FnMut(&Batch<K>) + Send>;

/// Where a listener stands: those of higher priority first, then in the order of registration.
pub(super) type Place = (Reverse<i32>, u64);

pub(super) struct Core<K> {
    pub(super) prefix: String,
    pub(super) owner: OwnerProcess,
    frame: RwLock<Frame<K>>,
    /// Taken before the frame.
    pub(super) listeners: Arc<Monitor<Listeners<K>>>,
}

/// The map, and how new it is. Changed with the listeners's lock held as well, so that who registers there knows from when on.
struct Frame<K> {
    map: Arc<Map<K>>,
    fresh_at: Revision,
}

/// Who waits for what.
pub(super) struct Listeners<K> {
    next: u64,
    callbacks: BTreeMap<Place, Listener<K>>,
    subscribers: BTreeMap<u64, Backlog<K>>,
    /// The listener that is being told, and by which thread.
    running: Option<(Place, ThreadId)>,
    /// How often somebody has asked how new the map is, how many of these have been answered, and with what.
    asked: u64,
    answered: u64,
    newest: Revision,
    /// Ends the follower's present sleep.
    wake: Cancel,
    pub(super) ended: bool,
    health: Health,
}

struct Listener<K> {
    /// Absent while it runs.
    call: Option<Call<K>>,
    backlog: Backlog<K>,
}

/// How a view is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The last error of a view that has a thread of its own, however long ago. The others return theirs.
    pub last_error: Option<Arc<Error>>,
    /// How many attempts in a row have failed; 0 while all is well.
    pub failures: u64,
    /// How many listeners have been removed because they panicked.
    pub panics: u64,
    /// What the last of them said.
    pub last_panic: Option<String>,
}

/// What the follower is to do next.
pub(super) enum Task {
    /// Nobody needs the view any more.
    End,
    /// Find out how new the map is, for this many who have asked.
    Confirm(u64),
    /// Sleep until this is cancelled.
    Sleep(Cancel),
}

impl<K: Clone + Ord + AsRef<str> + Send + Sync + 'static> Core<K> {
    /// What is under the prefix now.
    pub(super) fn read<B: Backend<Key = K>>(store: &B, prefix: &str) -> Result<Arc<Self>> {
        let mut map = Map::new();
        let fresh_at = store.range(prefix, &mut |key, value, meta| {
            map.insert(ByName(key), Entry { value: value.into(), meta });
        })?;
        let listeners = Listeners {
            next: 0,
            callbacks: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            running: None,
            asked: 0,
            answered: 0,
            newest: fresh_at,
            wake: Cancel::new(),
            ended: false,
            health: Health::default(),
        };
        let frame = RwLock::new(Frame { map: Arc::new(map), fresh_at });
        Ok(Arc::new(Self {
            prefix: prefix.to_owned(),
            owner: OwnerProcess::current(),
            frame,
            listeners: Monitor::new(listeners),
        }))
    }

    fn frame(&self) -> RwLockReadGuard<'_, Frame<K>> {
        self.frame.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame_to_change(&self) -> RwLockWriteGuard<'_, Frame<K>> {
        self.frame.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.frame().map.get(name).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.frame().map.len()
    }

    pub(super) fn fresh_at(&self) -> Revision {
        self.frame().fresh_at
    }

    pub(super) fn snapshot(&self) -> Snapshot<K> {
        let frame = self.frame();
        Snapshot { revision: frame.fresh_at, map: Arc::clone(&frame.map) }
    }

    /// Shows a batch, whole, and gives everybody their copy. The only one that changes the map.
    pub(super) fn show(&self, news: News<K>, revision: Revision) {
        let resync = news.resync;
        let mut listeners = self.listeners.lock();
        let mut frame = self.frame_to_change();
        let changes = news.apply(Arc::make_mut(&mut frame.map));
        frame.fresh_at = frame.fresh_at.max(revision);
        let revision = frame.fresh_at;
        drop(frame);
        if !changes.is_empty() {
            let batch = Arc::new(Batch { revision, resync, changes });
            let Listeners { callbacks, subscribers, .. } = &mut *listeners;
            let backlogs = callbacks.values_mut().map(|listener| &mut listener.backlog);
            for backlog in backlogs.chain(subscribers.values_mut()) {
                backlog.push(&batch);
            }
        }
        drop(listeners);
        self.listeners.notify_all();
    }

    /// The map as it is also equals the store at this later revision.
    pub(super) fn confirm(&self, revision: Revision) {
        let listeners = self.listeners.lock();
        let mut frame = self.frame_to_change();
        frame.fresh_at = frame.fresh_at.max(revision);
        drop((frame, listeners));
        self.listeners.notify_all();
    }

    pub(super) fn next_task(&self) -> Task {
        let mut listeners = self.listeners.lock();
        if listeners.ended {
            Task::End
        } else if listeners.asked != listeners.answered {
            Task::Confirm(listeners.asked)
        } else {
            if listeners.wake.is_cancelled() {
                listeners.wake = Cancel::new();
            }
            Task::Sleep(listeners.wake.clone())
        }
    }

    /// Answers the first `asked` who have asked how new the map is: it is as new as the store was, at `newest`.
    pub(super) fn answer(&self, asked: u64, newest: Revision) {
        let mut listeners = self.listeners.lock();
        listeners.answered = listeners.answered.max(asked);
        listeners.newest = newest;
        drop(listeners);
        self.listeners.notify_all();
    }

    pub(super) fn wait_fresh(&self, revision: Revision, deadline: &Deadline) -> Result<bool> {
        if self.fresh_at() >= revision {
            return Ok(true);
        }
        let (question, wake) = {
            let mut listeners = self.listeners.lock();
            listeners.asked += 1;
            (listeners.asked, listeners.wake.clone())
        };
        // Without the lock: this calls the backend.
        wake.cancel();
        let found = self.listeners.wait(deadline, |listeners| {
            if self.fresh_at() >= revision {
                Some(Ok(true))
            } else if listeners.ended {
                Some(Err(Error::Cancelled))
            } else if listeners.answered >= question {
                Some(Err(Error::FutureRevision { asked: revision, newest: listeners.newest }))
            } else {
                None
            }
        })?;
        found.unwrap_or(Ok(false))
    }

    /// No more batches will come: whoever waits for one is told, and the follower's sleep ends.
    pub(super) fn end(&self) {
        let wake = {
            let mut listeners = self.listeners.lock();
            listeners.ended = true;
            listeners.wake.clone()
        };
        self.listeners.notify_all();
        wake.cancel();
    }

    /// Sleeps that long, or until the end.
    pub(super) fn back_off(&self, pause: Duration) {
        let _ = self.listeners.wait(&Deadline::after(pause), |listeners| listeners.ended.then_some(()));
    }

    pub(super) fn health(&self) -> Health {
        self.listeners.lock().health.clone()
    }

    pub(super) fn record_success(&self) {
        self.listeners.lock().health.failures = 0;
    }

    pub(super) fn record_failure(&self, error: Error) {
        let mut listeners = self.listeners.lock();
        listeners.health.failures += 1;
        listeners.health.last_error = Some(Arc::new(error));
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.lock().callbacks.len()
    }

    /// Registers a listener for what comes after the revision that is returned.
    pub(super) fn add_listener(&self, priority: i32, call: Call<K>) -> (Place, Revision) {
        let mut listeners = self.listeners.lock();
        let place = (Reverse(priority), listeners.number());
        listeners.callbacks.insert(place, Listener { call: Some(call), backlog: Backlog::Nothing });
        (place, self.fresh_at())
    }

    /// The same for a subscriber.
    pub(super) fn add_subscriber(&self) -> (u64, Revision) {
        let mut listeners = self.listeners.lock();
        let number = listeners.number();
        listeners.subscribers.insert(number, Backlog::Nothing);
        (number, self.fresh_at())
    }

    /// Tells each listener once what it has not been told, in the order of their places. One thread at a time does this.
    pub(super) fn notify(&self) {
        let mut last = None;
        loop {
            let mut listeners = self.listeners.lock();
            if listeners.ended {
                return;
            }
            let rest = (last.map_or(Unbounded, Excluded), Unbounded);
            // Looked for anew each time: a listener may have come or gone while the last one ran.
            let next = listeners.callbacks.range_mut(rest).find(|(_, listener)| !listener.backlog.is_empty());
            let Some((&place, listener)) = next else { return };
            last = Some(place);
            let (Some(batch), Some(mut call)) = (listener.backlog.take(), listener.call.take()) else { continue };
            listeners.running = Some((place, thread::current().id()));
            drop(listeners);
            let outcome = catch_unwind(AssertUnwindSafe(|| call(&batch)));
            let mut listeners = self.listeners.lock();
            listeners.running = None;
            let rest = match (outcome, listeners.callbacks.get_mut(&place)) {
                (Ok(()), Some(listener)) => {
                    listener.call = Some(call);
                    None
                }
                // Removed while it ran.
                (Ok(()), None) => Some((call, None)),
                (Err(panic), _) => {
                    listeners.health.panics += 1;
                    listeners.health.last_panic = Some(panic_message(&*panic));
                    Some((call, listeners.callbacks.remove(&place)))
                }
            };
            drop(listeners);
            self.listeners.notify_all();
            // Not under the lock: what the closure owns may do anything when it is dropped, even panic.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(rest)));
        }
    }

    /// Sleeps until a listener has something to be told; `false` at the end.
    pub(super) fn wait_for_work(&self) -> bool {
        let found = self.listeners.wait(&Deadline::never(), |listeners| {
            let work = listeners.callbacks.values().any(|listener| !listener.backlog.is_empty());
            (listeners.ended || work).then_some(!listeners.ended)
        });
        matches!(found, Ok(Some(true)))
    }
}

impl<K: Clone + Ord + Send + Sync + 'static> Listeners<K> {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes what a subscriber has not been told.
    pub(super) fn take(&mut self, subscriber: u64) -> Option<Arc<Batch<K>>> {
        self.subscribers.get_mut(&subscriber)?.take()
    }

    pub(super) fn remove_subscriber(&mut self, subscriber: u64) {
        self.subscribers.remove(&subscriber);
    }
}

/// Removes a listener; when this returns, it does not run and will not, unless it is the caller.
pub(super) fn remove_listener<K: Clone + Ord + Send + Sync + 'static>(
    listeners: &Arc<Monitor<Listeners<K>>>,
    place: Place,
) {
    let me = thread::current().id();
    let removed = listeners.lock().callbacks.remove(&place);
    drop(removed);
    // Without a deadline or a switch there is no way for this to fail.
    let _ = listeners.wait(&Deadline::never(), |listeners| {
        let runs_elsewhere = listeners.running.is_some_and(|(running, by)| running == place && by != me);
        (!runs_elsewhere).then_some(())
    });
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".to_owned())
}
