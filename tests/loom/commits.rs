//! Commits over several records beside each other, beside updates and beside readers: all of a commit or nothing of it.

use loom::thread;

use crate::explore::{explore, explore_one_preemption};
use crate::memory::sync::atomics::Ordering::Relaxed;
use crate::ranges::{assert_exact, range};
use crate::stage::Stage;

/// Both name the same records, in opposite orders.
#[test]
fn two_commits_over_the_same_records_come_one_after_the_other() {
    explore(|| {
        let (stage, lanes) = Stage::hollow_committing(2, 2, 2);
        let authors: Vec<_> = lanes
            .into_iter()
            .zip([[0, 1], [1, 0]])
            .map(|(mut lane, records)| {
                let stage = stage.clone();
                thread::spawn(move || stage.try_commit(&mut lane, &records))
            })
            .collect();
        let revisions: Vec<_> = authors.into_iter().filter_map(|author| author.join().unwrap()).collect();
        assert!(!revisions.is_empty(), "each of two commits failed because of the other");
        for record in 0..2 {
            stage.assert_settled(record, 1 + revisions.len() as u64);
        }
        let committed: Vec<_> = (0..2).flat_map(|lane| stage.committed(lane, &[0, 1])).collect();
        assert_eq!(committed, revisions, "who committed was not told so");
    });
}

/// A reader that meets a commit finishes it. What it found unchanged at two looks is what the records were at once.
#[test]
fn a_reader_beside_a_commit_sees_all_of_it_or_nothing() {
    explore(|| {
        let (stage, mut lanes) = Stage::committing(2, 1, 2);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let author = thread::spawn(move || author.try_commit(&mut lane, &[0, 1]).expect("nobody else writes"));
        let observer = stage.clone();
        let reader = thread::spawn(move || range(&observer));
        let found = reader.join().unwrap();
        let revision = author.join().unwrap();
        if let Some((versions, _)) = &found {
            assert_eq!(versions[0], versions[1], "half a commit");
        }
        assert_exact(&stage, found);
        stage.assert_settled(0, 2);
        stage.assert_settled(1, 2);
        assert_eq!(stage.committed(0, &[0, 1]), [revision]);
        let helped = stage.arena.counters().helped.load(Relaxed);
        let drawn = stage.arena.clock().load(Relaxed);
        assert!(drawn <= 2 + 1 + helped, "a block was seen without the number of its commit");
    });
}

/// The second commit writes into the block and the descriptor of the first, at which the reader may still be.
#[test]
fn a_reader_beside_a_lane_that_commits_again_sees_whole_values() {
    explore_one_preemption(|| {
        let (stage, mut lanes) = Stage::committing(1, 1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let author = thread::spawn(move || {
            for _ in 0..2 {
                author.try_commit(&mut lane, &[0]).expect("nobody else writes");
            }
        });
        let observer = stage.clone();
        let reader = thread::spawn(move || observer.assert_drawn(observer.read(0).revision));
        reader.join().unwrap();
        author.join().unwrap();
        stage.assert_settled(0, 3);
    });
}

#[test]
fn a_commit_beside_an_update_of_one_of_its_records_loses_neither() {
    explore(|| {
        let (stage, mut lanes) = Stage::hollow_committing(2, 2, 2);
        let (mut other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        let author = stage.clone();
        let author = thread::spawn(move || author.try_commit(&mut lane, &[0, 1]));
        let beside = stage.clone();
        let writer = thread::spawn(move || beside.update(&mut other, 1));
        let revision = author.join().unwrap();
        writer.join().unwrap();
        let commits = u64::from(revision.is_some());
        stage.assert_settled(0, 1 + commits);
        stage.assert_settled(1, 2 + commits);
        assert_eq!(stage.committed(0, &[0, 1]), Vec::from_iter(revision));
    });
}

/// The author may be late at numbering blocks that have gone on: the first update displaces one, the second fills it.
#[test]
fn an_author_that_is_late_numbers_no_block_of_a_later_update() {
    explore(|| {
        let (stage, mut lanes) = Stage::hollow_committing(1, 2, 1);
        let (mut other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        lane.begin_commit();
        let seen = stage.prepare(&mut lane, 0);
        let author = stage.clone();
        let author = thread::spawn(move || author.commit_prepared(&mut lane, &[seen]));
        let beside = stage.clone();
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                beside.update(&mut other, 0);
            }
        });
        let revision = author.join().unwrap();
        writer.join().unwrap();
        stage.assert_settled(0, 3 + u64::from(revision.is_some()));
        assert_eq!(stage.committed(0, &[0]), Vec::from_iter(revision));
    });
}

/// One of its records has changed since the commit was prepared. Readers that help it may come late: the records that
/// were put back are not those it expected any more.
#[test]
fn a_commit_that_comes_too_late_leaves_everything_as_it_was() {
    explore(|| {
        let (stage, mut lanes) = Stage::hollow_committing(2, 2, 2);
        let (mut other, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        lane.begin_commit();
        let seen = [0, 1].map(|record| stage.prepare(&mut lane, record));
        stage.update(&mut other, 1);
        let author = stage.clone();
        let author = thread::spawn(move || author.commit_prepared(&mut lane, &seen));
        let observer = stage.clone();
        let reader = thread::spawn(move || observer.read(0).meta.version);
        assert_eq!(author.join().unwrap(), None, "a commit over a change");
        assert_eq!(reader.join().unwrap(), 1);
        stage.assert_settled(0, 1);
        stage.assert_settled(1, 2);
    });
}

/// Each depends on the record that the other writes: one that was judged on the old state keeps the other from it.
#[test]
fn of_two_commits_that_check_each_others_record_one_sees_the_other() {
    explore(|| {
        let (stage, lanes) = Stage::hollow_committing(2, 2, 1);
        let authors: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| {
                let stage = stage.clone();
                thread::spawn(move || {
                    let (own, others) = (lane.index, 1 - lane.index);
                    lane.begin_commit();
                    let judged = stage.read(others);
                    lane.stage_check(others, judged.head);
                    let seen = stage.prepare(&mut lane, own);
                    let done = stage.commit_prepared(&mut lane, &[seen]);
                    (done.is_some(), judged.meta.version)
                })
            })
            .collect();
        let ends: Vec<_> = authors.into_iter().map(|author| author.join().unwrap()).collect();
        let blind = ends.iter().filter(|(done, judged)| *done && *judged == 1).count();
        assert_eq!(blind, 1, "commits that took place on the state before either");
        for (record, (done, _)) in (0..).zip(&ends) {
            stage.assert_settled(record, 1 + u64::from(*done));
        }
    });
}
