//! A lane whose owner was killed at any of its accesses: recovery loses no block and no change, doubles none, and may
//! itself be killed.

use loom::thread;

use crate::explore::Explorer;
use crate::memory::block::spares::LaneHandle;
use crate::memory::sync::modelled::killed_after;
use crate::stage::Stage;

/// At the end: the versions of before, the update of the other lane, and the dead one's if it was made. What is settled
/// stays settled, and the lane's next owner goes on with it.
fn assert_nothing_lost(stage: &Stage, before: u64, acknowledged: bool, finished: bool) {
    assert!(!stage.arena.settle(0).unwrap(), "what is settled stays settled");
    let versions = stage.read(0).meta.version;
    let dead = versions - before - 1;
    assert!(dead <= 1, "a change was made twice");
    assert!(dead == 1 || !(acknowledged || finished), "a change was acknowledged or finished and is not there");
    stage.assert_settled(0, versions);
    let mut heir = LaneHandle::inherit(&stage.arena, 0).unwrap();
    stage.update(&mut heir, 0);
    stage.assert_settled(0, versions + 1);
}

/// Lane 0 is killed at every access of an update of record 0, and recovered beside an update by lane 1.
fn kill_one_of_two(stage: fn() -> (Stage, Vec<LaneHandle>), before: u64) {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = stage();
            let (mut other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            let (author, killed) = (stage.clone(), killed.clone());
            let author = thread::spawn(move || killed.note(killed_after(accesses, || author.update(&mut lane, 0))));
            let recovery = stage.clone();
            let recoverer = thread::spawn(move || {
                // The kernel frees a row's lock when nothing of its owner can still run.
                let acknowledged = author.join().unwrap();
                (acknowledged, recovery.arena.settle(0).unwrap())
            });
            let beside = stage.clone();
            let writer = thread::spawn(move || beside.update(&mut other, 0));
            let (acknowledged, finished) = recoverer.join().unwrap();
            writer.join().unwrap();
            assert_nothing_lost(&stage, before, acknowledged, finished);
        });
    });
}

#[test]
fn a_lane_killed_at_any_access_is_recovered_beside_a_writer() {
    kill_one_of_two(|| Stage::new(1, 2), 1);
}

/// Both take a block from the pool for a record that does not exist yet; the loser's goes back.
#[test]
fn a_creator_killed_at_any_access_is_recovered_beside_another() {
    kill_one_of_two(|| Stage::unwritten(1, 2), 0);
}

#[test]
fn a_recovery_killed_at_any_access_is_repeated_by_the_next() {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        explorer.at_every_access(|of_the_first, first_killed| {
            let killed = killed.clone();
            explorer.run(move || {
                let (stage, mut lanes) = Stage::new(1, 2);
                let (mut other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
                let acknowledged = killed.note(killed_after(accesses, || stage.update(&mut lane, 0)));
                let (recovery, first_killed) = (stage.clone(), first_killed.clone());
                let recoverer = thread::spawn(move || {
                    let first = killed_after(of_the_first, || recovery.arena.settle(0).unwrap());
                    first_killed.note(first);
                    let next = recovery.arena.settle(0).unwrap();
                    first.unwrap_or(false) || next
                });
                let beside = stage.clone();
                let writer = thread::spawn(move || beside.update(&mut other, 0));
                let finished = recoverer.join().unwrap();
                writer.join().unwrap();
                assert_nothing_lost(&stage, 1, acknowledged, finished);
            });
        });
    });
}
