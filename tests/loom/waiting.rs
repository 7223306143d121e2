//! Sleeping until a record changes: no wake-up is lost. A sleeper here sleeps for ever, so a lost one is a deadlock.

use loom::thread;

use crate::explore::{Explorer, explore_both};
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::Head;
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::Acquire;
use crate::memory::sync::modelled::killed_after;
use crate::stage::Stage;

/// Waits as `wait_until` does, in one endless slice, until the record's head is no longer what it was.
fn wait_for_a_change(stage: &Stage, before: Head) {
    loop {
        let seen = stage.read(0);
        if seen.head != before {
            return;
        }
        let event = &stage.arena.record(0).wait;
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
#[test]
fn a_waiter_is_woken_by_who_finishes_a_dead_authors_change() {
    let explorer = Explorer::both();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::hollow(1, 2);
            let before = stage.read(0).head;
            let waiting = stage.clone();
            let waiter = thread::spawn(move || wait_for_a_change(&waiting, before));
            let (mut heir, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            let (author, killed) = (stage.clone(), killed.clone());
            let author = thread::spawn(move || killed.note(killed_after(accesses, || author.update(&mut lane, 0))));
            let other = stage.clone();
            let helper = thread::spawn(move || {
                author.join().unwrap();
                let (head, state) = other.head_and_state(0);
                if head == before {
                    other.update(&mut heir, 0);
                } else if state.revision().is_none() {
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

/// The same with a commit: a reader finishes it as long as it holds the record.
#[test]
fn a_waiter_is_woken_by_who_finishes_a_dead_authors_commit() {
    let explorer = Explorer::accesses();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::hollow_committing(1, 2, 1);
            let (mut heir, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            lane.begin_commit();
            let seen = stage.prepare(&mut lane, 0);
            let waiting = stage.clone();
            let waiter = thread::spawn(move || wait_for_a_change(&waiting, seen.head));
            let (author, killed) = (stage.clone(), killed.clone());
            let author = thread::spawn(move || {
                killed.note(killed_after(accesses, || author.commit_prepared(&mut lane, &[seen])));
            });
            let other = stage.clone();
            let helper = thread::spawn(move || {
                author.join().unwrap();
                let head = Head(other.arena.record(0).head.load(Acquire));
                if head == seen.head {
                    other.update(&mut heir, 0);
                } else if head.is_reference() {
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
