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

mod key;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::store::Store;
use super::monitor::Monitor;
use super::{Backend, Limits, Meta, Op, check_name, check_ops};
use crate::clock::{Deadline, Lease, Revision};
use crate::error::{Error, Result};
use crate::memory::Outcome;

pub use self::key::ModelKey;
pub use self::watch::ModelWatch;

/// A store in this process's memory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Model {
    store: Arc<Monitor<Store>>,
    /// The moment its clock began at.
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
        let value_limit = bytes.min(Self::LIMITS.value);
        Self { store: Monitor::new(Store::default()), base: Instant::now(), value_limit }
    }

    /// Moves the clock. Leases whose time has come end on the way, in the order of their ends.
    ///
    /// # Panics
    /// If the clock would move past what an [`Instant`] can say.
    pub fn advance(&self, time: Duration) {
        let mut store = self.store.lock();
        let to = store.elapsed.checked_add(time).expect("the clock's end");
        // With room for the longest lease, so that no renewal can meet the end.
        self.base.checked_add(to + Self::LIMITS.longest_lease).expect("the clock's end");
        store.advance(to);
        drop(store);
        self.store.notify_all();
    }

    /// Ends a lease as the death of the process that keeps it would: at once, without its doing. Nothing if it is over.
    pub fn kill_owner(&self, lease: Lease) {
        self.store.lock().end(lease);
        self.store.notify_all();
    }

    /// Forgets which entries have been deleted up to now: a watch from the past begins with [`Event::Resync`](super::Event::Resync).
    pub fn forget_history(&self) {
        self.store.lock().forget();
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
        Ok(ModelKey::new(name))
    }

    fn read(&self, key: &ModelKey, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        into.clear();
        let store = self.store.lock();
        let entry = store.entries.get(key);
        if let Some(entry) = entry {
            into.extend_from_slice(&entry.value);
        }
        Ok((entry.map(|entry| entry.meta), Revision(store.newest)))
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(ModelKey, &[u8], Meta)) -> Result<Revision> {
        // Copied, so that the mutex is free when `visit` runs.
        let (found, newest) = self.store.lock().copy_of(prefix);
        for (key, entry) in found {
            visit(key, &entry.value, entry.meta);
        }
        Ok(newest)
    }

    fn commit(&self, ops: &[Op<'_, ModelKey>]) -> Result<Outcome> {
        check_ops(ops, &Self::LIMITS, self.value_limit)?;
        let mut store = self.store.lock();
        store.check_leases(ops)?;
        let outcome = store.commit(ops);
        drop(store);
        self.store.notify_all();
        Ok(outcome)
    }

    fn wait(&self, key: &ModelKey, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        let changed = self.store.wait(deadline, |store| store.changed_after(key, newer_than).then_some(()))?;
        Ok(changed.is_some())
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<ModelWatch> {
        let store = self.store.lock();
        let newest = Revision(store.newest);
        if from.0 > newest.0 + 1 {
            return Err(Error::FutureRevision { asked: from, newest });
        }
        let resync = from <= store.forgotten;
        let reported = if resync { BTreeMap::new() } else { store.reported_before(prefix, from) };
        Ok(ModelWatch::new(&self.store, prefix, resync, reported))
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        let (shortest, longest) = (Self::LIMITS.shortest_lease, Self::LIMITS.longest_lease);
        if !(shortest..=longest).contains(&time_to_live) {
            return Err(Error::TimeToLive { asked: time_to_live, shortest, longest });
        }
        let mut store = self.store.lock();
        Ok(store.grant(time_to_live))
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        let mut store = self.store.lock();
        store.check_lease(lease)?;
        Ok(self.base + store.renew(lease))
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        let store = self.store.lock();
        store.check_lease(lease)?;
        Ok(self.base + store.ends(lease))
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        let mut store = self.store.lock();
        store.check_lease(lease)?;
        store.end(lease);
        drop(store);
        self.store.notify_all();
        Ok(())
    }

    fn now(&self) -> Instant {
        self.base + self.store.lock().elapsed
    }
}
