//! Many entries as they were at one moment, without asking anybody to wait.
//!
//! A picture is a copy of the leaves of a prefix and of their entries, each with the head it was read under. After the
//! copying, R is read from the clock, and then every head is looked at again. What is found tells which value was there at
//! R, because a change is published first and numbered afterwards (P6):
//!
//! * the head is the same: the copy was current at R;
//! * **a block with a revision up to R is under it** now: whatever replaces it is numbered later than R was read, so it is
//!   the one at R, and is copied;
//! * **the stamp is one further**, and the block has a later revision (or the record is absent, and the leaf says that the
//!   entry was there at R): the one before it was current at R, and that is the copy;
//! * else something in between was missed: it is copied again, and there is another R.
//!
//! So a key may change once while its neighbours are looked at without costing a round; only keys that change twice within
//! a round do. (The first design took R only from heads that had not moved at all; with two writers at work among 10,000
//! keys that moment never came without asking them to wait.) If three rounds in a row have failed, the reader announces
//! itself and writers give way for a bounded time: see `Arena::announce`.

use std::collections::HashMap;

use super::directory::{Path, lower_bound};
use super::lease::{Probe, Standing};
use super::node::{Node, Place};
use super::{Key, SharedMemory, meta_of};
use crate::backend::Meta;
use crate::clock::{Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::atomics::Ordering::{Acquire, SeqCst};
use crate::memory::look::Seen;
use crate::memory::word::Head;
use crate::mutant::planted;

/// Rounds before a reader asks writers to give way.
const PATIENCE: u32 = 3;
/// Rounds before it gives up: with writers giving way, one or two are enough.
const ROUNDS: u32 = 10_000;

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
    /// Creation and modification that a watcher was told of.
    pub(super) told: Option<(Revision, Revision)>,
}

/// A copy of one leaf, with those of its entries that have the prefix.
pub(super) struct LeafCopy {
    pub(super) record: u32,
    head: Head,
    pub(super) revision: u64,
    stamp: u64,
    bytes: Vec<u8>,
    pub(super) entries: Vec<EntryCopy>,
}

/// What of a picture is to be looked at.
pub(super) trait Choice {
    /// Whether something may have happened to this record.
    fn holds(&self, record: u32) -> bool;
}

/// Everything.
pub(super) struct All;

impl Choice for All {
    fn holds(&self, _record: u32) -> bool {
        true
    }
}

/// The entries of a prefix as they are, or were at the last moment that was found.
pub(super) struct Picture {
    prefix: Box<[u8]>,
    pub(super) leaves: Vec<LeafCopy>,
    /// Told entries whose leaf no longer has them, until somebody reports them.
    pub(super) gone: Vec<EntryCopy>,
    /// The leaves are not known, or not to be relied on.
    stale: bool,
}

impl Picture {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().into(), leaves: Vec::new(), gone: Vec::new(), stale: true }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &EntryCopy> {
        self.leaves.iter().flat_map(|leaf| &leaf.entries)
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut EntryCopy> {
        self.leaves.iter_mut().flat_map(|leaf| &mut leaf.entries)
    }

    /// Every record the picture depends on.
    pub(super) fn records(&self) -> impl Iterator<Item = u32> {
        let entries = |leaf: &LeafCopy| leaf.entries.iter().map(|entry| entry.place.record).collect::<Vec<_>>();
        self.leaves.iter().flat_map(move |leaf| std::iter::once(leaf.record).chain(entries(leaf)))
    }

    /// Reads again what may have changed; `false` if leaves changed under it so that it must be repeated.
    fn refresh(&mut self, store: &SharedMemory, choice: &impl Choice) -> Result<bool> {
        if !self.stale {
            self.refresh_leaves(store, choice)?;
        }
        if self.stale {
            self.walk(store)?;
        }
        self.refresh_entries(store, choice)?;
        Ok(!self.stale)
    }

