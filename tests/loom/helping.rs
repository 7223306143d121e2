//! Commits that others finish: the author is slow, or killed at any of its accesses, or somebody else's commit is in the
//! way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use loom::thread;

use crate::explore::{Explorer, Killed, explore};
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::{CommitPhase, Control, Head};
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::Acquire;
use crate::memory::sync::modelled::killed_after;
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
fn prepared() -> (Stage, LaneHandle, Vec<Observed>, LaneHandle) {
    let (stage, mut lanes) = Stage::hollow_committing(2, 2, 2);
    let (other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
    lane.begin_commit();
    let seen = [0, 1].map(|record| stage.prepare(&mut lane, record)).to_vec();
    (stage, lane, seen, other)
}

/// Commits what was prepared, and dies after so many accesses; whether the commit was acknowledged.
fn commit_and_die(stage: &Stage, lane: &mut LaneHandle, seen: &[Observed], accesses: u32, killed: &Killed) -> bool {
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

/// Finishes the commit that holds the record, if one does, and does not look again.
fn help_once(stage: &Stage, record: u32) {
    let head = Head(stage.arena.record(record).head.load(Acquire));
    if head.is_reference() {
        stage.arena.help(record, head).expect("a commit that can be finished");
    }
}

/// Two commits, and a helper of what it meets at the record the second begins with or the first ends with.
fn help_between_two_commits(records: u32, commits: [&'static [u32]; 2], met: u32) {
    explore(move || {
        let (stage, lanes) = Stage::hollow_committing(records, 2, 2);
        let prepare = |(mut lane, records): (LaneHandle, &[u32])| {
            lane.begin_commit();
            let seen: Vec<_> = records.iter().map(|record| stage.prepare(&mut lane, *record)).collect();
            (lane, seen)
        };
        // All of them before anybody runs.
        let prepared: Vec<_> = lanes.into_iter().zip(commits).map(prepare).collect();
        let commit = |(mut lane, seen): (LaneHandle, Vec<Observed>)| {
            let author = stage.clone();
            thread::spawn(move || author.commit_prepared(&mut lane, &seen))
        };
        let authors: Vec<_> = prepared.into_iter().map(commit).collect();
        let beside = stage.clone();
        let helper = thread::spawn(move || help_once(&beside, met));
        let done: Vec<_> = authors.into_iter().map(|author| author.join().unwrap()).collect();
        helper.join().unwrap();
        let won = done.iter().flatten().count();
        assert_eq!(won, 1, "of two commits that were prepared on one state");
        for record in 0..records {
            stage.read(record);
        }
        for ((lane, records), done) in (0..).zip(commits).zip(done) {
            assert_eq!(stage.committed(lane, records), Vec::from_iter(done));
        }
        stage.assert_one_place_each();
    });
}

/// The helper comes to the first by way of its first record, and finds the second in its way at its last.
#[test]
fn a_helper_finishes_the_commit_that_is_in_the_way() {
    help_between_two_commits(3, [&[0, 1], &[1, 2]], 0);
}

/// The helper comes to the first by way of its last record, so nothing can be in the first's way any more; by the time it
/// looks, the second may hold the record before.
#[test]
fn a_helper_that_is_late_takes_no_later_commit_for_one_in_the_way() {
    help_between_two_commits(2, [&[0, 1], &[0]], 1);
}

/// Whoever looks after others comes by way of the descriptor, before any head names it.
#[test]
fn who_finds_a_commit_by_its_descriptor_sees_what_is_in_it() {
    explore(|| {
        let (stage, mut lanes) = Stage::hollow_committing_again(1, 1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let author = thread::spawn(move || author.try_commit(&mut lane, &[0]).expect("nobody else writes"));
        let beside = stage.clone();
        let helper = thread::spawn(move || {
            let lane = beside.arena.lane(0).expect("lane 0");
            let control = Control(lane.descriptor.control.load(Acquire));
            if control.phase() == CommitPhase::Undecided {
                let reference = Head::reference(0, control.sequence());
                beside.arena.drive_to_end(None, reference).expect("a commit that can be finished");
            }
        });
        helper.join().unwrap();
        author.join().unwrap();
        stage.assert_settled(0, 2);
    });
}

/// The lane's second commit writes into the descriptor that a helper of its first is reading.
fn help_late(again: fn(&Stage, &mut LaneHandle), versions: u64) {
    explore(move || {
        let (stage, mut lanes) = Stage::hollow_committing_again(1, 1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let author = thread::spawn(move || {
            author.try_commit(&mut lane, &[0]).expect("nobody else writes");
            again(&author, &mut lane);
        });
        let beside = stage.clone();
        let helper = thread::spawn(move || help_once(&beside, 0));
        helper.join().unwrap();
        author.join().unwrap();
        stage.assert_settled(0, versions);
    });
}

#[test]
fn a_helper_that_is_late_does_nothing_to_the_next_commit() {
    let change = |stage: &Stage, lane: &mut LaneHandle| {
        stage.try_commit(lane, &[0]).expect("nobody else writes");
    };
    help_late(change, 3);
}

/// A commit that fills no block makes nothing known about its lane but by its descriptor.
#[test]
fn a_helper_that_is_late_does_nothing_to_a_check() {
    let check = |stage: &Stage, lane: &mut LaneHandle| {
        lane.begin_commit();
        lane.stage_check(0, stage.read(0).head);
        stage.commit_prepared(lane, &[]).expect("nobody else writes");
    };
    help_late(check, 2);
}

/// Who left a state behind, at which access. Many accesses are looks, and leave behind what others did.
#[derive(Clone, Default)]
struct LeftBehind(Arc<Mutex<HashMap<Vec<u64>, [u32; 2]>>>);

impl LeftBehind {
    /// Whether nobody who died elsewhere has left the same.
    fn is_new(&self, stage: &Stage, died_at: [u32; 2]) -> bool {
        *self.0.lock().unwrap().entry(stage.imprint()).or_insert(died_at) == died_at
    }
}

/// The author is killed, then whoever recovers its lane, beside a reader; the next starts over.
#[test]
fn a_recovery_of_a_commit_killed_at_any_access_is_repeated_by_the_next() {
    let explorer = Explorer::alone();
    let left_behind = LeftBehind::default();
    explorer.at_every_access(|accesses, killed| {
        explorer.at_every_access(|of_the_first, first_killed| {
            let (killed, left_behind) = (killed.clone(), left_behind.clone());
            explorer.run(move || {
                let (stage, mut lane0, seen, mut lane1) = prepared();
                let acknowledged = commit_and_die(&stage, &mut lane0, &seen, accesses, &killed);
                if !left_behind.is_new(&stage, [accesses, 0]) {
                    return;
                }
                let (recovery, first_killed) = (stage.clone(), first_killed.clone());
                let recoverer = thread::spawn(move || {
                    first_killed.note(killed_after(of_the_first, || recovery.arena.settle(0).unwrap()));
                });
                let beside = stage.clone();
                let beside = thread::spawn(move || read(&beside, &mut lane1));
                recoverer.join().unwrap();
                let others = beside.join().unwrap();
                stage.arena.settle(0).unwrap();
                assert_all_or_nothing(&stage, others, acknowledged);
            });
        });
    });
}

/// The same with nobody about while the first recovers, and others while the next does.
#[test]
fn a_recovery_of_a_commit_begun_by_one_is_ended_by_the_next_beside_a_commit() {
    let explorer = Explorer::alone();
    let left_behind = LeftBehind::default();
    explorer.at_every_access(|accesses, killed| {
        explorer.at_every_access(|of_the_first, first_killed| {
            let (killed, left_behind) = (killed.clone(), left_behind.clone());
            explorer.run(move || {
                let (stage, mut lane0, seen, mut lane1) = prepared();
                let acknowledged = commit_and_die(&stage, &mut lane0, &seen, accesses, &killed);
                first_killed.note(killed_after(of_the_first, || stage.arena.settle(0).unwrap()));
                if !left_behind.is_new(&stage, [accesses, of_the_first]) {
                    return;
                }
                let recovery = stage.clone();
                let recoverer = thread::spawn(move || recovery.arena.settle(0).unwrap());
                let beside = stage.clone();
                let beside = thread::spawn(move || commit(&beside, &mut lane1));
                recoverer.join().unwrap();
                let others = beside.join().unwrap();
                assert_all_or_nothing(&stage, others, acknowledged);
            });
        });
    });
}
