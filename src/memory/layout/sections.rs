//! The layout of a segment: every struct in it, and the order of its sections.
//!
//! ```text
//! 0      header, one page: identity and sizes; retired mark, clock, watch words, shared counters on lines of their own
//! 4096   table of distinct errors
//!        participants   one line a row
//!        lanes          one record of LANE bytes each: journal, spares, counters, and the descriptor of a commit
//!        heads          one 128-byte line a record
//!        groups         one word for every 64 records
//!        taken          one bit a block, a hint
//!        blocks         class by class: a 128-byte header and the payload, rounded up to whole lines
//! ```
//! Padding is our own `align(128)`, two cache lines, because neighbouring lines are fetched in pairs;
//! `crossbeam_utils::CachePadded` differs by architecture and so is no layout two builds can share.
//!
//! A page of zeros is a valid, empty part of every section. Whatever changes here changes [`layout_hash`], and
//! builds that disagree refuse each other's segments before they store anything.

#[cfg(not(loom))]
use crate::memory::fingerprint::fnv1a64;
use crate::memory::sync::atomics::{AtomicU32, AtomicU64};

/// The format's number: raised by hand when the meaning of a word changes without its place changing.
pub(crate) const FORMAT: u32 = 2;
/// The first eight bytes of every segment.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"slotgrd\x01");
/// Reads as itself only where the byte order is ours.
pub(crate) const ENDIAN_TAG: u32 = 0x0102_0304;

/// Most payload classes a segment can have.
pub const MAX_CLASSES: usize = 8;
/// Most attachments at once: probing an open-file-description lock gets dearer with the number of locks held.
pub const MAX_PARTICIPANTS: u32 = 1024;
/// The largest payload of a class, in bytes (16 MiB).
pub const MAX_PAYLOAD: usize = 16 << 20;
/// Records that share one change count for watchers, and one word in tables of a bit per record.
pub(crate) const GROUP: u32 = 64;
/// Watch words, one for each wake bit of a group.
pub(crate) const WATCH_WORDS: usize = 16;
/// Most operations of one commit.
pub const MAX_OPS: usize = 32;
/// Most entries of one commit: for each operation its record, the leaf of the directory that names it, and a lease.
pub(crate) const ENTRIES: usize = if cfg!(loom) { 3 } else { 3 * MAX_OPS };
/// Node blocks that only deletions may take: with none left nothing could be deleted either.
pub(crate) const NODE_RESERVE: u32 = 64;
/// Payload bytes of a node of the directory of keys.
pub(crate) const NODE_BYTES: u32 = 4096;
/// The class whose blocks hold the nodes of the directory; no value goes there.
pub(crate) const NODE_CLASS: usize = MAX_CLASSES;
/// Spares of a lane that a single change uses: one for a spare of each class, and one for a block on its way into a new
/// record, so that creating a record never costs the lane the spare it changes records with.
pub(crate) const UPDATE_SPARES: usize = if cfg!(loom) { 2 } else { MAX_CLASSES + 1 };
/// Spares of a lane: behind those of single changes, one for each record and leaf that a commit changes.
pub(crate) const SPARES: usize = if cfg!(loom) { UPDATE_SPARES + 3 } else { 80 };
/// Rows in the table of distinct errors.
pub(crate) const ERRORS: usize = 64;
/// Buckets of the wait-time histogram; bucket i counts waits shorter than 2^i microseconds.
pub(crate) const HISTOGRAM: usize = 32;

/// A record: the block of its current value, and the words its waiters sleep on.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct RecordHead {
    /// [`Head`](super::word::Head): which block holds the value.
    pub(crate) head: AtomicU64,
    /// [`WaitWord`](super::word::WaitWord): the word sleepers sleep on.
    pub(crate) wait: AtomicU32,
    /// [`WaitWord`](super::word::WaitWord): the word on which waiters for a claim's end sleep; woken one at a time.
    pub(crate) claim_wait: AtomicU32,
}

