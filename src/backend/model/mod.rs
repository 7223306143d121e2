//! The whole contract in one map behind one mutex, with a clock that moves when it is told to: what the other backends are
//! compared with, and what a program's own tests run on.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use std::time::Duration;
//! # fn main() -> slotguard::Result<()> {
//! let store = Model::new();
//! let lease = store.grant(Duration::from_secs(10))?;
//! let worker = store.key("workers/1")?;
//! store.commit(&[Op::put_leased(&worker, b"ready", lease)])?;
//!
//! store.advance(Duration::from_secs(10)); // Nobody renewed the lease.
//! assert!(store.read(&worker, &mut Vec::new())?.0.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # How
//! Every call takes the mutex, does what the contract says to the map, and wakes whoever waits. A watch remembers what it
//! has reported of each entry; a batch is the difference between that and the map. Deletions are remembered so that a
//! watch can begin in the past, until [`Model::forget_history`] or some hundred thousand of them.
//!
//! Leases end when [`Model::advance`] moves the clock past their end, and at no other time. Deadlines are of the real
//! clock: a test waits for real.

mod store;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::store::Store;
use super::{Backend, Event, Limits, Meta, Op, Watch, check_name, check_ops};
use crate::clock::{Cancel, Deadline, Lease, Revision};
use crate::error::{Error, Result};
use crate::memory::Outcome;
use crate::mutant::planted;

/// A store in this process's memory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Model {
    shared: Arc<Shared>,
}

/// A name of an entry of a [`Model`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey(Arc<str>);

/// A watch of a [`Model`].
#[derive(Debug)]
pub struct ModelWatch {
    shared: Arc<Shared>,
    prefix: String,
    /// Whether the next batch begins with a resync.
    resync: bool,
    /// When each entry was modified, as far as it has been reported.
    reported: BTreeMap<ModelKey, Revision>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
    /// Where the clock began.
    base: Instant,
    value_limit: usize,
}

