//! One writer's pen: begin an entry, call the engine, finish the entry.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::History;
use super::entry::{self, Entry, Kind, Outcome};
use crate::anomaly::Anomaly;
use crate::system;
use crate::value::Author;

pub(super) const COUNT: usize = 0;
pub(super) const READS: usize = 1;
pub(super) const ANOMALIES: usize = 2;
pub(super) const HOLDING: usize = 3;
pub(super) const ACKNOWLEDGED: usize = 4;
pub(super) const WARNED: usize = 5;

/// The pen of one writer. A process slot's next life goes on where the killed one stopped.
pub struct Log<'h> {
    history: &'h History,
    writer: u32,
    life: u32,
    next: u64,
}

impl<'h> Log<'h> {
    pub(super) fn resume(history: &'h History, writer: u32, life: u32) -> Self {
        history.region_word(writer, HOLDING).store(0, Relaxed);
        history.set_warned(writer, false);
        let next = history.region_word(writer, COUNT).load(Acquire);
        Self { history, writer, life, next }
    }

    /// Whether somebody is about to come for this process.
    pub fn is_warned(&self) -> bool {
        self.history.region_word(self.writer, WARNED).load(Relaxed) != 0
    }

    /// Entries that still fit.
    pub fn room(&self) -> u64 {
        self.history.capacity(self.writer) - self.next
    }

    /// The part of the region in use, in thousandths.
    pub fn filled(&self) -> u64 {
        self.next * 1_000 / self.history.capacity(self.writer).max(1)
    }

    /// The name of the entry that will be begun after `others` more.
    pub fn author_after(&self, others: u64) -> Author {
        Author { writer: self.writer, sequence: self.next + others }
    }

    /// Writes down that an operation is about to begin; the caller has made sure that there is [`room`](Self::room).
    pub fn begin(&mut self, kind: Kind, record: u32) -> Open<'h> {
        let sequence = self.next;
        let open = Open {
            history: self.history,
            writer: self.writer,
            sequence,
            entry: Entry { kind, record: record as u16, life: self.life, begin: system::now(), ..Entry::default() },
        };
        open.set(entry::BEGIN, open.entry.begin);
        open.set(entry::PREVIOUS, Author::NOBODY);
        open.publish(Outcome::InDoubt);
        self.next += 1;
        // Release: whoever sees the count sees the entry it counts.
        self.history.region_word(self.writer, COUNT).store(self.next, Release);
        open
    }

    /// Counts a value read and checked.
    pub fn count_read(&self) {
        self.add_one(READS);
    }

    /// Counts a value that was not whole, with an entry that says how if there is room for one.
    pub fn count_anomaly(&mut self, record: u32, version: u64, revision: u64, anomaly: Anomaly) {
        self.add_one(ANOMALIES);
        if self.room() > 0 {
            let open = self.begin(Kind::Anomaly, record);
            open.finish_with(Outcome::Done, |set| {
                set(entry::VERSION, version);
                set(entry::REVISION, revision);
                set(entry::EXTRA, anomaly as u64);
            });
        }
    }

    /// Counts an acknowledged change, for those who watch the run.
    pub fn count_acknowledged(&self) {
        self.add_one(ACKNOWLEDGED);
    }

    /// Says to the nemesis whether this writer holds a claim.
    pub fn set_holding(&self, holding: bool) {
        self.history.region_word(self.writer, HOLDING).store(u64::from(holding), Relaxed);
    }

    fn add_one(&self, word: usize) {
        // One thread writes the word, so load and store are enough.
        let word = self.history.region_word(self.writer, word);
        word.store(word.load(Relaxed) + 1, Relaxed);
    }
}

/// An entry that is begun and not finished.
pub struct Open<'h> {
    history: &'h History,
    writer: u32,
    sequence: u64,
    entry: Entry,
}

