//! What a model holds under its mutex, and all that happens to it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use super::key::ModelKey;
use crate::backend::{Act, Meta, Op};
use crate::clock::{Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::Outcome;

/// How many deletions a model remembers.
pub(super) const REMEMBERED: usize = 1 << 17;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) newest: u64,
    pub(super) entries: BTreeMap<ModelKey, ModelEntry>,
    /// The deletions after `forgotten`, in order.
    deletions: VecDeque<Deletion>,
    /// Up to which revision deletions may have been forgotten.
    pub(super) forgotten: Revision,
    /// Those that are not over.
    leases: BTreeMap<Lease, Term>,
    granted: u64,
    /// How far the clock has been moved.
    pub(super) elapsed: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct ModelEntry {
    pub(super) value: Arc<[u8]>,
    pub(super) meta: Meta,
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
pub(super) type Change = (ModelKey, Option<ModelEntry>);

impl Store {
    /// Whether the condition of an operation holds.
    fn holds(&self, op: &Op<'_, ModelKey>) -> bool {
        let meta = self.entries.get(op.key).map(|entry| entry.meta);
        op.when.holds(meta.as_ref())
    }

    /// Judges the conditions and, if they hold, does what the operations say.
    pub(super) fn commit(&mut self, ops: &[Op<'_, ModelKey>]) -> Outcome {
        if !ops.iter().all(|op| self.holds(op)) {
            return Outcome::Conflict;
        }
        let revision = Revision(self.newest + 1);
        for op in ops {
            match op.act {
                Act::Put { value, lease } => self.put(revision, op.key, value, lease),
                Act::Delete => self.delete(revision, op.key),
                Act::Check => {}
            }
        }
        Outcome::Committed(Revision(self.newest))
    }

    fn put(&mut self, revision: Revision, key: &ModelKey, value: &[u8], lease: Option<Lease>) {
        self.newest = revision.0;
        let meta = match self.entries.get(key).map(|entry| entry.meta) {
            Some(meta) => Meta { modified: revision, version: Version(meta.version.0 + 1), lease, ..meta },
            None => Meta { created: revision, modified: revision, version: Version(1), lease },
        };
        self.entries.insert(key.clone(), ModelEntry { value: value.into(), meta });
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

    /// A lease that ends so much later.
    pub(super) fn grant(&mut self, time_to_live: Duration) -> Lease {
        // Nothing of an entry changes: a hole among the revisions, as other backends have them.
        self.newest += 1;
        self.granted += 1;
        let lease = Lease(self.granted);
        self.leases.insert(lease, Term { time_to_live, ends: self.elapsed + time_to_live });
        lease
    }

    /// Lets a lease that is not over last its whole time again; answers until when.
    pub(super) fn renew(&mut self, lease: Lease) -> Duration {
        let term = self.leases.get_mut(&lease).expect("a lease that was found good");
        term.ends = self.elapsed + term.time_to_live;
        term.ends
    }

    /// When a lease that is not over ends.
    pub(super) fn ends(&self, lease: Lease) -> Duration {
        self.leases[&lease].ends
    }

    /// Moves the clock; leases whose time has come end on the way.
    pub(super) fn advance(&mut self, to: Duration) {
        let next = |store: &Self| store.leases.iter().map(|(lease, term)| (term.ends, *lease)).min();
        while let Some((ends, lease)) = next(self).filter(|(ends, _)| *ends <= to) {
            self.elapsed = ends;
            self.end(lease);
        }
        self.elapsed = to;
    }

    /// Ends a lease that may be over: its entries go one by one, each with a revision of its own.
    pub(super) fn end(&mut self, lease: Lease) {
        if self.leases.remove(&lease).is_none() {
            return;
        }
        let bound = |entry: &ModelEntry| entry.meta.lease == Some(lease);
        let keys: Vec<_> = self.entries.iter().filter(|(_, entry)| bound(entry)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.delete(Revision(self.newest + 1), &key);
        }
    }

    /// Forgets the deletions up to now.
    pub(super) fn forget(&mut self) {
        self.forgotten = Revision(self.newest);
        self.deletions.clear();
    }

    /// The deletions that are remembered.
    #[cfg(test)]
    pub(super) fn deletions(&self) -> impl Iterator<Item = (Revision, &str)> {
        self.deletions.iter().map(|deletion| (deletion.at, deletion.key.as_ref()))
    }

    /// Refuses a lease that was never granted or is over.
    pub(super) fn check_lease(&self, lease: Lease) -> Result<()> {
        if lease.0 == 0 || lease.0 > self.granted {
            return Err(Error::UnknownLease { lease });
        }
        if !self.leases.contains_key(&lease) {
            return Err(Error::LeaseExpired { lease });
        }
        Ok(())
    }

    /// The same for all leases of a commit: unknown ones first.
    pub(super) fn check_leases(&self, ops: &[Op<'_, ModelKey>]) -> Result<()> {
        let faults = ops.iter().filter_map(|op| match op.act {
            Act::Put { lease: Some(lease), .. } => self.check_lease(lease).err(),
            _ => None,
        });
        faults.min_by_key(|fault| !matches!(fault, Error::UnknownLease { .. })).map_or(Ok(()), Err)
    }

    /// Copies the entries under a prefix, in the order of names, and the newest revision.
    pub(super) fn copy_of(&self, prefix: &str) -> (Vec<(ModelKey, ModelEntry)>, Revision) {
        let entries = self.under(prefix).map(|(key, entry)| (key.clone(), entry.clone()));
        (entries.collect(), Revision(self.newest))
    }

    /// The entries under a prefix, in the order of names.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a ModelKey, &'a ModelEntry)> {
        let from = self.entries.range::<str, _>((Included(prefix), Unbounded));
        from.take_while(move |(key, _)| key.as_ref().starts_with(prefix))
    }

    pub(super) fn changed_after(&self, key: &ModelKey, newer_than: Revision) -> bool {
        if let Some(entry) = self.entries.get(key) {
            return entry.meta.modified > newer_than;
        }
        // Where the history is gone, the answer that is never wrong is to have the caller read again.
        newer_than < self.forgotten
            || self.deletions.iter().rev().take_while(|deletion| deletion.at > newer_than).any(|d| d.key == *key)
    }

    /// What a watcher knows who knows the store just before `from`: the entries that existed then, and when those were
    /// modified that have not been since.
    pub(super) fn reported_before(&self, prefix: &str, from: Revision) -> BTreeMap<ModelKey, Revision> {
        let there = self.under(prefix).filter(|(_, entry)| entry.meta.created < from);
        let there = there.map(|(key, entry)| {
            let modified = entry.meta.modified;
            (key.clone(), if modified < from { modified } else { Revision(0) })
        });
        let gone = self.deletions.iter().filter(|deletion| deletion.created < from && from <= deletion.at);
        let gone = gone.filter(|deletion| deletion.key.as_ref().starts_with(prefix));
        gone.map(|deletion| (deletion.key.clone(), Revision(0))).chain(there).collect()
    }

    /// How the entries under a prefix differ from what has been reported, in the order of names.
    pub(super) fn differences(&self, prefix: &str, reported: &BTreeMap<ModelKey, Revision>) -> Vec<Change> {
        let gone = reported.keys().filter(|key| !self.entries.contains_key(*key)).map(|key| (key.clone(), None));
        let news = self.under(prefix).filter(|(key, entry)| reported.get(*key) != Some(&entry.meta.modified));
        let mut changes: Vec<_> = news.map(|(key, entry)| (key.clone(), Some(entry.clone()))).chain(gone).collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    }
}
