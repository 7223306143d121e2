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

use super::cache::{All, EntryCopy, PrefixSnapshot, RecordFilter};
use super::key::Key;
use super::tree::Tree;
use crate::backend::Meta;
use crate::clock::Revision;
use crate::error::{Error, Result};
use crate::memory::layout::word::Head;
use crate::memory::liveness::reader_gate::ReaderGate;
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::Acquire;

/// Rounds before a reader asks writers to give way.
const ROUNDS_BEFORE_YIELD: u32 = 3;
/// Rounds before it gives up: with writers giving way, one or two are enough.
const ROUNDS: u32 = 10_000;
/// Records of a snapshot that are checked by a commit.
const CHECKED: usize = 32;

/// Whether what was seen is the very next change after `head`, and later than `revision`.
fn follows(seen: &Observed, head: Head, revision: u64) -> bool {
    let next = head.next(0).count() == seen.head.count();
    next && (seen.head.is_absent() || seen.revision > revision)
}

impl PrefixSnapshot {
    /// Whether every copy that `filter` includes is what was there at `revision`, which was read from the clock after the copying.
    /// What is not is read again.
    pub(super) fn is_exact_at(&mut self, tree: &Tree, revision: u64, filter: &impl RecordFilter) -> Result<bool> {
        let mut exact = true;
        let mut seen = Observed::NOTHING;
        // Those that change most are looked at first.
        for entry in self.contended_entries() {
            if filter.includes(entry.place.record) && entry.exact_at != revision && entry.is_exact_at(tree, revision)? {
                entry.exact_at = revision;
            }
        }
        for leaf in self.leaves.iter_mut().filter(|leaf| filter.includes(leaf.record)) {
            if tree.head(leaf.record) == leaf.head {
                continue;
            }
            tree.arena().read_into(leaf.record, None, &mut seen)?;
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
                if held && !entry.is_exact_at(tree, revision)? {
                    entry.contended = true;
                    exact = false;
                }
            }
            leaf.recheck |= leaf.needs_recheck();
        }
        Ok(exact && !self.stale)
    }
}

impl EntryCopy {
    /// Whether the copy is what was there at `revision`; copies it anew where that helps.
    fn is_exact_at(&mut self, tree: &Tree, revision: u64) -> Result<bool> {
        let record = self.place.record;
        // One that was copied after R was read says nothing of R.
        if self.meta.modified.0 > revision {
            return Ok(false);
        }
        if tree.head(record) == self.head {
            return Ok(true);
        }
        let mut seen = Observed::NOTHING;
        tree.arena().read_into(record, None, &mut seen)?;
        let same_value = seen.meta.incarnation == self.place.incarnation && seen.modified() == self.meta.modified.0;
        if !seen.head.is_absent() && same_value {
            // A commit that only checked it has put the same block back.
            self.head = seen.head;
            return Ok(true);
        }
        // Copied anew, and its revision is not past R: then it is the one that was there at R.
        Ok(follows(&seen, self.head, revision) || self.copy(tree)? && self.meta.modified.0 <= revision)
    }
}

impl Tree {
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
            let mut commit = lane.build_commit(self.arena());
            snapshot.leaves.iter().for_each(|leaf| commit.stage_check(leaf.record, leaf.head));
            snapshot.entries().for_each(|entry| commit.stage_check(entry.place.record, entry.head));
            Ok(commit.commit(self.arena())?)
        });
        match done {
            Ok(Published::Won(revision)) => Ok(Some(Revision(revision))),
            // Without a lane, or inside an update of this thread, it goes on without.
            Ok(Published::Lost) | Err(Error::Full { .. } | Error::Busy) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`Backend::range`](crate::backend::Backend::range).
    pub(super) fn range(&self, prefix: &str, visit: &mut dyn FnMut(Key, &[u8], Meta)) -> Result<Revision> {
        let mut snapshot = PrefixSnapshot::new(prefix);
        let revision = self.agree(&mut snapshot, &All)?;
        for entry in snapshot.entries() {
            visit(entry.key.clone(), &entry.value, entry.meta);
        }
        Ok(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::{All, PrefixSnapshot};
    use crate::backend::{Backend, Op, SharedMemory};
    use crate::memory::{Outcome, Segment};

    fn put(store: &SharedMemory, name: &str, value: &[u8]) -> u64 {
        match store.commit(&[Op::put(&store.key(name).unwrap(), value)]).unwrap() {
            Outcome::Committed(revision) => revision.0,
            Outcome::Conflict => unreachable!("it has no condition"),
        }
    }

    /// A watcher whose entry changed between its reading of the clock and its second look copied the entry anew, and reported
    /// the copy as of the revision it had read before: its view was ahead of the revision it named, so the next batch went
    /// back in time (`torture --workload watch --seed 7`).
    #[test]
    fn a_copy_taken_after_the_moment_says_nothing_of_it() {
        let store = SharedMemory::new(Segment::builder().keys(16).anonymous().unwrap()).unwrap();
        put(&store, "a", b"first");
        put(&store, "b", b"beside it");
        let mut snapshot = PrefixSnapshot::new("");
        assert!(snapshot.refresh(&store.tree, &All).unwrap());
        let before = store.segment().revision().0;
        assert!(snapshot.is_exact_at(&store.tree, before, &All).unwrap(), "nothing has changed since it was copied");

        let changed = put(&store, "a", b"second");
        assert!(before < changed);
        // What a second look does that comes too late: the entry is copied again, and its head is the present one then.
        assert!(snapshot.refresh(&store.tree, &All).unwrap());
        for entry in snapshot.entries_mut() {
            entry.exact_at = 0;
        }
        assert!(
            !snapshot.is_exact_at(&store.tree, before, &All).unwrap(),
            "the copy of \"a\" is of revision {changed}"
        );
        assert!(snapshot.is_exact_at(&store.tree, changed, &All).unwrap());
        let values: Vec<_> = snapshot.entries().map(|entry| entry.value.as_slice()).collect();
        assert_eq!(values, [&b"second"[..], b"beside it"]);
    }
}
