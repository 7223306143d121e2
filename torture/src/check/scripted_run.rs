//! Histories written by hand: a small true engine that can be made to lie, so that every check is seen red.

use super::{Counted, Execution, Final};
use crate::history::{Entry, Kind, Outcome, Recorded, Region};
use crate::nemesis::{Fault, FaultKind};
use crate::value::{Author, Evidence, Torn};

const LEASE: u64 = 1_000_000_000;

/// A run in which one thing happens after the other.
pub struct ScriptedRun {
    pub history: Recorded,
    pub faults: Vec<Fault>,
    pub counted: Counted,
    pub lateness: Vec<(u64, u64)>,
    records: Vec<Final>,
    tokens: Vec<u64>,
    pub now: u64,
    revision: u64,
}

impl ScriptedRun {
    /// So many writers, each a process of its own, and so many records that were never written.
    pub fn new(writers: usize, records: usize) -> Self {
        Self {
            history: Recorded {
                regions: vec![Region::default(); writers],
                slots: (0..writers as u32).collect(),
                begin: 0,
                end: u64::MAX,
            },
            faults: Vec::new(),
            counted: Counted::default(),
            lateness: Vec::new(),
            records: vec![Final::NEVER; records],
            tokens: vec![0; writers],
            now: 100,
            revision: 0,
        }
    }

    pub fn with_execution<R>(&self, look: impl FnOnce(&Execution<'_>) -> R) -> R {
        look(&Execution {
            history: &self.history,
            finals: &self.records,
            faults: &self.faults,
            lateness: &self.lateness,
            counted: self.counted,
        })
    }

    pub fn entry(&mut self, author: Author) -> &mut Entry {
        &mut self.history.regions[author.writer as usize].entries[author.sequence as usize]
    }

    /// A change that works.
    pub fn change(&mut self, writer: u32, record: u16) -> Author {
        self.change_of(writer, record, Kind::Update, 0)
    }

    /// A write under the claim the writer was granted last.
    pub fn commit(&mut self, writer: u32, record: u16) -> Author {
        self.change_of(writer, record, Kind::Commit, self.tokens[writer as usize])
    }

    fn change_of(&mut self, writer: u32, record: u16, kind: Kind, extra: u64) -> Author {
        let before = self.evidence(record);
        let author = self.next(writer);
        let entry = self.operation(kind, record);
        self.revision += 1;
        let last = &mut self.records[usize::from(record)];
        last.version += 1;
        last.evidence = Ok(before.followed_by(author));
        let entry = Entry {
            version: last.version,
            revision: self.revision,
            previous: before.author,
            count: before.count + 1,
            extra,
            ..entry
        };
        self.push(writer, entry)
    }

    /// A change that was attempted, answered with `outcome`, and left no trace in the record.
    pub fn attempt_without_effect(&mut self, writer: u32, record: u16, kind: Kind, outcome: Outcome) -> Author {
        let before = self.evidence(record);
        let entry = Entry { outcome, previous: before.author, count: before.count + 1, ..self.operation(kind, record) };
        self.push(writer, entry)
    }

    /// A logged read of what is there.
    pub fn read(&mut self, writer: u32, record: u16) -> Author {
        self.history.regions[writer as usize].reads += 1;
        let version = self.records[usize::from(record)].version;
        let made =
            |entry: &&Entry| entry.is_acknowledged_change() && entry.record == record && entry.version == version;
        let mut entries = self.history.regions.iter().flat_map(|region| &region.entries);
        let revision = entries.find(made).map_or(0, |entry| entry.revision);
        let entry = Entry { version, revision, ..self.operation(Kind::Read, record) };
        self.push(writer, entry)
    }

    /// A read that found something broken.
    pub fn torn_read(&mut self, writer: u32, record: u16, how: u64) -> Author {
        let region = &mut self.history.regions[writer as usize];
        region.reads += 1;
        region.torn_reads += 1;
        let entry = Entry { extra: how, ..self.operation(Kind::Anomaly, record) };
        self.push(writer, entry)
    }

    /// A wait that ends with the version that is there.
    pub fn wait(&mut self, writer: u32, record: u16, seen: u64) -> Author {
        let entry = Entry {
            version: self.records[usize::from(record)].version,
            count: seen,
            ..self.operation(Kind::Wait, record)
        };
        self.push(writer, entry)
    }

    /// A claim of a second.
    pub fn grant(&mut self, writer: u32, record: u16) -> Author {
        self.revision += 1;
        self.tokens[writer as usize] = self.revision;
        let entry = Entry {
            version: self.records[usize::from(record)].version,
            revision: self.revision,
            count: LEASE,
            ..self.operation(Kind::Grant, record)
        };
        self.push(writer, entry)
    }

    /// An operation under the claim the writer was granted last.
    pub fn under_claim(&mut self, writer: u32, record: u16, kind: Kind, outcome: Outcome) -> Author {
        let entry = Entry {
            outcome,
            count: self.records[usize::from(record)].version + 1,
            extra: self.tokens[writer as usize],
            ..self.operation(kind, record)
        };
        self.push(writer, entry)
    }

    pub fn token(&self, writer: u32) -> u64 {
        self.tokens[writer as usize]
    }

    /// SIGKILL of a writer's process, now.
    pub fn kill(&mut self, writer: u32) {
        self.fault(writer, FaultKind::Kill, 0);
    }

    pub fn fault(&mut self, slot: u32, kind: FaultKind, lasts: u64) {
        self.now += 10;
        self.faults.push(Fault { kind, slot, life: 0, at: self.now, until: self.now + lasts });
    }

    /// The record's value counts the change of `author` once more, and nobody else's instead.
    pub fn apply_again(&mut self, author: Author) {
        let record = self.entry(author).record;
        let before = self.evidence(record);
        let last = &mut self.records[usize::from(record)];
        last.version += 1;
        last.evidence = Ok(before.followed_by(author));
    }

    /// The version goes up without a change.
    pub fn skip_a_version(&mut self, record: u16) {
        self.records[usize::from(record)].version += 1;
    }

    pub fn forget_last_entry(&mut self, writer: u32) {
        self.history.regions[writer as usize].entries.pop();
    }

    pub fn tear_last_value(&mut self, record: u16) {
        self.records[usize::from(record)].evidence = Err(Torn::Digest);
    }

    pub fn wrong_fingerprint(&mut self, record: u16) {
        self.records[usize::from(record)].fingerprint_agrees = false;
    }

    fn evidence(&self, record: u16) -> Evidence {
        self.records[usize::from(record)].evidence.expect("a value that is whole")
    }

    fn next(&self, writer: u32) -> Author {
        Author { writer, sequence: self.history.regions[writer as usize].entries.len() as u64 }
    }

    /// The next number of the clock.
    pub fn draw_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// An operation that takes place now.
    pub fn operation(&mut self, kind: Kind, record: u16) -> Entry {
        self.now += 10;
        Entry {
            kind,
            outcome: Outcome::Done,
            record,
            begin: self.now,
            end: self.now + 5,
            previous: Author::NOBODY,
            ..Entry::default()
        }
    }

    /// Writes an operation down.
    pub fn push(&mut self, writer: u32, entry: Entry) -> Author {
        let author = self.next(writer);
        self.history.regions[writer as usize].entries.push(entry);
        author
    }
}
