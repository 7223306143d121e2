//! Commits that others finish: the author is slow, or killed at any of its accesses, or somebody else's commit is in the
//! way.

use loom::thread;

use crate::explore::{Explorer, Killed};
use crate::memory::atomics::modelled::killed_after;
use crate::memory::lane::LaneHandle;
use crate::memory::look::Seen;
use crate::stage::Stage;

/// At the end, with lane 0 settled: its commit over both records took place as a whole or not at all, and its next owner
/// goes on. `others`: how many changes of each record somebody else made.
fn assert_all_or_nothing(stage: &Stage, others: [u64; 2], acknowledged: bool) {
    assert!(!stage.arena.settle(0).unwrap(), "what is settled stays settled");
    let versions = [0, 1].map(|record| stage.read(record).meta.version);
    let dead = versions[0] - 1 - others[0];
    assert_eq!(versions[1] - 1 - others[1], dead, "half a commit");
    assert!(dead <= 1, "a commit was made twice");
    assert!(dead == 1 || !acknowledged, "a commit was acknowledged and is not there");
    assert_eq!(stage.committed(0, &[0, 1]).len() as u64, dead);
    for (record, version) in (0..).zip(versions) {
        stage.assert_settled(record, version);
    }
    let mut heir = LaneHandle::inherit(&stage.arena, 0).unwrap();
    stage.try_commit(&mut heir, &[0, 1]).expect("nobody else writes");
    for (record, version) in (0..).zip(versions) {
        stage.assert_settled(record, version + 1);
    }
}

/// Two records, and lane 0 about to commit a change of both.
fn prepared() -> (Stage, LaneHandle, Vec<Seen>, LaneHandle) {
    let (stage, mut lanes) = Stage::hollow_committing(2, 2, 2);
    let (other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
    lane.begin_commit();
    let seen = [0, 1].map(|record| stage.prepare(&mut lane, record)).to_vec();
    (stage, lane, seen, other)
}

/// Commits what was prepared, and dies after so many accesses; whether the commit was acknowledged.
fn commit_and_die(stage: &Stage, lane: &mut LaneHandle, seen: &[Seen], accesses: u32, killed: &Killed) -> bool {
    let done = killed_after(accesses, || stage.commit_prepared(lane, seen));
    killed.note(done);
    done.flatten().is_some()
}

/// What somebody does beside a commit of lane 0; answers how many changes of each record it made.
type Beside = fn(&Stage, &mut LaneHandle) -> [u64; 2];

fn read(stage: &Stage, _: &mut LaneHandle) -> [u64; 2] {
    stage.read(1);
    [0, 0]
}

fn update(stage: &Stage, lane: &mut LaneHandle) -> [u64; 2] {
    stage.update(lane, 1);
    [0, 1]
}

/// Once: it may fail because of the other.
fn commit(stage: &Stage, lane: &mut LaneHandle) -> [u64; 2] {
    [stage.try_commit(lane, &[1, 0]).is_some().into(); 2]
}

/// Lane 0 is killed at every access of its commit, beside what another does.
fn kill_an_author_beside(other: Beside) {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lane0, seen, mut lane1) = prepared();
            let (author, killed) = (stage.clone(), killed.clone());
            let author = thread::spawn(move || commit_and_die(&author, &mut lane0, &seen, accesses, &killed));
            let beside = stage.clone();
            let beside = thread::spawn(move || other(&beside, &mut lane1));
            let acknowledged = author.join().unwrap();
            let others = beside.join().unwrap();
            stage.arena.settle(0).unwrap();
            assert_all_or_nothing(&stage, others, acknowledged);
        });
    });
}

/// Lane 0 was killed at every access of its commit, and is recovered beside what another does.
fn recover_beside(other: Beside) {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        let killed = killed.clone();
        explorer.run(move || {
            let (stage, mut lane0, seen, mut lane1) = prepared();
            let acknowledged = commit_and_die(&stage, &mut lane0, &seen, accesses, &killed);
            let recovery = stage.clone();
            let recoverer = thread::spawn(move || recovery.arena.settle(0).unwrap());
            let beside = stage.clone();
            let beside = thread::spawn(move || other(&beside, &mut lane1));
            recoverer.join().unwrap();
            let others = beside.join().unwrap();
            assert_all_or_nothing(&stage, others, acknowledged);
        });
    });
}

#[test]
fn a_commit_killed_at_any_access_is_finished_by_a_reader() {
    kill_an_author_beside(read);
}

#[test]
fn a_commit_killed_at_any_access_is_finished_by_an_update() {
    kill_an_author_beside(update);
}

#[test]
fn a_commit_killed_at_any_access_is_finished_by_another_commit() {
    kill_an_author_beside(commit);
}

#[test]
fn a_killed_commit_is_recovered_beside_a_reader() {
    recover_beside(read);
}

#[test]
fn a_killed_commit_is_recovered_beside_an_update() {
    recover_beside(update);
}

#[test]
fn a_killed_commit_is_recovered_beside_another_commit() {
    recover_beside(commit);
}
