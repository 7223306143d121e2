//! The operations that change one record, each as a child runs it, and what the survivor must find of it.

use std::path::Path;

use slotguard::{Claim, Deadline, Outcome, Revision, Segment, Stamp};

use super::fixture::{Fixture, LONG, Records};
use super::scenario::Scenario;
use super::sweep::{Order, Verdict};
use super::tracee::SyncPoint;
use super::value::Sizes;

/// One operation and what it does to record 0.
#[derive(Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    pub body: fn(&Records, &SyncPoint<'_>),
    pub sizes: Sizes,
    /// Changes the survivor makes to the record beforehand.
    pub history: u64,
    /// Changes of the value that the operation makes.
    pub changes: u64,
    pub intent: Announced,
}

/// Whether an intent is on the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    Never,
    /// Once the operation is done.
    ByTheOperation,
    /// Until the operation is done.
    Before,
}

const PLAIN: Operation =
    Operation { name: "", body: |_, _| (), sizes: Sizes::Same, history: 3, changes: 0, intent: Announced::Never };

pub const UPDATE: Operation = Operation { name: "update", body: update, changes: 1, ..PLAIN };
pub const FIRST_UPDATE: Operation =
    Operation { name: "first update of a record", body: update_elsewhere_first, history: 0, changes: 1, ..PLAIN };
pub const SMALLER: Operation = Operation {
    name: "update to a smaller payload class",
    body: update_elsewhere_first,
    sizes: Sizes::Mixed,
    history: 4,
    changes: 1,
    ..PLAIN
};
pub const LARGER: Operation = Operation { name: "update to a larger payload class", history: 3, ..SMALLER };
pub const FIRST_LANE: Operation = Operation { name: "a thread's first update", body: first_lane, changes: 1, ..PLAIN };
pub const SWAP: Operation = Operation { name: "compare and swap", body: compare_and_swap, changes: 1, ..PLAIN };
pub const CLAIM: Operation = Operation { name: "claim", body: claim, ..PLAIN };
pub const FIRST_CLAIM: Operation = Operation { name: "claim of a record never written", history: 0, ..CLAIM };
pub const CLAIM_AND_INTEND: Operation =
    Operation { name: "claim and intend", body: claim_and_intend, intent: Announced::ByTheOperation, ..PLAIN };
pub const RENEW: Operation = Operation { name: "renewal of a claim", body: renew, ..PLAIN };
pub const COMMIT: Operation =
    Operation { name: "commit of a claim", body: commit, changes: 1, intent: Announced::Before, ..PLAIN };
pub const RELEASE: Operation = Operation { name: "release of a claim", body: release, ..PLAIN };
pub const ATTACH: Operation = Operation { name: "attaching", body: attach, ..PLAIN };
pub const DETACH: Operation = Operation { name: "detaching", body: detach, ..PLAIN };

impl Scenario for Operation {
    type Fixture = Records;
    type Observed = Stamp;

    fn name(&self) -> &'static str {
        self.name
    }

    fn fixture(&self, folder: &Path) -> Records {
        Records::new(folder, self.sizes, self.history)
    }

    fn run(&self, fixture: &Records, sync: &SyncPoint<'_>) {
        (self.body)(fixture, sync);
    }

    fn observe(&self, fixture: &Records) -> Stamp {
        fixture.observe()
    }

    fn check(&self, fixture: &Records, before: Stamp, order: Order, _variant: usize) -> Verdict {
        if order == Order::RecoverFirst {
            fixture.all_is_recovered();
        }
        let acknowledged = fixture.page.is_acknowledged();
        let found = fixture.observe();
        let changes = found.version.0 - before.version.0;
        assert!(changes == 0 || changes == self.changes, "old or new: {before:?} became {found:?}");
        assert!(changes > 0 || found == before, "an old value is the old value: {before:?} became {found:?}");
        if acknowledged {
            assert_eq!(changes, self.changes, "an acknowledged change is there");
            let told = Revision(fixture.page.revision());
            assert!(changes == 0 || told == found.revision, "acknowledged as {told:?}, found as {found:?}");
        }
        assert_eq!(fixture.record().holder().expect("a look"), None, "nobody holds what a dead one claimed");

        let mut took_place = changes > 0 || acknowledged;
        match self.intent {
            Announced::Never if found.version.0.is_multiple_of(2) => {}
            Announced::Never => assert_eq!(fixture.survivor_claims(), None, "nobody announced anything"),
            Announced::ByTheOperation => {
                let intent = fixture.survivor_claims();
                intent.iter().for_each(|intent| fixture.is_the_intent(intent, before));
                assert!(intent.is_some() || !acknowledged, "an acknowledged intent is found by the next holder");
                took_place |= intent.is_some();
            }
            Announced::Before if changes > 0 => {
                assert_eq!(fixture.survivor_claims(), None, "what was announced has been done");
            }
            Announced::Before => {
                let intent = fixture.survivor_claims();
                let intent = intent.expect("what was announced and not done is found by the next holder");
                fixture.is_the_intent(&intent, before);
            }
        }
        fixture.survivor_updates();
        fixture.all_is_recovered();
        // The blocks that were the dead one's last are used again.
        fixture.survivor_updates();
        match (took_place, acknowledged) {
            (_, true) => Verdict::Acknowledged,
            (true, false) => Verdict::Done,
            (false, false) => Verdict::Undone,
        }
    }

    fn change(&self, fixture: &Records) {
        fixture.survivor_updates();
    }

    fn work(&self, fixture: &Records) {
        for _ in 0..3 {
            fixture.survivor_updates();
        }
        fixture.survivor_claims();
    }
}

