//! The words that several facts share, each a type whose methods own the shifts.
//!
//! Zero is a meaningful value of every word, so a file of zero pages is an empty segment: creation writes the header and
//! nothing else, however many records there are.

/// How many bits of a [`Head`] count changes; a stamp wraps modulo 2^40.
const STAMP_BITS: u32 = 40;
const BLOCK_BITS: u32 = 23;
const TAG_BITS: u32 = 49;
const LANE_BITS: u32 = 13;
const ROW_BITS: u32 = 16;
const EPOCH_BITS: u32 = 64 - ROW_BITS;

const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const BLOCK_MASK: u64 = (1 << BLOCK_BITS) - 1;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;

/// The largest number of blocks a [`Head`] can name; block 0 stands for "absent".
pub(crate) const MAX_BLOCKS: u32 = BLOCK_MASK as u32;
/// The largest number of lanes a [`Fate`] can name.
pub(crate) const MAX_LANES: u32 = 1 << LANE_BITS;

/// `0 | stamp:40 | block:23`: a value (block 0: absent), or `1 | descriptor:15 | sequence:48`: a commit in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head(pub(crate) u64);

impl Head {
    const REFERENCE: u64 = 1 << 63;

    #[inline]
    pub(crate) fn value(stamp: u64, block: u32) -> Self {
        Self((stamp & STAMP_MASK) << BLOCK_BITS | u64::from(block))
    }

    /// The same record one change later, holding `block`. The stamp wraps; see [`crate::memory`] for why that is harmless.
    #[inline]
    pub(crate) fn next(self, block: u32) -> Self {
        Self::value(self.stamp() + 1, block)
    }

    #[inline]
    pub(crate) fn is_reference(self) -> bool {
        self.0 & Self::REFERENCE != 0
    }

    /// A value word that names no block.
    #[inline]
    pub(crate) fn is_absent(self) -> bool {
        self.0 & (Self::REFERENCE | BLOCK_MASK) == 0
    }

    #[inline]
    pub(crate) fn stamp(self) -> u64 {
        self.0 >> BLOCK_BITS & STAMP_MASK
    }

    /// The block this head names; 0 means that the record is absent.
    #[inline]
    pub(crate) fn block(self) -> u32 {
        (self.0 & BLOCK_MASK) as u32
    }
}

/// Where a block is: `0 | revision:63` numbered (0: free, never used), `10 | lane:13 | tag:49` owned by a lane's cell or
/// published and not yet numbered, `11 | tag:62` free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fate(pub(crate) u64);

/// [`Fate`] taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FateKind {
    Numbered(u64),
    Owned { lane: u32 },
    Free,
}

impl Fate {
    const OWNED: u64 = 0b10 << 62;
    const FREE: u64 = 0b11 << 62;

    #[inline]
    pub(crate) fn owned(lane: u32, tag: u64) -> Self {
        Self(Self::OWNED | (u64::from(lane) & LANE_MASK) << TAG_BITS | tag & TAG_MASK)
    }

    pub(crate) fn free(tag: u64) -> Self {
        Self(Self::FREE | tag & TAG_MASK)
    }

    #[inline]
    pub(crate) fn kind(self) -> FateKind {
        match self.0 >> 62 {
            0b10 => FateKind::Owned { lane: (self.0 >> TAG_BITS & LANE_MASK) as u32 },
            0b11 => FateKind::Free,
            _ if self.0 == 0 => FateKind::Free,
            _ => FateKind::Numbered(self.0),
        }
    }

    /// The revision, if the block has been numbered.
    #[inline]
    pub(crate) fn revision(self) -> Option<u64> {
        (self.0 >> 63 == 0 && self.0 != 0).then_some(self.0)
    }

    /// The low bits of the last revision this block had: what makes one owned word differ from all earlier ones.
    #[inline]
    pub(crate) fn tag(self) -> u64 {
        self.0 & TAG_MASK
    }

    #[inline]
    pub(crate) fn is_owned_by(self, lane: u32) -> bool {
        self.kind() == FateKind::Owned { lane }
    }
}

/// `count:31 | somebody waits:1`. Bit and count share the word, so a waker that cleared the bit also changed the word a
/// sleeper compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event(pub(crate) u32);

impl Event {
    pub(crate) const WAITING: u32 = 1;

    #[inline]
    pub(crate) fn somebody_waits(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    /// The next count with nobody waiting.
    #[inline]
    pub(crate) fn woken(self) -> Self {
        Self((self.0 | Self::WAITING).wrapping_add(1))
    }
}

/// `count:48 | wake:16`: how often a group of 64 records changed while somebody watched, and which watch words to wake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group(pub(crate) u64);

impl Group {
    pub(crate) const WAKE_BITS: u32 = 16;
    const WAKE_MASK: u64 = (1 << Self::WAKE_BITS) - 1;

    #[inline]
    pub(crate) fn wake(self) -> u16 {
        (self.0 & Self::WAKE_MASK) as u16
    }

    pub(crate) fn count(self) -> u64 {
        self.0 >> Self::WAKE_BITS
    }

    /// The next count with no watcher left to wake.
    pub(crate) fn marked(self) -> Self {
        Self((self.count().wrapping_add(1)) << Self::WAKE_BITS)
    }
}

/// `unsettled:1 | … | block:23`: a block a lane keeps (0: none). Unsettled: ours exactly if the block's fate says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell(pub(crate) u32);

impl Cell {
    pub(crate) const EMPTY: Self = Self(0);
    const UNSETTLED: u32 = 1 << 31;

