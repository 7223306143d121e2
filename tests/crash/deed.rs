//! The operations that change a segment, each as a child acts it out: prepare, cue, act, acknowledge.

use slotguard::{Claim, Deadline, Outcome, Segment};

use super::puppet::Cue;
use super::scene::{LONG, Scene};
use super::value::Sizes;

/// One operation and what it does to record 0.
#[derive(Clone, Copy)]
pub struct Deed {
    pub name: &'static str,
    pub part: fn(&Scene, &Cue<'_>),
    pub sizes: Sizes,
    /// Changes the survivor makes to the record beforehand.
    pub history: u64,
    /// Changes of the value that the deed makes.
    pub changes: u64,
    pub intent: Announced,
}

/// Whether an intent is on the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    Never,
    /// Once the deed is done.
    ByTheDeed,
    /// Until the deed is done.
    Before,
}

const PLAIN: Deed =
    Deed { name: "", part: |_, _| (), sizes: Sizes::Same, history: 3, changes: 0, intent: Announced::Never };

pub const UPDATE: Deed = Deed { name: "update", part: update, changes: 1, ..PLAIN };
pub const FIRST_UPDATE: Deed =
    Deed { name: "first update of a record", part: update_elsewhere_first, history: 0, changes: 1, ..PLAIN };
pub const SMALLER: Deed = Deed {
    name: "update to a smaller payload class",
    part: update_elsewhere_first,
    sizes: Sizes::Mixed,
    history: 4,
    changes: 1,
    ..PLAIN
};
pub const LARGER: Deed = Deed { name: "update to a larger payload class", history: 3, ..SMALLER };
pub const FIRST_LANE: Deed = Deed { name: "a thread's first update", part: first_lane, changes: 1, ..PLAIN };
pub const SWAP: Deed = Deed { name: "compare and swap", part: compare_and_swap, changes: 1, ..PLAIN };
pub const CLAIM: Deed = Deed { name: "claim", part: claim, ..PLAIN };
pub const FIRST_CLAIM: Deed = Deed { name: "claim of a record never written", history: 0, ..CLAIM };
pub const CLAIM_AND_INTEND: Deed =
    Deed { name: "claim and intend", part: claim_and_intend, intent: Announced::ByTheDeed, ..PLAIN };
pub const RENEW: Deed = Deed { name: "renewal of a claim", part: renew, ..PLAIN };
pub const COMMIT: Deed =
    Deed { name: "commit of a claim", part: commit, changes: 1, intent: Announced::Before, ..PLAIN };
pub const RELEASE: Deed = Deed { name: "release of a claim", part: release, ..PLAIN };
pub const ATTACH: Deed = Deed { name: "attaching", part: attach, ..PLAIN };
pub const DETACH: Deed = Deed { name: "detaching", part: detach, ..PLAIN };

fn update(scene: &Scene, cue: &Cue<'_>) {
    let record = scene.own().record(0).expect("record 0");
    // The lane is there, and its block has been under a head before.
    scene.sizes.bump(record).expect("an update");
    cue.ready();
    let stamp = scene.sizes.bump(record).expect("an update");
    cue.done_as(stamp);
}

fn update_elsewhere_first(scene: &Scene, cue: &Cue<'_>) {
    let mine = scene.own();
    scene.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    cue.ready();
    let stamp = scene.sizes.bump(mine.record(0).expect("record 0")).expect("an update");
    cue.done_as(stamp);
}

fn first_lane(scene: &Scene, cue: &Cue<'_>) {
    let record = scene.own().record(0).expect("record 0");
    cue.ready();
    let stamp = scene.sizes.bump(record).expect("an update");
    cue.done_as(stamp);
}

fn compare_and_swap(scene: &Scene, cue: &Cue<'_>) {
    let record = scene.own().record(0).expect("record 0");
    let version = scene.sizes.bump(record).expect("an update").version;
    let next = scene.sizes.value(version.0 + 1);
    cue.ready();
    let outcome = record.compare_and_swap(version, &next).expect("an attempt");
    let Outcome::Committed(revision) = outcome else { panic!("nobody else changes the record") };
    cue.board.acknowledge(revision.0);
}

/// A claim of the child's own, on a lane that has been used.
fn claimed(scene: &Scene) -> Claim<'static> {
    let mine = scene.own();
    scene.sizes.bump(mine.record(0).expect("record 0")).expect("an update");
    mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim")
}

fn claim(scene: &Scene, cue: &Cue<'_>) {
    let mine = scene.own();
    scene.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    cue.ready();
    let claim = mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim");
    cue.done();
    std::mem::forget(claim);
}

fn claim_and_intend(scene: &Scene, cue: &Cue<'_>) {
    let mine = scene.own();
    scene.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    let next = scene.intended(scene.sizes.read(mine.record(0).expect("record 0")));
    cue.ready();
    let mut claim = mine.record(0).expect("record 0").claim(Deadline::now(), LONG).expect("a claim");
    claim.intend(&next).expect("an intent");
    cue.done();
    std::mem::forget(claim);
}

fn renew(scene: &Scene, cue: &Cue<'_>) {
    let mut claim = claimed(scene);
    cue.ready();
    claim.renew(LONG).expect("a renewal");
    cue.done();
    std::mem::forget(claim);
}

fn commit(scene: &Scene, cue: &Cue<'_>) {
    let mut claim = claimed(scene);
    let next = scene.intended(scene.sizes.read(claim.record()));
    claim.intend(&next).expect("an intent");
    cue.ready();
    let stamp = claim.commit(&next).expect("a commit");
    cue.done_as(stamp);
}

fn release(scene: &Scene, cue: &Cue<'_>) {
    let claim = claimed(scene);
    cue.ready();
    claim.release().expect("a release");
    cue.done();
}

fn attach(scene: &Scene, cue: &Cue<'_>) {
    cue.ready();
    let mine = Segment::open(&scene.path).expect("an attachment");
    cue.done();
    std::mem::forget(mine);
}

fn detach(scene: &Scene, cue: &Cue<'_>) {
    let mine = scene.segment.reopen().expect("an attachment");
    scene.sizes.bump(mine.record(2).expect("record 2")).expect("an update");
    cue.ready();
    drop(mine);
    cue.done();
}