    fn refresh_leaves(&mut self, store: &SharedMemory, choice: &impl Choice) -> Result<()> {
        let mut bytes = Vec::new();
        let mut seen = Seen::NOTHING;
        for leaf in self.leaves.iter_mut().filter(|leaf| choice.holds(leaf.record)) {
            if store.head(leaf.record) == leaf.head {
                continue;
            }
            store
                .arena()
                .look_into(leaf.record, Some(&mut bytes), &mut seen)
                .map_err(|fault| store.directory.explain(fault, leaf.record))?;
            let (old, new) = (Node::parse(&leaf.bytes), Node::parse(&bytes));
            let same = match (old, new) {
                (Some(old), Some(new)) => {
                    seen.meta.kind == super::directory::NODE
                        && seen.meta.key == leaf.stamp
                        && new.level() == 0
                        && (old.low(), old.high()) == (new.low(), new.high())
                }
                _ => false,
            };
            if !same {
                self.stale = true;
                return Ok(());
            }
            (leaf.head, leaf.revision) = (seen.head, seen.modified());
            std::mem::swap(&mut leaf.bytes, &mut bytes);
            let mut old = HashMap::new();
            for entry in leaf.entries.drain(..) {
                old.insert((entry.place.record, entry.place.stamp), entry);
            }
            leaf.entries = entries_of(&leaf.bytes, &self.prefix, &mut old);
            self.gone.extend(old.into_values().filter(|entry| entry.told.is_some()));
        }
        Ok(())
    }

    /// Reads all leaves of the prefix, in order; copies of entries that are still there are kept.
    fn walk(&mut self, store: &SharedMemory) -> Result<()> {
        let mut old = HashMap::new();
        for leaf in self.leaves.drain(..) {
            for entry in leaf.entries {
                old.insert((entry.place.record, entry.place.stamp), entry);
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
            let entries = entries_of(&leaf.bytes, &self.prefix, &mut old);
            self.leaves.push(LeafCopy {
                record: leaf.record,
                head: leaf.seen.head,
                revision: leaf.revision(),
                stamp: leaf.seen.meta.key,
                bytes: leaf.bytes.clone(),
                entries,
            });
            let node = leaf.node();
            let next = node.high().filter(|high| *high > from.as_slice() && may_have(high, &self.prefix));
            let Some(next) = next else { break };
            from = next.to_vec();
        }
        self.gone.extend(old.into_values().filter(|entry| entry.told.is_some()));
        self.stale = false;
        Ok(())
    }

    fn refresh_entries(&mut self, store: &SharedMemory, choice: &impl Choice) -> Result<()> {
        for entry in self.leaves.iter_mut().flat_map(|leaf| &mut leaf.entries) {
            let same =
                entry.known && (!choice.holds(entry.place.record) || store.head(entry.place.record) == entry.head);
            if (!same || store.has_ended(entry)?) && !entry.copy(store)? {
                self.stale = true;
            }
        }
        Ok(())
    }

    /// Whether every copy of the choice is what was there at `revision`, which was read from the clock after the copying.
    /// What is not is read again.
    pub(super) fn is_exact_at(&mut self, store: &SharedMemory, revision: u64, choice: &impl Choice) -> Result<bool> {
        if planted("range: any moment will do") {
            return Ok(true);
        }
        let mut exact = true;
        let mut seen = Seen::NOTHING;
        for leaf in self.leaves.iter_mut().filter(|leaf| choice.holds(leaf.record)) {
            if store.head(leaf.record) == leaf.head {
                continue;
            }
            store
                .arena()
                .look_into(leaf.record, None, &mut seen)
                .map_err(|fault| store.directory.explain(fault, leaf.record))?;
            if seen.meta.key == leaf.stamp && seen.modified() == leaf.revision && !seen.head.is_absent() {
                // A commit that only checked it has put the same content back.
                leaf.head = seen.head;
                continue;
            }
            // Nothing tells when an absent leaf was merged away.
            exact &= !seen.head.is_absent() && follows(&seen, leaf.head, revision);
        }
        for entry in self.leaves.iter_mut().flat_map(|leaf| &mut leaf.entries) {
            let record = entry.place.record;
            if !choice.holds(record) || store.head(record) == entry.head {
                continue;
            }
            store.arena().look_into(record, None, &mut seen).map_err(|fault| store.directory.explain(fault, record))?;
            if !seen.head.is_absent() && seen.meta.key == entry.place.stamp && seen.modified() == entry.meta.modified.0
            {
                entry.head = seen.head;
                continue;
            }
            if follows(&seen, entry.head, revision) {
                continue;
            }
            // Copied anew: if its revision is not past R, it is the one that was there at R.
            exact &= entry.copy(store)? && entry.meta.modified.0 <= revision;
        }
        Ok(exact && !self.stale)
    }
}

/// Whether what was seen is the very next change after `head`, and later than `revision`.
fn follows(seen: &Seen, head: Head, revision: u64) -> bool {
    let next = head.next(0).stamp() == seen.head.stamp();
    next && (seen.head.is_absent() || seen.revision > revision)
}

/// Whether a name from `high` on can begin with the prefix.
fn may_have(high: &[u8], prefix: &[u8]) -> bool {
    high <= prefix || high.starts_with(prefix)
}

/// The entries of a leaf with the prefix; known ones are taken out of `old`.
fn entries_of(bytes: &[u8], prefix: &[u8], old: &mut HashMap<(u32, u64), EntryCopy>) -> Vec<EntryCopy> {
    let Some(node) = Node::parse(bytes) else { return Vec::new() };
    let low = lower_bound(prefix);
    let of_prefix = node.entries().filter(|(name, _)| *name >= low && name.starts_with(prefix));
    of_prefix
        .map(|(name, place)| {
            let known = old.remove(&(place.record, place.stamp));
            known.filter(|entry| entry.key.bytes() == name).unwrap_or_else(|| EntryCopy::unknown(name, place))
        })
        .collect()
}

impl EntryCopy {
    fn unknown(name: &[u8], place: Place) -> Self {
        // Others' bytes may be no UTF-8.
        let key = Key::new(&String::from_utf8_lossy(name));
        key.remember(place);
        let (created, modified, version) = (Revision(0), Revision(0), Version(0));
        let meta = Meta { created, modified, version, lease: None };
        Self { key, place, head: Head::default(), value: Vec::new(), meta, known: false, told: None }
    }

