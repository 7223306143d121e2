//! Commits over several records killed, or stopped, after each of their instructions: all of each or nothing, also where
//! several are in each other's way.

use std::cell::Cell;

use slotguard::Deadline;

use super::alone::{alone, stay_on_one_processor};
use super::asleep::{Wait, Waker, published, wakers_get_no_further};
use super::plot::Plot;
use super::puppet::Puppet;
use super::scale::{Dice, kills};
use super::scene::{Scene, Stage};
use super::several::{self, Several, Stamps};
use super::stopped::stop;
use super::sweep::{Spot, sweep_along, walk};
use super::walk::Walk;

/// Others read, update and commit the same records while the author is stopped, and need nothing from it.
fn others_go_on(commit: Several, turns: &Cell<usize>, scene: &Scene, before: &Stamps, stopped: Puppet) {
    turns.set(turns.get() + 1);
    let acknowledged = scene.board.is_acknowledged();
    let mut own = [0; 10];
    commit.meet(scene, turns.get(), &mut own);
    let found = commit.look(scene);
    let done = commit.is_in(before, &found, &own);
    assert!(done.is_some() || !acknowledged, "an acknowledged commit is there");
    // A whole commit, an update of one record and a read; then all the blocks in play change hands.
    commit.change(scene);
    commit.writes.iter().for_each(|index| own[*index as usize] += 1);
    for turn in [2, 4, 7] {
        commit.meet(scene, turn, &mut own);
    }
    let seen = commit.look(scene);
    assert_eq!(commit.is_in(before, &seen, &own).is_some(), done.is_some(), "it takes place when it is met, or later");
    let reaped = scene.segment.reap().expect("a recovery");
    assert_eq!(reaped.participants, 0, "the stopped are not dead");

    stopped.finish();
    assert!(scene.board.is_acknowledged(), "the stopped one completes its commit");
    let last = commit.look(scene);
    assert!(commit.is_in(before, &last, &own).is_some(), "its commit is in, once");
    if let Some(done) = done.filter(|done| done.0 > 0) {
        assert_eq!(scene.board.revision(), done.0, "its author is told the number that others saw");
        assert_eq!(last, seen, "what others saw is all there was of it");
    }
    scene.all_is_recovered();
}

fn killed_or_stopped_anywhere(commit: Several) {
    alone(|folder| {
        stay_on_one_processor();
        let walk = walk(folder, commit);
        let tally = sweep_along(folder, commit, &walk, kills());
        assert!(tally.done > 0, "somebody else completes what its author no longer can");
        let turns = Cell::new(0);
        stop(folder, commit, &walk, kills(), |scene, before, stopped| {
            others_go_on(commit, &turns, scene, &before, stopped);
        });
    });
}

#[test]
fn a_commit_of_two_records_killed_or_stopped_at_any_instruction_is_in_as_a_whole_or_not_at_all() {
    killed_or_stopped_anywhere(several::TWO);
}

#[test]
fn a_commit_of_eight_records_killed_or_stopped_at_any_instruction_is_in_as_a_whole_or_not_at_all() {
    killed_or_stopped_anywhere(several::EIGHT);
}

