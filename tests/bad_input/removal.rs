//! Segments that are removed, made anew, or made by several at once.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::thread::scope;
use std::time::Duration;

use slotguard::{Deadline, ErrorKind, Segment, VectorClock, Version};

use crate::memory::Bytes;
use crate::{names_in, refused, small};
use harness::isolated::{folder, isolated};

const LEASE: Duration = Duration::from_secs(600);

#[test]
fn every_operation_on_a_removed_segment_says_so() {
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = small().create(&path).unwrap();
    let record = segment.record(0).unwrap();
    let typed = segment.typed::<u64>(1).unwrap();
    typed.update(|count| *count = 1).unwrap();
    let mut claim = record.claim(Deadline::now(), LEASE).unwrap();
    let other = segment.record(2).unwrap();
    let to_commit = other.claim(Deadline::now(), LEASE).unwrap();
    let to_release = segment.record(3).unwrap().claim(Deadline::now(), LEASE).unwrap();
    Segment::remove(&path).unwrap();
    assert!(names_in(folder.path()).is_empty());

    let retired = |error| refused::<()>(Err(error), ErrorKind::Retired, &["removed", "open or create it again"]);
    let mut value = Vec::new();
    retired(record.read(&mut value).unwrap_err());
    retired(record.verify().unwrap_err());
    retired(record.update(|_, draft| draft.write(b"late")).unwrap_err());
    retired(record.compare_and_swap(Version(0), b"late").unwrap_err());
    retired(record.wait_newer(Version(0), Deadline::never()).unwrap_err());
    retired(record.wait_newer(Version(0), Deadline::now()).unwrap_err());
    retired(record.claim(Deadline::never(), LEASE).unwrap_err());
    retired(record.holder().unwrap_err());
    retired(claim.read(&mut value).unwrap_err());
    retired(claim.intend(b"late").unwrap_err());
    retired(claim.renew(LEASE).unwrap_err());
    retired(claim.dismiss().unwrap_err());
    retired(to_commit.commit(b"late").unwrap_err());
    retired(to_release.release().unwrap_err());
    drop(claim);
    retired(typed.read().unwrap_err());
    retired(typed.update(|count| *count += 1).unwrap_err());
    retired(typed.compare_and_swap(Version(1), &2).unwrap_err());
    retired(segment.typed::<u64>(1).unwrap_err());
    retired(segment.wait_any(&[(0, Version(0))], Deadline::never()).unwrap_err());
    retired(segment.participants().unwrap_err());
    retired(segment.reap().unwrap_err());
    retired(segment.audit().unwrap_err());
    retired(segment.vector().tick().unwrap_err());
    retired(segment.vector().snapshot().unwrap_err());
    retired(segment.vector().merge(&VectorClock::default()).unwrap_err());
    retired(segment.reopen().unwrap_err());
    assert_eq!(segment.stats().updates, 4, "what was counted can still be read");
    refused(Segment::open(&path), ErrorKind::NotFound, &[]);
}

#[test]
fn whoever_sleeps_when_the_segment_is_removed_is_told() {
    isolated(|folder| {
        let path = folder.join("segment");
        let segment = &small().create(&path).unwrap();
        let bytes = Bytes::of(&path);
        let claim = segment.record(3).unwrap().claim(Deadline::now(), LEASE).unwrap();
        scope(|scope| {
            let version = scope.spawn(|| segment.record(0).unwrap().wait_newer(Version(0), Deadline::never()));
            let any = scope.spawn(|| segment.wait_any(&[(1, Version(0)), (2, Version(0))], Deadline::never()));
            let holder = scope.spawn(|| segment.record(3).unwrap().claim(Deadline::never(), LEASE).map(drop));
            // All three have said that they wait.
            let waits = |offset: usize| bytes.read(offset..offset + 1)[0] & 1 != 0;
            while !waits(bytes.wait(0)) || !waits(bytes.claim_wait(3)) || bytes.word(bytes.group(1)) & 0xffff == 0 {
                std::thread::yield_now();
            }
            Segment::remove(&path).unwrap();
            refused(version.join().unwrap(), ErrorKind::Retired, &[]);
            refused(any.join().unwrap(), ErrorKind::Retired, &[]);
            refused(holder.join().unwrap(), ErrorKind::Retired, &[]);
        });
        drop(claim);
    });
}

#[test]
fn a_segment_made_anew_has_nothing_to_do_with_the_removed_one() {
    let folder = folder();
    let path = folder.path().join("segment");
    let old = small().create(&path).unwrap();
    old.record(0).unwrap().compare_and_swap(Version(0), b"old").unwrap();
    let claim = old.record(1).unwrap().claim(Deadline::now(), LEASE).unwrap();
    for round in 0..10 {
        Segment::remove(&path).unwrap();
        let new = small().open_or_create(&path).unwrap();
        refused(old.record(0).unwrap().read(&mut Vec::new()), ErrorKind::Retired, &[]);
        refused(old.reopen(), ErrorKind::Retired, &[]);
        let mut value = Vec::new();
        assert_eq!(new.record(0).unwrap().read(&mut value).unwrap().version, Version(0), "round {round}");
        assert!(value.is_empty());
        assert_eq!(new.record(1).unwrap().holder().unwrap(), None);
        new.record(0).unwrap().compare_and_swap(Version(0), b"new").unwrap();
        assert_eq!(Segment::open(&path).unwrap().participants().unwrap().len(), 2);
    }
    refused(claim.commit(b"late"), ErrorKind::Retired, &[]);
}

