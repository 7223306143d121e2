//! Versioned records, named entries, claims and leases shared by the processes of one machine: no server, nothing lost,
//! nothing stuck after `kill -9`.
//!
//! ```
//! use slotguard::{Deadline, Segment};
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("app");
//! // Any number of processes open the same path; the first one creates it.
//! let segment = Segment::builder().records(100).payload(64).open_or_create(&path)?;
//!
//! // Change a record: the closure sees the current value and runs again if somebody else was first.
//! let record = segment.record(7)?;
//! record.update(|old, draft| draft.write(&[old.first().map_or(1, |count| count + 1)]))?;
//!
//! // Or take it for oneself while acting outside: nobody else can write it until the claim ends.
//! let claim = record.claim(Deadline::after(Duration::from_secs(1)), Duration::from_secs(10))?;
//! let fencing_token = claim.token();
//! claim.commit(b"done")?;
//! # assert!(fencing_token.0 > 0);
//! # Segment::remove(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which call for which question
//! | question | call |
//! |---|---|
//! | count, merge, append, with nothing lost | [`Record::update`] |
//! | write if nobody has written since I read | [`Record::compare_and_swap`] |
//! | read a whole value without waiting | [`Record::read`] |
//! | wait until it changes | [`Record::wait_newer`], [`Segment::wait_any`] |
//! | change several records at one moment, or none | [`Segment::commit`] |
//! | be the only one for a while, and act outside (SQL, files, hardware) | [`Record::claim`] |
//! | what was a dead holder about to do? | [`Claim::abandoned`] |
//! | the same, for a plain type | [`Segment::typed`] |
//! | what happened before what | [`Segment::revision`], [`Segment::vector`], [`VectorClock`] |
//! | the same for entries known by name, created and deleted | [`backend::SharedMemory`], [`backend::Backend::commit`] |
//! | all entries of a prefix at one moment; every change of them | [`backend::Backend::range`], [`backend::Backend::watch`] |
//! | such a prefix as a map in memory, with listeners | [`backend::View`] |
//! | an entry that is gone when its process is | [`backend::Session`], [`backend::Backend::grant`] |
//! | locks, leaders, slots, jobs, rate limits, state machines, messages: the question and its recipe | [`recipe`] |
//! | test what stands on all that, with a clock of one's own | [`backend::Model`] |
//! | who is attached, who is dead, what is wrong | [`Segment::members`], [`Segment::reap`], [`Segment::stats`], [`Segment::audit`] |
//!
//! # What a segment promises
//! | # | promise | shown by |
//! |---|---|---|
//! | P1 | An acknowledged update is in its record's history exactly once, an unacknowledged one at most once. Versions are 1, 2 … N without a gap; claims and failed attempts change neither version nor revision of the value. | `tests/records.rs`, `tests/claims.rs`, torture |
//! | P2 | Lock-free: no process or thread, stopped, descheduled or dead at any instruction, makes another's `read`, `update` or `commit` wait. An update that meets a live claim answers [`Error::Held`] at once; only `wait…`, `next` and `claim` wait. A `range` or watch over entries that change faster than it looks at them asks writers to give way: 50 ms at most, and not again for ten times as long. | `tests/crash` stops a writer at every instruction |
//! | P3 | A reader sees a whole value with its version, revision and fingerprint, never a mix, and stores nothing shared unless it meets a change its author has not finished. | `tests/records.rs`, `tests/loom.rs`, torture |
//! | P4 | SIGKILL at any instruction: nothing acknowledged is lost, nothing is half visible, no wait lasts for ever (two wait slices at most), and after recovery no block, row or lane is missing. Nobody removes files by hand. | `tests/crash`, torture |
//! | P5 | A commit over several records or entries is all or nothing for every observer, with one revision, also while the committer is stopped or dead. | `tests/commits.rs`, `tests/crash`, `tests/conformance.rs`, torture |
//! | P6 | Revisions respect real time and visibility: a change is published, then numbered, and nobody returns it or builds on it before. Reading the clock between two equal looks gives exactly the state at that revision. There are holes. | `tests/records.rs`, `tests/loom.rs`, torture |
//! | P7 | A holder that lost its claim (expired, taken over, presumed dead) cannot write. An entry whose lease is over is deleted before anyone is told that it is absent. | `tests/claims.rs`, `tests/loom.rs`, `tests/conformance.rs`, torture |
//! | P8 | A peer that writes any bytes anywhere can make operations fail or make us read at most a payload's length of wrong bytes; never undefined behaviour, a panic, an endless loop or unbounded allocation. Cutting the file is outside this promise, except for the sealed anonymous variant, where it cannot happen. | `tests/hostile.rs` |
//! | P9 | Works across PID and time namespaces; a forked child is refused or attaches anew; PID reuse and clock changes change nothing. Two attachments in one process, thread exit and interrupted calls are ordinary. | `tests/namespaces.rs`, `tests/fork.rs` |
//! | P10 | Nobody ever attaches to a half-made segment; a full disk is an error at creation, never SIGBUS later; wrong magic, format, layout, byte order, boot or size is an error that changes nothing. | `tests/bad_input.rs`, `tests/crash` |
//!
//! Not promised: power loss (a segment is as durable as its file system's page cache), several kernels on one file,
//! secrecy between users who may open the file, protection from a peer that misuses the API within its rights, other
//! systems than Linux.
//!
//! # Where to read on
//! [`memory`] draws the engine: what a change is made of, what each kind of death leaves behind, and the edges between
//! threads. [`backend`] is the contract of named entries, kept by [`backend::SharedMemory`] and [`backend::Model`];
//! [`conformance`] puts any backend to it. [`recipe`] is what is built on the contract. [`clock`] holds the plain values of time and order.
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Under loom only the protocol is compiled, and what uses it is the model tests.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(target_os = "linux"))]
compile_error!("slotguard needs Linux: open-file-description locks, shared futexes, O_TMPFILE and memfd");

#[cfg(not(loom))]
pub mod backend;
pub mod clock;
#[cfg(all(feature = "conformance", not(loom)))]
pub mod conformance;
mod error;
pub mod memory;
mod mutant;
#[cfg(not(loom))]
pub mod recipe;

pub use clock::{Cancel, Causality, ClockOverflow, Deadline, Lease, Revision, Token, VectorClock, Version};
pub use error::{Error, ErrorKind, Holder, LeaseEnd, Mismatch, NameFault, Resource, Result, Usage};
pub use memory::{fnv1a32, fnv1a64};

#[cfg(not(loom))]
pub use memory::{
    Audit, Claim, Draft, ErrorStat, Intent, Life, MAX_CLASSES, MAX_OPS, MAX_PARTICIPANTS, MAX_PAYLOAD, Member, Outcome,
    Reaped, Record, RecordOp, Segment, SegmentBuilder, SharedVector, Stamp, Stats, Typed, WAIT_SLICE,
};

/// The README's Rust is compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
