//! Every message there is, printed once: what happened, to what, and what to do.

use std::path::PathBuf;
use std::time::Duration;

use slotguard::{Error, ErrorKind, Holder, LeaseEnd, Mismatch, Resource, Segment, Token, Usage};

fn all() -> Vec<(Error, Vec<&'static str>)> {
    let path = || PathBuf::from("/dev/shm/billing");
    let holder = || {
        let (held, remaining) = (Duration::from_millis(3200), Duration::from_millis(6800));
        let command = String::from("uvicorn");
        Box::new(Holder { record: 7, pid: 4121, command, token: Token(918), held, remaining })
    };
    let lost = |why| Error::LeaseLost { record: 7, token: Token(918), why };
    let users = |count| (0..count).map(|i| Usage { pid: 100 + i, command: format!("worker-{i}"), count: 3 }).collect();
    let full = |what, limit, count| Error::Full { what, limit, holders: users(count) };
    let system = |code| std::io::Error::from_raw_os_error(code);
    let incompatible = |mismatch| Error::Incompatible { path: Some(path()), mismatch };
    let smaller = Mismatch::Smaller { what: "records", found: 4, asked: 64 };
    let unsupported = Error::Unsupported { what: "O_TMPFILE", path: path(), cause: system(libc::EOPNOTSUPP) };
    let io = Error::Io { action: "map", path: Some(path()), cause: system(libc::ENOMEM) };
    vec![
        (Error::Held(holder()), vec!["record 7", "uvicorn[4121]", "3.2s", "token 918", "6.8s", "Record::claim"]),
        (
            Error::TimedOut { waited: Duration::from_secs(2), holder: holder() },
            vec!["2.0s in vain", "uvicorn[4121]", "918"],
        ),
        (Error::Cancelled, vec!["cancelled"]),
        (lost(LeaseEnd::Expired(Duration::from_secs(4))), vec!["record 7", "918", "ended 4.0s ago", "claim it anew"]),
        (lost(LeaseEnd::TakenOver(Token(930))), vec!["token 918", "token 930 has the record", "claim it anew"]),
        (lost(LeaseEnd::Replaced), vec!["token 918", "was changed since", "claim it anew"]),
        (Error::Busy, vec!["inside an update of the same segment", "return from the closure first"]),
        (Error::Outrun { what: "record 7".to_owned(), rounds: 99 }, vec!["record 7", "99 attempts", "try again"]),
        (Error::Forked, vec!["parent process", "Segment::reopen"]),
        (Error::Retired, vec!["removed", "open or create it again"]),
        (
            full(Resource::Participants, 64, 7),
            vec!["all 64 participants", "worker-0[100] 3", "and 2 more", "let some exit"],
        ),
        (full(Resource::Lanes, 256, 1), vec!["all 256 lanes", "held by worker-0[100] 3", "let some threads exit"]),
        (full(Resource::Blocks { length: 900 }, 64, 2), vec!["all 64 blocks that hold 900 bytes", "more blocks"]),
        (full(Resource::Revisions, 1 << 62, 0), vec!["all 4611686018427387904 revisions", "make a new segment"]),
        (Error::NoSpace { path: path(), needed: 4096, free: 9 }, vec!["/dev/shm/billing", "4096", "9 free", "smaller"]),
        (Error::TooLarge { length: 65, limit: 64 }, vec!["65 bytes", "payload of 64", "larger payload"]),
        (Error::OutOfRange { record: 9, records: 4 }, vec!["record 9", "4 records", "0 to 3"]),
        (Error::Corrupt { what: "a head", place: 7, found: 0xbad }, vec!["a head", "at 7", "0xbad", "keep a copy"]),
        (
            incompatible(Mismatch::Format { found: 9, ours: 1 }),
            vec!["/dev/shm/billing", "9", "format 1", "Segment::remove"],
        ),
        (incompatible(Mismatch::Layout { found: 9, ours: 1 }), vec!["0000000000000009", "Segment::remove"]),
        (incompatible(Mismatch::Endianness), vec!["byte order", "Segment::remove"]),
        (incompatible(Mismatch::Boot), vec!["before this machine was started", "Segment::remove"]),
        (incompatible(Mismatch::Size { found: 5, expected: 6 }), vec!["5 bytes", "says 6", "Segment::remove"]),
        (incompatible(smaller), vec!["4 records", "64 were asked for", "ask for less"]),
        (incompatible(Mismatch::Type { record: 7, asked: "u64", length: 3 }), vec!["record 7", "3 bytes", "u64"]),
        (
            Error::NotASegment { path: path(), found: "a directory".into() },
            vec!["/dev/shm/billing", "a directory", "another path"],
        ),
        (Error::NotFound { path: path() }, vec!["no segment at /dev/shm/billing", "open_or_create"]),
        (Error::AlreadyExists { path: path() }, vec!["/dev/shm/billing", "exists already", "Segment::remove"]),
        (
            Error::NotPermitted { path: path(), owner: 1000, group: 33, mode: 0o640, me: 1001 },
            vec!["/dev/shm/billing", "user 1000", "group 33", "mode 640", "user 1001", "SegmentBuilder::mode"],
        ),
        (unsupported, vec!["O_TMPFILE", "/dev/shm/billing", "tmpfs such as /dev/shm"]),
        (Error::Invalid("lanes must be 1 to 8192, not 0".into()), vec!["lanes must be 1 to 8192, not 0"]),
        (io, vec!["cannot map /dev/shm/billing", "Cannot allocate memory"]),
    ]
}

#[test]
fn every_message_names_what_happened_and_the_way_out() {
    let mut kinds: Vec<ErrorKind> = Vec::new();
    for (error, names) in all() {
        let message = error.to_string();
        println!("{:>13}  {message}", error.kind().to_string());
        for name in names {
            assert!(message.contains(name), "{name:?} is not named in: {message}");
        }
        assert!(!message.contains('\n') && !message.ends_with('.'), "one line that fits after a colon: {message}");
        kinds.push(error.kind());
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 21, "a message of every kind");
}

/// An error's text holds its cause, and who prints the chain reads it once as well.
#[test]
fn what_the_system_said_is_told_once_however_an_error_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let refused = Segment::open(file.join("segment")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    for error in all().into_iter().map(|(error, _)| error).chain([refused]) {
        let (Error::Io { cause, .. } | Error::Unsupported { cause, .. }) = &error else { continue };
        let said = cause.to_string();
        assert!(error.to_string().contains(&said), "who prints the error alone learns it: {error}");
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let chain: Vec<_> = chain.map(ToString::to_string).collect();
        assert_eq!(chain.join(": ").matches(&said).count(), 1, "{chain:?}");
    }
}
