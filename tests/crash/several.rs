//! Commits over several records, as a child acts them out, and what the survivor must find of them.

use std::path::Path;

use slotguard::{Deadline, Outcome, RecordOp, Revision, Segment, Stamp, Version};

use super::plot::Plot;
use super::puppet::Cue;
use super::scene::{LONG, Scene, Stage};
use super::sweep::{Fate, Order};
use super::value::Sizes;

/// A commit that changes some records and depends on one that it leaves alone.
#[derive(Clone, Copy)]
pub struct Several {
    pub name: &'static str,
    pub writes: &'static [u32],
    pub check: u32,
    pub sizes: Sizes,
    /// Whether its author begins again where it finds a conflict.
    pub tries_again: bool,
    /// Blocks of each payload class: with more than a hundred, lanes keep some for their next commit.
    pub blocks: u32,
}

pub const TWO: Several = Several {
    name: "commit of 2 records",
    writes: &[0, 2],
    check: 1,
    sizes: Sizes::Same,
    tries_again: true,
    blocks: 40,
};
pub const EIGHT: Several = Several {
    name: "commit of 8 records",
    writes: &[0, 1, 2, 4, 5, 6, 7, 8],
    check: 3,
    sizes: Sizes::Mixed,
    tries_again: true,
    blocks: 140,
};
/// Two that get into each other's way: one is met by the other at record 3 and at record 4, with record 0 in its hands.
pub const ODD: Several = Several { name: "commit of records 1, 3, 4", writes: &[1, 3, 4], check: 5, ..TWO };
pub const EVEN: Several = Several { name: "commit of records 0, 3, 4", writes: &[0, 3, 4], check: 2, ..TWO };
/// One that is given up at the first conflict.
pub const ODD_ONCE: Several = Several { name: "attempt at records 1, 3, 4", tries_again: false, ..ODD };

/// Records of the scene; none but these are looked at.
const RECORDS: u32 = 10;
/// A record that no commit here has to do with.
const OTHER: u32 = 9;

/// Each record as it is.
pub type Stamps = Vec<Stamp>;

impl Several {
    fn bump_one(scene: &Scene, index: u32) -> Stamp {
        scene.sizes.bump(scene.segment.record(index).expect("a record")).expect("an update")
    }

    /// The version that each record has now, the last one's only to be checked.
    fn versions(self, segment: &Segment) -> Vec<(u32, Version)> {
        let mut value = Vec::new();
        let records = self.writes.iter().chain([&self.check]);
        records
            .map(|index| (*index, segment.record(*index).and_then(|it| it.read(&mut value)).expect("a read").version))
            .collect()
    }

    /// Changes all the records from these versions to the next.
    fn attempt(self, sizes: Sizes, segment: &Segment, versions: &[(u32, Version)], reversed: bool) -> Outcome {
        let (check, writes) = versions.split_last().expect("a record to be checked");
        let values: Vec<Vec<u8>> = writes.iter().map(|(_, version)| sizes.value(version.0 + 1)).collect();
        let writes = writes.iter().zip(&values);
        let writes = writes.map(|((index, version), value)| RecordOp::write(*index, value).if_version(*version));
        let mut ops: Vec<RecordOp<'_>> = writes.chain([RecordOp::check(check.0, check.1)]).collect();
        if reversed {
            ops.reverse();
        }
        segment.commit(&ops).expect("a commit succeeds at once")
    }

    /// Changes all the records, each by one. Another's commit that is under way may take place while the records are read,
    /// once, and then they are not what was read; nothing else may be in the way of one who is alone.
    pub fn bump_all(self, sizes: Sizes, segment: &Segment, reversed: bool) -> Revision {
        for _ in 0..2 {
            if let Outcome::Committed(revision) = self.attempt(sizes, segment, &self.versions(segment), reversed) {
                return revision;
            }
        }
        panic!("{}: a conflict, and nobody changes the records", self.name);
    }

