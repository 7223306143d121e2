//! The table in a file: nobody's change is lost, nothing broken is written over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use slotguard::ErrorKind;
use slotguard::conformance::guarded;
use slotguard::recipe::assignment::{Error, FileTable, Table, TableError};
use tempfile::TempDir;

use crate::forked::fork;
use harness::isolated::{MountFlags, isolated, isolated_in, mount};

const CLUSTER: &str = "test-cluster";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Source 1 locked the very file that it replaced, so those who had waited held a lock on a file that nobody read any more,
/// next to those who locked the new one. Of 60 nodes 54 were told of success and 14 were there: S1-4.
#[test]
fn b4_of_many_who_join_a_file_at_once_none_is_lost() {
    let folder = folder();
    let path = folder.path().join("nodes");
    FileTable::create(&path, CLUSTER).unwrap();
    // In source 1, threads that shared a handle cleared each other's mark that there was something to write: S1-11.
    let shared = FileTable::open(&path, CLUSTER).unwrap();
    let (threads, each) = (12, 8);
    let told: BTreeMap<String, u16> = thread::scope(|scope| {
        let joins: Vec<_> = (0..threads)
            .map(|thread| {
                let (own, shared) = (FileTable::open(&path, CLUSTER).unwrap(), &shared);
                scope.spawn(move || {
                    let join = |n| {
                        let node = format!("node-{thread}-{n}");
                        let slot = if n % 2 == 0 { &own } else { shared }.join(&node).unwrap();
                        (node, slot)
                    };
                    (0..each).map(join).collect::<Vec<_>>()
                })
            })
            .collect();
        joins.into_iter().flat_map(|join| join.join().unwrap()).collect()
    });
    assert_eq!(told.values().collect::<BTreeSet<_>>().len(), threads * each, "a slot was given twice");
    let table = FileTable::open(&path, CLUSTER).unwrap().table().unwrap();
    let there: BTreeMap<_, _> = table.entries.into_iter().map(|(node, entry)| (node, entry.slot)).collect();
    assert_eq!(there, told, "a node that was told of success is not there");
    assert_eq!(table.version, 1 + (threads * each) as u64);
}

/// Source 1 took a table that it could not read for an empty one: one flipped bit and one join later all others were gone:
/// S1-7. Its recovery waited for a lock that it held itself: S1-12.
#[test]
fn d6_a_broken_table_is_refused_and_never_wiped() {
    guarded("d6_a_broken_table_is_refused_and_never_wiped", refuse_each_broken_table);
}

fn refuse_each_broken_table() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    for node in ["node-1", "node-2", "node-3"] {
        file_table.join(node).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let broken = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        bytes
    });
    let cut = [0, 1, 4, whole.len() - 1].map(|length| whole[..length].to_vec());
    for bytes in broken.chain(cut) {
        fs::write(&path, &bytes).unwrap();
        // Again and again: no lock is left behind by the one before.
        for result in [
            file_table.join("node-4").map(drop),
            file_table.release("node-1").map(drop),
            file_table.lookup("node-1").map(drop),
        ] {
            let error = result.expect_err("a broken table");
            assert!(
                matches!(error, Error::Table(TableError::Checksum { .. } | TableError::TooShort { .. })),
                "{error}"
            );
        }
        assert!(FileTable::open(&path, CLUSTER).is_err());
        assert!(FileTable::open_or_create(&path, CLUSTER).is_err());
        assert_eq!(fs::read(&path).unwrap(), bytes, "it was written over");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(file_table.lookup("node-1").unwrap(), Some(28));
    assert_eq!(file_table.table().unwrap().entries.len(), 3);
}

