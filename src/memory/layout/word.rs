//! Bit fields: words of a segment that hold several facts, each a type whose methods own the shifts.
//!
//! Zero is a meaningful value of every word, so a file of zero pages is an empty segment: creation writes the header and
//! nothing else, however many records there are.

/// How many bits of a [`Head`] count changes; a count wraps modulo 2^40.
const COUNT_BITS: u32 = 40;
const BLOCK_BITS: u32 = 23;
const TAG_BITS: u32 = 49;
const LANE_BITS: u32 = 13;
const SEQUENCE_BITS: u32 = 48;
const DESCRIPTOR_BITS: u32 = 15;
const ROW_BITS: u32 = 16;
const EPOCH_BITS: u32 = 64 - ROW_BITS;

const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const BLOCK_MASK: u64 = (1 << BLOCK_BITS) - 1;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;
const DESCRIPTOR_MASK: u64 = (1 << DESCRIPTOR_BITS) - 1;

/// The largest number of blocks a [`Head`] can name; block 0 stands for "absent".
pub(crate) const MAX_BLOCKS: u32 = BLOCK_MASK as u32;
/// The largest number of lanes a [`BlockState`] can name.
pub(crate) const MAX_LANES: u32 = 1 << LANE_BITS;

/// `0 | count:40 | block:23`: a value (block 0: absent), or `1 | descriptor:15 | sequence:48`: a commit in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head(pub(crate) u64);

impl Head {
    const REFERENCE: u64 = 1 << 63;

    #[inline]
    pub(crate) fn value(count: u64, block: u32) -> Self {
        Self((count & COUNT_MASK) << BLOCK_BITS | u64::from(block))
    }

    /// The head of this record after one more change, naming `block`. The count wraps; [`crate::memory`] says why that is
    /// harmless.
    #[inline]
    pub(crate) fn next(self, block: u32) -> Self {
        Self::value(self.count() + 1, block)
    }

    /// Stands in a record while the commit of this lane with this sequence is in flight.
    pub(crate) fn reference(lane: u32, sequence: u64) -> Self {
        Self(Self::REFERENCE | (u64::from(lane) & DESCRIPTOR_MASK) << SEQUENCE_BITS | sequence & SEQUENCE_MASK)
    }

    /// The lane whose descriptor a reference names.
    pub(crate) fn descriptor(self) -> u32 {
        (self.0 >> SEQUENCE_BITS & DESCRIPTOR_MASK) as u32
    }

    /// Which of that lane's commits; wraps modulo 2^48.
    pub(crate) fn sequence(self) -> u64 {
        self.0 & SEQUENCE_MASK
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
    pub(crate) fn count(self) -> u64 {
        self.0 >> BLOCK_BITS & COUNT_MASK
    }

    /// The block this head names; 0 means that the record is absent.
    #[inline]
    pub(crate) fn block(self) -> u32 {
        (self.0 & BLOCK_MASK) as u32
    }
}

/// Where a block is: `0 | revision:63` numbered (0: free, never used), `10 | lane:13 | tag:49` owned by a lane's spare or
/// published and not yet numbered, `11 | tag:62` free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockState(pub(crate) u64);

/// [`BlockState`] taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlockStateKind {
    Numbered(u64),
    Owned { lane: u32 },
    Free,
}

impl BlockState {
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
    pub(crate) fn kind(self) -> BlockStateKind {
        match self.0 >> 62 {
            0b10 => BlockStateKind::Owned { lane: (self.0 >> TAG_BITS & LANE_MASK) as u32 },
            0b11 => BlockStateKind::Free,
            _ if self.0 == 0 => BlockStateKind::Free,
            _ => BlockStateKind::Numbered(self.0),
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
        self.kind() == BlockStateKind::Owned { lane }
    }
}

/// `count:31 | somebody waits:1`. Bit and count share the word, so a waker that cleared the bit also changed the word a
/// sleeper compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitWord(pub(crate) u32);

impl WaitWord {
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

/// `unsettled:1 | … | block:23`: a block a lane keeps (0: none). Unsettled: ours exactly if the block's state says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spare(pub(crate) u32);

impl Spare {
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

/// `set:1 | … | spare:8 | record:32`: the update a lane has begun to publish; 0: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JournalWord(pub(crate) u64);

impl JournalWord {
    pub(crate) const NONE: Self = Self(0);
    const SET: u64 = 1 << 63;

