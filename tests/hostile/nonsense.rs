//! Words that no program of ours writes, one by one: what each must be answered with.

use std::fs::OpenOptions;
use std::mem::offset_of;
use std::time::Duration;

use slotguard::{Deadline, Error, ErrorKind, Life, Segment, Version};

use crate::battery::{LARGEST, fill, small};
use crate::memory::Bytes;
use crate::memory::sections::{BlockHead, Lane, Row};
use crate::memory::word::{BlockState, Head, JournalWord, Spare};
use harness::isolated::{folder, isolated};

const LEASE: Duration = Duration::from_secs(600);

/// What all that looks at a record must answer.
#[track_caller]
fn is_corrupt(segment: &Segment, index: u32, what: &str) {
    let record = segment.record(index).unwrap();
    let mut value = vec![1, 2, 3];
    let corrupt = |error: Error| match error {
        Error::Corrupt { what: found, place, .. } => {
            assert!(found.contains(what), "{what:?} is not what was found: {found}");
            assert_eq!(place, u64::from(index), "{what}");
        }
        other => panic!("{what}: {other:?}"),
    };
    corrupt(record.read(&mut value).unwrap_err());
    corrupt(record.verify().unwrap_err());
    corrupt(record.update(|_, draft| draft.write(b"over it")).unwrap_err());
    corrupt(record.compare_and_swap(Version(1), b"over it").unwrap_err());
    corrupt(record.claim(Deadline::never(), LEASE).map(drop).unwrap_err());
    corrupt(record.wait_newer(Version(1), Deadline::never()).unwrap_err());
    corrupt(record.holder().unwrap_err());
    corrupt(segment.wait_any(&[(index, Version(1))], Deadline::never()).unwrap_err());
}

#[test]
fn a_head_or_block_that_makes_no_sense_is_damage_for_its_record_alone() {
    let folder = folder();
    let segment = small().create(folder.path().join("segment")).unwrap();
    let claim = fill(&segment);
    let bytes = Bytes::of(segment.path().unwrap());
    let (place, good) = (bytes.head(1), bytes.word(bytes.head(1)));
    let head = Head(good);
    let block = bytes.block_of(1);
    let (state, length) = (block + offset_of!(BlockHead, state), block + offset_of!(BlockHead, place));
    let other = Head(bytes.word(bytes.head(2))).block();
    let free = (1..=bytes.geometry.blocks).find(|index| bytes.word(bytes.block(*index)) == 0).unwrap();
    for (offset, word, what) in [
        (place, Head::value(head.count(), bytes.geometry.blocks + 1).0, "a head that names no block"),
        (place, Head::value(head.count(), (1 << 23) - 1).0, "a head that names no block"),
        (place, good | 1 << 63, "a reference to a commit that is not there"),
        (place, Head::value(head.count(), other).0, "a block of another record"),
        (place, Head::value(head.count(), free).0, "a head that names a free block"),
        (state, BlockState::free(9).0, "a head that names a free block"),
        (state, BlockState::owned(4, 9).0, "a change by a lane that is not there"),
        (length, 65 << 32 | 1, "longer than its class"),
        (length, u64::from(u32::MAX) << 32 | 1, "longer than its class"),
        (length, 8 << 32 | 2, "a block of another record"),
    ] {
        let before = bytes.word(offset);
        bytes.set(offset, word);
        is_corrupt(&segment, 1, what);
        segment.record(2).unwrap().verify().expect("another record has nothing to do with it");
        bytes.set(offset, before);
        assert_eq!(segment.record(1).unwrap().verify().unwrap().version, Version(1), "nothing was repaired or wiped");
    }
    claim.commit(b"as ever").unwrap();
    assert!(segment.stats().corrupt >= 80);
}

