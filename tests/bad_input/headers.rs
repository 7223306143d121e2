//! Files that are segments, but not of this build, this machine, this boot, or the size asked for; and damaged ones.

use slotguard::{Error, ErrorKind, Mismatch, Segment};

use crate::memory::sections::{ENDIAN_TAG, FORMAT, IDENTITY, layout_hash};
use crate::memory::{Bytes, identity};
use crate::{fingerprint, refused, refused_by_every_way_in, small};
use harness::isolated::folder;

/// What differs, of an error that must be an incompatibility.
#[track_caller]
fn mismatch(error: Error) -> Mismatch {
    match error {
        Error::Incompatible { path: Some(_), mismatch } => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_smaller_than_asked_is_refused_with_both_numbers() {
    let folder = folder();
    let path = folder.path().join("small");
    let segment = small().create(&path).unwrap();
    segment.record(0).unwrap().compare_and_swap(slotguard::Version(0), b"kept").unwrap();
    let bytes = Bytes::of(&path);
    let before = bytes.but_rows();
    let asked = [
        (Segment::builder().records(5), "records", 4, 5),
        (Segment::builder().lanes(9), "lanes", 4, 9),
        (Segment::builder().participants(64), "participants", 4, 64),
        (Segment::builder().payload(65), "payload bytes", 64, 65),
        (Segment::builder().payloads(&[(8, 1), (1024, 1)]), "payload bytes", 64, 1024),
    ];
    for (builder, what, found, asked) in asked {
        let names: [&str; 5] =
            [&path.display().to_string(), what, &found.to_string(), &asked.to_string(), "ask for less"];
        let error = refused(builder.clone().open(&path), ErrorKind::Incompatible, &names);
        assert_eq!(mismatch(error), Mismatch::Smaller { what, found, asked });
        refused(builder.open_or_create(&path), ErrorKind::Incompatible, &names);
    }
    assert_eq!(bytes.but_rows(), before);
    assert_eq!(segment.participants().unwrap().len(), 1, "who was refused is not attached");
    small().open(&path).expect("as large as asked");
}

#[test]
fn a_segment_made_for_shorter_names_is_refused_with_both_numbers() {
    let folder = folder();
    let path = folder.path().join("short");
    let named = |names: u32| Segment::builder().keys(1_000).name_bytes(names).payload(64);
    let segment = named(8).create(&path).unwrap();
    for builder in [named(255), Segment::builder().name_bytes(255)] {
        let Mismatch::Smaller { what, found, asked } =
            mismatch(refused(builder.open(&path), ErrorKind::Incompatible, &["nodes for names", "ask for less"]))
        else {
            panic!("another mismatch");
        };
        assert!(what == "nodes for names" && found < asked, "{found} {what}, {asked} asked for");
    }
    assert_eq!(segment.participants().unwrap().len(), 1, "who was refused is not attached");
    named(8).open(&path).expect("as large as asked");
}

/// Makes a segment, lets `change` patch its file, and has it refused by every way in.
#[track_caller]
fn patched(change: impl FnOnce(&Bytes), kind: ErrorKind, names: &[&str]) -> Error {
    let folder = folder();
    let path = folder.path().join("patched");
    drop(small().create(&path).unwrap());
    change(&Bytes::of(&path));
    refused_by_every_way_in(&path, kind, names);
    let error = Segment::open(&path).unwrap_err();
    Segment::remove(&path).expect("whatever it is, it can be removed by name");
    assert!(!path.exists());
    error
}

#[test]
fn a_segment_of_another_format_is_refused_with_both_formats() {
    let tag = u64::from(ENDIAN_TAG);
    let error = patched(
        |bytes| bytes.set_identity(identity::FORMAT, 77 << 32 | tag),
        ErrorKind::Incompatible,
        &["format 77", &format!("reads format {FORMAT}"), "Segment::remove"],
    );
    assert_eq!(mismatch(error), Mismatch::Format { found: 77, ours: FORMAT });
}

#[test]
fn a_segment_of_another_layout_is_refused_with_both_layouts() {
    let ours = layout_hash();
    let error = patched(
        |bytes| {
            bytes.set_identity(identity::LAYOUT, 0xabcd);
            bytes.seal_identity();
        },
        ErrorKind::Incompatible,
        &["layout 000000000000abcd", &format!("{ours:016x}"), "Segment::remove"],
    );
    assert_eq!(mismatch(error), Mismatch::Layout { found: 0xabcd, ours });
}

#[test]
fn a_segment_of_the_other_byte_order_is_refused_as_such() {
    let error = patched(
        |bytes| {
            for place in 0..IDENTITY {
                bytes.set_identity(place, bytes.word(place * 8).swap_bytes());
            }
        },
        ErrorKind::Incompatible,
        &["the other byte order", "Segment::remove"],
    );
    assert_eq!(mismatch(error), Mismatch::Endianness);
}

#[test]
fn a_segment_of_an_earlier_boot_is_refused_and_the_removal_named() {
    let error = patched(
        |bytes| {
            bytes.set_identity(identity::BOOT, 1);
            bytes.seal_identity();
        },
        ErrorKind::Incompatible,
        &["before this machine was started", "Segment::remove"],
    );
    assert_eq!(mismatch(error), Mismatch::Boot);
}

#[test]
fn sizes_that_make_no_segment_are_damage_though_their_checksum_is_right() {
    let impossible = [
        (identity::RECORDS, 0),
        (identity::RECORDS, 500),
        (identity::RECORDS, 1 << 40),
        (identity::LANES, 0),
        (identity::LANES, u64::MAX),
        (identity::CLASSES, 0),
        (identity::CLASSES, 9),
        (identity::CLASS, u64::MAX),
    ];
    for (place, word) in impossible {
        let change = |bytes: &Bytes| {
            bytes.set_identity(place, word);
            bytes.seal_identity();
        };
        patched(change, ErrorKind::Corrupt, &["damaged", "the header's", "found 0x", "make a new one"]);
    }
}

#[test]
fn no_flipped_bit_of_a_header_is_overlooked_or_replaced_by_a_fresh_segment() {
    let folder = folder();
    let path = folder.path().join("flipped");
    let segment = small().create(&path).unwrap();
    segment.record(0).unwrap().compare_and_swap(slotguard::Version(0), b"kept").unwrap();
    drop(segment);
    let bytes = Bytes::of(&path);
    for bit in 0..IDENTITY * 64 {
        let word = bytes.word(bit / 64 * 8);
        bytes.set_identity(bit / 64, word ^ 1 << (bit % 64));
        let before = fingerprint(&path);
        let error = small().open_or_create(&path).expect_err("a flipped bit");
        let kind = error.kind();
        let known = [ErrorKind::NotASegment, ErrorKind::Incompatible, ErrorKind::Corrupt];
        assert!(known.contains(&kind), "word {} bit {}: {error}", bit / 64, bit % 64);
        assert!(fingerprint(&path) == before, "word {} bit {}: the file was changed", bit / 64, bit % 64);
        bytes.set_identity(bit / 64, word);
    }
    let mut value = Vec::new();
    Segment::open(&path).unwrap().record(0).unwrap().read(&mut value).unwrap();
    assert_eq!(value, b"kept");
}

#[test]
fn a_cut_or_extended_file_is_refused_with_both_sizes() {
    let folder = folder();
    let path = folder.path().join("cut");
    let size = small().create(&path).unwrap().size();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let original = std::fs::read(&path).unwrap();
    for found in [size - 1, size - 4096, 4096, 256, size + 1, size + 4096, size * 2] {
        file.set_len(found).unwrap();
        let names = [&found.to_string(), &size.to_string(), "cut or extended", "Segment::remove"];
        refused_by_every_way_in(&path, ErrorKind::Incompatible, &names);
        assert_eq!(mismatch(Segment::open(&path).unwrap_err()), Mismatch::Size { found, expected: size });
        std::fs::write(&path, &original).unwrap();
    }
    for found in [255, 8, 1, 0] {
        file.set_len(found).unwrap();
        refused_by_every_way_in(&path, ErrorKind::NotASegment, &[&format!("a file of {found} bytes"), "another path"]);
        refused(Segment::remove(&path), ErrorKind::NotASegment, &["nothing was changed"]);
        assert!(path.exists());
    }
    std::fs::write(&path, &original).unwrap();
    Segment::open(&path).expect("restored as the message says");
}

#[test]
fn a_file_of_something_else_is_no_segment_and_keeps_its_content() {
    let folder = folder();
    let path = folder.path().join("letter");
    let letter = "Dear reader, ".repeat(1000);
    std::fs::write(&path, &letter).unwrap();
    refused_by_every_way_in(&path, ErrorKind::NotASegment, &["a file that begins with", "nothing was changed"]);
    refused(Segment::remove(&path), ErrorKind::NotASegment, &["is no segment"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);

    drop(std::fs::remove_file(&path));
    drop(small().create(&path).unwrap());
    Bytes::of(&path).set_identity(identity::MAGIC, u64::from_le_bytes(*b"slotgrd\x02"));
    refused_by_every_way_in(&path, ErrorKind::NotASegment, &["026472677"]);
}
