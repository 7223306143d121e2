//! Taking blocks nobody uses and giving them back: each has one owner, also when one is killed at it.

use loom::thread;

use crate::explore::{Explorer, explore};
use crate::memory::block::spares::LaneHandle;
use crate::memory::sync::atomics::Ordering::Relaxed;
use crate::memory::sync::modelled::killed_after;
use crate::stage::Stage;

/// Takes a block into the lane's first spare, writes into it, and finds there what it wrote.
fn take_and_use(stage: &Stage, lane: &LaneHandle) -> Option<u32> {
    let index = stage.arena.take(lane.index, 0, 0)?;
    let word = &stage.arena.block(index).unwrap().payload[0];
    word.store(lane.index.into(), Relaxed);
    assert_eq!(word.load(Relaxed), u64::from(lane.index), "a block has two owners");
    Some(index)
}

fn take_use_and_give(stage: &Stage, lane: &LaneHandle) {
    if let Some(index) = take_and_use(stage, lane) {
        stage.arena.give(lane.index, 0, index);
    }
}

#[test]
fn two_lanes_never_own_one_block() {
    explore(|| {
        let (stage, lanes) = Stage::empty(1, 2, 1);
        let threads: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                let stage = stage.clone();
                thread::spawn(move || take_use_and_give(&stage, &lane))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        stage.assert_one_place_each();
    });
}

#[test]
fn two_lanes_find_a_block_each() {
    explore(|| {
        let (stage, lanes) = Stage::empty(1, 2, 2);
        let threads: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                let stage = stage.clone();
                thread::spawn(move || take_and_use(&stage, &lane).expect("as many blocks as lanes"))
            })
            .collect();
        let taken: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_ne!(taken[0], taken[1], "one block has two owners");
        stage.assert_one_place_each();
    });
}

#[test]
fn a_lane_killed_at_the_pool_is_recovered_beside_another() {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::empty(1, 2, 2);
            let (other, lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            let (owner, killed) = (stage.clone(), killed.clone());
            let owner = thread::spawn(move || {
                killed.note(killed_after(accesses, || take_use_and_give(&owner, &lane)));
            });
            let recovery = stage.clone();
            let recoverer = thread::spawn(move || {
                owner.join().unwrap();
                recovery.arena.settle(0).unwrap();
            });
            let beside = stage.clone();
            let beside = thread::spawn(move || take_use_and_give(&beside, &other));
            recoverer.join().unwrap();
            beside.join().unwrap();
            stage.assert_one_place_each();
        });
    });
}