    fn stamps(scene: &Scene, order: impl Iterator<Item = u32>) -> Stamps {
        let mut stamps = vec![Stamp { version: Version(0), revision: Revision(0), fingerprint: 0 }; RECORDS as usize];
        for index in order {
            stamps[index as usize] = scene.sizes.read(scene.segment.record(index).expect("a record"));
        }
        stamps
    }

    /// Whether the commit has taken place, given that others have made `own` changes of each record: all of it or nothing.
    pub fn is_in(&self, before: &Stamps, found: &Stamps, own: &[u64; RECORDS as usize]) -> Option<Revision> {
        let change = |index: u32| {
            let at = index as usize;
            found[at].version.0.checked_sub(before[at].version.0 + own[at]).expect("no change is lost")
        };
        let changes: Vec<u64> = self.writes.iter().map(|index| change(*index)).collect();
        let taken_place = changes[0];
        assert!(taken_place <= 1 && changes.iter().all(|more| *more == taken_place), "a part of it: {changes:?}");
        // Where nobody has written since, it is this commit's number, or the one from before.
        let mut number = None;
        for at in self.writes.iter().map(|index| *index as usize).filter(|at| own[*at] == 0) {
            if taken_place == 0 {
                assert_eq!(found[at], before[at], "an old value is the old value");
            } else {
                let one = *number.get_or_insert(found[at].revision);
                assert_eq!(found[at].revision, one, "one commit, one revision");
                assert!(one > before[at].revision, "a later change has a larger revision");
            }
        }
        (taken_place == 1).then(|| number.unwrap_or_default())
    }

    /// One of several ways of meeting what somebody left, before anything has been looked at; counts the changes it makes.
    pub fn meet(self, scene: &Scene, turn: usize, own: &mut [u64; RECORDS as usize]) {
        let pick = self.writes[turn / 8 % self.writes.len()];
        match turn % 8 {
            // Somebody reads from the other end: once something new was seen, so is all that comes after.
            0 | 1 => {
                let before = Self::stamps(scene, (0..RECORDS).rev());
                let after = Self::stamps(scene, 0..RECORDS);
                let new = |index: &u32| after[*index as usize] != before[*index as usize];
                let old: Vec<&u32> = self.writes.iter().filter(|index| new(index)).collect();
                let last: Vec<&u32> = self.writes.iter().rev().take(old.len()).rev().collect();
                assert!(old == last && old.len() < self.writes.len(), "read as new, then as old: {before:?} {after:?}");
            }
            2 => {
                let newer = Self::bump_one(scene, pick);
                own[pick as usize] += 1;
                assert_eq!(scene.sizes.read(scene.segment.record(pick).expect("a record")), newer, "what was written");
            }
            3 => {
                Self::bump_one(scene, self.check);
                own[self.check as usize] += 1;
            }
            4 => {
                self.bump_all(scene.sizes, &scene.segment, true);
                self.writes.iter().for_each(|index| own[*index as usize] += 1);
            }
            5 => {
                let claim = scene.segment.record(pick).and_then(|record| record.claim(Deadline::now(), LONG));
                claim.expect("nobody has claimed it").release().expect("a claim that is ours");
            }
            6 => {
                let seen = scene.sizes.read(scene.segment.record(pick).expect("a record"));
                let newer = scene.segment.record(pick).and_then(|it| it.wait_newer(seen.version, Deadline::now()));
                // It looks after the dead once a slice, so it may have finished what the read left to others.
                let found = newer.expect("a look").unwrap_or(seen.version);
                let now = scene.sizes.read(scene.segment.record(pick).expect("a record"));
                assert_eq!(found, now.version, "a wait sees what a read sees");
            }
            _ => {
                // A commit in the way at one record only.
                let values = [pick, OTHER].map(|index| {
                    let record = scene.segment.record(index).expect("a record");
                    (index, scene.sizes.read(record).version.0 + 1)
                });
                let values = values.map(|(index, counter)| (index, scene.sizes.value(counter)));
                let ops = values.each_ref().map(|(index, value)| RecordOp::write(*index, value));
                let outcome = scene.segment.commit(&ops).expect("a commit succeeds at once");
                assert!(matches!(outcome, Outcome::Committed(_)), "no condition, no conflict");
                values.iter().for_each(|(index, _)| own[*index as usize] += 1);
            }
        }
    }
}

