//! What bad input gets: an error of its own that names the numbers and the way out, and nothing is changed, wiped or made
//! anew to make it go away.
#![cfg(not(loom))]

#[path = "support/memory.rs"]
mod memory;

#[path = "bad_input/calls.rs"]
mod calls;
#[path = "bad_input/exhausted.rs"]
mod exhausted;
#[path = "bad_input/headers.rs"]
mod headers;
#[path = "bad_input/messages.rs"]
mod messages;
#[path = "bad_input/places.rs"]
mod places;
#[path = "bad_input/removal.rs"]
mod removal;
#[path = "bad_input/room.rs"]
mod room;

use std::fmt::Debug;
use std::path::Path;

use slotguard::{Error, ErrorKind, Result, Segment, SegmentBuilder};

/// A small segment's sizes.
fn small() -> SegmentBuilder {
    Segment::builder().records(4).lanes(4).participants(4).payload(64)
}

/// The error of something that must be refused with this kind, its message naming all of `names`.
#[track_caller]
fn refused<T: Debug>(result: Result<T>, kind: ErrorKind, names: &[&str]) -> Error {
    let error = result.expect_err("bad input");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for name in names {
        assert!(message.contains(name), "{name:?} is not named in: {message}");
    }
    error
}

/// Opening, requiring and opening or creating all refuse what is at `path` in the same way, and leave it as it is;
/// creating finds the name taken.
#[track_caller]
fn refused_by_every_way_in(path: &Path, kind: ErrorKind, names: &[&str]) {
    let before = fingerprint(path);
    refused(Segment::open(path), kind, names);
    refused(small().open(path), kind, names);
    refused(small().open_or_create(path), kind, names);
    refused(small().create(path), ErrorKind::AlreadyExists, &[&path.display().to_string(), "Segment::remove"]);
    assert_eq!(fingerprint(path), before, "{} is as it was", path.display());
}

/// What is at a path, followed through no link: kind, owner, size, number and content.
fn fingerprint(path: &Path) -> (String, Vec<u8>) {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::symlink_metadata(path).expect("something at the path");
    let facts = (about.mode(), about.uid(), about.gid(), about.len(), about.ino(), about.nlink());
    let content = if about.is_file() { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
    (format!("{facts:?}"), content)
}

/// The names in a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
