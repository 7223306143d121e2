//! Recovery itself, killed after each of its instructions, and followed by another.

use std::path::Path;
use std::time::Instant;

use super::alone::{alone, stay_on_one_processor};
use super::deed;
use super::entries;
use super::plot::Plot;
use super::puppet::{Cue, Puppet};
use super::scale::{Dice, kills};
use super::scene::{ROWS, Stage};
use super::several;
use super::store::Store;
use super::sweep::{Order, Spot, Tally, walk};
use super::walk::Walk;

/// By asking for it.
fn by_request(scene: &impl Stage, cue: &Cue<'_>) {
    let mine = scene.own();
    cue.ready();
    mine.reap().expect("a recovery");
}

/// By attaching when no row is free but the dead one's.
fn by_attaching(scene: &impl Stage, cue: &Cue<'_>) {
    for _ in 0..ROWS - 2 {
        scene.own();
    }
    cue.ready();
    scene.own();
}

/// Of leases, too, and what lives by them.
fn with_leases(store: &Store, cue: &Cue<'_>) {
    let mine = store.own_keys();
    cue.ready();
    mine.reap().expect("a recovery");
    std::mem::forget(mine);
}

/// What becomes of the first recoverer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recoverer {
    Killed,
    /// And goes on when others have used the record for a while.
    Stopped,
}

/// Somebody dies at one of those points of the deed, and its recoverer meets its fate at each of its own points that makes
/// a difference, and at some others.
fn sweep<P: Plot>(folder: &Path, plot: P, deaths: Deaths, recover: fn(&P::Scene, &Cue<'_>), fate: Recoverer) {
    stay_on_one_processor();
    let mut dice = Dice::new();
    let began = Instant::now();
    let first = walk(folder, plot);
    let deaths = deaths(&first, &mut dice);
    let (mut tally, mut length, mut points) = (Tally::default(), 0, 0);
    for &death in &deaths {
        let murder = |scene: &P::Scene| {
            let mut puppet = plot.author(scene);
            let before = plot.look(scene);
            let strayed = !first.lead(&mut puppet, death);
            puppet.kill();
            (before, strayed)
        };
        let second = {
            let scene = plot.scene(folder);
            murder(&scene);
            Walk::of(scene.another_puppet(recover), scene.eye())
        };
        length = length.max(second.last());
        for point in second.points(&mut dice, kills() / deaths.len()) {
            points += 1;
            for &order in Order::at(point, &second) {
                let _spot = Spot::new(format!(
                    "{}, killed after {death} instructions, its recoverer {fate:?} after {point}, survivor: {order:?}",
                    plot.name()
                ));
                let scene = plot.scene(folder);
                let (before, strayed) = murder(&scene);
                let mut recoverer = scene.another_puppet(recover);
                tally.strayed += u64::from(!second.lead(&mut recoverer, point) || strayed);
                match fate {
                    Recoverer::Killed => {
                        recoverer.kill();
                        tally.count(plot.judge(&scene, before, order, tally.kills()));
                    }
                    Recoverer::Stopped => others_go_on(plot, &scene, recoverer),
                }
            }
        }
    }
    println!(
        "{}, killed at {} points; its recovery of up to {length} instructions {fate:?} at {points}; {}{:.1} s",
        plot.name(),
        deaths.len(),
        if fate == Recoverer::Killed { format!("{tally}; ") } else { String::new() },
        began.elapsed().as_secs_f64()
    );
}

/// Every block in play changes hands before the recoverer goes on.
fn others_go_on<P: Plot>(plot: P, scene: &P::Scene, recoverer: Puppet) {
    plot.work(scene);
    let before = plot.look(scene);
    recoverer.finish();
    assert_eq!(plot.look(scene), before, "recovery changes no value that others have seen");
    plot.change(scene);
    scene.all_is_recovered();
}

/// At which points of its deed the first one dies.
type Deaths = fn(&Walk, &mut Dice) -> Vec<usize>;

/// Points of the deed that others can tell from the one before: all of them in a release build.
fn anywhere(walk: &Walk, dice: &mut Dice) -> Vec<usize> {
    dice.some_of(0..walk.changes.len(), kills().div_ceil(25)).map(|i| walk.changes[i]).collect()
}

/// One of them.
fn somewhere(walk: &Walk, dice: &mut Dice) -> Vec<usize> {
    vec![walk.changes[dice.below(walk.changes.len() as u64) as usize]]
}

/// When the deed is done.
fn afterwards(walk: &Walk, _: &mut Dice) -> Vec<usize> {
    vec![walk.last()]
}

#[test]
fn a_recoverer_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, deed::UPDATE, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_blocks_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, deed::LARGER, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_first_lane_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, deed::FIRST_LANE, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_stopped_at_any_instruction_is_in_nobodys_way() {
    alone(|folder| sweep(folder, deed::UPDATE, anywhere, by_request, Recoverer::Stopped));
}

#[test]
fn a_recoverer_stopped_at_any_instruction_does_not_keep_a_dead_holders_claim() {
    alone(|folder| sweep(folder, deed::CLAIM, afterwards, by_request, Recoverer::Stopped));
}

#[test]
fn a_newcomer_killed_while_it_takes_a_dead_ones_row_is_followed_by_another() {
    alone(|folder| sweep(folder, deed::UPDATE, somewhere, by_attaching, Recoverer::Killed));
}

#[test]
fn a_newcomer_stopped_while_it_takes_a_dead_holders_row_does_not_keep_the_claim() {
    alone(|folder| sweep(folder, deed::CLAIM, afterwards, by_attaching, Recoverer::Stopped));
}

#[test]
fn a_recoverer_of_a_commit_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, several::TWO, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_larger_commit_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, several::EIGHT, somewhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_commit_stopped_at_any_instruction_is_in_nobodys_way() {
    alone(|folder| sweep(folder, several::TWO, somewhere, by_request, Recoverer::Stopped));
}

#[test]
fn a_recoverer_of_a_lease_killed_at_any_instruction_is_followed_by_another() {
    alone(|folder| sweep(folder, entries::CREATE_UNDER, afterwards, with_leases, Recoverer::Killed));
}
