//! Many entries as they were at one moment, without asking anybody to wait.
//!
//! A snapshot is a copy of the leaves of a prefix and of their entries, each with the head it was read under. After the
//! copying, R is read from the clock, and then every head is looked at again. What is found tells which value was there at
//! R, because a change is published first and numbered afterwards (P6):
//!
//! * the head is the same: the copy was current at R;
//! * **a block with a revision up to R is under it** now: whatever replaces it is numbered later than R was read, so it is
//!   the one at R, and is copied;
//! * **the count is one further**, and the block has a later revision (or the record is absent, and the leaf says that the
//!   entry was there at R): the one before it was current at R, and that is the copy;
//! * else something in between was missed: it is copied again, and there is another R.
//!
//! So a key may change once while its neighbours are looked at without costing a round; only keys that change twice within
//! a round do. Those are copied last before the next R is read and looked at first after it, so that their neighbours do not
//! matter to them. (The first design took R only from heads that had not moved at all; with two writers at work among 10,000
//! keys that moment never came without asking them to wait.) If three rounds in a row have failed, a snapshot of up to 32
//! records becomes a commit that only checks them, which is lock-free; the reader of a larger one announces itself, and
//! writers give way for a bounded time: see `Arena::announce`.

use std::collections::HashMap;

use super::directory::{Path, lower_bound};
use super::lease::{LeaseStatus, Probe};
use super::node::{Node, Place};
use super::{Key, SharedMemory, meta_of};
use crate::backend::Meta;
use crate::clock::{Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::Head;
use crate::memory::liveness::reader_gate::ReaderGate;
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{Acquire, SeqCst};

/// Rounds before a reader asks writers to give way.
const ROUNDS_BEFORE_YIELD: u32 = 3;
/// Rounds before it gives up: with writers giving way, one or two are enough.
const ROUNDS: u32 = 10_000;
/// Records of a snapshot that are checked by a commit.
const CHECKED: usize = 32;

/// A copy of one entry.
pub(super) struct EntryCopy {
    pub(super) key: Key,
    pub(super) place: Place,
    /// The head the copy was read under.
    head: Head,
    pub(super) value: Vec<u8>,
    pub(super) meta: Meta,
    /// Whether there is a copy yet.
    known: bool,
    /// It changed too often in the last round.
    contended: bool,
    /// The revision at which the copy is known to be exact.
    exact_at: u64,
    /// Creation and modification that the watcher has reported.
    pub(super) reported: Option<(Revision, Revision)>,
}

/// A copy of one leaf, with those of its entries that have the prefix.
pub(super) struct LeafCopy {
    pub(super) record: u32,
    head: Head,
    pub(super) revision: u64,
    incarnation: u64,
    bytes: Vec<u8>,
    pub(super) entries: Vec<EntryCopy>,
    /// The groups of its entries' records, each once.
    groups: Box<[u32]>,
    /// One of its entries is to be looked at in any case: there is no copy yet, it is contended, or it lives by a lease.
    recheck: bool,
    /// One of its entries may differ from what the watcher has reported.
    pub(super) unreported: bool,
    /// Of all values, when they were last looked at.
    size: u64,
}

impl LeafCopy {
    /// After the leaf was read: what its entries were, nobody knows.
    fn of(record: u32, seen: &Observed, bytes: Vec<u8>, entries: Vec<EntryCopy>) -> Self {
        let (head, revision, incarnation) = (seen.head, seen.modified(), seen.meta.incarnation);
        let groups = groups_of(&entries);
        Self { record, head, revision, incarnation, bytes, entries, groups, recheck: true, unreported: true, size: 0 }
    }

    /// Whether something may have happened to one of its entries.
    fn is_in(&self, filter: &impl RecordFilter) -> bool {
        self.groups.iter().any(|group| filter.includes(group * GROUP))
    }

    fn needs_recheck(&self) -> bool {
        self.entries.iter().any(|entry| !entry.known || entry.contended || entry.meta.lease.is_some())
    }
}

fn groups_of(entries: &[EntryCopy]) -> Box<[u32]> {
    let mut groups: Vec<u32> = entries.iter().map(|entry| entry.place.record / GROUP).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}

/// What of a snapshot is to be looked at.
pub(super) trait RecordFilter {
    /// Whether something may have happened to this record.
    fn includes(&self, record: u32) -> bool;
}

/// Everything.
pub(super) struct All;

impl RecordFilter for All {
    fn includes(&self, _record: u32) -> bool {
        true
    }
}

/// The entries of a prefix as they are, or were at the last moment that was found.
pub(super) struct PrefixSnapshot {
    prefix: Box<[u8]>,
    pub(super) leaves: Vec<LeafCopy>,
    /// Reported entries whose leaf no longer has them, until somebody reports them.
    pub(super) deleted: Vec<EntryCopy>,
    /// Entries while the leaves are read anew.
    detached: HashMap<(u32, u64), EntryCopy>,
    /// The groups of all its records, ascending.
    groups: Vec<u32>,
    /// The leaves are not known, or not to be relied on.
    stale: bool,
}

impl PrefixSnapshot {
    /// What it is a snapshot of, for errors.
    pub(super) fn what(&self) -> String {
        format!("what begins with {:?}", String::from_utf8_lossy(&self.prefix))
    }

    pub(super) fn new(prefix: &str) -> Self {
        let (leaves, deleted, detached, groups) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        Self { prefix: prefix.as_bytes().into(), leaves, deleted, detached, groups, stale: true }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &EntryCopy> {
        self.leaves.iter().flat_map(|leaf| &leaf.entries)
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut EntryCopy> {
        self.leaves.iter_mut().flat_map(|leaf| &mut leaf.entries)
    }

    /// The groups of every record the snapshot depends on.
    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }

    fn find_groups(&mut self) {
        let groups = || self.leaves.iter().flat_map(|leaf| leaf.groups.iter().copied().chain([leaf.record / GROUP]));
        // As bits: there are many, and they are wanted in order.
        let mut marked = vec![0_u64; groups().max().map_or(0, |most| most as usize / 64 + 1)];
        groups().for_each(|group| marked[group as usize / 64] |= 1 << (group % 64));
        let all = (0..marked.len() as u32 * 64).filter(|group| marked[*group as usize / 64] >> (group % 64) & 1 != 0);
        self.groups = all.collect();
    }

    /// Reads again what may have changed; `false` if leaves changed under it so that it must be repeated.
    fn refresh(&mut self, store: &SharedMemory, filter: &impl RecordFilter) -> Result<bool> {
        if !self.stale {
            self.refresh_leaves(store, filter)?;
        }
        if self.stale {
            self.walk(store)?;
        }
        self.refresh_entries(store, filter)?;
        if !self.stale {
            self.refresh_contended(store)?;
        }
        Ok(!self.stale)
    }

    fn refresh_leaves(&mut self, store: &SharedMemory, filter: &impl RecordFilter) -> Result<()> {
        let mut bytes = Vec::new();
        let mut seen = Observed::NOTHING;
        let mut changed = false;
        for leaf in self.leaves.iter_mut().filter(|leaf| filter.includes(leaf.record)) {
            if store.head(leaf.record) == leaf.head {
                continue;
            }
            store
                .arena()
                .read_into(leaf.record, Some(&mut bytes), &mut seen)
                .map_err(|error| store.directory.explain(error, leaf.record))?;
            let (old, new) = (Node::parse(&leaf.bytes), Node::parse(&bytes).filter(Node::is_checked));
            let same = match (old, new) {
                (Some(old), Some(new)) => {
                    seen.meta.kind == super::directory::NODE
                        && seen.meta.incarnation == leaf.incarnation
                        && new.level() == 0
                        && (old.low(), old.high()) == (new.low(), new.high())
                }
                _ => false,
            };
            if !same {
                self.stale = true;
                return Ok(());
            }
            let mut old = HashMap::new();
            for entry in leaf.entries.drain(..) {
                old.insert((entry.place.record, entry.place.incarnation), entry);
            }
            let entries = entries_of(store, &bytes, &self.prefix, &mut old)?;
            *leaf = LeafCopy::of(leaf.record, &seen, std::mem::take(&mut bytes), entries);
            self.deleted.extend(old.into_values().filter(|entry| entry.reported.is_some()));
            changed = true;
        }
        if changed {
            self.find_groups();
        }
        Ok(())
    }

    /// Reads all leaves of the prefix, in order; copies of entries that are still there are kept.
    fn walk(&mut self, store: &SharedMemory) -> Result<()> {
        // Kept here, so that an error on the way loses nothing that was reported.
        for leaf in self.leaves.drain(..) {
            for entry in leaf.entries {
                self.detached.insert((entry.place.record, entry.place.incarnation), entry);
            }
        }
        let mut path = Path::default();
        let mut from = lower_bound(&self.prefix).to_vec();
        for leaves in 0.. {
            if leaves > store.directory.most_leaves() {
                return Err(store.directory.endless());
            }
            store.directory.descend(&from, &mut path)?;
            let leaf = path.leaf();
            store.directory.validated(leaf)?;
            let entries = entries_of(store, &leaf.bytes, &self.prefix, &mut self.detached)?;
            self.leaves.push(LeafCopy::of(leaf.record, &leaf.seen, leaf.bytes.clone(), entries));
            let node = leaf.node();
            let next = node.high().filter(|high| *high > from.as_slice() && may_have(high, &self.prefix));
            let Some(next) = next else { break };
            from = next.to_vec();
        }
        self.deleted.extend(self.detached.drain().map(|(_, entry)| entry).filter(|entry| entry.reported.is_some()));
        self.find_groups();
        self.stale = false;
        Ok(())
    }

    fn refresh_entries(&mut self, store: &SharedMemory, filter: &impl RecordFilter) -> Result<()> {
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.recheck || leaf.is_in(filter)) {
            (leaf.unreported, leaf.size) = (true, 0);
            for entry in &mut leaf.entries {
                let record = entry.place.record;
                let same = entry.known && (!filter.includes(record) || store.head(record) == entry.head);
                if (!same || store.has_ended(entry)?) && !entry.copy(store)? {
                    // An entry and its leaf change in one commit.
                    if store.head(leaf.record) == leaf.head {
                        let what = "an entry that the directory does not mean";
                        return Err(store.directory.damaged(what, leaf.record, record.into()));
                    }
                    self.stale = true;
                }
                leaf.size += entry.value.len() as u64;
            }
            leaf.recheck = leaf.needs_recheck();
        }
        let bytes: u64 = self.leaves.iter().map(|leaf| leaf.size).sum();
        if bytes > store.segment().size() {
            let what = "a directory with more values than the segment has room for";
            return Err(store.directory.damaged(what, 0, bytes));
        }
        Ok(())
    }

    /// Entries that changed too often in the last round: each is in a leaf marked `recheck`.
    fn contended_entries(&mut self) -> impl Iterator<Item = &mut EntryCopy> {
        let recheck = self.leaves.iter_mut().filter(|leaf| leaf.recheck);
        recheck.flat_map(|leaf| &mut leaf.entries).filter(|entry| entry.contended)
    }

    /// Whether there is an entry of this name.
    pub(super) fn has(&self, key: &Key) -> bool {
        let leaf = self.leaves.iter().find(|leaf| leaf.entries.last().is_some_and(|last| last.key >= *key));
        leaf.is_some_and(|leaf| leaf.entries.binary_search_by(|entry| entry.key.cmp(key)).is_ok())
    }

    /// Copies the entries once more that changed too often in the last round, right before R is read.
    fn refresh_contended(&mut self, store: &SharedMemory) -> Result<()> {
        let mut stale = false;
        for entry in self.contended_entries() {
            stale |= store.head(entry.place.record) != entry.head && !entry.copy(store)?;
        }
        self.stale |= stale;
        Ok(())
    }

    /// Whether every copy that `filter` includes is what was there at `revision`, which was read from the clock after the copying.
    /// What is not is read again.
    pub(super) fn is_exact_at(
        &mut self,
        store: &SharedMemory,
        revision: u64,
        filter: &impl RecordFilter,
    ) -> Result<bool> {
        let mut exact = true;
        let mut seen = Observed::NOTHING;
        // Those that change most are looked at first.
        for entry in self.contended_entries() {
            if filter.includes(entry.place.record)
                && entry.exact_at != revision
                && entry.is_exact_at(store, revision)?
            {
                entry.exact_at = revision;
            }
        }
        for leaf in self.leaves.iter_mut().filter(|leaf| filter.includes(leaf.record)) {
            if store.head(leaf.record) == leaf.head {
                continue;
            }
            store
                .arena()
                .read_into(leaf.record, None, &mut seen)
                .map_err(|error| store.directory.explain(error, leaf.record))?;
            if seen.meta.incarnation == leaf.incarnation && seen.modified() == leaf.revision && !seen.head.is_absent() {
                // A commit that only checked it has put the same content back.
                leaf.head = seen.head;
                continue;
            }
            // Nothing tells when an absent leaf was merged away.
            exact &= !seen.head.is_absent() && follows(&seen, leaf.head, revision);
        }
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.is_in(filter)) {
            leaf.unreported = true;
            for entry in &mut leaf.entries {
                let held = filter.includes(entry.place.record) && entry.exact_at != revision;
                if held && !entry.is_exact_at(store, revision)? {
                    entry.contended = true;
                    exact = false;
                }
            }
            leaf.recheck |= leaf.needs_recheck();
        }
        Ok(exact && !self.stale)
    }
}

