//! The segment as typed places: a mapping whose records, lanes and blocks are reached by their number.
//!
//! An index that this process computed is asserted; an index that was *loaded* from the segment goes through
//! [`Arena::block`] or [`Arena::lane`], which answer `None` instead of reaching outside.

use std::ptr::NonNull;
use std::slice;

use memmap2::MmapRaw;

use super::meta::Block;
use crate::memory::layout::geometry::{Class, Geometry};
use crate::memory::layout::sections::{
    BlockHead, Counters, ERRORS, ErrorRow, GROUP, Header, Lane, MAX_CLASSES, NODE_CLASS, RecordHead, Row, WATCH_WORDS,
};
use crate::memory::sync::atomics::Ordering::Relaxed;
use crate::memory::sync::atomics::{AtomicU32, AtomicU64};

/// A mapped segment whose header has been checked against `geometry`.
///
/// The bytes are only ever reached as atomics, through `&`: other processes store into them at any time.
pub(crate) struct Arena {
    base: NonNull<u8>,
    pub(crate) geometry: Geometry,
    /// The geometry's classes again, where finding a block's costs no pointer; those past the last are empty, and the
    /// one of nodes is behind them.
    classes: [Class; MAX_CLASSES + 1],
    /// How many classes values have.
    count: usize,
    records: u32,
    /// For each class the block that this process took or gave back last.
    cursors: [AtomicU32; MAX_CLASSES + 1],
    /// Keeps the mapping alive; `base` points into it.
    _map: MmapRaw,
}

// SAFETY: `base` points at memory that lives as long as `_map`, which the arena owns, and that is only accessed as
// atomics; a mapping may be used from and unmapped by any thread.
unsafe impl Send for Arena {}
// SAFETY: as for `Send`; every access through `&Arena` is an atomic access.
unsafe impl Sync for Arena {}

impl Arena {
    /// Takes a mapping of at least `geometry.size` bytes.
    pub(crate) fn new(map: MmapRaw, geometry: Geometry) -> Self {
        assert!(map.len() >= geometry.size, "the mapping covers the segment");
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is not at address zero");
        assert!(base.as_ptr().addr().is_multiple_of(4096), "a mapping starts at a page");
        let none = Class { payload: 0, first: 0, blocks: 0, offset: 0, stride: 0 };
        let mut classes = std::array::from_fn(|i| geometry.classes.get(i).copied().unwrap_or(none));
        classes[NODE_CLASS] = geometry.nodes;
        let (count, records) = (geometry.classes.len(), geometry.records());
        let cursors = std::array::from_fn(|_| AtomicU32::new(0));
        Self { base, geometry, classes, count, records, cursors, _map: map }
    }

    /// The `index`-th `T` of a table of `count` that starts `offset` bytes into the segment and has `stride` bytes an
    /// element. All four come from the checked geometry, `index` is asserted.
    #[inline(always)]
    fn place<T>(&self, offset: usize, stride: usize, index: u32, count: u32) -> &T {
        assert!(index < count, "index within its table");
        // SAFETY: `offset + index * stride + size_of::<T>() <= geometry.size <= mapping length` for every table, since
        // `Geometry::of` placed `count` strides of at least `size_of::<T>()` bytes there; so the result stays inside
        // one allocated object and the sum does not overflow `isize` (sizes are below 2^46).
        let place = unsafe { self.base.add(offset + index as usize * stride) };
        // SAFETY: `place` is inside the mapping (above) and aligned: `base` is at a page, and offset and stride are
        // multiples of `align_of::<T>()`, which is at most 4096. Every `T` used here is a `repr(C)` struct of
        // atomics or an atomic: any bit pattern is valid, and others' stores are to be expected. The mapping
        // outlives the returned borrow of `self`.
        unsafe { place.cast::<T>().as_ref() }
    }

