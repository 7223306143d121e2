//! Watching a group of records: what a watcher has seen by a revision is all that happened up to it, and no wake-up is
//! lost.

use loom::thread;

use crate::edge::edge;
use crate::explore::{Explorer, explore_both};
use crate::memory::layout::word::{Group, WaitWord};
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::{Acquire, SeqCst};
use crate::memory::sync::atomics::loom_fence;
use crate::memory::sync::modelled::killed_after;
use crate::stage::Stage;

/// What a pass over the records found: the version of each, and a revision at which these were the versions.
struct View {
    versions: Vec<u64>,
    revision: u64,
}

/// Arms the group, looks at every record, reads the clock, and begins again if the group was marked meanwhile. Answers
/// the group's count too.
fn pass(stage: &Stage) -> (View, u64) {
    let arena = &stage.arena;
    'again: loop {
        let count = Group(arena.group(0).fetch_or(1, edge("mark.bit", SeqCst))).count();
        loom_fence("mark.bit");
        let mut versions = Vec::new();
        for record in 0..arena.records() {
            let seen = stage.read(record);
            // A look acquires, but only a `SeqCst` load is ordered after the arming.
            if arena.record(record).head.load(SeqCst) != seen.head.0 {
                continue 'again;
            }
            versions.push(seen.meta.version);
        }
        let revision = arena.clock().load(Acquire);
        if Group(arena.group(0).load(SeqCst)).count() == count {
            return (View { versions, revision }, count);
        }
    }
}

/// Sleeps until the group's count is another than when it was armed.
fn sleep_until_marked(stage: &Stage, count: u64) {
    let arena = &stage.arena;
    let watch = arena.watch_word(0);
    let word = watch.fetch_or(WaitWord::WAITING, edge("watch.bit", SeqCst)) | WaitWord::WAITING;
    loom_fence("watch.bit");
    if Group(arena.group(0).load(edge("watch.look", SeqCst))).count() == count {
        futex::sleep_forever(watch, word);
    }
}

/// Watches until the records have had `changes` changes in all since version 1; answers every view on the way.
fn watch(stage: &Stage, changes: u64) -> Vec<View> {
    let mut views = Vec::new();
    loop {
        let (view, count) = pass(stage);
        let seen: u64 = view.versions.iter().map(|version| version - 1).sum();
        views.push(view);
        if seen == changes {
            return views;
        }
        sleep_until_marked(stage, count);
    }
}

/// At the end: that every view is what the records were.
fn assert_exact(stage: &Stage, views: &[View]) {
    for view in views {
        for (record, version) in (0..).zip(&view.versions) {
            let then = stage.version_at(record, view.revision);
            assert_eq!(*version, then, "record {record} at revision {}", view.revision);
        }
    }
}

fn watcher_and_writers(records: u32, writers: u32, readers: u32) {
    explore_both(move || {
        let (stage, lanes) = Stage::hollow(records, writers);
        let watching = stage.clone();
        let watcher = thread::spawn(move || watch(&watching, writers.into()));
        let writers: Vec<_> = lanes
            .into_iter()
            .map(|mut lane| {
                let author = stage.clone();
                thread::spawn(move || {
                    let record = lane.index % records;
                    author.update(&mut lane, record);
                })
            })
            .collect();
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let reader = stage.clone();
                thread::spawn(move || reader.read(0))
            })
            .collect();
        let views = watcher.join().unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        for reader in readers {
            reader.join().unwrap();
        }
        assert_exact(&stage, &views);
        stage.assert_one_place_each();
    });
}

#[test]
fn a_watchers_view_is_the_record_at_its_revision() {
    watcher_and_writers(1, 1, 0);
}

#[test]
fn a_watchers_view_is_right_when_a_reader_finishes_the_change() {
    watcher_and_writers(1, 1, 1);
}

#[test]
fn a_watchers_view_of_two_records_is_right_beside_two_writers() {
    watcher_and_writers(2, 2, 0);
}

/// Both records change at one moment, so no view has half of it.
fn assert_never_split(views: &[View]) {
    assert!(views.iter().all(|view| view.versions[0] == view.versions[1]), "half a commit");
}

#[test]
fn a_watchers_view_never_has_half_a_commit() {
    explore_both(|| {
        let (stage, mut lanes) = Stage::hollow_committing(2, 1, 2);
        let mut lane = lanes.remove(0);
        let watching = stage.clone();
        let watcher = thread::spawn(move || watch(&watching, 2));
        let author = stage.clone();
        let author = thread::spawn(move || author.try_commit(&mut lane, &[0, 1]).expect("nobody else writes"));
        let views = watcher.join().unwrap();
        author.join().unwrap();
        assert_never_split(&views);
        assert_exact(&stage, &views);
        stage.assert_one_place_each();
    });
}

/// The author died at one of its accesses while the watcher was about to sleep; whoever finishes its commit wakes it. Only
/// an author that had marked the group and woken nobody costs the watcher its slice.
#[test]
fn a_watcher_is_woken_by_who_finishes_a_dead_authors_commit() {
    let explorer = Explorer::both();
    explorer.at_every_access(|accesses, killed| {
        explorer.run(move || {
            let (stage, mut lanes) = Stage::hollow_committing(2, 2, 2);
            let (mut heir, mut lane) = (lanes.pop().unwrap(), lanes.pop().unwrap());
            let (_, count) = pass(&stage);
            killed.note(killed_after(accesses, || stage.try_commit(&mut lane, &[0, 1])));
            let watching = stage.clone();
            let watcher = thread::spawn(move || {
                sleep_until_marked(&watching, count);
                watch(&watching, 2)
            });
            let other = stage.clone();
            let helper = thread::spawn(move || {
                if Group(other.arena.group(0).load(Acquire)).count() != count {
                    other.arena.wake_watchers(1);
                }
                other.arena.settle(0).unwrap();
                if other.read(0).meta.version == 1 {
                    other.try_commit(&mut heir, &[0, 1]).expect("nobody else writes");
                }
            });
            let views = watcher.join().unwrap();
            helper.join().unwrap();
            assert_never_split(&views);
            assert_exact(&stage, &views);
        });
    });
}
