//! The table in a file, one system call after the other: what is on the disk when a call returns, and what is left when it
//! does not.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use slotguard::recipe::assignment::{Error, FileTable, node_hash, probe};

use super::traced::{Act, Stop, Traced};
use harness::isolated::isolated;

const CLUSTER: &str = "test-cluster";

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Source 1 synced neither the file nor its folder: after a power failure the name could lead to nothing, or to the table
/// before the one that somebody had been told of.
#[test]
fn s1_14_a_table_is_synced_before_it_is_renamed_and_its_folder_before_anybody_is_told() {
    isolated(|folder| {
        let folder = &folder.canonicalize().unwrap();
        let (path, next, told) = (folder.join("nodes"), folder.join("nodes.tmp"), folder.join("told"));
        let child = Traced::new(|| {
            let mut told = File::create(&told).unwrap();
            let mut tell = || told.write_all(b".").unwrap();
            let file_table = FileTable::create(&path, CLUSTER).unwrap();
            tell();
            file_table.join("node-1").unwrap();
            tell();
            file_table.release("node-1").unwrap();
            tell();
            // Whoever wrote what these find may have died before the folder was synced.
            assert!(matches!(file_table.release("node-1"), Err(Error::UnknownNode { .. })));
            tell();
            file_table.join("node-2").unwrap();
            tell();
            file_table.join("node-2").unwrap();
            tell();
        });
        let mut done = child.finish();
        // The mode and the bytes.
        done.dedup();
        let found = [Act::Sync(folder.to_owned()), Act::Change(told.clone())];
        let changed = [Act::Change(next.clone()), Act::Sync(next.clone()), Act::Rename(next, path.clone())];
        let changed = [&changed[..], &found].concat();
        assert_eq!(done, [&changed[..], &changed, &changed, &found, &changed, &found].concat());
    });
}

#[test]
fn d7_a_writer_killed_at_any_system_call_leaves_the_old_table_or_the_new_one() {
    isolated(|folder| {
        let mut left = Vec::new();
        for stops in 0.. {
            let here = folder.join(stops.to_string());
            fs::create_dir(&here).unwrap();
            let path = here.join("nodes");
            let file_table = FileTable::create(&path, CLUSTER).unwrap();
            file_table.join("before").unwrap();
            let mut child = Traced::new(|| assert!(file_table.join("killed").is_ok()));
            if !(0..stops).all(|_| child.next().is_some()) {
                break;
            }
            child.kill();
            // Who looks needs no repair, who goes on finds nothing in the way.
            let there = file_table.lookup("killed").unwrap_or_else(|error| panic!("after {stops} stops: {error}"));
            assert!(file_table.lookup("before").unwrap().is_some());
            let slot = file_table.join("killed").unwrap();
            assert!(there.is_none_or(|there| there == slot));
            file_table.join("after").unwrap();
            assert_eq!(file_table.table().unwrap().entries.len(), 3);
            assert_eq!(names_in(&here), ["nodes", "nodes.lock"]);
            left.push(there.is_some());
        }
        assert!(left.is_sorted(), "what was there is gone again: {left:?}");
        assert!(left.contains(&false) && left.contains(&true), "{left:?}");
    });
}

/// Source 1 read, compared and wrote in steps between which others did the same: both were told the same slot, and the
/// later one's table was all that was left: S1-3. Its Sync, Close and ticker did not even compare: S1-10.
#[test]
fn s1_3_what_was_written_before_the_lock_was_had_is_not_written_over() {
    isolated(|folder| {
        let path = folder.join("nodes");
        let file_table = FileTable::create(&path, CLUSTER).unwrap();
        let first = |node: &str| probe(node_hash(CLUSTER, node), 0, 255);
        let rival = (0..).map(|n| format!("rival-{n}")).find(|rival| first(rival) == first("node")).unwrap();
        let mut child = Traced::new(|| assert!(file_table.join("node").is_ok()));
        child.before(|act| matches!(act, Act::Lock(_)));
        assert_eq!(file_table.join(&rival).unwrap(), first("node"));
        child.finish();
        assert_eq!(file_table.lookup(&rival).unwrap(), Some(first("node")), "who was told of a slot has lost it");
        assert_eq!(file_table.lookup("node").unwrap(), Some(probe(node_hash(CLUSTER, "node"), 1, 255)));
        assert_eq!(file_table.table().unwrap().version, 3);
    });
}

/// Who waits for the lock of a file that somebody removes gets it, and is then alone with it.
#[test]
fn s1_4_the_lock_of_a_file_that_was_removed_keeps_nobody_out_and_is_not_taken_for_the_lock() {
    isolated(|folder| {
        let folder = folder.canonicalize().unwrap();
        let (path, lock) = (folder.join("nodes"), folder.join("nodes.lock"));
        let file_table = FileTable::create(&path, CLUSTER).unwrap();
        let mut child = Traced::new(|| assert!(file_table.join("node").is_ok()));
        child.before(|act| *act == Act::Lock(lock.clone()));
        fs::remove_file(&lock).unwrap();
        let ours = File::create(&lock).unwrap();
        ours.lock().unwrap();
        // It gets the old one, and asks for the new one before it does anything.
        assert!(matches!(child.next(), Some(Stop::After(Act::Lock(_)))));
        loop {
            match child.next() {
                Some(Stop::Before(Act::Lock(file))) if file == lock => break,
                Some(Stop::Before(Act::Other) | Stop::After(_) | Stop::Failed) => {}
                other => panic!("beside the holder of the lock: {other:?}"),
            }
        }
        ours.unlock().unwrap();
        child.finish();
        assert!(file_table.lookup("node").unwrap().is_some());
    });
}
