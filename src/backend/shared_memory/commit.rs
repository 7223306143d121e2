//! A commit over named entries: what must hold, looked at; what is to change, staged; all of it one commit over records.
//!
//! An operation becomes the record of its entry, the leaf that names it where the name comes or goes (or where a condition
//! depends on its absence), and the record of the lease it puts the entry under. A put of an entry that exists and goes
//! under no lease is one record, and then no commit but an update.
//!
//! Each attempt looks at everything afresh. It ends in a commit, in [`Outcome::Conflict`] if a condition was false when it
//! was looked at, or in another attempt. The lock-freedom is that of commits over records.

use super::key::Key;
use super::lease::{LeaseStatus, Probe};
use super::lookup::{Presence, meta_of};
use super::node::{self, Edit, Place};
use super::tree::{Path, ROUNDS, Tree, Visited};
use crate::backend::{Act, Meta, Op};
use crate::clock::{Lease, Revision};
use crate::error::{Error, Result};
use crate::memory::block::meta::Next;
use crate::memory::block::spares::LaneHandle;
use crate::memory::fnv1a64;
use crate::memory::handle::record::Outcome;
use crate::memory::layout::sections::MAX_OPS;
use crate::memory::layout::word::Head;
use crate::memory::record::next::next_value;
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::error::RetryBudget;

/// Where an entry was found.
pub(super) enum Found {
    /// Its record; what was seen there is in the caller's hands.
    Present(Place),
    /// There is no such name in the leaf.
    Absent,
    /// The directory changed under the look, at this record with this head.
    Moved { record: u32, head: Head },
}

/// How one attempt ended.
enum Attempt {
    Committed(Revision),
    Conflict,
    /// Something changed under it, or it is damage: the record at which it was met, and that record's head.
    Again {
        record: u32,
        head: Head,
    },
    /// Another commit was first.
    Lost,
}

/// A leaf that the commit rewrites, or depends on.
struct Leaf<'a> {
    at: Visited,
    /// Names that come (with their place) and go.
    edits: Vec<(&'a [u8], Option<Place>)>,
}

/// What one attempt rewrites or depends on: leaves, the free records it means to take, and leases.
#[derive(Default)]
struct WriteSet<'a> {
    leaves: Vec<Leaf<'a>>,
    taken: Vec<u32>,
    leases: Vec<Lease>,
}

