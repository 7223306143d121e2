//! Killing an operation after each of its instructions, and what the survivor finds.

use std::path::Path;
use std::time::Instant;

use super::alone::stay_on_one_processor;
use super::plot::Plot;
use super::scale::Dice;
use super::scene::Stage;
use super::walk::Walk;
use super::watch::Watch;

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

/// What became of an operation whose author was killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Undone,
    Done,
    /// Done, and its author was told so.
    Acknowledged,
}

/// What became of those of a sweep.
#[derive(Default)]
pub struct Tally {
    pub undone: u64,
    pub done: u64,
    pub acknowledged: u64,
    /// Children that went another way than the one before them.
    pub strayed: u64,
}

impl Tally {
    pub fn kills(&self) -> usize {
        (self.undone + self.done + self.acknowledged) as usize
    }

    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Undone => self.undone += 1,
            Fate::Done => self.done += 1,
            Fate::Acknowledged => self.acknowledged += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { undone, done, acknowledged, strayed } = self;
        let kills = self.kills();
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

/// The way of the plot with nobody else about.
///
/// A rehearsal shows which pages it changes, and that it does what it is meant to; then only these are looked at.
pub fn walk<P: Plot>(folder: &Path, plot: P) -> Walk {
    walk_beside(folder, plot, |_| ())
}

/// Its way with somebody about, who is there once the author has come to its cue.
pub fn walk_beside<P: Plot, G>(folder: &Path, plot: P, guest: impl Fn(&P::Scene) -> G) -> Walk {
    let pages = {
        let scene = plot.scene(folder);
        let puppet = plot.author(&scene);
        let before = plot.look(&scene);
        let _guest = guest(&scene);
        let watch = Watch::new(scene.path());
        puppet.finish();
        let pages = watch.changed_pages();
        plot.succeeded(&scene, before);
        pages
    };
    let scene = plot.scene(folder);
    let puppet = plot.author(&scene);
    let _guest = guest(&scene);
    let mut watch = Watch::on(scene.path(), pages);
    Walk::of(puppet, |asked| watch.look(asked))
}

/// Kills the plot's author at every point that is to be had with `most` kills and at every one that makes a difference.
pub fn sweep<P: Plot>(folder: &Path, plot: P, most: usize) -> Tally {
    stay_on_one_processor();
    let walk = walk(folder, plot);
    sweep_along(folder, plot, &walk, most)
}

/// The same where its way is known.
pub fn sweep_along<P: Plot>(folder: &Path, plot: P, walk: &Walk, most: usize) -> Tally {
    let mut dice = Dice::new();
    let began = Instant::now();
    let points = walk.points(&mut dice, most);
    let mut tally = Tally::default();
    for &point in &points {
        for &order in Order::at(point, walk) {
            let _spot = Spot::new(format!("{}, killed after {point} instructions, survivor: {order:?}", plot.name()));
            let scene = plot.scene(folder);
            let mut puppet = plot.author(&scene);
            let before = plot.look(&scene);
            tally.strayed += u64::from(!walk.lead(&mut puppet, point));
            puppet.kill();
            tally.count(plot.judge(&scene, before, order, tally.kills()));
        }
    }
    println!(
        "{}: {} instructions, {} of them seen by others; killed after {}; {tally}; {:.1} s",
        plot.name(),
        walk.last(),
        walk.seen(),
        points.len(),
        began.elapsed().as_secs_f64(),
    );
    assert!(tally.undone > 0 && tally.acknowledged > 0, "the sweep reaches from before the deed to after it");
    tally
}