impl Plot for Several {
    type Scene = Scene;
    type View = Stamps;

    fn name(&self) -> &'static str {
        self.name
    }

    fn scene(&self, folder: &Path) -> Scene {
        let classes = self.sizes.classes(self.blocks);
        let scene = Scene::built(folder, self.sizes, Segment::builder().records(RECORDS).payloads(&classes));
        // Some records are new, others have values of either class.
        for index in 0..RECORDS {
            for _ in 0..index % 3 {
                Self::bump_one(&scene, index);
            }
        }
        self.bump_all(scene.sizes, &scene.segment, false);
        scene
    }

    fn play(&self, scene: &Scene, cue: &Cue<'_>) {
        let mine = scene.own();
        if self.writes.len() == 2 {
            // The lane has never committed anything.
            scene.sizes.bump(mine.record(OTHER).expect("a record")).expect("an update");
        } else {
            self.bump_all(scene.sizes, mine, false);
        }
        let mut versions = self.versions(mine);
        cue.ready();
        loop {
            match self.attempt(scene.sizes, mine, &versions, false) {
                Outcome::Committed(revision) => return cue.board.acknowledge(revision.0),
                // While it was stopped others have gone on.
                Outcome::Conflict if self.tries_again => versions = self.versions(mine),
                Outcome::Conflict => return,
            }
        }
    }

    fn look(&self, scene: &Scene) -> Stamps {
        Self::stamps(scene, 0..RECORDS)
    }

    fn judge(&self, scene: &Scene, before: Stamps, order: Order, turn: usize) -> Fate {
        if order == Order::RecoverFirst {
            scene.all_is_recovered();
        }
        let acknowledged = scene.board.is_acknowledged();
        let mut own = [0; RECORDS as usize];
        // Others than the neighbour in the sweep, which is often of the other order.
        self.meet(scene, turn / 2 + turn % 2 * 3, &mut own);
        let found = self.look(scene);
        let done = self.is_in(&before, &found, &own);
        if acknowledged {
            let done = done.expect("an acknowledged commit is there");
            assert!(done == Revision(0) || done.0 == scene.board.revision(), "the number its author was told");
        }
        assert_eq!(self.look(scene), found, "whoever has looked looks again and sees the same");
        self.change(scene);
        self.writes.iter().for_each(|index| own[*index as usize] += 1);
        scene.all_is_recovered();
        // The survivor keeps what it changes these records with; of the dead one's there may be a spare of each class.
        let kept = scene.segment.audit().expect("an audit").in_cells;
        assert!(kept <= self.writes.len() as u64 + 3, "{kept} blocks are kept for nobody");
        let last = self.look(scene);
        assert_eq!(self.is_in(&before, &last, &own).is_some(), done.is_some(), "recovery changes nothing others saw");
        // The blocks that were the dead one's last are used again.
        self.work(scene);
        scene.nothing_is_amiss(1);
        match (done.is_some(), acknowledged) {
            (_, true) => Fate::Acknowledged,
            (true, false) => Fate::Done,
            (false, false) => Fate::Undone,
        }
    }

    fn change(&self, scene: &Scene) {
        let before = self.look(scene);
        let outcome = self.attempt(scene.sizes, &scene.segment, &self.versions(&scene.segment), false);
        let Outcome::Committed(revision) = outcome else { panic!("a conflict, and nobody changes the records") };
        let after = self.look(scene);
        let mut expected = before;
        for at in self.writes.iter().map(|index| *index as usize) {
            expected[at] = Stamp { version: Version(expected[at].version.0 + 1), revision, ..after[at] };
        }
        assert_eq!(after, expected, "the survivor's commit is what is there, each record one version further");
    }
}