/// One is stopped on its way through a commit, another is killed on its way through one that meets it and helps it, and a
/// third goes on.
fn one_stopped_and_one_killed(first: Several, second: Several) {
    alone(|folder| {
        stay_on_one_processor();
        let mut dice = Dice::new();
        let way = walk(folder, first);
        let stops: Vec<usize> =
            dice.some_of(0..way.changes.len(), kills().div_ceil(50)).map(|i| way.changes[i]).collect();
        let (mut kills_made, mut helped, mut longest) = (0, 0, 0);
        for &stop in &stops {
            let author = |scene: &Scene| {
                let mut author = first.author(scene);
                let before = first.look(scene);
                way.lead(&mut author, stop);
                (author, before)
            };
            // What the second does before its cue meets nobody: only its own second commit is stepped through.
            let second_way = {
                let scene = first.scene(folder);
                let rival = second.author(&scene);
                let (_author, _) = author(&scene);
                Walk::of(rival, scene.eye())
            };
            longest = longest.max(second_way.last());
            for point in second_way.points(&mut dice, kills() / stops.len()) {
                let _spot = Spot::new(format!(
                    "{} stopped after {stop} instructions, {} killed after {point}",
                    first.name, second.name
                ));
                let scene = first.scene(folder);
                let mut rival = second.author(&scene);
                let (author, before) = author(&scene);
                // Its acknowledgement is the rival's from here on.
                let acknowledged = scene.board.is_acknowledged().then(|| scene.board.revision());
                scene.board.clear();
                second_way.lead(&mut rival, point);
                rival.kill();
                let told = scene.board.is_acknowledged().then(|| scene.board.revision());
                scene.board.clear();

                let found = first.look(&scene);
                let others = |of: Several, met: bool| {
                    let mut own = [0; 10];
                    of.writes.iter().for_each(|index| own[*index as usize] += u64::from(met));
                    own
                };
                // Each has a record that the other leaves alone.
                let changed = |of: Several| found[of.writes[0] as usize] != before[of.writes[0] as usize];
                let (one, two) = (changed(first), changed(second));
                first.is_in(&before, &found, &others(second, two));
                second.is_in(&before, &found, &others(first, one));
                assert!(one || acknowledged.is_none(), "an acknowledged commit is there");
                assert!(two || told.is_none(), "an acknowledged commit is there");
                if let Some(told) = told {
                    assert_eq!(found[second.writes[0] as usize].revision.0, told, "the number its author was told");
                }

                // The survivor proceeds, with the dead not yet recovered and the stopped one as it is.
                second.change(&scene);
                first.change(&scene);
                scene.segment.reap().expect("a recovery");
                let seen = first.look(&scene);
                author.finish();
                let last = first.look(&scene);
                if acknowledged.is_none() {
                    assert!(scene.board.is_acknowledged(), "the stopped one completes its commit");
                }
                let mut own = others(second, true);
                second.writes.iter().for_each(|index| own[*index as usize] += u64::from(two));
                first.writes.iter().for_each(|index| own[*index as usize] += 1);
                assert!(first.is_in(&before, &last, &own).is_some(), "its commit is in, once");
                assert!(!one || last == seen, "what others saw is all there was of it");
                scene.all_is_recovered();
                first.work(&scene);
                second.work(&scene);
                scene.nothing_is_amiss(1);
                kills_made += 1;
                helped += usize::from(one && acknowledged.is_none());
            }
        }
        println!(
            "{} stopped at {} points, {} of up to {longest} instructions killed at {kills_made}; {helped} times the \
             stopped one's commit had taken place",
            first.name,
            stops.len(),
            second.name
        );
        assert!(helped > 0, "the stopped one was helped some time");
    });
}

#[test]
fn one_killed_while_it_helps_a_stopped_one_leaves_both_commits_whole() {
    one_stopped_and_one_killed(several::ODD, several::EVEN);
}

#[test]
fn one_killed_with_a_smaller_record_in_its_hands_leaves_both_commits_whole() {
    one_stopped_and_one_killed(several::EVEN, several::ODD);
}

fn waited_for(waker: Waker) {
    let wait = |scene: &Scene, seen: &Stamps| {
        let last = several::TWO.writes[1];
        let (record, seen) = (scene.own().record(last).expect("a record"), seen[last as usize].version);
        let found = record.wait_newer(seen, Deadline::never()).expect("a wait").expect("a wait without an end");
        assert!(found > seen, "something newer");
        found.0
    };
    wakers_get_no_further(Wait { plot: several::TWO, waker, wait, from: published });
}

#[test]
fn a_waiter_for_a_record_of_a_commit_whose_author_is_killed_returns() {
    waited_for(Waker::Killed);
}

#[test]
fn a_waiter_for_a_record_of_a_commit_whose_author_is_stopped_returns() {
    waited_for(Waker::Stopped);
}
