//! What lies where in a segment: the one place that says it.
//!
//! ```text
//! 0      header, one page: who we are, sizes; retired mark, clock, watch words, shared counters on lines of their own
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
//! A page of zeros is a valid, empty part of every section. Whatever changes here changes [`LAYOUT`], and a build that
//! disagrees is refused by number before it has stored anything.

use super::word::{MAX_BLOCKS, MAX_LANES};
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
/// Records that share one change count for watchers; beliefs about them share one word, too.
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
/// Cells of a lane that a single change uses: one for a spare of each class, and one for a block on its way into a new
/// record, so that creating a record never costs the lane the spare it changes records with.
pub(crate) const UPDATE_SPARES: usize = if cfg!(loom) { 2 } else { MAX_CLASSES + 1 };
/// Cells of a lane: behind those of single changes, one for each record and leaf that a commit changes.
pub(crate) const SPARES: usize = if cfg!(loom) { UPDATE_SPARES + 3 } else { 80 };
/// Rows in the table of distinct errors.
pub(crate) const ERRORS: usize = 64;
/// Buckets of the wait-time histogram; bucket i counts waits shorter than 2^i microseconds.
pub(crate) const HISTOGRAM: usize = 32;

/// Where a record's current value is, and who waits for the next.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct RecordHead {
    /// [`Head`](super::word::Head): which block holds the value.
    pub(crate) head: AtomicU64,
    /// [`WaitWord`](super::word::WaitWord): the word sleepers sleep on.
    pub(crate) wait: AtomicU32,
    /// [`WaitWord`](super::word::WaitWord): the word those sleep on who wait for a claim to end; woken one at a time.
    pub(crate) claim_wait: AtomicU32,
}

/// What one block says about the value it holds. Only `state` is ever changed while others may look.
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

/// A commit over several records in flight; [`commit`](crate::memory::commit::descriptor) says who writes what and when.
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
    /// [`Plan`](super::word::Plan): which record, and what is to become of it.
    pub(crate) plan: AtomicU64,
    /// The [`Head`](super::word::Head) the commit expects.
    pub(crate) expected: AtomicU64,
    /// The new block's owned word: nobody asks the block, which may live again elsewhere by then.
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

/// One attachment: what people want to know about it. Whether it lives is decided by a lock, never by these words.
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

/// A line with one word that everybody writes.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct PaddedWord {
    pub(crate) word: AtomicU64,
}

/// The line of a reader who asks writers to give way.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct GateLine {
    /// While this word, which nobody stored before, stands here, writers give way.
    pub(crate) word: AtomicU64,
    /// Until when nobody asks again, in nanoseconds of the host's monotonic clock.
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

#[cfg(not(loom))]
mod geometry {
    use super::*;
    use crate::memory::fingerprint::fnv1a64;

    /// The first page of a segment.
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
    pub(crate) const IDENTITY: usize = 32;

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
    pub(crate) fn layout_hash() -> u64 {
        let bytes: Vec<u8> = size_words().iter().flat_map(|word| word.to_le_bytes()).collect();
        fnv1a64(&bytes)
    }

    const _: () = assert!(size_of::<RecordHead>() == 128, "a record's head is one pair of cache lines");
    const _: () = assert!(size_of::<BlockHead>() == 128, "a block's header is 128 bytes");
    const _: () = assert!(size_of::<Header>() == 4096, "the header is one page");
    const _: () = assert!(size_of::<Row>() == 128 && size_of::<ErrorRow>() == 64);
    const _: () = assert!(std::mem::offset_of!(Lane, spares) == 128, "the journal is one pair of lines");
    const _: () = assert!(SPARES >= UPDATE_SPARES + 2 * MAX_OPS, "a commit's checks of leases need no spare");
    const _: () = assert!(size_of::<Lane>() == 2816 && size_of::<CommitEntry>() == 24);
    const _: () = assert!(IDENTITY * 8 == 256 && std::mem::offset_of!(Header, retired) == 256);

