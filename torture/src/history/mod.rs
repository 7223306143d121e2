//! What every thread did, written where a SIGKILL cannot take it back.
//!
//! One file, mapped by all: each writing thread has a region of its own and appends entries of 64 bytes. An entry is
//! *begun* before the call into the engine and *finished* after the call returned; a process killed in between leaves
//! it open, so the checks know which operations are acknowledged and which are in doubt. The kernel keeps the pages
//! when the process dies, so nothing has to be flushed.
//!
//! ```text
//! file:   512 B of words all share (stop, begin, end, frontier) │ region of writer 0 │ region of writer 1 │ …
//! region: count · reads · reads that failed · holding · acknowledged · warned · (2 unused) │ entry 0 │ entry 1 │ …
//! ```

mod entry;
mod log;

pub use entry::{Entry, Kind, Outcome, RevisionSource};
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
const FRONTIER: usize = 3;

/// Which writers there are and how much each may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Threads of each process slot; a slot is one process at a time, started again after a kill.
    pub threads: Vec<u32>,
    /// Entries of the region of each of a slot's threads, by slot.
    pub capacity: Vec<u64>,
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

    /// Where each writer's region is, and how many words there are in all.
    fn places(&self) -> (Vec<Place>, usize) {
        let mut start = SHARED_WORDS;
        let place = |slot: u32| {
            let capacity = self.capacity[slot as usize];
            let place = Place { start, capacity };
            start += REGION_WORDS + capacity as usize * ENTRY_WORDS;
            place
        };
        let places = self.slots().into_iter().map(place).collect();
        (places, start)
    }
}

/// One writer's region: its first word, and the entries it can hold.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    capacity: u64,
}

/// The mapped file.
pub struct History {
    words: Words,
    layout: Layout,
    places: Vec<Place>,
}

impl History {
    /// Makes the file, with all the room it can ever need.
    pub fn create(path: &Path, layout: &Layout) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let bytes = layout.places().1 as u64 * 8;
        system::reserve(&file, bytes).map_err(|error| {
            let needed = bytes.div_ceil(1 << 20);
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
        let (places, words) = layout.places();
        let words = Words::map(file, words)?;
        Ok(Self { words, layout: layout.clone(), places })
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

    /// A number all writers share, for those who agree on what is next.
    pub fn frontier(&self) -> u64 {
        self.words.word(FRONTIER).load(Acquire)
    }

    /// Moves the shared number on, unless somebody else has.
    pub fn advance_frontier(&self, from: u64, to: u64) {
        // Losing means that it has been moved on.
        let _ = self.words.word(FRONTIER).compare_exchange(from, to, Release, Relaxed);
    }

    /// The pen of one writer; only its one thread may have it.
    pub fn log(&self, writer: u32, life: u32) -> Log<'_> {
        Log::resume(self, writer, life)
    }

    /// Whether the writer holds a claim at this moment.
    pub fn is_holding(&self, writer: u32) -> bool {
        self.region_word(writer, log::HOLDING).load(Relaxed) != 0
    }

    /// Tells a writer that somebody is about to come for its process, or that it is over.
    pub fn set_warned(&self, writer: u32, warned: bool) {
        self.region_word(writer, log::WARNED).store(u64::from(warned), Relaxed);
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
                torn_reads: self.region_word(writer, log::ANOMALIES).load(Relaxed),
            })
            .collect();
        let (begin, end) = self.time();
        Recorded { regions, slots: self.layout.slots(), begin, end }
    }

    fn capacity(&self, writer: u32) -> u64 {
        self.places[writer as usize].capacity
    }

    fn region_word(&self, writer: u32, word: usize) -> &std::sync::atomic::AtomicU64 {
        self.words.word(self.places[writer as usize].start + word)
    }

    fn entry_word(&self, writer: u32, sequence: u64, word: usize) -> &std::sync::atomic::AtomicU64 {
        let place = self.places[writer as usize];
        assert!(sequence < place.capacity, "an entry past its region");
        self.words.word(place.start + REGION_WORDS + sequence as usize * ENTRY_WORDS + word)
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
}