/// Whether what was seen is the very next change after `head`, and later than `revision`.
fn follows(seen: &Observed, head: Head, revision: u64) -> bool {
    let next = head.next(0).count() == seen.head.count();
    next && (seen.head.is_absent() || seen.revision > revision)
}

/// Whether a name from `high` on can begin with the prefix.
fn may_have(high: &[u8], prefix: &[u8]) -> bool {
    high <= prefix || high.starts_with(prefix)
}

/// The entries of a leaf with the prefix; known ones are taken out of `old`.
fn entries_of(
    store: &SharedMemory,
    bytes: &[u8],
    prefix: &[u8],
    old: &mut HashMap<(u32, u64), EntryCopy>,
) -> Result<Vec<EntryCopy>> {
    let Some(node) = Node::parse(bytes) else { return Ok(Vec::new()) };
    // Hidden names are nobody's, whatever the prefix.
    let low = lower_bound(prefix).max(lower_bound(b""));
    let of_prefix = node.entries().filter(|(name, _)| *name >= low && name.starts_with(prefix));
    of_prefix
        .map(|(name, place)| {
            if !store.directory.is_key(place.record) {
                let what = "an entry in a record that no key has";
                return Err(store.directory.damaged(what, place.record, place.incarnation));
            }
            let known = old.remove(&(place.record, place.incarnation)).filter(|entry| entry.key.bytes() == name);
            Ok(known.unwrap_or_else(|| EntryCopy::unknown(store, name, place)))
        })
        .collect()
}

