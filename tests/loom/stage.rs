//! What every model begins with, what everybody in it writes down, and what must be true of it at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::memory::block::arena::Arena;
use crate::memory::block::meta::{ClaimWords, Next};
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::{BlockState, BlockStateKind, Head, Spare};
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

/// How often an update is tried: a loss is another's success, and no model has so many.
const ATTEMPTS: u32 = 6;

/// A small segment and its history. Cheap to clone into a thread.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) arena: Arc<Arena>,
    /// Everybody's notes, agreed upon outside of what is modelled: (record, version) → what it was.
    history: Arc<Mutex<HashMap<(u32, u64), Change>>>,
}

/// One version of a record, as everybody who met it must have met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    /// The payload: who wrote which version.
    pub(crate) value: u64,
}

/// The payload of `version` as the lane `author` writes it.
fn value(version: u64, author: u32) -> u64 {
    version << 8 | u64::from(author)
}

impl Stage {
    /// Every record at version 1, and lanes that each keep a block.
    pub(crate) fn new(records: u32, lanes: u32) -> (Self, Vec<LaneHandle>) {
        Self::written(Self::empty(records, lanes, records + lanes), records)
    }

    /// Records never written, lanes that each keep a block, and as many free blocks; hollow, as [`Stage::hollow`] says.
    pub(crate) fn unwritten(records: u32, lanes: u32) -> (Self, Vec<LaneHandle>) {
        Self::written(Self::of(Arena::new(records, lanes, 2 * lanes, 0)), 0)
    }

    /// The same as [`Stage::new`] with blocks of which only the claim is modelled: for models of waiting, which are large without more.
    /// Whatever else such a block says is right as long as nobody writes it twice.
    pub(crate) fn hollow(records: u32, lanes: u32) -> (Self, Vec<LaneHandle>) {
        Self::written(Self::of(Arena::new(records, lanes, records + lanes, 0)), records)
    }

    /// The same as [`Stage::new`] with modelled commits, and lanes that each keep `places` blocks for one.
    pub(crate) fn committing(records: u32, lanes: u32, places: u32) -> (Self, Vec<LaneHandle>) {
        let blocks = records + lanes * (1 + places);
        Self::stocked(Self::of(Arena::new(records, lanes, blocks, 1).with_commits(true)), records, places)
    }

    /// The same as [`Stage::committing`] with hollow blocks, as [`Stage::hollow`] says, and for lanes that commit once.
    pub(crate) fn hollow_committing(records: u32, lanes: u32, places: u32) -> (Self, Vec<LaneHandle>) {
        let blocks = records + lanes * (1 + places);
        Self::stocked(Self::of(Arena::new(records, lanes, blocks, 0).with_commits(false)), records, places)
    }

    /// The same as [`Stage::hollow_committing`] for lanes that commit more than once.
    pub(crate) fn hollow_committing_again(records: u32, lanes: u32, places: u32) -> (Self, Vec<LaneHandle>) {
        let blocks = records + lanes * (1 + places);
        Self::stocked(Self::of(Arena::new(records, lanes, blocks, 0).with_commits(true)), records, places)
    }

    fn stocked(empty: (Self, Vec<LaneHandle>), records: u32, places: u32) -> (Self, Vec<LaneHandle>) {
        let (stage, mut lanes) = Self::written(empty, records);
        for lane in &mut lanes {
            // A commit that is given up: its blocks stay with the lane.
            lane.begin_commit();
            for record in 0..places {
                stage.prepare(lane, record);
            }
            lane.begin_commit();
        }
        (stage, lanes)
    }

    fn written((stage, mut lanes): (Self, Vec<LaneHandle>), records: u32) -> (Self, Vec<LaneHandle>) {
        for record in 0..records {
            stage.update(&mut lanes[0], record);
        }
        for lane in &mut lanes {
            lane.stock(&stage.arena).expect("a block for each lane");
        }
        (stage, lanes)
    }

    /// Records never written, and lanes that keep nothing.
    pub(crate) fn empty(records: u32, lanes: u32, blocks: u32) -> (Self, Vec<LaneHandle>) {
        Self::of(Arena::new(records, lanes, blocks, 1))
    }

    fn of(arena: Arena) -> (Self, Vec<LaneHandle>) {
        let lanes =
            (0..arena.lanes()).map(|index| LaneHandle::inherit(&arena, index).expect("an unused lane")).collect();
        (Self { arena: Arc::new(arena), history: Arc::default() }, lanes)
    }