impl Open<'_> {
    pub fn author(&self) -> Author {
        Author { writer: self.writer, sequence: self.sequence }
    }

    /// Writes down what a change is about to be built on; the last attempt before a kill is the one in doubt.
    pub fn attempt(&self, previous: u64, count: u64) {
        self.set(entry::PREVIOUS, previous);
        self.set(entry::COUNT, count);
    }

    /// A number that belongs to the operation from its beginning, such as the token it is made under.
    pub fn with_extra(self, extra: u64) -> Self {
        self.set(entry::EXTRA, extra);
        self
    }

    /// As [`with_extra`](Self::with_extra), for the second number.
    pub fn with_count(self, count: u64) -> Self {
        self.set(entry::COUNT, count);
        self
    }

    /// The call returned just now.
    pub fn finish(self, outcome: Outcome, version: u64, revision: u64) {
        self.finish_with(outcome, |set| {
            set(entry::VERSION, version);
            set(entry::REVISION, revision);
        });
    }

    /// The claim was granted at `end`; what was found under it came a little later.
    pub fn granted(self, end: u64, token: u64, version: u64, abandoned: u64) {
        self.set(entry::END, end);
        self.set(entry::VERSION, version);
        self.set(entry::REVISION, token);
        self.set(entry::EXTRA, abandoned);
        self.publish(Outcome::Done);
    }

    /// The look found one moment: so much in all, and so many changes.
    pub fn looked(self, revision: u64, sum: u64, changes: u64) {
        self.set(entry::COUNT, changes);
        self.finish(Outcome::Done, sum, revision);
    }

    /// The wait ended because of `record`, of which `seen` was known.
    pub fn woken(mut self, record: u32, seen: u64, version: u64) {
        self.entry.record = record as u16;
        self.set(entry::COUNT, seen);
        self.finish(Outcome::Done, version, 0);
    }

    fn finish_with(self, outcome: Outcome, fill: impl FnOnce(&dyn Fn(usize, u64))) {
        self.set(entry::END, system::now());
        fill(&|word, value| self.set(word, value));
        self.publish(outcome);
    }

    fn set(&self, word: usize, value: u64) {
        self.history.entry_word(self.writer, self.sequence, word).store(value, Relaxed);
    }

    fn publish(&self, outcome: Outcome) {
        let what = Entry { outcome, ..self.entry }.what();
        // Release: whoever sees the outcome sees the numbers that belong to it.
        self.history.entry_word(self.writer, self.sequence, entry::WHAT).store(what, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Layout;
    use harness::scratch::{self, Place};

    #[test]
    fn a_second_life_goes_on_where_the_first_was_killed_and_what_was_open_stays_in_doubt() {
        let folder = scratch::folder(Place::Disk, "slotguard-torture-test-").expect("a temporary directory");
        let layout = Layout { threads: vec![1, 2], capacity: vec![4, 8] };
        let path = folder.path().join("history");
        let history = History::create(&path, &layout).expect("a history");
        let mut first = history.log(2, 0);
        first.begin(Kind::Update, 5).finish(Outcome::Done, 1, 10);
        first.begin(Kind::Update, 5).attempt(77, 2);

        let again = History::open(&path, &layout).expect("the same history");
        let mut second = again.log(2, 1);
        assert_eq!(second.room(), 6);
        second.begin(Kind::Commit, 6).with_extra(40).finish(Outcome::LeaseLost, 0, 0);

        let recorded = history.recorded();
        assert_eq!(recorded.slots, [0, 1, 1]);
        let entries = &recorded.regions[2].entries;
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[0].version, entries[0].revision), (1, 10));
        assert!(entries[0].is_acknowledged_change() && entries[0].end >= entries[0].begin);
        assert!(entries[1].is_in_doubt() && entries[1].is_change());
        assert_eq!((entries[1].previous, entries[1].count), (77, 2));
        assert_eq!((entries[2].kind, entries[2].extra), (Kind::Commit, 40));
        assert_eq!((entries[2].life, entries[2].record), (1, 6));
        assert_eq!(recorded.all().filter(|(_, entry)| entry.is_acknowledged_change()).count(), 1);
    }
}
