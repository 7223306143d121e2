//! A watch: the difference between the snapshot one was last told of and the snapshot now, over and over.
//!
//! A watcher keeps everything in its process: the leaves and entries of its prefix, what it was last told of each, and the
//! counts of the groups their records are in. One pass:
//!
//! 1. arm the groups: set our wake bit, keep the count ([`Groups::arm`]);
//! 2. read what is in groups whose count is not what it was, or that are new: leaves, then entries. A leaf knows which groups
//!    its entries are in, so of a hundred thousand entries only those beside a change are looked at, and those that live by
//!    a lease, which ends without a mark;
//! 3. find a revision R at which all of it was so ([`snapshot`](super::snapshot));
//! 4. tell the differences as one batch, then `Progress(R)`.
//!
//! A change up to R was marked before it was numbered, hence before R was read: a group that was armed before has another
//! count then, and is read in this pass or looked at again at its end. So the view after every batch is the store at R, a
//! commit is never split over two batches, and order is never inverted. A key deleted and created again between two passes
//! is one put with another `created`.
//!
//! Marking clears all wake bits of a group together with the count, so writers pay once a pass of the slowest watcher of the
//! group, not once a change; a watcher that is killed costs one mark a group and leaves nothing to recover.

use super::cache::{All, EntryCopy, PrefixSnapshot, RecordFilter};
use super::key::Key;
use super::tree::{ROUNDS, Tree};
use crate::backend::{Event, Watch};
use crate::clock::{Deadline, Revision};
use crate::error::{Error, Result};
use crate::memory::record::watch_groups::Groups;

/// A running watch of a prefix in a segment.
pub struct SharedWatch<'s> {
    tree: &'s Tree,
    snapshot: PrefixSnapshot,
    groups: Groups,
    /// The next batch is to begin with a resync.
    resync: bool,
}

/// How much of a snapshot to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    Dirty,
}

/// What may have changed before the groups were armed.
struct Dirty<'g>(&'g Groups);

impl RecordFilter for Dirty<'_> {
    fn includes(&self, record: u32) -> bool {
        self.0.is_dirty(record)
    }
}

/// What was marked while the last look went on.
struct MarkedSince<'g>(&'g Groups);

impl RecordFilter for MarkedSince<'_> {
    fn includes(&self, record: u32) -> bool {
        self.0.is_marked_since(record)
    }
}

impl<'s> SharedWatch<'s> {
    /// Arms the groups and takes the first snapshot: from here on nothing is missed.
    pub(super) fn new(tree: &'s Tree, prefix: &str, from: Revision) -> Result<Self> {
        let home = &tree.segment().inner;
        home.check()?;
        let newest = tree.segment().revision();
        if from.0 > newest.0.saturating_add(1) {
            return Err(Error::FutureRevision { asked: from, newest });
        }
        let mut groups = Groups::new(home.me);
        let mut watch =
            Self { tree, snapshot: PrefixSnapshot::new(prefix), groups: Groups::new(home.me), resync: false };
        watch.look(&mut groups, Extent::All)?;
        watch.groups = groups;
        // Leaves keep no history: one that changed since `from` may have lost a name.
        watch.resync = from.0 == 0 || watch.snapshot.leaves.iter().any(|leaf| leaf.revision >= from.0);
        if !watch.resync {
            for entry in watch.snapshot.entries_mut().filter(|entry| entry.meta.modified < from) {
                entry.reported = Some((entry.meta.created, entry.meta.modified));
                entry.value = Vec::new();
            }
        }
        Ok(watch)
    }

    /// Brings the snapshot up to one moment, which it answers.
    fn look(&mut self, groups: &mut Groups, extent: Extent) -> Result<Revision> {
        let tree = self.tree;
        for _ in 0..ROUNDS {
            groups.arm(tree.arena(), self.snapshot.groups().iter().copied());
            let revision = match extent {
                Extent::All => tree.agree(&mut self.snapshot, &All)?,
                Extent::Dirty => tree.agree(&mut self.snapshot, &Dirty(groups))?,
            };
            // A leaf that was read may have brought records of groups that are not armed; and what was marked since may be
            // a change up to R.
            let new = groups.arm_again(tree.arena(), self.snapshot.groups().iter().copied());
            if !new && self.snapshot.is_exact_at(tree, revision.0, &MarkedSince(groups))? {
                groups.looked();
                return Ok(revision);
            }
        }
        Err(Error::Outrun { what: self.snapshot.what(), rounds: ROUNDS })
    }

    /// The next snapshot, if there is something to tell of it.
    fn pass(&mut self, groups: &mut Groups) -> Result<Option<Revision>> {
        let revision = self.look(groups, Extent::Dirty)?;
        let is_unreported = |entry: &EntryCopy| entry.reported != Some((entry.meta.created, entry.meta.modified));
        let mut any = self.resync || !self.snapshot.deleted.is_empty();
        for leaf in self.snapshot.leaves.iter_mut().filter(|leaf| leaf.unreported) {
            leaf.unreported = leaf.entries.iter().any(is_unreported);
            any |= leaf.unreported;
        }
        Ok(any.then_some(revision))
    }

    fn tell(&mut self, revision: Revision, visit: &mut dyn FnMut(Event<'_, Key>)) {
        if std::mem::take(&mut self.resync) {
            visit(Event::Resync);
        }
        let mut deleted = std::mem::take(&mut self.snapshot.deleted);
        if !deleted.is_empty() {
            deleted.retain(|entry| !self.snapshot.has(&entry.key));
            deleted.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let mut deleted = deleted.into_iter().peekable();
        let unreported = self
            .snapshot
            .leaves
            .iter_mut()
            .filter_map(|leaf| std::mem::take(&mut leaf.unreported).then_some(&mut leaf.entries));
        for entry in unreported.flatten() {
            while let Some(before) = deleted.next_if(|deleted| deleted.key < entry.key) {
                visit(Event::Delete { key: &before.key });
            }
            let now = (entry.meta.created, entry.meta.modified);
            if entry.reported != Some(now) {
                entry.reported = Some(now);
                visit(Event::Put { key: &entry.key, value: &entry.value, meta: entry.meta });
                entry.value = Vec::new();
            }
        }
        for after in deleted {
            visit(Event::Delete { key: &after.key });
        }
        visit(Event::Progress(revision));
    }
}

impl Watch for SharedWatch<'_> {
    type Key = Key;

    fn next(&mut self, deadline: &Deadline, visit: &mut dyn FnMut(Event<'_, Key>)) -> Result<Option<Revision>> {
        let tree = self.tree;
        let mut groups = std::mem::replace(&mut self.groups, Groups::new(tree.segment().inner.me));
        let found = tree.segment().inner.wait_for_groups(&mut groups, deadline, |groups, slice_ended| {
            if slice_ended && tree.any_over()? {
                // Nobody else may ever look: what the dead left goes, and so we learn of it. A thread without a lane leaves
                // that to others.
                match tree.with_lane(|lane| tree.sweep(lane)) {
                    Ok(_) | Err(Error::Full { .. } | Error::Busy) => {}
                    Err(error) => return Err(error),
                }
            }
            self.pass(groups)
        });
        self.groups = groups;
        let Some(revision) = tree.noted(found)? else {
            return Ok(None);
        };
        self.tell(revision, visit);
        Ok(Some(revision))
    }
}