    /// Reads a record and checks that it is whole, and the same that everybody else has met.
    pub(crate) fn read(&self, record: u32) -> Observed {
        let mut payload = Vec::new();
        let seen = self.arena.read(record, Some(&mut payload)).expect("a look finds the record");
        if seen.head.block() != 0 {
            // Hollow blocks have it where it cannot be torn.
            let value = payload.try_into().map_or(seen.meta.fingerprint, u64::from_ne_bytes);
            assert_eq!(value >> 8, seen.meta.version, "a torn value");
            if seen.meta.modified == 0 {
                self.note(record, seen.meta.version, Change { revision: seen.revision, value });
            }
        }
        seen
    }

    /// Adds one version to a record; answers its revision.
    pub(crate) fn update(&self, lane: &mut LaneHandle, record: u32) -> u64 {
        for _ in 0..ATTEMPTS {
            let seen = self.read(record);
            if let Some(revision) = self.publish(lane, record, &seen) {
                assert!(revision > seen.revision, "a change numbered before the one it replaced");
                return revision;
            }
        }
        panic!("an update lost {ATTEMPTS} times");
    }

    /// Publishes the version after what was seen; `None` if somebody else was first.
    pub(crate) fn publish(&self, lane: &mut LaneHandle, record: u32, seen: &Observed) -> Option<u64> {
        let version = seen.meta.version + 1;
        let value = value(version, lane.index);
        let next = Next { version, fingerprint: value, ..same(record, seen) };
        match lane.publish(&self.arena, seen, &next, self.payload(&value.to_ne_bytes())).expect("a publication") {
            Published::Won(revision) => {
                self.note(record, version, Change { revision, value });
                Some(revision)
            }
            Published::Lost => None,
        }
    }

    /// Makes the version after the one there is a part of the lane's commit; answers what is there.
    pub(crate) fn prepare(&self, lane: &mut LaneHandle, record: u32) -> Observed {
        let seen = self.read(record);
        let version = seen.meta.version + 1;
        let value = value(version, lane.index);
        let next = Next { version, fingerprint: value, ..same(record, &seen) };
        lane.stage_put(&self.arena, &seen, &next, self.payload(&value.to_ne_bytes()), false).expect("a block for it");
        seen
    }

    /// Commits what the lane has prepared in place of what was seen; answers the revision, `None` if somebody was first.
    pub(crate) fn commit_prepared(&self, lane: &mut LaneHandle, seen: &[Observed]) -> Option<u64> {
        match lane.commit(&self.arena).expect("a commit") {
            Published::Won(revision) => {
                for seen in seen {
                    assert!(revision > seen.revision, "a commit numbered before what it replaced");
                    let version = seen.meta.version + 1;
                    self.note(seen.meta.record, version, Change { revision, value: value(version, lane.index) });
                }
                Some(revision)
            }
            Published::Lost => None,
        }
    }

    /// Tries once to add a version to each of the records; answers the revision.
    pub(crate) fn try_commit(&self, lane: &mut LaneHandle, records: &[u32]) -> Option<u64> {
        lane.begin_commit();
        let seen: Vec<Observed> = records.iter().map(|record| self.prepare(lane, *record)).collect();
        self.commit_prepared(lane, &seen)
    }

    /// Adds a version to each of the records; answers the revision.
    pub(crate) fn commit(&self, lane: &mut LaneHandle, records: &[u32]) -> u64 {
        (0..ATTEMPTS).find_map(|_| self.try_commit(lane, records)).unwrap_or_else(|| {
            panic!("a commit lost {ATTEMPTS} times");
        })
    }

    /// At the end, with all records read: the revisions of a lane's commits, all of which were over `records`.
    pub(crate) fn committed(&self, lane: u32, records: &[u32]) -> Vec<u64> {
        let mut commits: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for ((record, version), change) in &*self.history.lock().unwrap() {
            // The first versions are the stage's.
            if *version > 1 && change.value == value(*version, lane) {
                commits.entry(change.revision).or_default().push(*record);
            }
        }
        for (revision, found) in &mut commits {
            found.sort();
            assert_eq!(found, records, "a commit of lane {lane} at revision {revision} was not over all its records");
        }
        commits.into_keys().collect()
    }

    /// Publishes a block that changes no value, under `claim` or nobody's; answers its revision, `None` if lost.
    pub(crate) fn publish_same(
        &self,
        lane: &mut LaneHandle,
        record: u32,
        seen: &Observed,
        claim: Option<&ClaimWords>,
    ) -> Option<u64> {
        let next = Next { modified: seen.modified(), claim, ..same(record, seen) };
        let value = next.fingerprint.to_ne_bytes();
        match lane.publish(&self.arena, seen, &next, self.payload(&value)).expect("a publication") {
            Published::Won(revision) => Some(revision),
            Published::Lost => None,
        }
    }

