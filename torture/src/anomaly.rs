//! Names what can be wrong with something that a client reads, on the spot or beside what it read before.

use crate::check::Promise;

/// What is wrong with something that was read. Its number stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Anomaly {
    Mixed = 1,
    OtherVersion = 2,
    Fingerprint = 3,
    VersionBack = 4,
    RevisionBack = 5,
    SameVersion = 6,
    Verify = 7,
    MixedForChange = 8,
    Split = 9,
    ProgressBack = 10,
    Disorder = 11,
    OutOfOrder = 12,
    Gone = 13,
    AfterRevoke = 14,
    OtherName = 15,
    Unlocked = 16,
    TermBack = 17,
    Uncounted = 18,
    Inconsistent = 19,
    StillSure = 20,
    StillQueued = 21,
}

/// Every anomaly, the promise it breaks, and what it means.
const ALL: [(Anomaly, Promise, &str); 21] = [
    (Anomaly::Mixed, Promise::P3, "the bytes are a mix of two values"),
    (Anomaly::OtherVersion, Promise::P3, "the version is not the number of changes in the value"),
    (Anomaly::Fingerprint, Promise::P3, "the fingerprint is not that of the bytes"),
    (Anomaly::VersionBack, Promise::P3, "the version ran backwards"),
    (Anomaly::RevisionBack, Promise::P3, "the revision ran backwards"),
    (Anomaly::SameVersion, Promise::P3, "one version with two revisions or fingerprints"),
    (Anomaly::Verify, Promise::P3, "verify refused the record"),
    (Anomaly::MixedForChange, Promise::P3, "a change was handed a mix of two values"),
    (Anomaly::Split, Promise::P5, "some of what one commit put is there without the rest"),
    (Anomaly::ProgressBack, Promise::P6, "a watch was told of an older moment than before"),
    (Anomaly::Disorder, Promise::P6, "a batch with a name twice, names out of order, or events after its progress"),
    (Anomaly::OutOfOrder, Promise::P6, "a watch told of what it had told before, or of what was not yet"),
    (Anomaly::Gone, Promise::P1, "what this writer alone may delete is gone, or another's"),
    (Anomaly::AfterRevoke, Promise::P7, "an entry was there after its lease had been revoked"),
    (Anomaly::OtherName, Promise::P3, "the value is not that of the name it was read by"),
    (Anomaly::Unlocked, Promise::P7, "what was read under a reader's lock was written meanwhile"),
    (Anomaly::TermBack, Promise::P6, "an observer was told of an older term than before"),
    (Anomaly::Uncounted, Promise::P1, "the thing outside and what was counted of it are not one change apart"),
    (Anomaly::Inconsistent, Promise::P5, "nodes and slots do not agree"),
    (Anomaly::StillSure, Promise::P7, "a holder whose write had been refused was told that it still holds"),
    (Anomaly::StillQueued, Promise::P4, "a waiter that had given up was queued still"),
];

/// What the number of an anomaly in a history means, and which promise that breaks.
pub fn meaning(number: u64) -> (Promise, &'static str) {
    let known = ALL.iter().find(|(anomaly, ..)| *anomaly as u64 == number);
    known.map_or((Promise::P3, "an anomaly without a name"), |(_, promise, words)| (*promise, words))
}
