//! Reading several records as of one revision: the clock, read between two equal looks at their heads.

use loom::thread;

use crate::explore::explore;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};
use crate::stage::Stage;

/// Rounds before the reader gives up: it gives way to writers for ever if they never rest.
const ROUNDS: u32 = 2;

/// The versions of all records and a revision at which they had them.
pub(crate) fn range(stage: &Stage) -> Option<(Vec<u64>, u64)> {
    let arena = &stage.arena;
    (0..ROUNDS).find_map(|_| {
        let seen: Vec<Observed> = (0..arena.records()).map(|record| stage.read(record)).collect();
        let revision = arena.clock().load(Acquire);
        let unchanged = (0..).zip(&seen).all(|(record, seen)| arena.record(record).head.load(Relaxed) == seen.head.0);
        unchanged.then(|| (seen.iter().map(|seen| seen.meta.version).collect(), revision))
    })
}

/// That what was found is what the records were.
pub(crate) fn assert_exact(stage: &Stage, found: Option<(Vec<u64>, u64)>) {
    if let Some((versions, revision)) = found {
        for (record, version) in (0..).zip(versions) {
            assert_eq!(version, stage.version_at(record, revision), "record {record} at revision {revision}");
        }
    }
}

#[test]
fn two_records_are_read_as_of_one_revision_beside_two_writers() {
    explore(|| {
        let (stage, lanes) = Stage::new(2, 2);
        let writers: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| {
                let author = stage.clone();
                thread::spawn(move || {
                    let record = lane.index;
                    author.update(&mut lane, record);
                })
            })
            .collect();
        let observer = stage.clone();
        let reader = thread::spawn(move || range(&observer));
        let found = reader.join().unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_exact(&stage, found);
        stage.assert_settled(0, 2);
        stage.assert_settled(1, 2);
    });
}

/// A reader that slept meets the author preparing its second change in the block it believes to be current: a number
/// drawn for that would lie before its publication, and the view would be wrong.
#[test]
fn a_slow_reader_numbers_nothing_that_is_not_published() {
    explore(|| {
        let (stage, mut lanes) = Stage::new(1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                author.update(&mut lane, 0);
            }
        });
        let observer = stage.clone();
        let reader = thread::spawn(move || range(&observer));
        let found = reader.join().unwrap();
        writer.join().unwrap();
        assert_exact(&stage, found);
        stage.assert_settled(0, 3);
    });
}

/// A reader that is about to number the author's first change sleeps until the third is prepared in the same block: only
/// the tag tells the two owned words apart. The blocks are hollow, so it goes by the head, which counts changes too.
#[test]
fn a_reader_that_slept_through_a_reuse_numbers_nothing() {
    explore(|| {
        let (stage, mut lanes) = Stage::hollow(1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let writer = thread::spawn(move || {
            for _ in 0..3 {
                author.update(&mut lane, 0);
            }
        });
        let observer = stage.clone();
        let reader = thread::spawn(move || {
            let arena = &observer.arena;
            let seen = arena.read(0, None).expect("a look finds the record");
            let revision = arena.clock().load(Acquire);
            let unchanged = arena.record(0).head.load(Relaxed) == seen.head.0;
            unchanged.then(|| (vec![seen.head.count()], revision))
        });
        let found = reader.join().unwrap();
        writer.join().unwrap();
        assert_exact(&stage, found);
        stage.assert_settled(0, 4);
    });
}
