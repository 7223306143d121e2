//! Participants, lanes and blocks that are all in use: who holds them is named, nothing changes, and it goes on once there
//! are some again.

use std::sync::mpsc::channel;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use slotguard::{Deadline, Error, ErrorKind, Resource, Segment, Usage, Version};

use crate::memory::Bytes;
use crate::{refused, small};
use harness::isolated::folder;

/// What an error of exhaustion says.
#[track_caller]
fn full(error: Error) -> (Resource, u64, Vec<Usage>) {
    match error {
        Error::Full { what, limit, holders } => (what, limit, holders),
        other => panic!("{other:?}"),
    }
}

/// How this process is named in a message.
fn me() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    format!("{}[{}]", name.trim_end(), std::process::id())
}

#[test]
fn when_all_participants_are_taken_their_holders_are_named() {
    let folder = folder();
    let path = folder.path().join("segment");
    let first = small().participants(3).create(&path).unwrap();
    let others = [Segment::open(&path).unwrap(), first.reopen().unwrap()];
    let before = Bytes::of(&path).read(0..first.size() as usize);
    let names = ["all 3 participants are in use", &me(), "let some exit", "more participants"];
    for result in [Segment::open(&path), small().open_or_create(&path), first.reopen()] {
        let (what, limit, holders) = full(refused(result, ErrorKind::Full, &names));
        assert_eq!((what, limit, holders.len()), (Resource::Participants, 3, 3));
        assert!(holders.iter().all(|holder| holder.pid == std::process::id() && holder.count == 1));
    }
    assert_eq!(Bytes::of(&path).read(0..first.size() as usize), before, "nothing has changed");
    drop(others);
    assert_eq!(Segment::open(&path).expect("a free row").participants().unwrap().len(), 2);
}

#[test]
fn a_creator_of_one_participant_is_alone_until_it_leaves() {
    let segment = small().participants(1).anonymous().unwrap();
    refused(segment.reopen(), ErrorKind::Full, &["all 1 participants are in use", &me()]);
    segment.record(0).unwrap().compare_and_swap(Version(0), b"on and on").unwrap();
}

#[test]
fn when_all_lanes_are_taken_their_holders_are_named_and_a_thread_that_exits_gives_its_back() {
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = &small().lanes(2).create(&path).unwrap();
    let add = || segment.record(0).unwrap().update(|old, draft| draft.write(&[old, b"x"].concat()));
    let both_have_one = Barrier::new(3);
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    std::thread::scope(|scope| {
        let release = release;
        let threads = [(), ()].map(|()| {
            scope.spawn(|| {
                add().unwrap();
                both_have_one.wait();
                // Ends when told, or when the test has failed.
                let _ = released.lock().unwrap().recv();
            })
        });
        both_have_one.wait();
        let bytes = Bytes::of(&path);
        let before = bytes.read(bytes.geometry.rows..bytes.geometry.size);
        let names = ["all 2 lanes are in use", &format!("{} 2", me()), "let some threads exit", "more lanes"];
        let (what, limit, holders) = full(refused(add(), ErrorKind::Full, &names));
        assert_eq!((what, limit, holders.len(), holders[0].count), (Resource::Lanes, 2, 1, 2));
        refused(segment.record(1).unwrap().compare_and_swap(Version(0), b"1"), ErrorKind::Full, &names);
        refused(segment.record(1).unwrap().claim(Deadline::now(), Duration::from_secs(9)), ErrorKind::Full, &names);
        assert_eq!(bytes.read(bytes.geometry.rows..bytes.geometry.size), before, "nothing has changed");
        assert_eq!(segment.record(0).unwrap().verify().unwrap().version, Version(2), "reading needs no lane");
        drop(release);
        // Joined one by one: the end of a scope does not wait for what threads do on their way out.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    add().expect("a lane of a thread that has gone");
    assert_eq!(segment.audit().unwrap().lanes_taken, 1);
}

#[test]
fn when_all_blocks_are_taken_nothing_changes_and_a_freed_one_is_found_again() {
    // One block for the lane's spare of each class, and two for values of 1,024 bytes.
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = Segment::builder().records(4).lanes(1).payloads(&[(8, 5), (1024, 3)]).create(&path).unwrap();
    let write = |record: u32, value: &[u8]| {
        segment.record(record).unwrap().update(|_, draft| draft.write(value)).map(|(_, stamp)| stamp.version)
    };
    let long = [7; 1024];
    write(0, &long).unwrap();
    write(1, &long).unwrap();
    write(2, &long).unwrap();
    let bytes = Bytes::of(&path);
    let state = || bytes.read(bytes.geometry.rows..bytes.geometry.size);
    let before = state();
    let names = ["all 3 blocks that hold 1024 bytes are in use", &format!("{} 1", me()), "more blocks of this payload"];
    for _ in 0..3 {
        let (what, limit, holders) = full(refused(write(3, &long), ErrorKind::Full, &names));
        assert_eq!((what, limit, holders.len()), (Resource::Blocks { length: 1024 }, 3, 1));
        refused(segment.record(3).unwrap().compare_and_swap(Version(0), &long), ErrorKind::Full, &names);
        refused(write(0, &long), ErrorKind::Full, &names);
    }
    assert_eq!(state(), before, "nothing has changed");
    write(3, b"short").expect("another class has blocks");

    // A shorter value gives its long block back.
    write(1, b"short").unwrap();
    write(3, &long).expect("the block that record 1 had");
    refused(write(1, &long), ErrorKind::Full, &names);
    for (record, version) in [(0, 1), (1, 2), (2, 1), (3, 2)] {
        assert_eq!(segment.record(record).unwrap().verify().unwrap().version, Version(version));
    }
    let audit = segment.audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0), "{audit:?}");
}

#[test]
fn a_lane_that_finds_no_spare_is_given_back_and_the_others_go_on() {
    // Room for one record's value and one lane's spare.
    let segment = Segment::builder().records(2).lanes(4).payloads(&[(8, 2)]).anonymous().unwrap();
    let first = segment.record(0).unwrap();
    first.compare_and_swap(Version(0), b"a value").unwrap();
    let names = ["all 2 blocks", "in use", &me(), "build the segment with more blocks"];
    let second = segment.record(1).unwrap();
    for _ in 0..20 {
        refused(second.compare_and_swap(Version(0), b"no room"), ErrorKind::Full, &names);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| first.compare_and_swap(Version(1), b"a thread"));
            refused(other.join().unwrap(), ErrorKind::Full, &names);
        });
    }
    first.compare_and_swap(Version(1), b"another").expect("the spare of our lane");
    let audit = segment.audit().unwrap();
    assert_eq!((audit.under_heads, audit.in_spares, audit.missing, audit.doubled), (1, 1, 0, 0));
    assert_eq!(audit.lanes_taken, 1);
}
