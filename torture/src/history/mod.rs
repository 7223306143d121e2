//! What every thread did, written where a SIGKILL cannot take it back.
//!
//! One file, mapped by all: each writing thread has a region of its own and appends entries of 64 bytes. An entry is
//! *begun* before the call into the engine and *finished* after the call returned; a process killed in between leaves
//! it open, so the checks know which operations are acknowledged and which are in doubt. The kernel keeps the pages
//! when the process dies, so nothing has to be flushed.
//!
//! ```text
//! file:   512 B of words all share (stop, begin, end) │ region of writer 0 │ region of writer 1 │ …
//! region: count · reads · reads that failed · holding · acknowledged · (3 unused) │ entry 0 │ entry 1 │ …
//! ```

mod entry;
mod log;

pub use entry::{Entry, Kind, Outcome};
pub use log::{Log, Open};

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::system::{self, Words};
use crate::value::Author;

const SHARED_WORDS: usize = 64;
const REGION_WORDS: usize = 8;
const ENTRY_WORDS: usize = 8;

const STOP: usize = 0;
const BEGIN: usize = 1;
const END: usize = 2;

/// Which writers there are and how much each may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Threads of each process slot; a slot is one process at a time, started again after a kill.
    pub threads: Vec<u32>,
    /// Entries of each writer's region.
    pub capacity: u64,
}

impl Layout {
    pub fn writers(&self) -> u32 {
        self.threads.iter().sum()
    }

    /// The number of a slot's first thread.
    pub fn first_writer(&self, slot: u32) -> u32 {
        self.threads[..slot as usize].iter().sum()
    }

    /// The slot of every writer.
    pub fn slots(&self) -> Vec<u32> {
        let slots = self.threads.iter().enumerate();
        slots.flat_map(|(slot, threads)| (0..*threads).map(move |_| slot as u32)).collect()
    }

    fn region(&self, writer: u32) -> usize {
        let words = REGION_WORDS + self.capacity as usize * ENTRY_WORDS;
        SHARED_WORDS + writer as usize * words
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.region(self.writers()) as u64 * 8
    }
}

/// The mapped file.
pub struct History {
    words: Words,
    layout: Layout,
}

impl History {
    /// Makes the file, with all the room it can ever need.
    pub fn create(path: &Path, layout: &Layout) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        system::reserve(&file, layout.bytes()).map_err(|error| {
            let needed = layout.bytes() >> 20;
            io::Error::new(
                error.kind(),
                format!(
                    "the history needs {needed} MiB at {}: {error}; set TMPDIR to a place with room",
                    path.display()
                ),
            )
        })?;
        Self::map(&file, layout)
    }

    pub fn open(path: &Path, layout: &Layout) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Self::map(&file, layout)
    }

    fn map(file: &File, layout: &Layout) -> io::Result<Self> {
        let words = Words::map(file, layout.region(layout.writers()))?;
        Ok(Self { words, layout: layout.clone() })
    }

    /// Sets the time in which the workers are to work: from now for so many nanoseconds.
    pub fn set_time(&self, begin: u64, end: u64) {
        self.words.word(BEGIN).store(begin, Relaxed);
        self.words.word(END).store(end, Release);
    }

    /// When the work began and when it is to end.
    pub fn time(&self) -> (u64, u64) {
        let end = self.words.word(END).load(Acquire);
        (self.words.word(BEGIN).load(Relaxed), end)
    }

    /// Tells all workers to come to an end.
    pub fn stop(&self) {
        self.words.word(STOP).store(1, Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.words.word(STOP).load(Acquire) != 0
    }

    /// The pen of one writer; only its one thread may have it.
    pub fn log(&self, writer: u32, life: u32) -> Log<'_> {
        Log::resume(self, writer, life)
    }

    /// Whether the writer holds a claim at this moment.
    pub fn is_holding(&self, writer: u32) -> bool {
        self.region_word(writer, log::HOLDING).load(Relaxed) != 0
    }

    /// Changes acknowledged so far by all writers.
    pub fn acknowledged(&self) -> u64 {
        (0..self.layout.writers()).map(|writer| self.region_word(writer, log::ACKNOWLEDGED).load(Relaxed)).sum()
    }

    /// Copies everything out, for the checks; call it when the workers are gone.
    pub fn recorded(&self) -> Recorded {
        let regions: Vec<Region> = (0..self.layout.writers())
            .into_par_iter()
            .map(|writer| Region {
                entries: (0..self.region_word(writer, log::COUNT).load(Acquire))
                    .map(|sequence| entry::load(self, writer, sequence))
                    .collect(),
                reads: self.region_word(writer, log::READS).load(Relaxed),
                torn_reads: self.region_word(writer, log::TORN).load(Relaxed),
            })
            .collect();
        let (begin, end) = self.time();
        Recorded { regions, slots: self.layout.slots(), begin, end }
    }

    fn region_word(&self, writer: u32, word: usize) -> &std::sync::atomic::AtomicU64 {
        self.words.word(self.layout.region(writer) + word)
    }

    fn entry_word(&self, writer: u32, sequence: u64, word: usize) -> &std::sync::atomic::AtomicU64 {
        assert!(sequence < self.layout.capacity, "an entry past its region");
        let entry = REGION_WORDS + sequence as usize * ENTRY_WORDS;
        self.words.word(self.layout.region(writer) + entry + word)
    }
}

/// One writer's part of a history.
#[derive(Clone, Debug, Default)]
pub struct Region {
    pub entries: Vec<Entry>,
    /// Values read and checked.
    pub reads: u64,
    /// Values read that were not whole or ran backwards; each has an entry too while there was room.
    pub torn_reads: u64,
}

/// A whole history, in memory: what the checks look at.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// By writer.
    pub regions: Vec<Region>,
    /// The process slot of each writer.
    pub slots: Vec<u32>,
    pub begin: u64,
    pub end: u64,
}

impl Recorded {
    pub fn entry(&self, author: Author) -> Option<&Entry> {
        let region = self.regions.get(author.writer as usize)?;
        region.entries.get(usize::try_from(author.sequence).ok()?)
    }

    pub fn slot(&self, writer: u32) -> u32 {
        self.slots[writer as usize]
    }

    /// All entries with their names.
    pub fn all(&self) -> impl Iterator<Item = (Author, &Entry)> {
        self.regions.iter().enumerate().flat_map(|(writer, region)| {
            let entries = region.entries.iter().enumerate();
            entries.map(move |(sequence, entry)| {
                let author = Author { writer: writer as u32, sequence: sequence as u64 };
                (author, entry)
            })
        })
    }

    /// Changes that were acknowledged as made.
    pub fn acknowledged(&self) -> u64 {
        let regions = self.regions.par_iter();
        regions.map(|region| region.entries.iter().filter(|e| e.is_acknowledged_change()).count() as u64).sum()
    }
}