#[test]
fn a_lane_whose_journal_makes_no_sense_is_left_alone() {
    let folder = folder();
    let segment = small().lanes(2).create(folder.path().join("segment")).unwrap();
    let bytes = Bytes::of(segment.path().unwrap());
    let update = || segment.record(0).unwrap().update(|_, draft| draft.write(b"value")).map(|(_, stamp)| stamp.version);
    let elsewhere = || std::thread::scope(|scope| scope.spawn(update).join().unwrap());
    update().unwrap();
    let ours = |lane: &u32| bytes.word(bytes.lane(*lane) + offset_of!(Lane, owner)) != 0;
    let other = 1 - (0..2).find(ours).unwrap();
    let op = bytes.lane(other) + offset_of!(Lane, journal);
    let past_all = bytes.geometry.records();
    for nonsense in [
        JournalWord::publishing(past_all, 0).0,
        JournalWord::publishing(u32::MAX, 0).0,
        JournalWord::publishing(0, 200).0,
        u64::MAX,
    ] {
        bytes.set(op, nonsense);
        let error = elsewhere().unwrap_err();
        assert!(matches!(error, Error::Corrupt { what: "a lane's journal", .. }), "{error:?}");
        update().expect("who has a lane goes on");
        assert_eq!(segment.audit().unwrap().lanes_taken, 1, "the damaged one was not taken");
    }
    bytes.set(op, 0);
    elsewhere().unwrap();
}

#[test]
fn a_block_that_two_places_claim_shows_in_the_audit() {
    let folder = folder();
    let segment = small().create(folder.path().join("segment")).unwrap();
    let claim = fill(&segment);
    let bytes = Bytes::of(segment.path().unwrap());
    let whole = segment.audit().unwrap();
    assert_eq!((whole.missing, whole.doubled), (0, 0));
    let free = |lane: &u32| bytes.word(bytes.lane(*lane) + offset_of!(Lane, owner)) == 0;
    let spares = bytes.lane((0..4).find(free).unwrap()) + offset_of!(Lane, spares);
    bytes.write(spares, &Spare::keeping(Head(bytes.word(bytes.head(2))).block()).0.to_ne_bytes());
    assert_eq!(segment.audit().unwrap().doubled, 1);
    // Past the last block: nothing there to be counted.
    bytes.write(spares, &Spare::keeping(1 << 22).0.to_ne_bytes());
    assert_eq!(segment.audit().unwrap(), whole);
    bytes.write(spares, &[0; 4]);
    bytes.set(bytes.head(2), 0);
    assert_eq!(segment.audit().unwrap().missing, 1);
    drop(claim);
}

#[test]
fn a_claim_with_impossible_times_and_owners_is_held_or_free_and_printable() {
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = small().create(&path).unwrap();
    let other = Segment::open(&path).unwrap();
    let _claim = fill(&segment);
    let bytes = Bytes::of(&path);
    let block = bytes.block_of(4);
    let row = bytes.row(segment.vector().participant());
    bytes.set(row + offset_of!(Row, since), u64::MAX);
    bytes.write(row + offset_of!(Row, command), &[0xff; 16]);
    bytes.set(row + offset_of!(Row, pid), u64::MAX);
    bytes.set(block + offset_of!(BlockHead, claim_until), u64::MAX);
    bytes.set(block + offset_of!(BlockHead, claim_since), u64::MAX);
    let held = other.record(4).unwrap().update(|_, draft| draft.write(b"no")).unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Held);
    assert!(held.to_string().len() < 500, "{held}");
    let holder = other.record(4).unwrap().holder().unwrap().unwrap();
    assert_eq!((holder.pid, holder.held), (u32::MAX, Duration::ZERO));
    let members = other.participants().unwrap();
    assert!(members.iter().all(|member| member.life == Life::Alive), "{members:?}");

    // An owner that cannot be, or has been gone for long, is nobody.
    for owner in [u64::MAX, 1 << 63, 3 << 48 | 99] {
        bytes.set(block + offset_of!(BlockHead, claim_owner), owner);
        assert_eq!(other.record(4).unwrap().holder().unwrap(), None);
    }
    other.record(4).unwrap().update(|_, draft| draft.write(b"free")).unwrap();
}

#[test]
fn an_anonymous_segment_can_be_neither_cut_nor_extended() {
    isolated(|_| {
        let segment = small().anonymous().unwrap();
        let size = segment.size();
        let mut found = 0;
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let path = entry.unwrap().path();
            let Ok(link) = std::fs::read_link(&path) else { continue };
            if !link.to_string_lossy().contains("memfd:slotguard") {
                continue;
            }
            found += 1;
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            for length in [0, 4096, size - 1, size + 1, size * 2] {
                let refused = file.set_len(length).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "to {length} bytes: {refused}");
            }
            assert_eq!(file.metadata().unwrap().len(), size);
        }
        assert!(found >= 1, "the file of the segment is among our descriptors");
        segment.record(2).unwrap().compare_and_swap(Version(0), &[1; LARGEST]).unwrap();
    });
}
