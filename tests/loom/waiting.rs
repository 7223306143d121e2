//! Sleeping until a record changes: no wake-up is lost. A sleeper here sleeps for ever, so a lost one is a deadlock.

use loom::thread;

use crate::explore::{Explorer, explore_both};
use crate::memory::atomics::modelled::killed_after;
use crate::memory::futex;
use crate::memory::lane::LaneHandle;
use crate::memory::word::Head;
use crate::stage::Stage;

/// Waits as `wait_until` does, in one endless slice, until the record's head is no longer what it was.
fn wait_for_a_change(stage: &Stage, before: Head) {
    loop {
        let seen = stage.read(0);
        if seen.head != before {
            return;
        }
        let event = &stage.arena.record(0).event;
        if let Some(word) = stage.arena.prepare_sleep(0, event, seen.head) {
            futex::sleep_forever(event, word);
        }
    }
}

fn waiters_and_one_change(stage: fn() -> (Stage, Vec<LaneHandle>), waiters: u32, change: fn(&Stage, &mut LaneHandle)) {
    explore_both(move || {
        let (stage, mut lanes) = stage();
        let mut lane = lanes.remove(0);
        let before = stage.read(0).head;
        let waiters: Vec<_> = (0..waiters)
            .map(|_| {
                let waiter = stage.clone();
                thread::spawn(move || wait_for_a_change(&waiter, before))
            })
            .collect();
        let author = stage.clone();
        let writer = thread::spawn(move || change(&author, &mut lane));
        for waiter in waiters {
            waiter.join().unwrap();
        }
        writer.join().unwrap();
        stage.assert_one_place_each();
    });
}

#[test]
fn a_waiter_is_woken_by_an_update() {
    waiters_and_one_change(
        || Stage::hollow(1, 1),
        1,
        |stage, lane| {
            stage.update(lane, 0);
        },
    );
}

/// A claim's end marks no group, so nothing but the look at the event stands between its swap and the wake.
#[test]
fn a_waiter_is_woken_by_the_end_of_a_claim() {
    waiters_and_one_change(
        || Stage::hollow(1, 1),
        1,
        |stage, lane| {
            let seen = stage.read(0);
            assert!(stage.publish_same(lane, 0, &seen, None).is_some(), "nobody else changes the record");
        },
    );
}

#[test]
fn two_waiters_are_woken_by_one_update() {
    waiters_and_one_change(
        || Stage::hollow(1, 1),
        2,
        |stage, lane| {
            stage.update(lane, 0);
        },
    );
}

#[test]
fn a_waiter_is_woken_by_a_commit() {
    waiters_and_one_change(
        || Stage::hollow_committing(2, 1, 2),
        1,
        |stage, lane| {
            stage.try_commit(lane, &[0, 1]).expect("nobody else writes");
        },
    );
}

/// The author dies at each of its accesses. Whoever finishes the change wakes the waiter: a reader, if it has no number
/// yet; the recovery of the lane, if it has.
fn a_waiter_and_a_dead_author(stage: fn() -> (Stage, Vec<LaneHandle>), change: fn(&Stage, &mut LaneHandle)) {
    let explorer = Explorer::both();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = stage();
            let before = stage.read(0).head;
            let waiting = stage.clone();
            let waiter = thread::spawn(move || wait_for_a_change(&waiting, before));
            let (mut heir, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            let (author, killed) = (stage.clone(), killed.clone());
            let author = thread::spawn(move || killed.note(killed_after(accesses, || change(&author, &mut lane))));
            let other = stage.clone();
            let helper = thread::spawn(move || {
                author.join().unwrap();
                let (head, fate) = other.head_and_fate(0);
                if head == before {
                    change(&other, &mut heir);
                } else if fate.is_none_or(|fate| fate.revision().is_none()) {
                    other.read(0);
                } else {
                    other.arena.settle(0).unwrap();
                }
            });
            waiter.join().unwrap();
            helper.join().unwrap();
        });
    });
}

#[test]
fn a_waiter_is_woken_by_who_finishes_a_dead_authors_change() {
    a_waiter_and_a_dead_author(
        || Stage::hollow(1, 2),
        |stage, lane| {
            stage.update(lane, 0);
        },
    );
}

#[test]
fn a_waiter_is_woken_by_who_finishes_a_dead_authors_commit() {
    a_waiter_and_a_dead_author(
        || Stage::hollow_committing(1, 2, 1),
        |stage, lane| {
            stage.commit(lane, &[0]);
        },
    );
}