    /// As much of a value as the blocks have room for: all or nothing.
    fn payload<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        let room = self.arena.block(1).expect("a first block").capacity();
        &value[..room]
    }

    /// Writes down what a version was, or checks it against what others wrote down.
    fn note(&self, record: u32, version: u64, change: Change) {
        let mut history = self.history.lock().unwrap();
        let known = *history.entry((record, version)).or_insert(change);
        assert_eq!(known, change, "version {version} of record {record} is two different changes");
        let revision_of = |version: u64| history.get(&(record, version)).map(|other| other.revision);
        assert!(
            revision_of(version - 1).is_none_or(|before| before < change.revision)
                && revision_of(version + 1).is_none_or(|after| after > change.revision),
            "revisions of record {record} do not grow with its versions"
        );
    }

    /// The head of a record that has been written, and the state of the block it names.
    pub(crate) fn head_and_state(&self, record: u32) -> (Head, BlockState) {
        let head = Head(self.arena.record(record).head.load(Acquire));
        let block = self.arena.block(head.block()).expect("a record that has been written");
        (head, BlockState(block.head.state.load(Acquire)))
    }

    /// That a revision somebody was given has been drawn, as far as they can tell from the clock.
    pub(crate) fn assert_drawn(&self, revision: u64) {
        assert!(self.arena.clock().load(Relaxed) >= revision, "revision {revision} is known before it is drawn");
    }

    /// The version a record had when the clock stood at `revision`: for the end, when all changes are known.
    pub(crate) fn version_at(&self, record: u32, revision: u64) -> u64 {
        let history = self.history.lock().unwrap();
        let versions = history.iter().filter(|((r, _), change)| *r == record && change.revision <= revision);
        versions.map(|((_, version), _)| *version).max().unwrap_or(0)
    }

    /// At the end, with all threads joined: the record has had `versions`, each of them known and numbered, and every
    /// block is in one place.
    pub(crate) fn assert_settled(&self, record: u32, versions: u64) {
        let last = self.read(record);
        assert_eq!(last.meta.version, versions, "a change was lost, or made twice");
        let history = self.history.lock().unwrap();
        for version in 1..=versions {
            assert!(history.contains_key(&(record, version)), "nobody made version {version}");
        }
        drop(history);
        self.assert_one_place_each();
    }

    /// All that a thread that stops can leave behind, as words: two that are equal go on in the same way.
    pub(crate) fn imprint(&self) -> Vec<u64> {
        let arena = &self.arena;
        let mut words = vec![arena.clock().load(Relaxed)];
        for record in 0..arena.records() {
            let words_of = arena.record(record);
            words.extend([words_of.head.load(Relaxed), words_of.wait.load(Relaxed).into()]);
        }
        words.extend((1..=arena.blocks()).map(|block| arena.block(block).unwrap().head.state.load(Relaxed)));
        for lane in (0..arena.lanes()).filter_map(|lane| arena.lane(lane)) {
            words.extend(
                [&lane.journal, &lane.number, &lane.descriptor.control, &lane.descriptor.revision]
                    .map(|word| word.load(Relaxed)),
            );
            words.extend(lane.spares.iter().map(|spare| u64::from(spare.load(Relaxed))));
        }
        words
    }

    /// Every block is under one head, in one spare, or free.
    pub(crate) fn assert_one_place_each(&self) {
        let arena = &self.arena;
        let heads = (0..arena.records()).map(|record| {
            let head = Head(arena.record(record).head.load(Acquire));
            assert!(!head.is_reference(), "a commit left its reference in record {record}");
            head.block()
        });
        let spares = (0..arena.lanes()).flat_map(|lane| {
            let spares = &arena.lane(lane).expect("a lane of the table").spares;
            spares.iter().map(|spare| Spare(spare.load(Acquire)))
        });
        let spares = spares.map(|spare| {
            assert!(!spare.is_unsettled(), "a spare left unsettled");
            spare.block()
        });
        let places: Vec<u32> = heads.chain(spares).collect();
        for index in 1..=arena.blocks() {
            let state = BlockState(arena.block(index).expect("a block of the table").head.state.load(Acquire));
            let free = u32::from(state.kind() == BlockStateKind::Free);
            let found = places.iter().filter(|place| **place == index).count() as u32;
            assert_eq!(found + free, 1, "block {index} is in {found} places and its state is {state:?}");
        }
    }
}

/// The header of a block like the one seen, without a claim.
fn same(record: u32, seen: &Observed) -> Next<'_> {
    let meta = &seen.meta;
    Next {
        record,
        incarnation: 0,
        version: meta.version,
        modified: 0,
        created: 0,
        lease: 0,
        fingerprint: meta.fingerprint,
        kind: 0,
        claim: None,
        intent: None,
    }
}