#[test]
fn a_name_that_is_taken_is_refused_and_what_has_it_is_kept() {
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = small().create(&path).unwrap();
    segment.record(0).unwrap().compare_and_swap(Version(0), b"kept").unwrap();
    let before = Bytes::of(&path).but_rows();
    let names: [&str; 3] = [&path.display().to_string(), "exists already", "Segment::remove"];
    refused(small().create(&path), ErrorKind::AlreadyExists, &names);
    assert_eq!(Bytes::of(&path).but_rows(), before);
    assert_eq!(names_in(folder.path()), ["segment"]);
}

#[test]
fn of_many_who_create_at_once_all_attach_to_one_segment() {
    const RACERS: u32 = 16;
    let folder = folder();
    let path = folder.path().join("segment");
    for round in 0..20 {
        let start = Barrier::new(RACERS as usize);
        let racer = || {
            start.wait();
            let segment = small().participants(RACERS).lanes(RACERS).open_or_create(&path).unwrap();
            let add = |old: &[u8], draft: &mut slotguard::Draft<'_>| draft.write(&[old, b"x"].concat());
            segment.record(0).unwrap().update(add).unwrap();
            segment
        };
        let segments: Vec<Segment> = scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(racer)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        for segment in &segments {
            assert_eq!(segment.record(0).unwrap().verify().unwrap().version, Version(RACERS.into()), "round {round}");
            assert_eq!(segment.participants().unwrap().len(), RACERS as usize);
        }
        let rows: HashSet<u32> = segments[0].participants().unwrap().iter().map(|member| member.row).collect();
        assert_eq!(rows.len(), RACERS as usize, "a row each");
        assert_eq!(names_in(folder.path()), ["segment"]);
        Segment::remove(&path).unwrap();
    }
}

#[test]
fn of_many_who_create_by_that_name_one_is_the_creator() {
    let folder = folder();
    let path = folder.path().join("segment");
    for _ in 0..20 {
        let start = Barrier::new(8);
        let create = || {
            start.wait();
            small().participants(8).create(&path)
        };
        let results: Vec<_> = scope(|scope| {
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for result in results.into_iter().filter(Result::is_err) {
            refused(result, ErrorKind::AlreadyExists, &[]);
        }
        Segment::remove(&path).unwrap();
    }
}

/// Two who remove and two who create or open, over and over: nobody may be left on a segment that has lost its name
/// without being told.
#[test]
fn nobody_is_left_behind_on_a_segment_that_lost_its_name() {
    let folder = folder();
    let path = &folder.path().join("segment");
    for round in 0..300 {
        drop(small().open_or_create(path).unwrap());
        let start = &Barrier::new(4);
        let remove = move || {
            start.wait();
            match Segment::remove(path) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        };
        let join = move || {
            start.wait();
            small().open_or_create(path).unwrap()
        };
        let segments = scope(|scope| {
            let removers = [scope.spawn(remove), scope.spawn(remove)];
            let joiners = [scope.spawn(join), scope.spawn(join)];
            removers.into_iter().for_each(|remover| remover.join().unwrap());
            joiners.map(|joiner| joiner.join().unwrap())
        });
        let named = std::fs::symlink_metadata(path).map(|about| about.ino()).ok();
        for segment in &segments {
            match segment.record(0).unwrap().verify() {
                Ok(_) => {
                    // Told by what a newcomer finds there.
                    let met = Segment::open(path).unwrap_or_else(|error| panic!("round {round}: {named:?}: {error}"));
                    let word = segment.vector().tick().unwrap();
                    let row = segment.vector().participant();
                    let seen = met.vector().snapshot().unwrap();
                    let theirs = seen.iter().find(|(r, _)| *r == row).map_or(0, |(_, count)| count);
                    assert_eq!(theirs, word, "round {round}: a newcomer meets another segment");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Retired, "round {round}: {error}"),
            }
        }
    }
}

#[test]
fn a_removal_that_was_killed_halfway_does_not_spoil_the_name_for_ever() {
    let folder = folder();
    let path = folder.path().join("segment");
    let old = small().create(&path).unwrap();
    old.record(0).unwrap().compare_and_swap(Version(0), b"old").unwrap();
    // What a remover leaves that dies between marking the segment and unlinking it.
    let bytes = Bytes::of(&path);
    bytes.set(bytes.retired(), 1);
    refused(old.record(0).unwrap().verify(), ErrorKind::Retired, &[]);
    refused(Segment::open(&path), ErrorKind::NotFound, &["open_or_create"]);
    let new = small().open_or_create(&path).expect("whoever comes next completes the removal");
    assert_eq!(new.record(0).unwrap().verify().unwrap().version, Version(0));
    bytes.set(bytes.retired(), 0);
    Segment::remove(&path).unwrap();
}

#[test]
fn the_file_has_the_mode_and_group_asked_for_whatever_the_umask() {
    isolated(|folder| {
        // Root may give a file to any group it knows of, others to their own.
        let my_group = rustix::process::getegid().as_raw();
        let all_ids = std::fs::read_to_string("/proc/self/gid_map").unwrap().contains("4294967295");
        let group = if rustix::process::geteuid().is_root() && all_ids { 12_345 } else { my_group };
        for umask in [0o000, 0o022, 0o077, 0o777] {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            let mode_of = |builder: slotguard::SegmentBuilder| {
                let path = folder.join("segment");
                drop(builder.create(&path).unwrap());
                let about = std::fs::symlink_metadata(&path).unwrap();
                Segment::remove(&path).unwrap();
                (about.mode() & 0o7777, about.gid())
            };
            assert_eq!(mode_of(small()), (0o600, my_group), "umask {umask:o}");
            assert_eq!(mode_of(small().mode(0o660).group(group)), (0o660, group), "umask {umask:o}");
            assert_eq!(mode_of(small().mode(0o666)).0, 0o666, "umask {umask:o}");
        }
    });
}