    /// What a segment was made with.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub(crate) struct Shape {
        /// Records known by their number.
        pub(crate) records: u32,
        /// Records for named entries and leases; 0: the segment has no directory.
        pub(crate) keys: u32,
        /// Records and blocks for the directory's nodes, the root included.
        pub(crate) nodes: u32,
        pub(crate) lanes: u32,
        pub(crate) participants: u32,
        /// (payload bytes, blocks), smallest payload first.
        pub(crate) classes: Vec<(u32, u32)>,
    }

    /// One payload class and where its blocks are.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Class {
        pub(crate) payload: u32,
        /// Index of the first block; indices start at 1, since 0 means absent.
        pub(crate) first: u32,
        pub(crate) blocks: u32,
        pub(crate) offset: usize,
        pub(crate) stride: usize,
    }

    /// A [`Shape`] with every offset worked out.
    #[derive(Clone, Debug)]
    pub(crate) struct Geometry {
        pub(crate) shape: Shape,
        pub(crate) errors: usize,
        pub(crate) rows: usize,
        pub(crate) lanes: usize,
        pub(crate) heads: usize,
        pub(crate) groups: usize,
        pub(crate) taken: usize,
        pub(crate) classes: Vec<Class>,
        /// The class of the directory's nodes; empty where there are no keys.
        pub(crate) nodes: Class,
        /// All blocks; their indices are 1..=blocks.
        pub(crate) blocks: u32,
        pub(crate) size: usize,
    }

    impl Geometry {
        /// Works out the offsets; says what is wrong with numbers that make no segment.
        pub(crate) fn of(shape: Shape) -> Result<Self, String> {
            let within = |what: &str, value: u64, most: u64| {
                if (1..=most).contains(&value) {
                    Ok(())
                } else {
                    Err(format!("{what} must be 1 to {most}, not {value}"))
                }
            };
            let most = u64::from(MAX_BLOCKS);
            within("records", shape.records.into(), most)?;
            if shape.keys > 0 {
                within("keys", shape.keys.into(), most)?;
                within("nodes", shape.nodes.into(), most)?;
            } else if shape.nodes > 0 {
                return Err(String::from("a segment without keys has no nodes"));
            }
            let records = u64::from(shape.records) + u64::from(shape.keys) + u64::from(shape.nodes);
            within("records, keys and nodes together", records, most)?;
            let records = records as u32;
            within("lanes", shape.lanes.into(), MAX_LANES.into())?;
            within("participants", shape.participants.into(), MAX_PARTICIPANTS.into())?;
            within("payload classes", shape.classes.len() as u64, MAX_CLASSES as u64)?;
            let mut at = size_of::<Header>();
            let mut place = |bytes: usize, align: usize| -> Result<usize, String> {
                let offset = at.next_multiple_of(align);
                at = offset
                    .checked_add(bytes)
                    .filter(|end| *end < 1 << 46)
                    .ok_or("the segment would be larger than 64 TiB")?;
                Ok(offset)
            };
            let errors = place(ERRORS * size_of::<ErrorRow>(), 128)?;
            let rows = place(shape.participants as usize * size_of::<Row>(), 128)?;
            let lanes = place(shape.lanes as usize * size_of::<Lane>(), 128)?;
            let heads = place(records as usize * size_of::<RecordHead>(), 128)?;
            let groups = place(records.div_ceil(GROUP) as usize * 8, 128)?;
            let blocks = shape.classes.iter().try_fold(u64::from(shape.nodes), |sum, (payload, count)| {
                within("payload bytes of a class", (*payload).into(), MAX_PAYLOAD as u64)?;
                within("blocks of a class", (*count).into(), MAX_BLOCKS.into())?;
                Ok::<_, String>(sum + u64::from(*count))
            })?;
            within("blocks of all classes", blocks, MAX_BLOCKS.into())?;
            let taken = place(blocks.div_ceil(64) as usize * 8, 128)?;
            let mut classes: Vec<Class> = Vec::new();
            for (payload, count) in &shape.classes {
                if classes.last().is_some_and(|last| last.payload >= *payload) {
                    return Err(format!("payload classes must grow: {payload} comes after a class as large"));
                }
                let first = classes.last().map_or(1, |last| last.first + last.blocks);
                let stride = (size_of::<BlockHead>() + *payload as usize).next_multiple_of(64);
                let offset = place(stride * *count as usize, 128)?;
                classes.push(Class { payload: *payload, first, blocks: *count, offset, stride });
            }
            let first = classes.last().map_or(1, |last| last.first + last.blocks);
            let stride = (size_of::<BlockHead>() + NODE_BYTES as usize).next_multiple_of(64);
            let offset = place(stride * shape.nodes as usize, 128)?;
            let nodes = Class { payload: NODE_BYTES, first, blocks: shape.nodes, offset, stride };
            let size = at.next_multiple_of(4096);
            Ok(Self { shape, errors, rows, lanes, heads, groups, taken, classes, nodes, blocks: blocks as u32, size })
        }

        /// All records: numbered ones, those of keys, those of nodes, in this order.
        pub(crate) fn records(&self) -> u32 {
            self.shape.records + self.shape.keys + self.shape.nodes
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn shape() -> Shape {
            let classes = vec![(8, 10), (64, 5), (1000, 2)];
            Shape { records: 100, keys: 30, nodes: 6, lanes: 4, participants: 3, classes }
        }

        #[test]
        fn sections_do_not_overlap() {
            let g = Geometry::of(shape()).unwrap();
            let mut starts = vec![g.errors, g.rows, g.lanes, g.heads, g.groups, g.taken];
            starts.extend(g.classes.iter().map(|c| c.offset));
            assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(g.errors, 4096);
            assert_eq!((g.blocks, g.records()), (17 + 6, 136));
            assert!(g.classes[2].offset + 2 * g.classes[2].stride <= g.nodes.offset);
            assert!(g.nodes.offset + 6 * g.nodes.stride <= g.size);
            assert_eq!(g.nodes.first, 18);
        }

        #[test]
        fn numbers_that_make_no_segment_are_named() {
            let with = |change: fn(&mut Shape)| {
                let mut shape = shape();
                change(&mut shape);
                Geometry::of(shape).unwrap_err()
            };
            assert!(with(|s| s.records = 0).contains("records must be 1 to"));
            assert!(with(|s| s.keys = MAX_BLOCKS).contains("together must be 1 to"));
            assert!(with(|s| s.nodes = 0).contains("nodes must be 1 to"));
            assert!(with(|s| s.keys = 0).contains("without keys"));
            assert!(with(|s| s.lanes = 9000).contains("not 9000"));
            assert!(with(|s| s.participants = 1025).contains("participants must be 1 to 1024"));
            assert!(with(|s| s.classes.clear()).contains("payload classes"));
            assert!(with(|s| s.classes = vec![(64, 1), (64, 1)]).contains("must grow"));
            assert!(with(|s| s.classes = vec![(u32::MAX, 1)]).contains("payload bytes"));
            assert!(with(|s| s.classes = vec![(8, MAX_BLOCKS), (16, 1)]).contains("blocks of all classes"));
            assert!(with(|s| s.classes = vec![(16 << 20, 8_000_000)]).contains("larger than 64 TiB"));
        }
    }
}

#[cfg(not(loom))]
pub(crate) use geometry::*;
