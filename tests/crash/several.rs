//! Commits over several records, as a child runs them, and what the survivor must find of them.

use std::path::Path;

use slotguard::{Deadline, Outcome, RecordOp, Revision, Segment, Stamp, Version};

use super::fixture::{Fixture, LONG, Records};
use super::scenario::Scenario;
use super::sweep::{Order, Verdict};
use super::tracee::SyncPoint;
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

/// Records of the fixture; none but these are looked at.
const RECORDS: u32 = 10;
/// A record that no commit here has to do with.
const OTHER: u32 = 9;

/// Each record as it is.
pub type Stamps = Vec<Stamp>;

impl Several {
    fn bump_one(fixture: &Records, index: u32) -> Stamp {
        fixture.sizes.bump(fixture.segment.record(index).expect("a record")).expect("an update")
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

    fn stamps(fixture: &Records, order: impl Iterator<Item = u32>) -> Stamps {
        let mut stamps = vec![Stamp { version: Version(0), revision: Revision(0), fingerprint: 0 }; RECORDS as usize];
        for index in order {
            stamps[index as usize] = fixture.sizes.read(fixture.segment.record(index).expect("a record"));
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
    pub fn meet(self, fixture: &Records, variant: usize, own: &mut [u64; RECORDS as usize]) {
        let pick = self.writes[variant / 8 % self.writes.len()];
        match variant % 8 {
            // Somebody reads from the other end: once something new was seen, so is all that comes after.
            0 | 1 => {
                let before = Self::stamps(fixture, (0..RECORDS).rev());
                let after = Self::stamps(fixture, 0..RECORDS);
                let new = |index: &u32| after[*index as usize] != before[*index as usize];
                let old: Vec<&u32> = self.writes.iter().filter(|index| new(index)).collect();
                let last: Vec<&u32> = self.writes.iter().rev().take(old.len()).rev().collect();
                assert!(old == last && old.len() < self.writes.len(), "read as new, then as old: {before:?} {after:?}");
            }
            2 => {
                let newer = Self::bump_one(fixture, pick);
                own[pick as usize] += 1;
                assert_eq!(
                    fixture.sizes.read(fixture.segment.record(pick).expect("a record")),
                    newer,
                    "what was written"
                );
            }
            3 => {
                Self::bump_one(fixture, self.check);
                own[self.check as usize] += 1;
            }
            4 => {
                self.bump_all(fixture.sizes, &fixture.segment, true);
                self.writes.iter().for_each(|index| own[*index as usize] += 1);
            }
            5 => {
                let claim = fixture.segment.record(pick).and_then(|record| record.claim(Deadline::now(), LONG));
                claim.expect("nobody has claimed it").release().expect("a claim that is ours");
            }
            6 => {
                let seen = fixture.sizes.read(fixture.segment.record(pick).expect("a record"));
                let newer = fixture.segment.record(pick).and_then(|it| it.wait_newer(seen.version, Deadline::now()));
                // It looks after the dead once a slice, so it may have finished what the read left to others.
                let found = newer.expect("a look").unwrap_or(seen.version);
                let now = fixture.sizes.read(fixture.segment.record(pick).expect("a record"));
                assert_eq!(found, now.version, "a wait sees what a read sees");
            }
            _ => {
                // A commit in the way at one record only.
                let values = [pick, OTHER].map(|index| {
                    let record = fixture.segment.record(index).expect("a record");
                    (index, fixture.sizes.read(record).version.0 + 1)
                });
                let values = values.map(|(index, counter)| (index, fixture.sizes.value(counter)));
                let ops = values.each_ref().map(|(index, value)| RecordOp::write(*index, value));
                let outcome = fixture.segment.commit(&ops).expect("a commit succeeds at once");
                assert!(matches!(outcome, Outcome::Committed(_)), "no condition, no conflict");
                values.iter().for_each(|(index, _)| own[*index as usize] += 1);
            }
        }
    }
}

impl Scenario for Several {
    type Fixture = Records;
    type Observed = Stamps;

    fn name(&self) -> &'static str {
        self.name
    }

    fn fixture(&self, folder: &Path) -> Records {
        let classes = self.sizes.classes(self.blocks);
        let fixture = Records::built(folder, self.sizes, Segment::builder().records(RECORDS).payloads(&classes));
        // Some records are new, others have values of either class.
        for index in 0..RECORDS {
            for _ in 0..index % 3 {
                Self::bump_one(&fixture, index);
            }
        }
        self.bump_all(fixture.sizes, &fixture.segment, false);
        fixture
    }

    fn run(&self, fixture: &Records, sync: &SyncPoint<'_>) {
        let mine = fixture.own();
        if self.writes.len() == 2 {
            // The lane has never committed anything.
            fixture.sizes.bump(mine.record(OTHER).expect("a record")).expect("an update");
        } else {
            self.bump_all(fixture.sizes, mine, false);
        }
        let mut versions = self.versions(mine);
        sync.ready();
        loop {
            match self.attempt(fixture.sizes, mine, &versions, false) {
                Outcome::Committed(revision) => return sync.page.acknowledge(revision.0),
                // While it was stopped others have gone on.
                Outcome::Conflict if self.tries_again => versions = self.versions(mine),
                Outcome::Conflict => return,
            }
        }
    }

    fn observe(&self, fixture: &Records) -> Stamps {
        Self::stamps(fixture, 0..RECORDS)
    }

    fn check(&self, fixture: &Records, before: Stamps, order: Order, variant: usize) -> Verdict {
        if order == Order::RecoverFirst {
            fixture.all_is_recovered();
        }
        let acknowledged = fixture.page.is_acknowledged();
        let mut own = [0; RECORDS as usize];
        // Others than the neighbour in the sweep, which is often of the other order.
        self.meet(fixture, variant / 2 + variant % 2 * 3, &mut own);
        let found = self.observe(fixture);
        let done = self.is_in(&before, &found, &own);
        if acknowledged {
            let done = done.expect("an acknowledged commit is there");
            assert!(done == Revision(0) || done.0 == fixture.page.revision(), "the number its author was told");
        }
        assert_eq!(self.observe(fixture), found, "whoever has looked looks again and sees the same");
        self.change(fixture);
        self.writes.iter().for_each(|index| own[*index as usize] += 1);
        fixture.all_is_recovered();
        // The survivor keeps what it changes these records with; of the dead one's there may be a spare of each class.
        let kept = fixture.segment.audit().expect("an audit").in_spares;
        assert!(kept <= self.writes.len() as u64 + 3, "{kept} blocks are kept for nobody");
        let last = self.observe(fixture);
        assert_eq!(self.is_in(&before, &last, &own).is_some(), done.is_some(), "recovery changes nothing others saw");
        // The blocks that were the dead one's last are used again.
        self.work(fixture);
        fixture.nothing_is_amiss(1);
        match (done.is_some(), acknowledged) {
            (_, true) => Verdict::Acknowledged,
            (true, false) => Verdict::Done,
            (false, false) => Verdict::Undone,
        }
    }

    fn change(&self, fixture: &Records) {
        let before = self.observe(fixture);
        let outcome = self.attempt(fixture.sizes, &fixture.segment, &self.versions(&fixture.segment), false);
        let Outcome::Committed(revision) = outcome else { panic!("a conflict, and nobody changes the records") };
        let after = self.observe(fixture);
        let mut expected = before;
        for at in self.writes.iter().map(|index| *index as usize) {
            expected[at] = Stamp { version: Version(expected[at].version.0 + 1), revision, ..after[at] };
        }
        assert_eq!(after, expected, "the survivor's commit is what is there, each record one version further");
    }
}
