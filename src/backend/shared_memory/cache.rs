//! Copies of the leaves of a prefix and of their entries, each with the head it was read under, kept from one look to the next.

use std::collections::HashMap;

use super::key::Key;
use super::lease::{LeaseStatus, Probe};
use super::lookup::meta_of;
use super::node::{Node, Place};
use super::tree::{NODE, Tree, damaged, lower_bound};
use crate::backend::Meta;
use crate::clock::{Lease, Revision, Version};
use crate::error::Result;
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::Head;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::SeqCst;

/// A copy of one entry.
pub(super) struct EntryCopy {
    pub(super) key: Key,
    pub(super) place: Place,
    /// The head the copy was read under.
    pub(super) head: Head,
    pub(super) value: Vec<u8>,
    pub(super) meta: Meta,
    /// Whether there is a copy yet.
    pub(super) known: bool,
    /// It changed too often in the last round.
    pub(super) contended: bool,
    /// The revision at which the copy is known to be exact.
    pub(super) exact_at: u64,
    /// Creation and modification that the watcher has reported.
    pub(super) reported: Option<(Revision, Revision)>,
}

/// A copy of one leaf, with those of its entries that have the prefix.
pub(super) struct LeafCopy {
    pub(super) record: u32,
    pub(super) head: Head,
    pub(super) revision: u64,
    pub(super) incarnation: u64,
    bytes: Vec<u8>,
    pub(super) entries: Vec<EntryCopy>,
    /// The groups of its entries' records, each once.
    groups: Box<[u32]>,
    /// One of its entries is to be looked at in any case: there is no copy yet, it is contended, or it lives by a lease.
    pub(super) recheck: bool,
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
    pub(super) fn is_in(&self, filter: &impl RecordFilter) -> bool {
        self.groups.iter().any(|group| filter.includes(group * GROUP))
    }

    pub(super) fn needs_recheck(&self) -> bool {
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
    pub(super) stale: bool,
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
    pub(super) fn refresh(&mut self, tree: &Tree, filter: &impl RecordFilter) -> Result<bool> {
        if !self.stale {
            self.refresh_leaves(tree, filter)?;
        }
        if self.stale {
            self.walk(tree)?;
        }
        self.refresh_entries(tree, filter)?;
        if !self.stale {
            self.refresh_contended(tree)?;
        }
        Ok(!self.stale)
    }

    fn refresh_leaves(&mut self, tree: &Tree, filter: &impl RecordFilter) -> Result<()> {
        let mut bytes = Vec::new();
        let mut seen = Observed::NOTHING;
        let mut changed = false;
        for leaf in self.leaves.iter_mut().filter(|leaf| filter.includes(leaf.record)) {
            if tree.head(leaf.record) == leaf.head {
                continue;
            }
            tree.arena().read_into(leaf.record, Some(&mut bytes), &mut seen)?;
            let (old, new) = (Node::parse(&leaf.bytes), Node::parse(&bytes).filter(Node::is_checked));
            let same = match (old, new) {
                (Some(old), Some(new)) => {
                    seen.meta.kind == NODE
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
            let entries = entries_of(tree, &bytes, &self.prefix, &mut old)?;
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
    fn walk(&mut self, tree: &Tree) -> Result<()> {
        // Kept here, so that an error on the way loses nothing that was reported.
        for leaf in self.leaves.drain(..) {
            for entry in leaf.entries {
                self.detached.insert((entry.place.record, entry.place.incarnation), entry);
            }
        }
        tree.walk_leaves(&self.prefix, |leaf, _| {
            tree.validated(leaf)?;
            let entries = entries_of(tree, &leaf.bytes, &self.prefix, &mut self.detached)?;
            self.leaves.push(LeafCopy::of(leaf.record, &leaf.seen, leaf.bytes.clone(), entries));
            Ok(())
        })?;
        self.deleted.extend(self.detached.drain().map(|(_, entry)| entry).filter(|entry| entry.reported.is_some()));
        self.find_groups();
        self.stale = false;
        Ok(())
    }

    fn refresh_entries(&mut self, tree: &Tree, filter: &impl RecordFilter) -> Result<()> {
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.recheck || leaf.is_in(filter)) {
            (leaf.unreported, leaf.size) = (true, 0);
            for entry in &mut leaf.entries {
                let record = entry.place.record;
                let same = entry.known && (!filter.includes(record) || tree.head(record) == entry.head);
                if (!same || tree.has_ended(entry)?) && !entry.copy(tree)? {
                    // An entry and its leaf change in one commit.
                    if tree.head(leaf.record) == leaf.head {
                        let what = "an entry that the directory does not mean";
                        return Err(damaged(what, leaf.record, record.into()));
                    }
                    self.stale = true;
                }
                leaf.size += entry.value.len() as u64;
            }
            leaf.recheck = leaf.needs_recheck();
        }
        let bytes: u64 = self.leaves.iter().map(|leaf| leaf.size).sum();
        if bytes > tree.segment().size() {
            let what = "a directory with more values than the segment has room for";
            return Err(damaged(what, 0, bytes));
        }
        Ok(())
    }

    /// Entries that changed too often in the last round: each is in a leaf marked `recheck`.
    pub(super) fn contended_entries(&mut self) -> impl Iterator<Item = &mut EntryCopy> {
        let recheck = self.leaves.iter_mut().filter(|leaf| leaf.recheck);
        recheck.flat_map(|leaf| &mut leaf.entries).filter(|entry| entry.contended)
    }

    /// Whether there is an entry of this name.
    pub(super) fn has(&self, key: &Key) -> bool {
        let leaf = self.leaves.iter().find(|leaf| leaf.entries.last().is_some_and(|last| last.key >= *key));
        leaf.is_some_and(|leaf| leaf.entries.binary_search_by(|entry| entry.key.cmp(key)).is_ok())
    }

    /// Copies the entries once more that changed too often in the last round, right before R is read.
    fn refresh_contended(&mut self, tree: &Tree) -> Result<()> {
        let mut stale = false;
        for entry in self.contended_entries() {
            stale |= tree.head(entry.place.record) != entry.head && !entry.copy(tree)?;
        }
        self.stale |= stale;
        Ok(())
    }
}

/// The entries of a leaf with the prefix; known ones are taken out of `old`.
fn entries_of(
    tree: &Tree,
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
            if !tree.is_key(place.record) {
                let what = "an entry in a record that no key has";
                return Err(damaged(what, place.record, place.incarnation));
            }
            let known = old.remove(&(place.record, place.incarnation)).filter(|entry| entry.key.bytes() == name);
            Ok(known.unwrap_or_else(|| EntryCopy::unknown(tree, name, place)))
        })
        .collect()
}

impl EntryCopy {
    fn unknown(tree: &Tree, name: &[u8], place: Place) -> Self {
        // Others' bytes may be no UTF-8.
        let key = Key::new(&String::from_utf8_lossy(name), tree);
        key.remember(place, tree);
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

    /// Copies the entry as it is now; `false` if it is not there any more.
    pub(super) fn copy(&mut self, tree: &Tree) -> Result<bool> {
        let mut seen = Observed::NOTHING;
        self.exact_at = 0;
        if !tree.read_at(self.place, &mut self.value, &mut seen)? {
            return Ok(false);
        }
        (self.head, self.meta, self.known) = (seen.head, meta_of(&seen), true);
        Ok(!tree.has_ended(self)?)
    }
}

impl Tree {
    /// The head of a record, for comparing with one that was looked at.
    pub(super) fn head(&self, record: u32) -> Head {
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
}
