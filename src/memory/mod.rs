//! The engine: records, commits, claims and waiting in memory that several processes share.
//!
//! ```text
//!  handle      what users hold: segment, record, claim
//!  wait        waiting until records change: in slices, for one record or for groups of them
//!  liveness    attached processes and their lanes; helping the stopped, recovering the dead
//!  commit      changes of several records at one revision
//!  record      the protocol of one record: read, publish, notify, complete another's update
//!  block       blocks of values: their headers, the pool of free ones, those that a lane keeps
//!  os          file, locks, clocks and futexes of Linux
//!  layout      where each section lies and what each word means
//!  sync        atomics, backoff, protocol errors        fingerprint    FNV-1a
//! ```
//! A folder uses only what stands below it; each has a drawing of its own. `block::arena` places the protocol's structs of
//! atomics: in a mapping, or on the heap under a model checker.
//!
//! # Old words
//! Until the last text that uses them is gone:
//!
//! | memory: old | now |
//! |---|---|
//! | look, `Seen` | read, `Observed` |
//! | fate | block state (`BlockState`) |
//! | a block's key, an entry's creation stamp | incarnation |
//! | a head's stamp | count |
//! | cell | spare (`Spare`) |
//! | `Op` | `JournalWord` |
//! | `Event` | `WaitWord` |
//! | turn | claim wait |
//! | round | `help_stopped` |
//! | announce, give way | `ReaderGate`, yield to a reader |
//! | `word::Life` | `RowWord` |
//! | `Fault`, `Patience` | `ProtocolError`, `RetryBudget` |
//! | `Meta` of a block | `BlockMeta` |
//! | `Drawn` | `RevisionWord` |
//! | `Owner` of a claim or lane | `OwnerWord` |
//! | `Phase` of a commit | `CommitPhase` |
//! | `SegmentBuilder::names` | `name_bytes` |
//!
//! | backend: old | now |
//! |---|---|
//! | `Picture` | `PrefixSnapshot` |
//! | told, loose, hot, restless | reported, detached, contended, recheck |
//! | `Standing` of a lease | `LeaseStatus` |
//! | sound, believe | validated, `mark_used` |
//! | desk | listeners |
//! | `Bell`, heart | `Monitor`, keepalive |
//!
//! | recipe: old | now |
//! |---|---|
//! | line | queue |
//! | `Drawn` tickets | `HeldTickets` |
//! | `Letter` | `Delivery` |
//! | floor | low watermark |
//! | `Aside`, `Left`, `Broke` | `Deferred`, `NextStep`, `JobFailure` |
//! | `assignment::Device` | `FileTable` |
//! | `alive()` | `is_alive()` |
//!
//! | torture, benches, tests: old | now |
//! |---|---|
//! | hand, letters, turns | client, delivery, exclusion |
//! | torment, fault, siege | nemesis |
//! | `Broken` | `Anomaly` |
//! | stage | launcher |
//! | errand, ear, baton, crew | subprocess, listener, handoff, workers |
//! | deed, plot, puppet, cue | operation, scenario, tracee, sync |
//!
//! # One change, step by step
//! A record is one word, its *head*, that names the block holding the value. A change never touches that block:
//!
//! 1. load the head and copy the block; the copy counts if the block's *state* word is the same before and after;
//! 2. fill a block of one's own, write into the lane's journal what is to be replaced, and **swap the head**: the change
//!    is published, and the displaced block is the winner's;
//! 3. draw a revision from the clock and **store it into the state**: the change is numbered. A thread that meets a
//!    published change without a number numbers it; no thread returns it or builds on it before;
//! 4. wake the waiters, put the displaced block into one's spare, clear the journal.
//!
//! So a reader never waits, a stopped writer blocks no other thread, and every block is at every moment in exactly one
//! place: under one head, in one spare of one lane, or free.
//!
//! A commit over several records swaps a *reference* to its lane's descriptor into each head, is decided by one swap of the
//! descriptor, and then swaps each head on (`memory/commit/descriptor.rs` draws it and argues for it). A thread that meets a
//! reference finishes the commit.
//!
//! # What each kind of death leaves behind
//! | killed | leaves | mended by |
//! |---|---|---|
//! | while filling its block | a block in its spare | the lane's next owner, which uses it |
//! | with the journal set, before the swap | journal and block in the lane | recovery sees the head does not name the block and its state is still the lane's: lost, nothing happened |
//! | between swap and number | a published change | the record's next reader or writer numbers it; recovery completes the spare |
//! | between number and wake | sleepers | they read again at the end of their slice |
//! | while putting a commit together | blocks in spares | the lane's next owner, which uses them |
//! | with its descriptor undecided or decided | references in heads | any thread that meets one finishes the commit; recovery completes the spares |
//! | while taking or giving a block | a spare marked unsettled | recovery asks the block's state where it belongs |
//! | while attaching or creating | a lock the kernel drops, or a file without a name | nothing needs to be |
//! | while recovering another | its own row, and the other's lanes half settled | the next recoverer starts over |
//! | holding a claim | a claim whose owner's lock is free | the next claimer takes it, with the intent |
//!
//! Stopped is not dead: nothing of a stopped process is recovered. Others finish its published change, and its claims
//! end with their leases; it keeps its row, its lanes and their blocks.
//!
//! # The edges
//! Relaxed is the unmarked case. Every stronger ordering in the code names its edge:
//!
//! | edge | release side | acquire side | gives |
//! |---|---|---|---|
//! | `publish` | the swap of the head | the load of the head | a thread that follows the head sees the whole block and its owned word |
//! | `number` | the store of the state | the load of the state | a thread that sees a revision sees the clock at it or later |
//! | `number.word` | a helper's number in the journal | the author's, or another helper's, load of it | all agree on the first number |
//! | `clock` | a draw | a later draw, or a reading | a thread that reads R sees that every change up to R was published and marked |
//! | `leave` | the owned word of a block's next life | the load of the state | a thread that meets that word sees that the block has left its head |
//! | `recycle` | the fence before a block is rewritten | the fence after it was copied | a thread that copied a new word sees the state changed |
//! | `sleep` | swap the head, look at the wait word | set the wait word's bit, look at the head | one of the two sees the other (`SeqCst` on all four) |
//! | `mark` | swap the head, look at the group | set the group's bit, look at the heads | likewise |
//! | `watch` | mark the group, look at the watch word | set the watch word's bit, look at the group | likewise |
//! | `descriptor` | the fence before entries are rewritten; the descriptor made undecided | the fence after an entry was read; the load of the descriptor | a thread that read an entry of a later commit sees the descriptor changed; one that sees it undecided sees its entries |
//! | `journal` | a journal set or cleared | a recoverer's load of it | a recoverer that sees it sees what it speaks of |
//! | `lane` | a lane given back | a lane taken | the next owner sees what the last one left |
//! | `pool` | a block freed | a block taken | the last owner is done with it |
//! | `row` | a row taken or left | a look at the row | a process that sees the epoch sees the row's past settled |
//!
//! # Numbers that wrap
//! Counts of heads compare modulo 2^40: harm needs a thread stopped at one instruction for exactly a multiple of 2^40 changes of
//! one record (19 hours at 16 million a second) that then finds the same block there. Sequences of a lane's commits compare
//! modulo 2^48. A tag is 49 bits of a revision.
//! The clock ends at 2^62, where changes answer `Full`; versions are 64 bits.
#![allow(unsafe_code)]

pub(crate) mod block;
pub(crate) mod commit;
mod fingerprint;
pub(crate) mod layout;
pub(crate) mod liveness;
pub(crate) mod os;
pub(crate) mod record;
pub(crate) mod sync;

#[cfg(not(loom))]
pub(crate) mod handle;
#[cfg(not(loom))]
pub(crate) mod wait;

pub use fingerprint::{fnv1a32, fnv1a64};

#[cfg(not(loom))]
pub use self::{
    handle::builder::SegmentBuilder,
    handle::claim::Claim,
    handle::draft::Draft,
    handle::record::{Outcome, Record, Stamp},
    handle::record_op::RecordOp,
    handle::segment::Segment,
    handle::stats::{ErrorStat, Stats},
    handle::typed::Typed,
    handle::vector::SharedVector,
    layout::sections::{MAX_CLASSES, MAX_OPS, MAX_PARTICIPANTS, MAX_PAYLOAD},
    liveness::audit::Audit,
    liveness::helping::WAIT_SLICE,
    liveness::participants::{Life, Participant},
    liveness::recovery::Reaped,
};