    /// Copies the entry as it is now; `false` if it is not there any more.
    fn copy(&mut self, store: &SharedMemory) -> Result<bool> {
        let mut seen = Seen::NOTHING;
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
        self.with_lane(|lane| match self.standing(lane, lease, Probe::Clock)? {
            Standing::Alive(_) => Ok(false),
            _ => {
                self.remove_dead(lane, entry.key.bytes(), entry.place, Lease(lease.0))?;
                Ok(true)
            }
        })
    }

    /// Reads R and the picture until both agree; everybody's changes up to R are in it, none after.
    pub(super) fn agree(&self, picture: &mut Picture, choice: &impl Choice) -> Result<Revision> {
        let mut announcement = None;
        for round in 0..ROUNDS {
            self.segment().inner.check()?;
            if round >= PATIENCE && announcement.is_none() {
                announcement = self.arena().announce();
            }
            if !picture.refresh(self, choice)? {
                continue;
            }
            let revision = self.arena().clock().load(Acquire);
            if picture.is_exact_at(self, revision, choice)? {
                drop(announcement);
                return Ok(Revision(revision));
            }
        }
        Err(Error::Outrun { record: 0, rounds: ROUNDS.into() })
    }

    /// [`Backend::range`].
    pub(super) fn range_at_once(&self, prefix: &str, visit: &mut dyn FnMut(Key, &[u8], Meta)) -> Result<Revision> {
        let mut picture = Picture::new(prefix);
        let revision = self.agree(&mut picture, &All)?;
        for entry in picture.entries() {
            visit(entry.key.clone(), &entry.value, entry.meta);
        }
        Ok(revision)
    }
}
