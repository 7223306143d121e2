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
//! watch can begin in the past, until [`Model::forget_history`] or [`REMEMBERED`] of them.
//!
//! Leases end when [`Model::advance`] moves the clock past their end, and at no other time. Deadlines are of the real
//! clock: a test waits for real.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound::{Included, Unbounded};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Act, Backend, Event, Limits, Meta, Op, Watch, When, check_name, check_ops};
use crate::clock::{Cancel, Deadline, Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::Outcome;
use crate::mutant::planted;

/// How many deletions a model remembers.
const REMEMBERED: usize = 1 << 17;

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

#[derive(Debug, Default)]
struct Store {
    newest: u64,
    entries: BTreeMap<ModelKey, Entry>,
    /// The deletions after `forgotten`, in order.
    deletions: VecDeque<Deletion>,
    /// Up to which revision deletions may have been forgotten.
    forgotten: Revision,
    /// Those that are not over.
    leases: BTreeMap<Lease, Term>,
    granted: u64,
    /// How far the clock has been moved.
    elapsed: Duration,
    /// No bug is planted in this one.
    sound: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Arc<[u8]>,
    meta: Meta,
}

/// The end of an incarnation.
#[derive(Debug)]
struct Deletion {
    at: Revision,
    key: ModelKey,
    created: Revision,
}

#[derive(Debug)]
struct Term {
    time_to_live: Duration,
    /// When it ends, as time elapsed.
    ends: Duration,
}

/// What a batch says of one entry: its state, or that it is gone.
type Change = (ModelKey, Option<Entry>);

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
    pub(crate) fn sound() -> Self {
        Self::build(Self::LIMITS.value, true)
    }

    fn build(bytes: usize, sound: bool) -> Self {
        let shared = Shared {
            store: Mutex::new(Store { sound, ..Store::default() }),
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
        while let Some((ends, lease)) =
            store.leases.iter().map(|(lease, term)| (term.ends, *lease)).min().filter(|(ends, _)| *ends <= to)
        {
            store.elapsed = ends;
            store.end(lease);
        }
        store.elapsed = to;
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
        let mut store = self.shared.lock();
        store.forgotten = Revision(store.newest);
        store.deletions.clear();
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
            (found, Revision(store.newest))
        };
        let (mut found, newest) = look();
        if self.shared.lock().planted("model: range looks twice") {
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
        let one_by_one = store.planted("model: judge the conditions one by one");
        if !one_by_one && !ops.iter().all(|op| store.holds(op)) {
            return Ok(Outcome::Conflict);
        }
        let revision = Revision(store.newest + 1);
        for op in ops {
            if one_by_one && !store.holds(op) {
                return Ok(Outcome::Conflict);
            }
            match op.act {
                Act::Put { value, lease } => store.put(revision, op.key, value, lease),
                Act::Delete => store.delete(revision, op.key),
                Act::Check => {}
            }
        }
        let newest = Revision(store.newest);
        drop(store);
        self.shared.wake();
        Ok(Outcome::Committed(newest))
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
        // Nothing of an entry changes: a hole among the revisions, as other backends have them.
        store.newest += 1;
        store.granted += 1;
        let lease = Lease(store.granted);
        let ends = store.elapsed + time_to_live;
        store.leases.insert(lease, Term { time_to_live, ends });
        Ok(lease)
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        let mut store = self.shared.lock();
        store.check_lease(lease)?;
        let elapsed = store.elapsed;
        let term = store.leases.get_mut(&lease).expect("a lease that was found good");
        term.ends = elapsed + term.time_to_live;
        Ok(self.shared.base + term.ends)
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
            (self.resync || !changes.is_empty()).then(|| (changes, Revision(store.newest), store.sound))
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

impl Store {
    fn planted(&self, bug: &str) -> bool {
        !self.sound && planted(bug)
    }

    /// Whether the condition of an operation holds.
    fn holds(&self, op: &Op<'_, ModelKey>) -> bool {
        let meta = self.entries.get(op.key).map(|entry| entry.meta);
        if let (When::ModifiedAt(at), Some(meta)) = (op.when, meta)
            && self.planted("model: any revision of the incarnation will do")
        {
            return (meta.created..=meta.modified).contains(&at);
        }
        op.when.holds(meta.as_ref())
    }

    fn put(&mut self, revision: Revision, key: &ModelKey, value: &[u8], lease: Option<Lease>) {
        self.newest = revision.0;
        let before = self.entries.get(key).map(|entry| entry.meta);
        let mut meta = match before {
            Some(meta) => Meta { modified: revision, version: Version(meta.version.0 + 1), lease, ..meta },
            None => Meta { created: revision, modified: revision, version: Version(1), lease },
        };
        if self.planted("model: a version that restarts") && before.is_some_and(|meta| meta.lease != lease) {
            meta.version = Version(1);
        }
        if self.planted("model: created does not grow")
            && let Some(last) = self.deletions.iter().rfind(|deletion| deletion.key == *key)
        {
            meta.created = last.created;
        }
        if self.planted("model: a put keeps the lease") {
            meta.lease = lease.or(before.and_then(|meta| meta.lease));
        }
        self.entries.insert(key.clone(), Entry { value: value.into(), meta });
    }

    fn delete(&mut self, revision: Revision, key: &ModelKey) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.newest = revision.0;
        self.deletions.push_back(Deletion { at: revision, key: key.clone(), created: entry.meta.created });
        if self.deletions.len() > REMEMBERED {
            self.forgotten = self.deletions.pop_front().map_or(self.forgotten, |oldest| oldest.at);
        }
    }

    /// Ends a lease that may be over: its entries go one by one, each with a revision of its own.
    fn end(&mut self, lease: Lease) {
        if self.leases.remove(&lease).is_none() || self.planted("model: keep entries of a dead lease") {
            return;
        }
        let bound = |entry: &Entry| entry.meta.lease == Some(lease);
        let keys: Vec<_> = self.entries.iter().filter(|(_, entry)| bound(entry)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.delete(Revision(self.newest + 1), &key);
        }
    }

    /// Refuses a lease that was never granted or is over.
    fn check_lease(&self, lease: Lease) -> Result<()> {
        if lease.0 == 0 || lease.0 > self.granted {
            return Err(Error::UnknownLease { lease });
        }
        if !self.leases.contains_key(&lease) {
            return Err(Error::LeaseExpired { lease });
        }
        Ok(())
    }

    /// The same for all leases of a commit: unknown ones first.
    fn check_leases(&self, ops: &[Op<'_, ModelKey>]) -> Result<()> {
        if self.planted("model: put under any lease") {
            return Ok(());
        }
        let faults = ops.iter().filter_map(|op| match op.act {
            Act::Put { lease: Some(lease), .. } => self.check_lease(lease).err(),
            _ => None,
        });
        faults.min_by_key(|fault| !matches!(fault, Error::UnknownLease { .. })).map_or(Ok(()), Err)
    }

    /// The entries under a prefix, in the order of names.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a ModelKey, &'a Entry)> {
        let from = self.entries.range::<str, _>((Included(prefix), Unbounded));
        from.take_while(move |(key, _)| key.0.starts_with(prefix))
    }

    fn changed_after(&self, key: &ModelKey, newer_than: Revision) -> bool {
        if let Some(entry) = self.entries.get(key) {
            return entry.meta.modified > newer_than;
        }
        if self.planted("model: wait forgets a delete") {
            return false;
        }
        // Where the history is gone, the answer that is never wrong is to have the caller read again.
        newer_than < self.forgotten
            || self.deletions.iter().rev().take_while(|deletion| deletion.at > newer_than).any(|d| d.key == *key)
    }

    /// What a watcher knows who knows the store just before `from`: the entries that existed then, and when those were
    /// modified that have not been since.
    fn reported_before(&self, prefix: &str, from: Revision) -> BTreeMap<ModelKey, Revision> {
        let there = self.under(prefix).filter(|(_, entry)| entry.meta.created < from);
        let there = there.map(|(key, entry)| {
            let modified = entry.meta.modified;
            (key.clone(), if modified < from { modified } else { Revision(0) })
        });
        let gone = self.deletions.iter().filter(|deletion| deletion.created < from && from <= deletion.at);
        let gone = gone.filter(|deletion| deletion.key.0.starts_with(prefix));
        gone.map(|deletion| (deletion.key.clone(), Revision(0))).chain(there).collect()
    }

    /// How the entries under a prefix differ from what has been reported, in the order of names.
    fn differences(&self, prefix: &str, reported: &BTreeMap<ModelKey, Revision>) -> Vec<Change> {
        let gone = reported.keys().filter(|key| !self.entries.contains_key(*key)).map(|key| (key.clone(), None));
        let news = self.under(prefix).filter(|(key, entry)| reported.get(*key) != Some(&entry.meta.modified));
        let mut changes: Vec<_> = news.map(|(key, entry)| (key.clone(), Some(entry.clone()))).chain(gone).collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
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