    #[inline]
    pub(crate) fn publishing(record: u32, spare: usize) -> Self {
        Self(Self::SET | (spare as u64 & 0xff) << 32 | u64::from(record))
    }

    pub(crate) fn is_set(self) -> bool {
        self.0 & Self::SET != 0
    }

    pub(crate) fn record(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn spare(self) -> usize {
        (self.0 >> 32 & 0xff) as usize
    }
}

/// How far a commit over several records is: `sequence:48 | state:2`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Control(pub(crate) u64);

/// The state of a commit descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommitPhase {
    /// No commit is in flight: the other words belong to the lane's owner alone.
    Free,
    Undecided,
    Committed,
    Failed,
}

impl Control {
    pub(crate) fn new(sequence: u64, phase: CommitPhase) -> Self {
        Self((sequence & SEQUENCE_MASK) << 2 | phase as u64)
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 >> 2 & SEQUENCE_MASK
    }

    pub(crate) fn phase(self) -> CommitPhase {
        match self.0 & 0b11 {
            0 => CommitPhase::Free,
            1 => CommitPhase::Undecided,
            2 => CommitPhase::Committed,
            _ => CommitPhase::Failed,
        }
    }

    /// Whether this still is the commit with that sequence, and its descriptor means something.
    pub(crate) fn is_of(self, sequence: u64) -> bool {
        self.sequence() == sequence && self.phase() != CommitPhase::Free
    }
}

/// `pending:1 | sequence:48`, then the commit's revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RevisionWord(pub(crate) u64);

impl RevisionWord {
    pub(crate) fn pending(sequence: u64) -> Self {
        Self(1 << 63 | sequence & SEQUENCE_MASK)
    }

    /// The revision, once it has been drawn.
    pub(crate) fn revision(self) -> Option<u64> {
        BlockState(self.0).revision()
    }
}

/// `same:1 | block:23 | spare:8 | record:32`: one record of a commit, and what is to become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Plan(pub(crate) u64);

impl Plan {
    const SAME: u64 = 1 << 63;

    /// The record keeps its block: the commit only depends on it.
    pub(crate) fn same(record: u32) -> Self {
        Self(Self::SAME | u64::from(record))
    }

    /// The record gets the block from this spare (0: none, it becomes absent); its old one goes into the spare.
    pub(crate) fn change(record: u32, spare: usize, block: u32) -> Self {
        Self((u64::from(block) & BLOCK_MASK) << 40 | (spare as u64 & 0xff) << 32 | u64::from(record))
    }

    pub(crate) fn record(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn is_change(self) -> bool {
        self.0 & Self::SAME == 0
    }

    pub(crate) fn spare(self) -> usize {
        (self.0 >> 32 & 0xff) as usize
    }

    /// The new block; 0: none.
    pub(crate) fn block(self) -> u32 {
        (self.0 >> 40 & BLOCK_MASK) as u32
    }
}

/// One record of a commit, as its author wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EntryWords {
    pub(crate) plan: Plan,
    pub(crate) expected: Head,
    /// The new block's owned word.
    pub(crate) owned: u64,
}

/// `row:16 | epoch:48`: one attachment, never reused; epochs of a row begin at 1, so 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct OwnerWord(pub(crate) u64);

impl OwnerWord {
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
pub(crate) struct RowWord(pub(crate) u64);

impl RowWord {
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
    fn a_head_keeps_count_and_block_apart_and_wraps_its_count() {
        let head = Head::value(COUNT_MASK, MAX_BLOCKS);
        assert_eq!((head.count(), head.block()), (COUNT_MASK, MAX_BLOCKS));
        assert!(!head.is_reference());
        assert_eq!(head.next(7), Head::value(0, 7));
        assert!(Head(1 << 63).is_reference());
    }

