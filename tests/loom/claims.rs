//! A claim that changes hands: whoever lost it cannot write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::thread;

use crate::explore::{explore, explore_accesses};
use crate::memory::block::meta::ClaimWords;
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::OwnerWord;
use crate::memory::os::futex;
use crate::memory::record::read::Observed;
use crate::stage::Stage;

fn claim(row: u32) -> ClaimWords {
    ClaimWords { owner: OwnerWord::new(row, 1), token: 0, until: 0, since: 0 }
}

/// The holder believes its claim is still good; another finds it expired, replaces it and commits under its own. The
/// taker's commit uses the very block the holder's claim was in, so that only the count tells the two heads apart.
#[test]
fn a_late_holder_and_a_taker_never_both_write() {
    explore(|| {
        let (stage, mut lanes) = Stage::new(1, 2);
        let (mut taker, mut holder) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        let unclaimed = stage.read(0);
        let token = stage.publish_same(&mut holder, 0, &unclaimed, Some(&claim(1))).expect("nobody else is here");
        let held = stage.read(0);
        let late = stage.clone();
        let late = thread::spawn(move || late.publish(&mut holder, 0, &held));
        let other = stage.clone();
        let taken = thread::spawn(move || {
            let seen = other.read(0);
            if seen.meta.claim.owner != claim(1).owner {
                return false;
            }
            let Some(own) = other.publish_same(&mut taker, 0, &seen, Some(&claim(2))) else {
                return false;
            };
            assert!(own > token, "a later claim has a larger token");
            let seen = other.read(0);
            assert_eq!((seen.meta.claim.owner, seen.token()), (claim(2).owner, own), "a claim was overwritten");
            assert!(other.publish(&mut taker, 0, &seen).is_some(), "the holder of the claim can write");
            true
        });
        let (late, taken) = (late.join().unwrap(), taken.join().unwrap());
        assert!(late.is_some() != taken, "one of the two writes");
        stage.assert_settled(0, 2);
    });
}

/// Claims the record, which was seen to be free, for the row of the lane's number.
fn claim_if_free(stage: &Stage, lane: &mut LaneHandle, seen: &Observed) -> bool {
    let claim = claim(lane.index);
    stage.publish_same(lane, 0, seen, Some(&claim)).is_some()
}

/// Claims the record as `Claim::acquire` does, waiting in endless slices.
fn wait_and_claim(stage: &Stage, lane: &mut LaneHandle) {
    let turn = &stage.arena.record(0).claim_wait;
    let mut slept = false;
    loop {
        let seen = stage.read(0);
        if seen.meta.claim.is_some() {
            if let Some(word) = stage.arena.prepare_sleep(0, turn, seen.head) {
                slept = true;
                futex::sleep_forever(turn, word);
            }
        } else if claim_if_free(stage, lane, &seen) {
            break;
        }
    }
    if slept {
        stage.arena.expect_others(0);
    }
}

/// Ends the lane's claim.
fn end(stage: &Stage, lane: &mut LaneHandle) {
    let seen = stage.read(0);
    assert_eq!(seen.meta.claim.owner, claim(lane.index).owner, "a claim was overwritten");
    assert!(stage.publish_same(lane, 0, &seen, None).is_some(), "the holder of the claim can end it");
}

/// The end of a claim wakes one of those who wait for it; that one's wakes the next.
#[test]
fn everybody_who_waits_for_a_claim_gets_it() {
    explore_accesses(|| {
        let (stage, mut lanes) = Stage::hollow(1, 3);
        let mut holder = lanes.pop().unwrap();
        assert!(claim_if_free(&stage, &mut holder, &stage.read(0)), "nobody else is here");
        // The last has nobody to end its claim for.
        let waiting = Arc::new(AtomicUsize::new(lanes.len()));
        let claimers: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| {
                let (stage, waiting) = (stage.clone(), waiting.clone());
                thread::spawn(move || {
                    wait_and_claim(&stage, &mut lane);
                    if waiting.fetch_sub(1, Relaxed) > 1 {
                        end(&stage, &mut lane);
                    }
                })
            })
            .collect();
        let first = stage.clone();
        let holder = thread::spawn(move || end(&first, &mut holder));
        for claimer in claimers {
            claimer.join().unwrap();
        }
        holder.join().unwrap();
        stage.assert_settled(0, 1);
    });
}

/// One waits for a claim and gives up when it is woken; the other waits for as long as it takes.
#[test]
fn who_is_woken_and_gives_up_passes_the_turn_on() {
    explore_accesses(|| {
        let (stage, mut lanes) = Stage::hollow(1, 2);
        let (mut holder, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        assert!(claim_if_free(&stage, &mut holder, &stage.read(0)), "nobody else is here");
        let patient = stage.clone();
        let patient = thread::spawn(move || {
            wait_and_claim(&patient, &mut lane);
            end(&patient, &mut lane);
        });
        let hasty = stage.clone();
        let hasty = thread::spawn(move || {
            let turn = &hasty.arena.record(0).claim_wait;
            let seen = hasty.read(0);
            if seen.meta.claim.is_some()
                && let Some(word) = hasty.arena.prepare_sleep(0, turn, seen.head)
            {
                futex::sleep_forever(turn, word);
                hasty.arena.pass_claim_wait(0);
            }
        });
        let first = stage.clone();
        let holder = thread::spawn(move || end(&first, &mut holder));
        for thread in [patient, hasty, holder] {
            thread.join().unwrap();
        }
        stage.assert_settled(0, 1);
    });
}