#[test]
fn d6_a_table_that_contradicts_itself_is_refused() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    file_table.join("node-1").unwrap();
    let mut table = file_table.table().unwrap();
    table.usage.clear();
    let bytes = table.marshal();
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(file_table.join("node-2"), Err(Error::Inconsistent { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn s1_7_another_cluster_is_refused_and_so_is_a_table_that_is_gone() {
    let folder = folder();
    let path = folder.path().join("nodes");
    assert!(matches!(FileTable::open(&path, CLUSTER), Err(Error::Table(TableError::Missing { .. }))));
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    file_table.join("node-1").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(FileTable::create(&path, CLUSTER), Err(Error::Table(TableError::Exists { .. }))));
    assert!(matches!(FileTable::open(&path, "another"), Err(Error::Table(TableError::Cluster { .. }))));
    assert!(matches!(FileTable::open_or_create(&path, "another"), Err(Error::Table(TableError::Cluster { .. }))));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&path).unwrap();
    assert!(matches!(file_table.join("node-2"), Err(Error::Table(TableError::Missing { .. }))));
    assert!(!path.exists(), "a table that was lost is not made up");
    // A link that leads nowhere is something at the path, too.
    symlink(folder.path().join("lost"), &path).unwrap();
    assert!(matches!(FileTable::create(&path, CLUSTER), Err(Error::Table(TableError::Exists { .. }))));
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(matches!(FileTable::open_or_create(&path, CLUSTER), Err(Error::Table(TableError::Missing { .. }))));
    let nowhere = FileTable::create(folder.path().join("no/such/nodes"), CLUSTER).unwrap_err();
    assert!(matches!(&nowhere, Error::Store(error) if error.kind() == ErrorKind::Io), "{nowhere}");
}

/// What source 1 removed was written at the next tick only: S1-10. (That it is on the disk: S1-14, in `durable`.)
#[test]
fn what_a_call_has_told_of_is_in_the_file() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    let read = || Table::unmarshal(&fs::read(&path).unwrap(), CLUSTER).unwrap();
    assert_eq!(file_table.join("node-1").unwrap(), 28);
    assert_eq!(read().usage[&28], "node-1");
    assert_eq!(
        (file_table.lookup("node-1").unwrap(), file_table.node_of(28).unwrap().as_deref()),
        (Some(28), Some("node-1"))
    );
    let before = fs::read(&path).unwrap();
    assert_eq!(file_table.join("node-1").unwrap(), 28);
    assert_eq!(fs::read(&path).unwrap(), before, "nothing has changed, so nothing is written");
    assert_eq!(file_table.release("node-1").unwrap(), 28);
    assert!(read().usage.is_empty());
    assert!(matches!(file_table.release("node-1"), Err(Error::UnknownNode { .. })));
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["nodes", "nodes.lock"]);
}

#[test]
fn what_a_dead_writer_left_behind_is_no_obstacle() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    fs::write(folder.path().join("nodes.tmp"), b"half a table").unwrap();
    file_table.join("node-1").unwrap();
    // Whoever tidies up lock files is none either.
    fs::remove_file(folder.path().join("nodes.lock")).unwrap();
    file_table.join("node-2").unwrap();
    assert_eq!(file_table.table().unwrap().entries.len(), 2);
}

#[test]
fn every_way_to_the_file_is_one_table_and_keeps_its_mode() {
    let folder = folder();
    let (path, link) = (folder.path().join("nodes"), folder.path().join("link"));
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&path, &link).unwrap();
    FileTable::open(&link, CLUSTER).unwrap().join("node-1").unwrap();
    assert_eq!(file_table.lookup("node-1").unwrap(), Some(28));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link was replaced");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_relative_path_stays_where_it_was() {
    isolated(|folder| {
        std::env::set_current_dir(folder).unwrap();
        let [made, opened] =
            [FileTable::create("nodes", CLUSTER), FileTable::open("nodes", CLUSTER)].map(Result::unwrap);
        std::env::set_current_dir("/").unwrap();
        assert_eq!(made.join("node-1").unwrap(), 28);
        assert_eq!(opened.lookup("node-1").unwrap(), Some(28));
    });
}