    /// Whether no byte of the segment has been written.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn is_all_zeros(&self) -> bool {
        let words = (self.geometry.size / 8) as u32;
        (0..words).all(|word| self.place::<AtomicU64>(0, 8, word, words).load(Relaxed) == 0)
    }

    #[inline(always)]
    pub(crate) fn header(&self) -> &Header {
        self.place(0, size_of::<Header>(), 0, 1)
    }

    #[inline(always)]
    pub(crate) fn clock(&self) -> &AtomicU64 {
        &self.header().clock.word
    }

    #[inline(always)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.header().counters
    }

    #[inline(always)]
    pub(crate) fn watch_word(&self, bit: u32) -> &AtomicU32 {
        &self.header().watch[bit as usize % WATCH_WORDS]
    }

    pub(crate) fn error_rows(&self) -> impl Iterator<Item = &ErrorRow> {
        let errors = self.geometry.errors;
        (0..ERRORS as u32).map(move |i| self.place(errors, size_of::<ErrorRow>(), i, ERRORS as u32))
    }

    pub(crate) fn rows(&self) -> u32 {
        self.geometry.shape.participants
    }

    pub(crate) fn row(&self, index: u32) -> &Row {
        self.place(self.geometry.rows, size_of::<Row>(), index, self.rows())
    }

    pub(crate) fn lanes(&self) -> u32 {
        self.geometry.shape.lanes
    }

    /// A lane whose number may come from the segment.
    #[inline(always)]
    pub(crate) fn lane(&self, index: u32) -> Option<&Lane> {
        (index < self.lanes()).then(|| self.place(self.geometry.lanes, size_of::<Lane>(), index, self.lanes()))
    }

    /// All records, those of keys and nodes included.
    #[inline(always)]
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// How many records can have a value: all but those of nodes.
    pub(crate) fn values(&self) -> u32 {
        self.geometry.shape.records + self.geometry.shape.keys
    }

    /// A record whose number was checked when its handle was made.
    #[inline(always)]
    pub(crate) fn record(&self, index: u32) -> &RecordHead {
        self.place(self.geometry.heads, size_of::<RecordHead>(), index, self.records())
    }

    #[inline(always)]
    pub(crate) fn group(&self, record: u32) -> &AtomicU64 {
        self.place(self.geometry.groups, 8, record / GROUP, self.records().div_ceil(GROUP))
    }

    pub(crate) fn blocks(&self) -> u32 {
        self.geometry.blocks
    }

    /// A word of the hint which blocks are taken: bit i of word w stands for block `64 w + i + 1`.
    pub(crate) fn taken(&self, word: u32) -> &AtomicU64 {
        self.place(self.geometry.taken, 8, word, self.blocks().div_ceil(64))
    }

    /// A block whose number may come from the segment; 0 and numbers past the last are `None`.
    #[inline(always)]
    pub(crate) fn block(&self, index: u32) -> Option<Block<'_>> {
        let class = &self.classes[self.class_of(index)?];
        let within = index - class.first;
        let head = self.place::<BlockHead>(class.offset, class.stride, within, class.blocks);
        let words = self.place::<AtomicU64>(class.offset + size_of::<BlockHead>(), class.stride, within, class.blocks);
        let count = (class.payload as usize).div_ceil(8);
        // SAFETY: `count` words fit the stride after the header (`Geometry::of` rounds `header + payload` up to a
        // multiple of 64), so all of them are inside the mapping, aligned as `words` is, valid for any bits, and
        // alive as long as `self`.
        let payload = unsafe { slice::from_raw_parts(words, count) };
        Some(Block { head, payload })
    }

    /// The first and one-past-last index of the blocks that hold `length` bytes, of the class `class`.
    pub(crate) fn class_range(&self, class: usize) -> std::ops::Range<u32> {
        let class = &self.classes[class];
        class.first..class.first + class.blocks
    }

    /// The smallest class whose blocks hold a value of `length` bytes.
    #[inline]
    pub(crate) fn class_for(&self, length: usize) -> Option<usize> {
        self.classes[..NODE_CLASS].iter().position(|class| class.payload as usize >= length && class.blocks != 0)
    }

    /// The class a block belongs to.
    #[inline]
    pub(crate) fn class_of(&self, block: u32) -> Option<usize> {
        self.classes.iter().position(|class| block.wrapping_sub(class.first) < class.blocks)
    }

    /// Where to look for a free block of the class first.
    pub(crate) fn cursor(&self, class: usize) -> u32 {
        self.cursors[class].load(Relaxed)
    }

    pub(crate) fn set_cursor(&self, class: usize, block: u32) {
        self.cursors[class].store(block, Relaxed);
    }

    /// How many classes values have.
    #[inline(always)]
    pub(crate) fn classes(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::layout::geometry::Shape;

    #[test]
    fn every_block_has_one_class_and_its_own_words() {
        let classes = vec![(8, 10), (64, 5), (1000, 2)];
        let shape = Shape { records: 1, keys: 0, nodes: 0, lanes: 1, participants: 1, classes };
        let geometry = Geometry::of(shape).unwrap();
        let map = MmapRaw::from(memmap2::MmapMut::map_anon(geometry.size).unwrap());
        let arena = Arena::new(map, geometry);
        let classes: Vec<_> = (0..=18).map(|block| arena.class_of(block)).collect();
        assert_eq!(classes[0], None);
        assert!(classes[1..=10].iter().all(|class| *class == Some(0)));
        assert!(classes[11..=15].iter().all(|class| *class == Some(1)));
        assert_eq!(&classes[16..], [Some(2), Some(2), None]);
        assert!(arena.block(u32::MAX).is_none());
        let lengths = [0, 8, 9, 1000, 1001].map(|length| arena.class_for(length));
        assert_eq!(lengths, [Some(0), Some(0), Some(1), Some(2), None]);

        for index in 1..=17 {
            let block = arena.block(index).unwrap();
            block.payload.iter().for_each(|word| word.store(index.into(), Relaxed));
            block.head.incarnation.store(index.into(), Relaxed);
        }
        for index in 1..=17 {
            let block = arena.block(index).unwrap();
            let own = |word: &AtomicU64| word.load(Relaxed) == u64::from(index);
            assert!(own(&block.head.incarnation) && block.payload.iter().all(own), "block {index}");
        }
    }
}
