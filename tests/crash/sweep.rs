//! Killing a deed after each of its instructions, and what the survivor finds.

use std::path::Path;
use std::time::Instant;

use slotguard::{Revision, Stamp};

use super::alone::stay_on_one_processor;
use super::deed::{Announced, Deed};
use super::scale::Dice;
use super::scene::Scene;
use super::walk::Walk;

/// What the survivor does first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// It goes on with its own work, and recovers later.
    WorkFirst,
    RecoverFirst,
}

impl Order {
    /// Points that others can tell from the one before are tried in both orders, the many between them in either.
    pub fn at(point: usize, walk: &Walk) -> &'static [Self] {
        match (walk.changes.contains(&point), point % 2) {
            (true, _) => &[Self::WorkFirst, Self::RecoverFirst],
            (false, 0) => &[Self::WorkFirst],
            (false, _) => &[Self::RecoverFirst],
        }
    }
}

/// What became of the deeds of a sweep.
#[derive(Default)]
pub struct Tally {
    pub undone: u64,
    pub done: u64,
    pub acknowledged: u64,
    /// Children that went another way than the one before them.
    pub strayed: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { undone, done, acknowledged, strayed } = self;
        let kills = undone + done + acknowledged;
        write!(f, "{kills} kills: {undone} undone, {done} done, {acknowledged} acknowledged; {strayed} strayed")
    }
}

/// Prints where it happened if what follows panics.
pub struct Spot(String);

impl Spot {
    pub fn new(spot: impl Into<String>) -> Self {
        Self(spot.into())
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("this happened to: {}", self.0);
        }
    }
}

/// The way of the deed with nobody else about.
pub fn walk(folder: &Path, deed: Deed) -> Walk {
    let scene = Scene::of(folder, deed);
    Walk::of(scene.puppet(deed.part), scene.eye())
}

/// Kills the deed at every point that is to be had with `most` kills and at every one that makes a difference.
pub fn sweep(folder: &Path, deed: Deed, most: usize) {
    stay_on_one_processor();
    let mut dice = Dice::new();
    let began = Instant::now();
    let walk = walk(folder, deed);
    let points = walk.points(&mut dice, most);
    let mut tally = Tally::default();
    for &point in &points {
        for &order in Order::at(point, &walk) {
            kill_at(folder, deed, &walk, point, order, &mut tally);
        }
    }
    println!(
        "{}: {} instructions, {} of them seen by others; killed after {}; {tally}; {:.1} s",
        deed.name,
        walk.last(),
        walk.changes.len(),
        points.len(),
        began.elapsed().as_secs_f64(),
    );
    assert!(tally.undone > 0 && tally.acknowledged > 0, "the sweep reaches from before the deed to after it");
}

fn kill_at(folder: &Path, deed: Deed, walk: &Walk, point: usize, order: Order, tally: &mut Tally) {
    let _spot = Spot::new(format!("{}, killed after {point} instructions, survivor: {order:?}", deed.name));
    let scene = Scene::of(folder, deed);
    let mut puppet = scene.puppet(deed.part);
    let before = scene.look();
    tally.strayed += u64::from(!walk.lead(&mut puppet, point));
    puppet.kill();
    judge(&scene, deed, before, order, tally);
}

/// All is as it must be after the deed's author has died.
pub fn judge(scene: &Scene, deed: Deed, before: Stamp, order: Order, tally: &mut Tally) {
    if order == Order::RecoverFirst {
        scene.all_is_recovered();
    }
    let acknowledged = scene.board.is_acknowledged();
    let found = scene.look();
    let changes = found.version.0 - before.version.0;
    assert!(changes == 0 || changes == deed.changes, "old or new: {before:?} became {found:?}");
    assert!(changes > 0 || found == before, "an old value is the old value: {before:?} became {found:?}");
    if acknowledged {
        assert_eq!(changes, deed.changes, "an acknowledged change is there");
        let told = Revision(scene.board.revision());
        assert!(changes == 0 || told == found.revision, "acknowledged as {told:?}, found as {found:?}");
    }
    assert_eq!(scene.record().holder().expect("a look"), None, "nobody holds what a dead one claimed");

    let mut took_place = changes > 0 || acknowledged;
    match deed.intent {
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
            let intent = scene.survivor_claims().expect("what was announced and not done is found by the next holder");
            scene.is_the_intent(&intent, before);
        }
    }
    scene.survivor_updates();
    scene.all_is_recovered();
    // The blocks that were the dead one's last are used again.
    scene.survivor_updates();
    match (took_place, acknowledged) {
        (_, true) => tally.acknowledged += 1,
        (true, false) => tally.done += 1,
        (false, false) => tally.undone += 1,
    }
}
