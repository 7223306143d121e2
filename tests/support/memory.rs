//! The segment's layout as the crate has it, and the bytes of a segment's file, reached past the crate: to damage them, to
//! set counters to what takes years to reach, and to see that nothing changed.
#![allow(dead_code, reason = "each test file uses a part")]

#[path = "../../src/memory/layout/geometry.rs"]
pub(crate) mod geometry;
#[path = "../../src/memory/layout/sections.rs"]
pub(crate) mod sections;
#[path = "../../src/memory/layout/word.rs"]
pub(crate) mod word;

// What the layout is made of.
pub(crate) mod sync {
    pub(crate) mod atomics {
        pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
    }
}
pub(crate) mod fingerprint {
    pub(crate) use slotguard::fnv1a64;
}

use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use geometry::{Geometry, Shape};
use sections::{BlockHead, ERRORS, ErrorRow, Header, IDENTITY, Lane, RecordHead, Row};

/// Where each fact stands in the identity words, as `src/memory/layout/header.rs` has it.
pub mod identity {
    pub const MAGIC: usize = 0;
    pub const FORMAT: usize = 1;
    pub const LAYOUT: usize = 2;
    pub const SIZE: usize = 3;
    pub const RECORDS: usize = 4;
    pub const LANES: usize = 5;
    pub const CLASSES: usize = 6;
    pub const CLASS: usize = 7;
    pub const BOOT: usize = 15;
    pub const KEYS: usize = 19;
    pub const CHECKSUM: usize = super::IDENTITY - 1;
}

/// The file of a segment, read and written word by word at byte offsets.
pub struct Bytes {
    file: File,
    pub(crate) geometry: Geometry,
}

impl Bytes {
    /// Opens a segment's file, which must be whole as yet.
    pub fn of(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("a segment's file");
        let words: Vec<u64> = (0..IDENTITY).map(|place| word_at(&file, place * 8)).collect();
        let pair = |word: u64| ((word >> 32) as u32, word as u32);
        let (lanes, participants) = pair(words[identity::LANES]);
        let count = words[identity::CLASSES] as usize;
        let classes = words[identity::CLASS..][..count].iter().map(|word| pair(*word)).collect();
        let (keys, nodes) = pair(words[identity::KEYS]);
        let shape = Shape { records: words[identity::RECORDS] as u32, keys, nodes, lanes, participants, classes };
        let geometry = Geometry::of(shape).expect("a segment's sizes");
        assert_eq!(geometry.size as u64, words[identity::SIZE], "the layout is the crate's");
        Self { file, geometry }
    }

    pub fn word(&self, offset: usize) -> u64 {
        word_at(&self.file, offset)
    }

    pub fn set(&self, offset: usize, word: u64) {
        self.write(offset, &word.to_ne_bytes());
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset as u64).expect("room in the segment's file");
    }

    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64).expect("bytes of the segment's file");
        bytes
    }

    /// Sets a word of the identity.
    pub fn set_identity(&self, place: usize, word: u64) {
        self.set(place * 8, word);
    }

    /// Makes the identity's checksum right again.
    pub fn seal_identity(&self) {
        let bytes = self.read(0..identity::CHECKSUM * 8);
        self.set_identity(identity::CHECKSUM, slotguard::fnv1a64(&bytes));
    }

    /// All bytes but the rows of participants, which every attachment writes.
    pub fn but_rows(&self) -> Vec<u8> {
        let rows = self.geometry.rows..self.geometry.lanes;
        let mut bytes = self.read(0..self.geometry.size);
        bytes.drain(rows);
        bytes
    }

    pub fn head(&self, record: u32) -> usize {
        self.geometry.heads + record as usize * size_of::<RecordHead>() + offset_of!(RecordHead, head)
    }

    pub fn wait(&self, record: u32) -> usize {
        self.geometry.heads + record as usize * size_of::<RecordHead>() + offset_of!(RecordHead, wait)
    }

    pub fn claim_wait(&self, record: u32) -> usize {
        self.geometry.heads + record as usize * size_of::<RecordHead>() + offset_of!(RecordHead, claim_wait)
    }

    pub fn group(&self, record: u32) -> usize {
        self.geometry.groups + (record / sections::GROUP) as usize * 8
    }

    /// Where a block's header begins; the payload follows it.
    pub fn block(&self, block: u32) -> usize {
        let within = |class: &&geometry::Class| (class.first..class.first + class.blocks).contains(&block);
        let all = self.geometry.classes.iter().chain([&self.geometry.nodes]);
        let class = all.into_iter().find(|class| within(class)).expect("a block of the segment");
        class.offset + (block - class.first) as usize * class.stride
    }

    /// Where the header of the block under a record's head begins.
    pub fn block_of(&self, record: u32) -> usize {
        self.block(word::Head(self.word(self.head(record))).block())
    }

    pub fn payload_of(&self, record: u32) -> usize {
        self.block_of(record) + size_of::<BlockHead>()
    }

    pub fn lane(&self, lane: u32) -> usize {
        self.geometry.lanes + lane as usize * size_of::<Lane>()
    }

    pub fn row(&self, row: u32) -> usize {
        self.geometry.rows + row as usize * size_of::<Row>()
    }

    pub fn clock(&self) -> usize {
        offset_of!(Header, clock)
    }

    pub fn retired(&self) -> usize {
        offset_of!(Header, retired)
    }

    /// Every part of the segment behind the identity, by name.
    pub fn regions(&self) -> Vec<(&'static str, Range<usize>)> {
        let g = &self.geometry;
        let mut regions = vec![
            ("header", IDENTITY * 8..offset_of!(Header, counters) + size_of::<sections::Counters>()),
            ("errors", g.errors..g.errors + ERRORS * size_of::<ErrorRow>()),
            ("rows", g.rows..g.lanes),
            ("lanes", g.lanes..g.heads),
            ("heads", g.heads..g.groups),
            ("groups", g.groups..g.taken),
            ("taken", g.taken..g.classes[0].offset),
        ];
        for class in g.classes.iter().chain((g.nodes.blocks > 0).then_some(&g.nodes)) {
            regions.push(("blocks", class.offset..class.offset + class.stride * class.blocks as usize));
        }
        regions
    }
}

fn word_at(file: &File, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset as u64).expect("a word of the segment's file");
    u64::from_ne_bytes(bytes)
}