    #[test]
    fn the_words_of_a_commit_come_apart_as_they_were_put_together() {
        let reference = Head::reference(MAX_LANES - 1, SEQUENCE_MASK + 5);
        assert!(reference.is_reference() && !reference.is_absent());
        assert_eq!((reference.descriptor(), reference.sequence()), (MAX_LANES - 1, 4));
        for phase in [CommitPhase::Free, CommitPhase::Undecided, CommitPhase::Committed, CommitPhase::Failed] {
            let control = Control::new(SEQUENCE_MASK, phase);
            assert_eq!((control.sequence(), control.phase()), (SEQUENCE_MASK, phase));
            assert_eq!(control.is_of(SEQUENCE_MASK), phase != CommitPhase::Free);
            assert!(!control.is_of(0));
        }
        assert_eq!((RevisionWord::pending(SEQUENCE_MASK).revision(), RevisionWord(9).revision()), (None, Some(9)));
        let plan = Plan::change(u32::MAX, 0xff, MAX_BLOCKS);
        assert_eq!((plan.record(), plan.spare(), plan.block()), (u32::MAX, 0xff, MAX_BLOCKS));
        assert!(plan.is_change() && !Plan::same(3).is_change());
        assert_eq!((Plan::same(3).record(), Plan::change(3, 9, 0).block()), (3, 0));
    }

    #[test]
    fn a_block_state_is_one_of_three_things() {
        assert_eq!(BlockState(0).kind(), BlockStateKind::Free);
        assert_eq!(BlockState(17).kind(), BlockStateKind::Numbered(17));
        assert_eq!(BlockState(17).revision(), Some(17));
        let owned = BlockState::owned(MAX_LANES - 1, u64::MAX);
        assert_eq!(owned.kind(), BlockStateKind::Owned { lane: MAX_LANES - 1 });
        assert_eq!((owned.tag(), owned.revision()), (TAG_MASK, None));
        assert!(owned.is_owned_by(MAX_LANES - 1) && !owned.is_owned_by(0));
        assert_eq!((BlockState::free(5).kind(), BlockState::free(5).tag()), (BlockStateKind::Free, 5));
        assert_ne!(BlockState::owned(1, 8), BlockState::owned(1, 9), "another life of the block is another word");
    }

    #[test]
    fn waking_changes_the_word_a_sleeper_compares() {
        for word in [0, 1, 2, 3, u32::MAX - 1, u32::MAX] {
            let woken = WaitWord(word).woken();
            assert!(!woken.somebody_waits());
            assert_ne!(woken.0 | WaitWord::WAITING, word | WaitWord::WAITING);
        }
        assert_eq!(Group(u64::MAX).marked(), Group(0), "the count wraps and no bit stays");
        assert_eq!((Group(0x1_0003).count(), Group(0x1_0003).wake()), (1, 3));
    }

    #[test]
    fn an_owner_is_a_row_and_an_epoch_and_never_nobody() {
        let word = RowWord(0).attach();
        assert!(word.is_attached() && word.epoch() == 1);
        assert_ne!(OwnerWord::new(0, word.epoch()), OwnerWord::NOBODY);
        assert_eq!(word.detach().attach().epoch(), 2);
        let last = RowWord(((1u64 << EPOCH_BITS) - 1) << 1);
        assert_eq!(last.attach().epoch(), 1, "the epoch after the last is 1, not 0");
        assert_eq!((OwnerWord::new(1023, 5).row(), OwnerWord::new(1023, 5).epoch()), (1023, 5));
    }

    #[test]
    fn an_operation_names_its_record_and_spare() {
        let journal = JournalWord::publishing(u32::MAX, 79);
        assert!(journal.is_set() && !JournalWord::NONE.is_set());
        assert_eq!((journal.record(), journal.spare()), (u32::MAX, 79));
        let spare = Spare::unsettled(MAX_BLOCKS);
        assert!(spare.is_unsettled() && spare.block() == MAX_BLOCKS && !Spare::keeping(3).is_unsettled());
    }
}