/// What a writer that died left beside the table, or somebody put there: no link is followed, and nobody is kept out.
#[test]
fn what_lies_beside_the_table_is_in_nobodys_way() {
    let folder = folder();
    let (path, next, victim) =
        (folder.path().join("nodes"), folder.path().join("nodes.tmp"), folder.path().join("victim"));
    let file_table = FileTable::create(&path, CLUSTER).unwrap();
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &next).unwrap();
    file_table.join("one").unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());

    fs::write(&next, "half a table").unwrap();
    fs::set_permissions(&next, PermissionsExt::from_mode(0o400)).unwrap();
    file_table.join("two").unwrap();
    assert_eq!(file_table.table().unwrap().entries.len(), 2);
    assert!(!next.exists());
}

/// A child that is forked while a thread of its parent has the lock has the lock file open as well, for as long as it lives.
#[test]
fn a_forked_child_holds_no_lock_of_its_parents() {
    isolated(|folder| {
        let path = folder.join("nodes");
        let file_table = FileTable::create(&path, CLUSTER).unwrap();
        let table = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let child = thread::scope(|scope| {
            let join = scope.spawn(|| file_table.join("one").unwrap());
            // Both ends are open: the thread reads the table, and so has the lock.
            let mut writer = fs::File::options().write(true).open(&path).unwrap();
            let child = fork(|| {
                // SAFETY: the child's own copy, which nobody uses any more.
                unsafe { libc::close(writer.as_raw_fd()) };
                loop {
                    // SAFETY: it takes nothing.
                    unsafe { libc::pause() };
                }
            });
            writer.write_all(&table).unwrap();
            drop(writer);
            join.join().unwrap();
            child
        });
        let lock = fs::File::open(folder.join("nodes.lock")).unwrap();
        lock.try_lock().expect("the child holds the lock");
        lock.unlock().unwrap();
        file_table.join("two").unwrap();
        assert_eq!(file_table.table().unwrap().entries.len(), 2);
        child.kill();
    });
}

#[test]
fn a_table_whose_version_is_at_its_end_is_still_changed() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let mut table = Table::new(CLUSTER);
    table.version = u64::MAX;
    fs::write(&path, table.marshal()).unwrap();
    let file_table = FileTable::open(&path, CLUSTER).unwrap();
    let slot = file_table.join("one").unwrap();
    assert_eq!(FileTable::open(&path, CLUSTER).unwrap().lookup("one").unwrap(), Some(slot));
}

/// In source 1 a table that was made anew counted from 1 again, and what had been read of the old one passed for it: S1-8.
#[test]
fn s1_8_a_table_made_anew_is_not_taken_for_the_one_before() {
    let folder = folder();
    let path = folder.path().join("nodes");
    let before = FileTable::create(&path, CLUSTER).unwrap();
    before.join("node-1").unwrap();
    fs::remove_file(&path).unwrap();
    let anew = FileTable::create(&path, CLUSTER).unwrap();
    anew.join("node-2").unwrap();
    assert_eq!(anew.table().unwrap().version, 2, "the same version, another table");
    before.join("node-3").unwrap();
    assert_eq!(anew.table().unwrap().entries.keys().collect::<Vec<_>>(), ["node-2", "node-3"]);
    assert!(matches!(before.release("node-1"), Err(Error::UnknownNode { .. })));
}

#[test]
fn a_full_disk_leaves_the_table_as_it_was_and_room_to_release() {
    isolated_in(&["--mount"], |folder| {
        let place = folder.join("small");
        mount("tmpfs", &place, "size=16k", MountFlags::empty());
        let path = place.join("nodes");
        let file_table = FileTable::create(&path, CLUSTER).unwrap();
        let mut before = Vec::new();
        let node = |n| format!("node-{n}-{}", "x".repeat(300));
        let error = (0..255).find_map(|n| {
            before = fs::read(&path).unwrap();
            file_table.join(&node(n)).err()
        });
        let error = error.expect("a full disk");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::Io), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(!place.join("nodes.tmp").exists(), "the disk stays full");
        file_table.release(&node(0)).unwrap();
        assert_eq!(file_table.lookup(&node(0)).unwrap(), None);
        assert!(file_table.lookup(&node(1)).unwrap().is_some());
    });
}