    pub(crate) fn keeping(block: u32) -> Self {
        Self(block)
    }

    pub(crate) fn unsettled(block: u32) -> Self {
        Self(block | Self::UNSETTLED)
    }

    pub(crate) fn is_unsettled(self) -> bool {
        self.0 & Self::UNSETTLED != 0
    }

    pub(crate) fn block(self) -> u32 {
        self.0 & BLOCK_MASK as u32
    }
}

/// `set:1 | … | cell:8 | record:32`: the update a lane has begun to publish; 0: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Op(pub(crate) u64);

impl Op {
    pub(crate) const NONE: Self = Self(0);
    const SET: u64 = 1 << 63;

    #[inline]
    pub(crate) fn publishing(record: u32, cell: usize) -> Self {
        Self(Self::SET | (cell as u64 & 0xff) << 32 | u64::from(record))
    }

    pub(crate) fn is_set(self) -> bool {
        self.0 & Self::SET != 0
    }

    pub(crate) fn record(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn cell(self) -> usize {
        (self.0 >> 32 & 0xff) as usize
    }
}

/// `row:16 | epoch:48`: one attachment, for ever; epochs of a row begin at 1, so 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Owner(pub(crate) u64);

impl Owner {
    pub(crate) const NOBODY: Self = Self(0);

    pub(crate) fn new(row: u32, epoch: u64) -> Self {
        Self(u64::from(row) << EPOCH_BITS | epoch & ((1 << EPOCH_BITS) - 1))
    }

    pub(crate) fn row(self) -> u32 {
        (self.0 >> EPOCH_BITS) as u32
    }

    pub(crate) fn epoch(self) -> u64 {
        self.0 & ((1 << EPOCH_BITS) - 1)
    }
}

/// `epoch:63 | attached:1` of a participant's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life(pub(crate) u64);

impl Life {
    pub(crate) fn is_attached(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn epoch(self) -> u64 {
        self.0 >> 1 & ((1 << EPOCH_BITS) - 1)
    }

    pub(crate) fn attach(self) -> Self {
        // Epoch 0 would make an owner of row 0 look like nobody.
        let epoch = ((self.epoch() + 1) & ((1 << EPOCH_BITS) - 1)).max(1);
        Self(epoch << 1 | 1)
    }

    pub(crate) fn detach(self) -> Self {
        Self(self.0 & !1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_stamp_and_block_apart_and_wraps_its_stamp() {
        let head = Head::value(STAMP_MASK, MAX_BLOCKS);
        assert_eq!((head.stamp(), head.block()), (STAMP_MASK, MAX_BLOCKS));
        assert!(!head.is_reference());
        assert_eq!(head.next(7), Head::value(0, 7));
        assert!(Head(1 << 63).is_reference());
    }

    #[test]
    fn a_fate_is_one_of_three_things() {
        assert_eq!(Fate(0).kind(), FateKind::Free);
        assert_eq!(Fate(17).kind(), FateKind::Numbered(17));
        assert_eq!(Fate(17).revision(), Some(17));
        let owned = Fate::owned(MAX_LANES - 1, u64::MAX);
        assert_eq!(owned.kind(), FateKind::Owned { lane: MAX_LANES - 1 });
        assert_eq!((owned.tag(), owned.revision()), (TAG_MASK, None));
        assert!(owned.is_owned_by(MAX_LANES - 1) && !owned.is_owned_by(0));
        assert_eq!((Fate::free(5).kind(), Fate::free(5).tag()), (FateKind::Free, 5));
        assert_ne!(Fate::owned(1, 8), Fate::owned(1, 9), "another life of the block is another word");
    }

    #[test]
    fn waking_changes_the_word_a_sleeper_compares() {
        for word in [0, 1, 2, 3, u32::MAX - 1, u32::MAX] {
            let woken = Event(word).woken();
            assert!(!woken.somebody_waits());
            assert_ne!(woken.0 | Event::WAITING, word | Event::WAITING);
        }
        assert_eq!(Group(u64::MAX).marked(), Group(0), "the count wraps and no bit stays");
        assert_eq!((Group(0x1_0003).count(), Group(0x1_0003).wake()), (1, 3));
    }

    #[test]
    fn an_owner_is_a_row_and_an_epoch_and_never_nobody() {
        let life = Life(0).attach();
        assert!(life.is_attached() && life.epoch() == 1);
        assert_ne!(Owner::new(0, life.epoch()), Owner::NOBODY);
        assert_eq!(life.detach().attach().epoch(), 2);
        let last = Life(((1u64 << EPOCH_BITS) - 1) << 1);
        assert_eq!(last.attach().epoch(), 1, "the epoch after the last is 1, not 0");
        assert_eq!((Owner::new(1023, 5).row(), Owner::new(1023, 5).epoch()), (1023, 5));
    }

    #[test]
    fn an_operation_names_its_record_and_cell() {
        let op = Op::publishing(u32::MAX, 79);
        assert!(op.is_set() && !Op::NONE.is_set());
        assert_eq!((op.record(), op.cell()), (u32::MAX, 79));
        let cell = Cell::unsettled(MAX_BLOCKS);
        assert!(cell.is_unsettled() && cell.block() == MAX_BLOCKS && !Cell::keeping(3).is_unsettled());
    }
}