impl EntryCopy {
    fn unknown(store: &SharedMemory, name: &[u8], place: Place) -> Self {
        // Others' bytes may be no UTF-8.
        let key = Key::new(&String::from_utf8_lossy(name), &store.directory);
        key.remember(place, &store.directory);
        let (created, modified, version) = (Revision(0), Revision(0), Version(0));
        let meta = Meta { created, modified, version, lease: None };
        Self {
            key,
            place,
            head: Head::default(),
            value: Vec::new(),
            meta,
            known: false,
            contended: false,
            exact_at: 0,
            reported: None,
        }
    }

    /// Whether the copy is what was there at `revision`; copies it anew where that helps.
    fn is_exact_at(&mut self, store: &SharedMemory, revision: u64) -> Result<bool> {
        let record = self.place.record;
        // One that was copied after R was read says nothing of R.
        if self.meta.modified.0 > revision {
            return Ok(false);
        }
        if store.head(record) == self.head {
            return Ok(true);
        }
        let mut seen = Observed::NOTHING;
        store.arena().read_into(record, None, &mut seen).map_err(|error| store.directory.explain(error, record))?;
        let same_value = seen.meta.incarnation == self.place.incarnation && seen.modified() == self.meta.modified.0;
        if !seen.head.is_absent() && same_value {
            // A commit that only checked it has put the same block back.
            self.head = seen.head;
            return Ok(true);
        }
        // Copied anew, and its revision is not past R: then it is the one that was there at R.
        Ok(follows(&seen, self.head, revision) || self.copy(store)? && self.meta.modified.0 <= revision)
    }