impl Tree {
    /// [`Backend::commit`](crate::backend::Backend::commit) for operations that have been checked.
    pub(super) fn commit_ops(&self, ops: &[Op<'_, Key>]) -> Result<Outcome> {
        let home = &self.segment().inner;
        self.with_room(|| home.with_lane(|lane, copies| self.commit_with(lane, &mut copies.seen, ops)))
    }

    fn commit_with(&self, lane: &mut LaneHandle, seen: &mut Observed, ops: &[Op<'_, Key>]) -> Result<Outcome> {
        let mut fingerprints = [0; MAX_OPS];
        for (place, op) in fingerprints.iter_mut().zip(ops) {
            *place = if let Act::Put { value, .. } = op.act { fnv1a64(value) } else { 0 };
        }
        let mut budget = RetryBudget::new();
        for _ in 0..ROUNDS {
            self.segment().inner.check()?;
            let mut writes = WriteSet::default();
            let attempt = self.attempt(&mut lane.build_commit(self.arena()), seen, ops, &fingerprints, &mut writes);
            if !matches!(attempt, Ok(Attempt::Committed(_))) {
                writes.taken.iter().for_each(|record| self.mark_free(*record));
            }
            let attempt = match attempt {
                // A condition that is false comes first, wherever in the commit it stands.
                Err(error @ Error::Full { .. }) => {
                    return if self.is_false(ops)? { Ok(Outcome::Conflict) } else { Err(error) };
                }
                attempt => attempt?,
            };
            match attempt {
                Attempt::Committed(revision) => {
                    self.tidy(lane, &writes);
                    return Ok(Outcome::Committed(revision));
                }
                Attempt::Conflict => return Ok(Outcome::Conflict),
                Attempt::Again { record, head } => {
                    budget.again("an entry that the directory does not mean", record, head.0, head.0)?
                }
                Attempt::Lost => lane.back_off(self.arena()),
            }
        }
        Err(Error::Outrun { what: "the directory of names".to_owned(), rounds: ROUNDS })
    }

    /// Whether a condition does not hold now.
    fn is_false(&self, ops: &[Op<'_, Key>]) -> Result<bool> {
        let (mut value, mut seen) = (Vec::new(), Observed::NOTHING);
        for op in ops {
            let meta = match self.find_with(op.key, &mut value, &mut seen, false)? {
                Presence::Present(_) => Some(meta_of(&seen)),
                Presence::Absent { .. } => None,
            };
            if !op.when.holds(meta.as_ref()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attempt<'a>(
        &self,
        lane: &mut LaneHandle,
        seen: &mut Observed,
        ops: &[Op<'a, Key>],
        fingerprints: &[u64; MAX_OPS],
        writes: &mut WriteSet<'a>,
    ) -> Result<Attempt> {
        let mut over = None;
        for op in ops {
            if let Act::Put { lease: Some(lease), .. } = op.act
                && !writes.leases.contains(&lease)
            {
                match self.lease_status(lane, lease, Probe::Clock)? {
                    LeaseStatus::Alive(head) => {
                        lane.stage_check(lease.place().record, head);
                    }
                    LeaseStatus::Over => over = over.or(Some(lease)),
                    LeaseStatus::Unknown => return Err(Error::UnknownLease { lease }),
                }
                writes.leases.push(lease);
            }
        }
        if let Some(lease) = over {
            return Err(Error::LeaseExpired { lease });
        }
        let mut conflict = false;
        for (op, fingerprint) in ops.iter().zip(fingerprints) {
            let found = self.find_for(lane, seen, op, writes)?;
            let meta = match found {
                Found::Present(_) => Some(meta_of(seen)),
                Found::Absent => None,
                Found::Moved { record, head } => return Ok(Attempt::Again { record, head }),
            };
            if !op.when.holds(meta.as_ref()) {
                // What is in the way may live by the lease of somebody dead.
                if let Some(Meta { lease: Some(lease), .. }) = meta
                    && !matches!(self.lease_status(lane, lease, Probe::Owner)?, LeaseStatus::Alive(_))
                {
                    return Ok(Attempt::Lost);
                }
                conflict = true;
                continue;
            }
            if conflict {
                continue;
            }
            match (op.act, found) {
                (Act::Check, Found::Present(place)) => lane.stage_check(place.record, seen.head),
                (Act::Delete, Found::Present(place)) => {
                    if let Some((record, head)) = self.edit(lane, writes, op.key.bytes(), place, None)? {
                        return Ok(Attempt::Again { record, head });
                    }
                    lane.stage_delete(self.arena(), place.record, seen.head);
                }
                (Act::Put { value, lease }, Found::Present(place)) => {
                    // The mark stays once set, so a block under a lease has it.
                    if lease.is_some() && seen.meta.lease == 0 {
                        let marked = Place { leased: true, ..place };
                        if let Some((record, head)) = self.edit(lane, writes, op.key.bytes(), place, Some(marked))? {
                            return Ok(Attempt::Again { record, head });
                        }
                    }
                    let next = self.next(place.record, seen, lease, *fingerprint);
                    if ops.len() == 1 && lease.is_none() {
                        let published = lane.publish(self.arena(), seen, &next, value);
                        return Ok(match published? {
                            Published::Won(revision) => Attempt::Committed(Revision(revision)),
                            Published::Lost => Attempt::Lost,
                        });
                    }
                    lane.stage_put(self.arena(), seen, &next, value, false)?;
                }
                (Act::Put { value, lease }, Found::Absent) => {
                    self.keep_reserve()?;
                    let WriteSet { leaves, taken, .. } = &mut *writes;
                    let leaf = leaves.iter_mut().find(|leaf| leaf.at.node().covers(op.key.bytes()));
                    let leaf = leaf.expect("an absence is read from a leaf");
                    let (record, head) = self.free_key(&leaf.at.node(), op.key.bytes(), taken)?;
                    let place = Place { leased: lease.is_some(), ..Place::next_in((record, head)) };
                    leaf.edits.push((op.key.bytes(), Some(place)));
                    taken.push(record);
                    *seen = Observed { head, ..Observed::NOTHING };
                    let next = self.next(record, seen, lease, *fingerprint);
                    lane.stage_put(self.arena(), seen, &next, value, false)?;
                }
                // The leaf that shows the absence becomes a check of the commit.
                (Act::Check | Act::Delete, Found::Absent) => {}
                (_, Found::Moved { record, head }) => return Ok(Attempt::Again { record, head }),
            }
        }
        if conflict {
            return Ok(Attempt::Conflict);
        }
        if !self.stage_leaves(lane, writes)? {
            return Ok(Attempt::Lost);
        }
        let done = lane.commit(self.arena());
        Ok(match done? {
            Published::Won(revision) => {
                self.remember(ops, writes);
                Attempt::Committed(Revision(revision))
            }
            Published::Lost => Attempt::Lost,
        })
    }

    fn next(&self, record: u32, seen: &Observed, lease: Option<Lease>, fingerprint: u64) -> Next<'static> {
        let next = next_value(record, seen, &[], 0);
        Next { fingerprint, lease: lease.map_or(0, |lease| lease.0), claim: None, intent: None, ..next }
    }

    /// Finds the entry of one operation; an absent one's leaf is in the write set then.
    fn find_for<'a>(
        &self,
        lane: &mut LaneHandle,
        seen: &mut Observed,
        op: &Op<'a, Key>,
        writes: &mut WriteSet<'a>,
    ) -> Result<Found> {
        let name = op.key.bytes();
        let place = match self.cached(op.key, seen)? {
            Some(place) => place,
            None => {
                let creating = matches!(op.act, Act::Put { .. });
                let leaf = self.load_leaf(lane, writes, name, creating)?;
                let node = leaf.at.node();
                let Ok(at) = node.search(name) else {
                    return Ok(Found::Absent);
                };
                let place = node.place(at);
                let (record, head) = (leaf.at.record, leaf.at.seen.head);
                if !self.look_at_entry(place, seen)? {
                    return Ok(Found::Moved { record, head });
                }
                op.key.remember(place, self);
                place
            }
        };
        let lease = Lease(seen.meta.lease);
        if lease.0 != 0 && self.is_over(lease)? {
            // What is staged of this attempt is given up.
            if !matches!(self.lease_status(lane, lease, Probe::Clock)?, LeaseStatus::Alive(_)) {
                self.remove_dead(lane, name, place, lease)?;
            }
            return Ok(Found::Moved { record: place.record, head: seen.head });
        }
        Ok(Found::Present(place))
    }

    /// The leaf that holds `name`, loaded once an attempt.
    fn load_leaf<'a, 'd>(
        &self,
        lane: &mut LaneHandle,
        writes: &'d mut WriteSet<'a>,
        name: &[u8],
        creating: bool,
    ) -> Result<&'d mut Leaf<'a>> {
        let known = writes.leaves.iter().position(|leaf| leaf.at.node().covers(name));
        let at = match known {
            Some(at) => at,
            None => {
                let mut path = Path::default();
                // Splitting is a commit of its own, before this one is staged; an attempt that finds entries staged
                // already finds the room its last attempt made.
                if creating && lane.staged() == 0 {
                    self.descend_with_room(lane, name, &mut path)?;
                } else {
                    self.descend(name, &mut path)?;
                }
                writes.leaves.push(Leaf { at: path.into_leaf(), edits: Vec::new() });
                writes.leaves.len() - 1
            }
        };
        Ok(&mut writes.leaves[at])
    }

    /// Enters into the write set that `name`, which leads to `from`, is to lead to `to`; the leaf and its head if it leads
    /// elsewhere by now.
    fn edit<'a>(
        &self,
        lane: &mut LaneHandle,
        writes: &mut WriteSet<'a>,
        name: &'a [u8],
        from: Place,
        to: Option<Place>,
    ) -> Result<Option<(u32, Head)>> {
        let leaf = self.load_leaf(lane, writes, name, false)?;
        let node = leaf.at.node();
        let found = node.search(name).ok().map(|at| node.place(at));
        if found.is_some_and(|found| (found.record, found.incarnation) == (from.record, from.incarnation)) {
            leaf.edits.push((name, to));
            return Ok(None);
        }
        Ok(Some((leaf.at.record, leaf.at.seen.head)))
    }

    /// Stages every leaf of the write set; `false` if one was too full and has been split instead.
    fn stage_leaves(&self, lane: &mut LaneHandle, writes: &mut WriteSet<'_>) -> Result<bool> {
        let mut bytes = Vec::new();
        for leaf in &mut writes.leaves {
            if leaf.edits.is_empty() {
                lane.stage_check(leaf.at.record, leaf.at.seen.head);
                continue;
            }
            leaf.edits.sort_unstable_by_key(|(name, _)| *name);
            let edits: Vec<Edit<'_>> = leaf
                .edits
                .iter()
                .map(|(name, place)| place.map_or(Edit::Remove(name), |place| Edit::Put(name, place)))
                .collect();
            let node = self.validated(&leaf.at)?;
            if !node::edited(&node, &edits, &mut bytes) {
                // All above it get the room that a separator needs.
                let mut path = Path::default();
                self.descend_with_room(lane, leaf.edits[0].0, &mut path)?;
                let own: Vec<Edit<'_>> =
                    edits.into_iter().filter(|edit| path.leaf().node().covers(edit.name())).collect();
                if !node::edited(&self.validated(path.leaf())?, &own, &mut bytes) {
                    self.split(lane, &path, path.depth() - 1, &own)?;
                }
                return Ok(false);
            }
            self.stage_node(lane, &leaf.at, &bytes)?;
        }
        Ok(true)
    }

    /// After a commit: handles know the new places, and records that became free are known to be.
    fn remember(&self, ops: &[Op<'_, Key>], writes: &WriteSet<'_>) {
        for leaf in &writes.leaves {
            for (name, place) in &leaf.edits {
                if let Some(op) = ops.iter().find(|op| op.key.bytes() == *name) {
                    match place {
                        Some(place) => op.key.remember(*place, self),
                        None => {
                            if let Some(place) = op.key.place_in(self) {
                                self.mark_free(place.record);
                            }
                            op.key.forget();
                        }
                    }
                }
            }
        }
    }

    /// Merges the leaves that deletions have left sparse. What fails here is for the next deletion to do.
    fn tidy(&self, lane: &mut LaneHandle, writes: &WriteSet<'_>) {
        for leaf in &writes.leaves {
            let gone = leaf.edits.iter().filter(|(_, place)| place.is_none()).count();
            if gone > 0 {
                let node = leaf.at.node();
                if node.bytes() < node::NODE_BYTES / 2 || gone * 2 > node.len() {
                    let _ = self.merge(lane, leaf.edits[0].0);
                }
            }
        }
    }

    /// Removes an entry that lived by a lease which is over, or such a lease itself (`lease` 0); nothing if it is not that
    /// incarnation any more, or lives by something else.
    pub(super) fn remove_dead(&self, lane: &mut LaneHandle, name: &[u8], place: Place, lease: Lease) -> Result<()> {
        let mut seen = Observed::NOTHING;
        let mut budget = RetryBudget::new();
        for _ in 0..ROUNDS {
            let known = self.look_at(place, &mut seen)?;
            if !known || seen.meta.lease != lease.0 {
                return Ok(());
            }
            let mut writes = WriteSet::default();
            let mut commit = lane.build_commit(self.arena());
            if let Some((record, head)) = self.edit(&mut commit, &mut writes, name, place, None)? {
                let what = "an entry of the dead that the directory does not mean";
                budget.again(what, record, head.0, head.0)?;
            } else {
                commit.stage_delete(self.arena(), place.record, seen.head);
                if self.stage_leaves(&mut commit, &mut writes)?
                    && let Published::Won(_) = commit.commit(self.arena())?
                {
                    drop(commit);
                    self.mark_free(place.record);
                    self.tidy(lane, &writes);
                    return Ok(());
                }
            }
            drop(commit);
            lane.back_off(self.arena());
        }
        Err(Error::Outrun { what: format!("record {}", place.record), rounds: ROUNDS })
    }
}