impl Model {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_value_limit(Self::LIMITS.value)
    }

    /// An empty store that refuses values of more bytes than this, to play one that was built small.
    pub fn with_value_limit(bytes: usize) -> Self {
        Self::build(bytes, false)
    }

    /// An empty store in which no bug is ever planted: what one with a planted bug is compared with.
    #[cfg(feature = "conformance")]
    pub(crate) fn sound() -> Self {
        Self::build(Self::LIMITS.value, true)
    }

    fn build(bytes: usize, sound: bool) -> Self {
        let shared = Shared {
            store: Mutex::new(Store::new(sound)),
            changed: Condvar::new(),
            base: Instant::now(),
            value_limit: bytes.min(Self::LIMITS.value),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Moves the clock. Leases whose time has come end on the way, in the order of their ends.
    ///
    /// # Panics
    /// If the clock would move past what an [`Instant`] can say.
    pub fn advance(&self, time: Duration) {
        let mut store = self.shared.lock();
        let to = store.elapsed.checked_add(time).expect("the clock's end");
        // With room for the longest lease, so that no renewal can meet the end.
        self.shared.base.checked_add(to + Self::LIMITS.longest_lease).expect("the clock's end");
        store.advance(to);
        drop(store);
        self.shared.wake();
    }

    /// Ends a lease as the death of the process that keeps it would: at once, without its doing. Nothing if it is over.
    pub fn kill_owner(&self, lease: Lease) {
        self.shared.lock().end(lease);
        self.shared.wake();
    }

    /// Forgets which entries have been deleted up to now: a watch from the past begins with [`Event::Resync`].
    pub fn forget_history(&self) {
        self.shared.lock().forget();
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Model {
    type Key = ModelKey;
    type Watch<'a> = ModelWatch;

    const LIMITS: Limits = Limits {
        name: 255,
        ops: 32,
        value: 16 << 20,
        shortest_lease: Duration::from_millis(1),
        longest_lease: Duration::from_secs(10 * 365 * 24 * 60 * 60),
        clock_drift: 0,
    };

    fn key(&self, name: &str) -> Result<ModelKey> {
        check_name(name, &Self::LIMITS)?;
        Ok(ModelKey(name.into()))
    }

    fn read(&self, key: &ModelKey, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        into.clear();
        let store = self.shared.lock();
        let entry = store.entries.get(key);
        if let Some(entry) = entry {
            into.extend_from_slice(&entry.value);
        }
        Ok((entry.map(|entry| entry.meta), Revision(store.newest)))
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(ModelKey, &[u8], Meta)) -> Result<Revision> {
        // Copied, so that the mutex is free when `visit` runs.
        let look = || {
            let store = self.shared.lock();
            let found: Vec<_> = store.under(prefix).map(|(key, entry)| (key.clone(), entry.clone())).collect();
            (found, Revision(store.newest), store.planted("model: range looks twice"))
        };
        let (mut found, newest, twice) = look();
        if twice {
            let half = found.get(found.len() / 2).map(|(key, _)| key.clone());
            std::thread::yield_now();
            found.retain(|(key, _)| Some(key) < half.as_ref());
            found.extend(look().0.into_iter().filter(|(key, _)| Some(key) >= half.as_ref()));
        }
        for (key, entry) in found {
            visit(key, &entry.value, entry.meta);
        }
        Ok(newest)
    }

    fn commit(&self, ops: &[Op<'_, ModelKey>]) -> Result<Outcome> {
        check_ops(ops, &Self::LIMITS, self.shared.value_limit)?;
        let mut store = self.shared.lock();
        store.check_leases(ops)?;
        let outcome = store.commit(ops);
        drop(store);
        self.shared.wake();
        Ok(outcome)
    }

    fn wait(&self, key: &ModelKey, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        let changed = self.shared.wait_until(deadline, |store| store.changed_after(key, newer_than).then_some(()))?;
        Ok(changed.is_some())
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<ModelWatch> {
        let store = self.shared.lock();
        let newest = Revision(store.newest);
        if from.0 > newest.0 + 1 {
            return Err(Error::FutureRevision { asked: from, newest });
        }
        let resync = from <= store.forgotten;
        let from = if store.planted("model: a watch begins when it is made") { Revision(newest.0 + 1) } else { from };
        let reported = if resync { BTreeMap::new() } else { store.reported_before(prefix, from) };
        Ok(ModelWatch { shared: self.shared.clone(), prefix: prefix.to_owned(), resync, reported })
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        let (shortest, longest) = (Self::LIMITS.shortest_lease, Self::LIMITS.longest_lease);
        if !(shortest..=longest).contains(&time_to_live) {
            return Err(Error::TimeToLive { asked: time_to_live, shortest, longest });
        }
        let mut store = self.shared.lock();
        Ok(store.grant(time_to_live))
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        let mut store = self.shared.lock();
        store.check_lease(lease)?;
        Ok(self.shared.base + store.renew(lease))
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        let store = self.shared.lock();
        store.check_lease(lease)?;
        Ok(self.shared.base + store.ends(lease))
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        let mut store = self.shared.lock();
        store.check_lease(lease)?;
        store.end(lease);
        drop(store);
        self.shared.wake();
        Ok(())
    }

    fn now(&self) -> Instant {
        self.shared.base + self.shared.lock().elapsed
    }
}

impl Watch for ModelWatch {
    type Key = ModelKey;

    fn next(&mut self, deadline: &Deadline, visit: &mut dyn FnMut(Event<'_, ModelKey>)) -> Result<Option<Revision>> {
        let shared = self.shared.clone();
        let found = shared.wait_until(deadline, |store| {
            let changes = store.differences(&self.prefix, &self.reported);
            (self.resync || !changes.is_empty()).then_some((changes, Revision(store.newest), store.sound))
        })?;
        let Some((mut changes, newest, sound)) = found else {
            return Ok(None);
        };
        if !sound && planted("model: deliver half a commit") {
            changes.truncate(changes.len().div_ceil(2));
        }
        // Noted before it is told, and told without the mutex: `visit` may do what it likes.
        for (key, entry) in &changes {
            match entry {
                Some(entry) => self.reported.insert(key.clone(), entry.meta.modified),
                None => self.reported.remove(key),
            };
        }
        if std::mem::take(&mut self.resync) {
            visit(Event::Resync);
        }
        for (key, entry) in &changes {
            match entry {
                Some(entry) => visit(Event::Put { key, value: &entry.value, meta: entry.meta }),
                None if !sound && planted("model: watch skips a delete") => {}
                None => visit(Event::Delete { key }),
            }
        }
        visit(Event::Progress(newest));
        Ok(Some(newest))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        // No code of a caller runs under the mutex, and each call changes the store at one place: nothing is half done.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if planted("model: wake one of many") {
            self.changed.notify_one();
        } else {
            self.changed.notify_all();
        }
    }

    /// Looks until there is an answer, or `None` once the deadline has passed; a past deadline is one look.
    fn wait_until<T>(
        self: &Arc<Self>,
        deadline: &Deadline,
        mut look: impl FnMut(&Store) -> Option<T>,
    ) -> Result<Option<T>> {
        // Whoever cancels takes the mutex before waking, so it finds us before our look at the switch or asleep.
        // Registered outside the mutex, which wakers take.
        let _registered = deadline.cancel().map(|cancel| {
            let shared = self.clone();
            cancel.register(Box::new(move || {
                drop(shared.lock());
                shared.changed.notify_all();
            }))
        });
        let mut store = self.lock();
        loop {
            if let Some(answer) = look(&store) {
                return Ok(Some(answer));
            }
            if deadline.cancel().is_some_and(Cancel::is_cancelled) {
                return Err(Error::Cancelled);
            }
            store = match deadline.remaining() {
                None => self.changed.wait(store).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => self.changed.wait_timeout(store, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl AsRef<str> for ModelKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