/// The header of a block: what the value in it is. Only `state` changes while others may read.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct BlockHead {
    /// [`BlockState`](super::word::BlockState): owned, numbered or free.
    pub(crate) state: AtomicU64,
    /// `length:32 | record:32`.
    pub(crate) place: AtomicU64,
    /// The count of the record's head when this incarnation was created.
    pub(crate) incarnation: AtomicU64,
    /// How often this incarnation has changed.
    pub(crate) version: AtomicU64,
    /// The revision of the last change of the value; 0: this block's own.
    pub(crate) modified: AtomicU64,
    /// The revision of the incarnation's first change; 0: this block's own.
    pub(crate) created: AtomicU64,
    /// The lease the entry lives by; 0: none.
    pub(crate) lease: AtomicU64,
    /// FNV-1a 64 of the payload.
    pub(crate) fingerprint: AtomicU64,
    /// Which type wrote the value; 0: bytes.
    pub(crate) kind: AtomicU64,
    /// [`OwnerWord`](super::word::OwnerWord) of the claim; 0: none.
    pub(crate) claim_owner: AtomicU64,
    /// The revision that created the claim; 0: this block's own.
    pub(crate) claim_token: AtomicU64,
    /// When the claim ends, in nanoseconds of the host's monotonic clock.
    pub(crate) claim_until: AtomicU64,
    /// When the claim was made, on the same clock.
    pub(crate) claim_since: AtomicU64,
    /// The token under which somebody announced what it was about to write; 0: nothing announced.
    pub(crate) intent_token: AtomicU64,
    /// The fingerprint before the announced write.
    pub(crate) intent_before: AtomicU64,
    /// The fingerprint after it.
    pub(crate) intent_after: AtomicU64,
}

/// One thread's journal: what it is about to publish and which blocks it keeps meanwhile.
#[repr(C, align(128))]
pub(crate) struct Lane {
    /// [`OwnerWord`](super::word::OwnerWord) that has taken the lane; 0: free, blocks and all.
    pub(crate) owner: AtomicU64,
    /// [`JournalWord`](super::word::JournalWord): the update being published.
    pub(crate) journal: AtomicU64,
    /// [`Head`](super::word::Head) the update expects to replace.
    pub(crate) expected: AtomicU64,
    /// The owned word of the block being published, until somebody other than the author numbers it: then the revision.
    pub(crate) number: AtomicU64,
    /// Updates acknowledged, lost races: counted by the owner alone.
    pub(crate) updates: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    reserved: [AtomicU64; 10],
    /// [`Spare`](super::word::Spare)s.
    pub(crate) spares: [AtomicU32; SPARES],
    pub(crate) descriptor: Descriptor,
}

/// A commit over several records in flight; [`descriptor`](crate::memory::commit::descriptor) draws its states.
#[repr(C, align(64))]
pub(crate) struct Descriptor {
    /// [`Control`](super::word::Control): which commit this is, and how far.
    pub(crate) control: AtomicU64,
    /// [`RevisionWord`](super::word::RevisionWord): the commit's revision.
    pub(crate) revision: AtomicU64,
    /// How many entries, strictly ascending by record.
    pub(crate) count: AtomicU64,
    pub(crate) entries: [CommitEntry; ENTRIES],
}

/// One record of a commit.
#[repr(C)]
pub(crate) struct CommitEntry {
    /// [`Plan`](super::word::Plan): the record, and the block it is to get.
    pub(crate) plan: AtomicU64,
    /// The [`Head`](super::word::Head) the commit expects.
    pub(crate) expected: AtomicU64,
    /// The new block's owned word. Not read from the block, which may have been reused by then.
    pub(crate) owned: AtomicU64,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            owner: AtomicU64::default(),
            journal: AtomicU64::default(),
            expected: AtomicU64::default(),
            number: AtomicU64::default(),
            updates: AtomicU64::default(),
            conflicts: AtomicU64::default(),
            reserved: std::array::from_fn(|_| AtomicU64::default()),
            spares: std::array::from_fn(|_| AtomicU32::default()),
            descriptor: Descriptor {
                control: AtomicU64::default(),
                revision: AtomicU64::default(),
                count: AtomicU64::default(),
                entries: std::array::from_fn(|_| CommitEntry {
                    plan: AtomicU64::default(),
                    expected: AtomicU64::default(),
                    owned: AtomicU64::default(),
                }),
            },
        }
    }
}

