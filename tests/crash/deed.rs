//! The operations that change one record, each as a child acts it out, and what the survivor must find of it.

use std::path::Path;

use slotguard::{Claim, Deadline, Outcome, Revision, Segment, Stamp};

use super::plot::Plot;
use super::puppet::Cue;
use super::scene::{LONG, Scene, Stage};
use super::sweep::{Fate, Order};
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

impl Plot for Deed {
    type Scene = Scene;
    type View = Stamp;

    fn name(&self) -> &'static str {
        self.name
    }

    fn scene(&self, folder: &Path) -> Scene {
        Scene::new(folder, self.sizes, self.history)
    }

    fn play(&self, scene: &Scene, cue: &Cue<'_>) {
        (self.part)(scene, cue);
    }

    fn look(&self, scene: &Scene) -> Stamp {
        scene.look()
    }

    fn judge(&self, scene: &Scene, before: Stamp, order: Order, _turn: usize) -> Fate {
        if order == Order::RecoverFirst {
            scene.all_is_recovered();
        }
        let acknowledged = scene.board.is_acknowledged();
        let found = scene.look();
        let changes = found.version.0 - before.version.0;
        assert!(changes == 0 || changes == self.changes, "old or new: {before:?} became {found:?}");
        assert!(changes > 0 || found == before, "an old value is the old value: {before:?} became {found:?}");
        if acknowledged {
            assert_eq!(changes, self.changes, "an acknowledged change is there");
            let told = Revision(scene.board.revision());
            assert!(changes == 0 || told == found.revision, "acknowledged as {told:?}, found as {found:?}");
        }
        assert_eq!(scene.record().holder().expect("a look"), None, "nobody holds what a dead one claimed");

        let mut took_place = changes > 0 || acknowledged;
        match self.intent {
            Announced::Never if found.version.0.is_multiple_of(2) => {}
            Announced::Never => assert_eq!(scene.survivor_claims(), None, "nobody announced anything"),
            Announced::ByTheDeed => {
                let intent = scene.survivor_claims();
                intent.iter().for_each(|intent| scene.is_the_intent(intent, before));
                assert!(intent.is_some() || !acknowledged, "an acknowledged intent is found by the next holder");
                took_place |= intent.is_some();
            }
            Announced::Before if changes > 0 => {
                assert_eq!(scene.survivor_claims(), None, "what was announced has been done");
            }
            Announced::Before => {
                let intent = scene.survivor_claims();
                let intent = intent.expect("what was announced and not done is found by the next holder");
                scene.is_the_intent(&intent, before);
            }
        }
        scene.survivor_updates();
        scene.all_is_recovered();
        // The blocks that were the dead one's last are used again.
        scene.survivor_updates();
        match (took_place, acknowledged) {
            (_, true) => Fate::Acknowledged,
            (true, false) => Fate::Done,
            (false, false) => Fate::Undone,
        }
    }

    fn change(&self, scene: &Scene) {
        scene.survivor_updates();
    }

    fn work(&self, scene: &Scene) {
        for _ in 0..3 {
            scene.survivor_updates();
        }
        scene.survivor_claims();
    }
}

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