    /// Copies the entry as it is now; `false` if it is not there any more.
    fn copy(&mut self, store: &SharedMemory) -> Result<bool> {
        let mut seen = Observed::NOTHING;
        self.exact_at = 0;
        if !store.read_at(self.place, &mut self.value, &mut seen)? {
            return Ok(false);
        }
        (self.head, self.meta, self.known) = (seen.head, meta_of(&seen), true);
        Ok(!store.has_ended(self)?)
    }
}

impl SharedMemory {
    /// The head of a record, for comparing with one that was looked at.
    fn head(&self, record: u32) -> Head {
        Head(self.arena().record(record).head.load(SeqCst))
    }

    /// Whether an entry lived by a lease that is over. It is removed then, before anybody is told that it is gone.
    fn has_ended(&self, entry: &EntryCopy) -> Result<bool> {
        let Some(lease) = entry.meta.lease.filter(|_| entry.known) else { return Ok(false) };
        if !self.is_over(lease)? {
            return Ok(false);
        }
        self.with_lane(|lane| match self.lease_status(lane, lease, Probe::Clock)? {
            LeaseStatus::Alive(_) => Ok(false),
            _ => {
                self.remove_dead(lane, entry.key.bytes(), entry.place, Lease(lease.0))?;
                Ok(true)
            }
        })
    }

