//! Locks, rate limits, leaders, jobs, named entries and shared records for the processes of one machine: no server, nothing
//! lost, nothing stuck after `kill -9`.
//!
//! ```
//! use slotguard::backend::SharedMemory;
//! use slotguard::recipe::{self, Counter, Lock};
//! use slotguard::{Deadline, Segment};
//! use std::{sync::Arc, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("app");
//! // Any number of processes open one path, such as /dev/shm/app. The first one creates the file.
//! let store = Arc::new(SharedMemory::new(Segment::builder().keys(1_000).open_or_create(&path)?)?);
//! // What this process holds goes with its session: at once when it dies, after 10 seconds when it hangs.
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//!
//! // One process at a time, in the order of asking.
//! let guard = Lock::new(&session, "nightly-report")?.acquire(&Deadline::after(Duration::from_secs(1)))?;
//! // Counts in all processes, and loses nothing.
//! assert_eq!(Counter::new(&store, "reports-sent")?.add(1)?, 1);
//! guard.release()?;
//! # drop(session);
//! # Segment::remove(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! Where a name is too slow, a record is addressed by its number, in nanoseconds:
//!
//! ```
//! # fn main() -> slotguard::Result<()> {
//! # let segment = slotguard::Segment::builder().records(100).anonymous()?;
//! let hits = segment.typed::<u64>(7)?;
//! let (count, stamp) = hits.update(|count| {
//!     *count += 1; // runs again if another process was first
//!     *count
//! })?;
//! assert_eq!((count, stamp.version.0), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Which call for which question
//! | question | call |
//! |---|---|
//! | locks, leaders, slots, jobs, rate limits, state machines, messages | [`recipe`] has a table of questions |
//! | change entries known by name, several at one moment or none | [`backend::Backend::commit`] on [`backend::SharedMemory`] |
//! | all entries of a prefix at one moment; every change of them | [`backend::Backend::range`], [`backend::Backend::watch`] |
//! | such a prefix as a map in memory, with listeners | [`backend::View`] |
//! | an entry that is gone when its process is | [`backend::Session`], [`backend::Backend::grant`] |
//! | test code that uses names or recipes, on a clock of its own | [`backend::Model`] |
//! | count, merge or append in a numbered record | [`Record::update`], [`Segment::typed`] for a plain type |
//! | write a record if nobody has written it since it was read | [`Record::compare_and_swap`] |
//! | read a whole record without waiting | [`Record::read`] |
//! | wait until records change | [`Record::wait_newer`], [`Segment::wait_any`] |
//! | change several records at one moment, or none | [`Segment::commit`] |
//! | keep a record to oneself while acting outside (SQL, files, hardware) | [`Record::claim`] |
//! | learn what a dead holder was about to do | [`Claim::abandoned`] |
//! | what happened before what | [`Segment::revision`], [`Segment::vector`], [`VectorClock`] |
//! | who is attached, who is dead, what is wrong | [`Segment::participants`], [`Segment::reap`], [`Segment::stats`], [`Segment::audit`] |
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
mod edge;
mod error;
pub mod memory;
#[cfg(not(loom))]
pub mod recipe;

pub use clock::{Cancel, Causality, ClockOverflow, Deadline, Intent, Lease, Revision, Token, VectorClock, Version};
pub use error::{Error, ErrorKind, Holder, LeaseEnd, Mismatch, NameFault, Resource, Result, Usage};
pub use memory::{fnv1a32, fnv1a64};

#[cfg(not(loom))]
pub use memory::{
    Audit, Claim, Draft, ErrorStat, Life, MAX_CLASSES, MAX_OPS, MAX_PARTICIPANTS, MAX_PAYLOAD, Outcome, Participant,
    Reaped, Record, RecordOp, Segment, SegmentBuilder, SharedVector, Stamp, Stats, Typed, WAIT_SLICE,
};

/// The README's Rust is compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