fn update(fixture: &Records, sync: &SyncPoint<'_>) {
    let record = fixture.own().record(0).expect("record 0");
    // The lane is there, and its block has been under a head before.
    fixture.sizes.bump(record).expect("an update");
    sync.ready();
    let stamp = fixture.sizes.bump(record).expect("an update");
    sync.done_as(stamp);
}

fn update_elsewhere_first(fixture: &Records, sync: &SyncPoint<'_>) {
    let mine = fixture.own();
    fixture.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    sync.ready();
    let stamp = fixture.sizes.bump(mine.record(0).expect("record 0")).expect("an update");
    sync.done_as(stamp);
}

fn first_lane(fixture: &Records, sync: &SyncPoint<'_>) {
    let record = fixture.own().record(0).expect("record 0");
    sync.ready();
    let stamp = fixture.sizes.bump(record).expect("an update");
    sync.done_as(stamp);
}

fn compare_and_swap(fixture: &Records, sync: &SyncPoint<'_>) {
    let record = fixture.own().record(0).expect("record 0");
    let version = fixture.sizes.bump(record).expect("an update").version;
    let next = fixture.sizes.value(version.0 + 1);
    sync.ready();
    let outcome = record.compare_and_swap(version, &next).expect("an attempt");
    let Outcome::Committed(revision) = outcome else { panic!("nobody else changes the record") };
    sync.page.acknowledge(revision.0);
}

/// A claim of the child's own, on a lane that has been used.
fn claimed(fixture: &Records) -> Claim<'static> {
    let mine = fixture.own();
    fixture.sizes.bump(mine.record(0).expect("record 0")).expect("an update");
    mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim")
}

fn claim(fixture: &Records, sync: &SyncPoint<'_>) {
    let mine = fixture.own();
    fixture.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    sync.ready();
    let claim = mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim");
    sync.done();
    std::mem::forget(claim);
}

fn claim_and_intend(fixture: &Records, sync: &SyncPoint<'_>) {
    let mine = fixture.own();
    fixture.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    let next = fixture.intended(fixture.sizes.read(mine.record(0).expect("record 0")));
    sync.ready();
    let mut claim = mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim");
    claim.intend(&next).expect("an intent");
    sync.done();
    std::mem::forget(claim);
}

fn renew(fixture: &Records, sync: &SyncPoint<'_>) {
    let mut claim = claimed(fixture);
    sync.ready();
    claim.renew(LONG).expect("a renewal");
    sync.done();
    std::mem::forget(claim);
}

fn commit(fixture: &Records, sync: &SyncPoint<'_>) {
    let mut claim = claimed(fixture);
    let next = fixture.intended(fixture.sizes.read(claim.record()));
    claim.intend(&next).expect("an intent");
    sync.ready();
    let stamp = claim.commit(&next).expect("a commit");
    sync.done_as(stamp);
}

fn release(fixture: &Records, sync: &SyncPoint<'_>) {
    let claim = claimed(fixture);
    sync.ready();
    claim.release().expect("a release");
    sync.done();
}

fn attach(fixture: &Records, sync: &SyncPoint<'_>) {
    sync.ready();
    let mine = Segment::open(&fixture.path).expect("an attachment");
    sync.done();
    std::mem::forget(mine);
}

fn detach(fixture: &Records, sync: &SyncPoint<'_>) {
    let mine = fixture.segment.reopen().expect("an attachment");
    fixture.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    sync.ready();
    drop(mine);
    sync.done();
}