/// One attachment: its epoch, and its process for people to read. Whether it lives is decided by a file lock, never by these
/// words.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Row {
    /// [`RowWord`](super::word::RowWord): the epoch and whether somebody is attached.
    pub(crate) word: AtomicU64,
    pub(crate) pid: AtomicU64,
    /// The inode of the PID namespace `pid` is meant in.
    pub(crate) pid_namespace: AtomicU64,
    /// When it attached, nanoseconds of real time.
    pub(crate) since: AtomicU64,
    /// The command's name, 16 bytes.
    pub(crate) command: [AtomicU64; 2],
    /// The row's own component of the segment's vector clock; goes on where the row's last owner left it.
    pub(crate) ticks: AtomicU64,
}

/// A contended word on a cache line of its own.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct PaddedWord {
    pub(crate) word: AtomicU64,
}

/// The reader gate: a reader asks writers to pause.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct GateLine {
    /// The gate's word, different for each gate: writers pause while it is not 0.
    pub(crate) word: AtomicU64,
    /// No gate is closed before this moment, in nanoseconds of the host's monotonic clock.
    pub(crate) quiet_until: AtomicU64,
}

/// One distinct error: how often, when first and last.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct ErrorRow {
    /// `kind + 1` and a hash of the subject; 0: free.
    pub(crate) key: AtomicU64,
    pub(crate) subject: AtomicU64,
    pub(crate) count: AtomicU64,
    /// Nanoseconds of real time.
    pub(crate) first: AtomicU64,
    pub(crate) last: AtomicU64,
}

/// Counters of the slow paths, which all processes add to.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) waits: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) helped: AtomicU64,
    pub(crate) fenced: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) errors_dropped: AtomicU64,
    pub(crate) histogram: [AtomicU64; HISTOGRAM],
}

/// The first page of a segment.
#[cfg(not(loom))]
#[repr(C, align(4096))]
pub(crate) struct Header {
    /// Stored before the file gets a name; read once, checked, then only the private copy is used.
    pub(crate) identity: [AtomicU64; IDENTITY],
    /// 1 once the segment has been removed.
    pub(crate) retired: PaddedWord,
    /// The clock: one fetch-add a numbered change.
    pub(crate) clock: PaddedWord,
    pub(crate) reader_gate: GateLine,
    pub(crate) watch: [AtomicU32; WATCH_WORDS],
    pub(crate) counters: Counters,
}

/// Words of the header that are written once.
#[cfg(not(loom))]
pub(crate) const IDENTITY: usize = 32;

#[cfg(not(loom))]
const fn size_words() -> [u64; 13] {
    [
        FORMAT as u64,
        size_of::<Header>() as u64,
        size_of::<ErrorRow>() as u64 * ERRORS as u64,
        size_of::<Row>() as u64,
        size_of::<Lane>() as u64,
        size_of::<RecordHead>() as u64,
        size_of::<BlockHead>() as u64,
        NODE_BYTES as u64,
        std::mem::offset_of!(Lane, spares) as u64,
        std::mem::offset_of!(Lane, descriptor) as u64,
        std::mem::offset_of!(Header, clock) as u64,
        std::mem::offset_of!(Header, watch) as u64,
        std::mem::offset_of!(Header, counters) as u64,
    ]
}

/// A hash of every size and offset above: two builds that disagree refuse each other.
#[cfg(not(loom))]
pub(crate) fn layout_hash() -> u64 {
    let bytes: Vec<u8> = size_words().iter().flat_map(|word| word.to_le_bytes()).collect();
    fnv1a64(&bytes)
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<RecordHead>() == 128, "a record's head is one pair of cache lines");
    assert!(size_of::<BlockHead>() == 128, "a block's header is 128 bytes");
    assert!(size_of::<Header>() == 4096, "the header is one page");
    assert!(size_of::<Row>() == 128 && size_of::<ErrorRow>() == 64);
    assert!(std::mem::offset_of!(Lane, spares) == 128, "the journal is one pair of lines");
    assert!(SPARES >= UPDATE_SPARES + 2 * MAX_OPS, "a commit's checks of leases need no spare");
    assert!(size_of::<Lane>() == 2816 && size_of::<CommitEntry>() == 24);
    assert!(IDENTITY * 8 == 256 && std::mem::offset_of!(Header, retired) == 256);
};
