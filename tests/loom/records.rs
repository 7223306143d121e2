//! Reading and changing one record: nothing torn, lost, doubled or out of order, and no number before its time.

use std::sync::Arc;

use loom::sync::atomic::AtomicU64;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::thread;

use crate::explore::{Explorer, explore};
use crate::memory::block::spares::LaneHandle;
use crate::memory::sync::modelled::killed_after;
use crate::stage::Stage;

#[test]
fn a_reader_beside_a_recycling_writer_sees_whole_values_of_their_own_revision() {
    explore(|| {
        let (stage, mut lanes) = Stage::new(1, 1);
        let mut lane = lanes.remove(0);
        let acknowledged = Arc::new(AtomicU64::new(1));
        let (author, known) = (stage.clone(), acknowledged.clone());
        let writer = thread::spawn(move || {
            // The second writes into the block that the first displaced: the one a slow reader is reading.
            for _ in 0..2 {
                known.store(author.update(&mut lane, 0), Release);
            }
        });
        let observer = stage.clone();
        let reader = thread::spawn(move || {
            let known = acknowledged.load(Acquire);
            assert!(observer.read(0).revision >= known, "a change that was acknowledged before is not seen");
        });
        reader.join().unwrap();
        writer.join().unwrap();
        stage.assert_settled(0, 3);
    });
}

/// Whoever is given a revision, author, reader or helper, finds the clock at it or past it.
#[test]
fn nobody_knows_a_revision_before_it_is_drawn() {
    explore(|| {
        let (stage, mut lanes) = Stage::new(1, 1);
        let mut lane = lanes.remove(0);
        let author = stage.clone();
        let writer = thread::spawn(move || author.assert_drawn(author.update(&mut lane, 0)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let observer = stage.clone();
                thread::spawn(move || observer.assert_drawn(observer.read(0).revision))
            })
            .collect();
        for reader in readers {
            reader.join().unwrap();
        }
        writer.join().unwrap();
        stage.assert_settled(0, 2);
    });
}

/// The author stops for good at each of its accesses, and two readers finish its change: with one number.
#[test]
fn readers_finish_a_stopped_authors_change_once() {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, stopped| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::new(1, 1);
            let mut lane = lanes.remove(0);
            let author = stage.clone();
            let stopped = stopped.clone();
            let writer = thread::spawn(move || stopped.note(killed_after(accesses, || author.update(&mut lane, 0))));
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let observer = stage.clone();
                    thread::spawn(move || observer.assert_drawn(observer.read(0).revision))
                })
                .collect();
            for reader in readers {
                reader.join().unwrap();
            }
            writer.join().unwrap();
            stage.read(0);
        });
    });
}

/// The same once the author is gone: the second to finish takes the number that the first drew and left in the journal.
/// They finish without the look around it, since loom shows a thread that has paused no value it saw before.
#[test]
fn two_who_finish_a_change_left_behind_agree_on_its_number() {
    let explorer = Explorer::alone();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::new(1, 1);
            killed.note(killed_after(accesses, || stage.update(&mut lanes[0], 0)));
            if stage.head_and_state(0).1.revision().is_some() {
                return;
            }
            let helpers: Vec<_> = (0..2)
                .map(|_| {
                    let stage = stage.clone();
                    thread::spawn(move || {
                        let (head, state) = stage.head_and_state(0);
                        stage.arena.number_for(0, head, state).expect("a change that can be finished");
                        let (_, state) = stage.head_and_state(0);
                        stage.assert_drawn(state.revision().expect("what is finished has a number"));
                    })
                })
                .collect();
            for helper in helpers {
                helper.join().unwrap();
            }
        });
    });
}

fn writers(stage: fn(u32, u32) -> (Stage, Vec<LaneHandle>), before: u64, updates: &'static [u64]) {
    explore(move || {
        let (stage, lanes) = stage(1, updates.len() as u32);
        let writers: Vec<_> = lanes
            .into_iter()
            .zip(updates)
            .map(|(mut lane, updates)| {
                let author = stage.clone();
                thread::spawn(move || {
                    for _ in 0..*updates {
                        author.update(&mut lane, 0);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stage.assert_settled(0, before + updates.iter().sum::<u64>());
    });
}

#[test]
fn two_writers_lose_no_update_and_no_block() {
    writers(Stage::new, 1, &[1, 2]);
}

#[test]
fn three_writers_lose_no_update_and_no_block() {
    writers(Stage::new, 1, &[1, 1, 1]);
}

/// Each takes a block for it, and gives it back when it comes second and finds that its own will do.
#[test]
fn of_two_creators_of_a_record_one_comes_second() {
    writers(Stage::unwritten, 0, &[1, 1]);
}

#[test]
fn reads_beside_two_writers_never_run_backwards() {
    explore(|| {
        let (stage, lanes) = Stage::new(1, 2);
        let writers: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| {
                let author = stage.clone();
                thread::spawn(move || author.update(&mut lane, 0))
            })
            .collect();
        let observer = stage.clone();
        let reader = thread::spawn(move || {
            let (first, second) = (observer.read(0), observer.read(0));
            assert!(first.revision <= second.revision && first.meta.version <= second.meta.version, "backwards");
        });
        reader.join().unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        stage.assert_settled(0, 3);
    });
}