    /// Reads R and the snapshot until both agree; everybody's changes up to R are in it, none after.
    pub(super) fn agree(&self, snapshot: &mut PrefixSnapshot, filter: &impl RecordFilter) -> Result<Revision> {
        let mut announcement: Option<ReaderGate<'_>> = None;
        for round in 0..ROUNDS {
            self.segment().inner.check()?;
            // Writers give way for a limited time only.
            if announcement.as_ref().is_some_and(|announcement| !announcement.is_closed()) {
                announcement = None;
            }
            if round >= ROUNDS_BEFORE_YIELD && announcement.is_none() {
                announcement = self.arena().reader_gate(self.segment().inner.host);
            }
            if !snapshot.refresh(self, filter)? {
                continue;
            }
            if round >= ROUNDS_BEFORE_YIELD
                && let Some(revision) = self.check_all(snapshot)?
            {
                return Ok(revision);
            }
            let revision = self.arena().clock().load(Acquire);
            if snapshot.is_exact_at(self, revision, filter)? {
                return Ok(Revision(revision));
            }
        }
        Err(Error::Outrun { what: snapshot.what(), rounds: ROUNDS.into() })
    }

    /// A commit that checks every head of a small snapshot: where it takes place, the snapshot is exact.
    fn check_all(&self, snapshot: &PrefixSnapshot) -> Result<Option<Revision>> {
        let records = snapshot.leaves.len() + snapshot.entries().count();
        if records > CHECKED {
            return Ok(None);
        }
        let done = self.with_lane(|lane| {
            lane.begin_commit();
            snapshot.leaves.iter().for_each(|leaf| lane.stage_check(leaf.record, leaf.head));
            snapshot.entries().for_each(|entry| lane.stage_check(entry.place.record, entry.head));
            let done = lane.commit(self.arena());
            lane.end_commit(self.arena());
            done.map_err(|error| self.directory.explain(error, 0))
        });
        match done {
            Ok(Published::Won(revision)) => Ok(Some(Revision(revision))),
            // Without a lane, or inside an update of this thread, it goes on without.
            Ok(Published::Lost) | Err(Error::Full { .. } | Error::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`Backend::range`].
    pub(super) fn range_at_once(&self, prefix: &str, visit: &mut dyn FnMut(Key, &[u8], Meta)) -> Result<Revision> {
        let mut snapshot = PrefixSnapshot::new(prefix);
        let revision = self.agree(&mut snapshot, &All)?;
        for entry in snapshot.entries() {
            visit(entry.key.clone(), &entry.value, entry.meta);
        }
        Ok(revision)
    }
}

#[cfg(test)]
mod tests;
