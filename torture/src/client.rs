//! What one thread does to a segment, with every operation written into its log.

use std::path::Path;
use std::time::Duration;

use slotguard::recipe::{self, assignment, delivery};
use slotguard::{Deadline, Draft, Error, ErrorKind, Outcome as Swapped, Record, Segment, Stamp, Version};

use crate::anomaly::Anomaly;
use crate::history::{History, Kind, Log, Open, Outcome};
use crate::value::{self, Evidence};
use harness::random::Random;

/// A thread with its attachment, its log and what it has seen so far.
pub struct Client<'a> {
    pub segment: &'a Segment,
    pub log: Log<'a>,
    pub random: Random,
    history: &'a History,
    longest: usize,
    errors: &'a Path,
    /// The newest stamp seen, by record.
    seen: Vec<Stamp>,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

/// By how many thousandths of its log's room a warned thread may be ahead of the time.
pub const AHEAD: u64 = 30;

impl<'a> Client<'a> {
    pub fn new(
        segment: &'a Segment,
        history: &'a History,
        log: Log<'a>,
        random: Random,
        longest: usize,
        errors: &'a Path,
    ) -> Self {
        Self {
            segment,
            log,
            random,
            history,
            longest,
            errors,
            seen: vec![never_written(); segment.records() as usize],
            bytes: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether the workers were told to come to an end, or the time is over.
    pub fn is_over(&self) -> bool {
        self.history.is_stopping() || crate::system::now() >= self.history.time().1
    }

    /// What all threads of the phase write into.
    pub fn history(&self) -> &'a History {
        self.history
    }

    /// The longest value wanted.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Rests until the log has room for an operation, or somebody is about to come for this process; `false` if the
    /// time is over.
    pub fn awaits_room(&self) -> bool {
        while !self.is_over() {
            if self.may_log() || self.log.is_warned() && self.may_log_ahead(AHEAD) {
                return true;
            }
            std::thread::sleep(crate::worker::PAUSE);
        }
        false
    }

    /// Counts a value that is not as it must be.
    pub fn anomaly(&mut self, index: u32, revision: u64, anomaly: Anomaly) {
        self.log.count_anomaly(index, 0, revision, anomaly);
    }

    pub fn is_stopping(&self) -> bool {
        self.history.is_stopping()
    }

    /// Whether the log has room for another operation *now*: its room is spread over the whole phase.
    pub fn may_log(&self) -> bool {
        self.may_log_ahead(0)
    }

    /// As [`may_log`](Self::may_log), with so many thousandths of the room before their time.
    pub fn may_log_ahead(&self, thousandths: u64) -> bool {
        let (begin, end) = self.history.time();
        let passed = crate::system::now().saturating_sub(begin) * 1_000 / (end - begin).max(1);
        self.log.room() > 16 && self.log.filled() <= passed + thousandths
    }

    pub fn record(&self, index: u32) -> Result<Record<'a>, Error> {
        self.segment.record(index)
    }

    /// One change by closure; `writes` false makes the closure decline.
    pub fn update(&mut self, index: u32, writes: bool) -> Result<Outcome, Error> {
        let record = self.record(index)?;
        let open = self.log.begin(Kind::Update, index);
        let mut torn = false;
        let (longest, scratch) = (self.longest, &mut self.scratch);
        let change = |old: &[u8], draft: &mut Draft<'_>| match Evidence::of(index, old) {
            Ok(_) if !writes => draft.decline(),
            Ok(before) => {
                let author = open.author();
                open.attempt(before.author, before.count + 1);
                before.followed_by(author).write(index, value::length_of(author, longest), scratch);
                draft.write(scratch);
            }
            Err(_) => {
                torn = true;
                draft.decline();
            }
        };
        let answer = record.update(change).map(|((), stamp)| stamp);
        if torn {
            open.finish(Outcome::Declined, 0, 0);
            self.log.count_anomaly(index, 0, 0, Anomaly::MixedForChange);
            return Ok(Outcome::Declined);
        }
        let done = if writes { Outcome::Done } else { Outcome::Declined };
        Ok(self.close_change(open, index, done, answer))
    }

    /// One change by compare-and-swap from the version just read; losing is an answer.
    pub fn swap(&mut self, index: u32) -> Result<Outcome, Error> {
        let Some((stamp, before)) = self.read(index)? else {
            return Ok(Outcome::Declined);
        };
        let record = self.record(index)?;
        let open = self.log.begin(Kind::Swap, index);
        let author = open.author();
        open.attempt(before.author, before.count + 1);
        let mut value = std::mem::take(&mut self.scratch);
        before.followed_by(author).write(index, value::length_of(author, self.longest), &mut value);
        let answer = record.compare_and_swap(stamp.version, &value);
        self.scratch = value;
        Ok(match answer {
            Ok(Swapped::Committed(revision)) => {
                self.log.count_acknowledged();
                open.finish(Outcome::Done, stamp.version.0 + 1, revision.0);
                Outcome::Done
            }
            Ok(Swapped::Conflict) => {
                open.finish(Outcome::Conflict, 0, 0);
                Outcome::Conflict
            }
            Err(error) => self.refused(open, &error),
        })
    }

    /// Writes down how a change ended.
    pub fn close_change(&mut self, open: Open<'_>, index: u32, done: Outcome, answer: Result<Stamp, Error>) -> Outcome {
        match answer {
            Ok(stamp) => {
                open.finish(done, stamp.version.0, stamp.revision.0);
                if done == Outcome::Done {
                    self.log.count_acknowledged();
                }
                self.order(index, stamp);
                done
            }
            Err(error) => self.refused(open, &error),
        }
    }

    /// Writes down an answer that is an error: one that the workload provokes, or one that nothing explains.
    pub fn refused(&self, open: Open<'_>, error: &Error) -> Outcome {
        let outcome = match error.kind() {
            ErrorKind::Held => Outcome::Held,
            ErrorKind::LeaseLost | ErrorKind::LeaseExpired => Outcome::LeaseLost,
            ErrorKind::TimedOut => Outcome::TimedOut,
            _ => {
                self.note(&format!("{:?}: {error}", open.author()));
                Outcome::Failed
            }
        };
        open.finish(outcome, 0, 0);
        outcome
    }

    /// The same of a recipe's answer.
    pub fn refused_by(&self, open: Open<'_>, error: impl Into<recipe::Error>) -> Outcome {
        use recipe::Error::{Assignment, Delivery, Election, Guard, Lock, Semaphore, SeveralLocks};
        let error = error.into();
        if let Some(error) = error.store() {
            return self.refused(open, error);
        }
        let outcome = match &error {
            lost if lost.is_lost() => Outcome::LeaseLost,
            Lock(_) | SeveralLocks(_) | Semaphore(_) | Election(_) | Guard(_) if error.is_busy() => Outcome::TimedOut,
            Delivery(delivery::Error::MemberTaken { .. }) => Outcome::Held,
            Assignment(assignment::Error::Full { .. } | assignment::Error::UnknownNode { .. })
            | Delivery(delivery::Error::Unacknowledged { .. }) => Outcome::Declined,
            _ => {
                self.note(&format!("{:?}: {error}", open.author()));
                Outcome::Failed
            }
        };
        open.finish(outcome, 0, 0);
        outcome
    }

    /// Keeps the words of an error for the report.
    pub fn note(&self, words: &str) {
        crate::worker::note(self.errors, words);
    }

    /// Reads and checks a value; `None` if it was not whole.
    pub fn read(&mut self, index: u32) -> Result<Option<(Stamp, Evidence)>, Error> {
        let record = self.record(index)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        let answer = record.read(&mut bytes);
        let checked = answer.map(|stamp| (stamp, self.check(index, stamp, &bytes)));
        self.bytes = bytes;
        checked.map(|(stamp, evidence)| evidence.map(|evidence| (stamp, evidence)))
    }

    /// A read that is written down with its time, so that its place among the changes can be checked.
    pub fn logged_read(&mut self, index: u32) -> Result<(), Error> {
        let open = self.log.begin(Kind::Read, index);
        match self.read(index) {
            Ok(Some((stamp, _))) => open.finish(Outcome::Done, stamp.version.0, stamp.revision.0),
            Ok(None) => open.finish(Outcome::Declined, 0, 0),
            Err(error) => {
                self.refused(open, &error);
            }
        }
        Ok(())
    }

    /// Has the engine compute the fingerprint anew.
    pub fn verify(&mut self, index: u32) -> Result<(), Error> {
        let answer = self.record(index)?.verify();
        self.log.count_read();
        match answer {
            Ok(stamp) => self.order(index, stamp),
            Err(error) => {
                self.note(&format!("verify of record {index}: {error}"));
                self.log.count_anomaly(index, 0, 0, Anomaly::Verify);
            }
        }
        Ok(())
    }

    /// Checks a value that was read against itself and against what this thread saw before.
    pub fn check(&mut self, index: u32, stamp: Stamp, bytes: &[u8]) -> Option<Evidence> {
        self.log.count_read();
        let anomaly = match Evidence::of(index, bytes) {
            Err(_) => Anomaly::Mixed,
            Ok(evidence) if evidence.count != stamp.version.0 => Anomaly::OtherVersion,
            Ok(_) if !bytes.is_empty() && value::fingerprint(bytes) != stamp.fingerprint => Anomaly::Fingerprint,
            Ok(evidence) => {
                self.order(index, stamp);
                return Some(evidence);
            }
        };
        self.log.count_anomaly(index, stamp.version.0, stamp.revision.0, anomaly);
        None
    }

    /// Versions and revisions must never run backwards for one thread.
    fn order(&mut self, index: u32, stamp: Stamp) {
        let last = &mut self.seen[index as usize];
        let anomaly = match stamp.version.cmp(&last.version) {
            std::cmp::Ordering::Less => Some(Anomaly::VersionBack),
            std::cmp::Ordering::Equal if stamp.version != Version(0) && stamp != *last => Some(Anomaly::SameVersion),
            std::cmp::Ordering::Greater if stamp.revision <= last.revision => Some(Anomaly::RevisionBack),
            _ => None,
        };
        *last = stamp;
        if let Some(anomaly) = anomaly {
            self.log.count_anomaly(index, stamp.version.0, stamp.revision.0, anomaly);
        }
    }

    /// Waits for a newer version of one record, or of any of several, with a deadline that only a hang can reach.
    pub fn wait(&mut self, records: &[u32]) -> Result<(), Error> {
        let mut seen = Vec::with_capacity(records.len());
        for index in records {
            let Some((stamp, _)) = self.read(*index)? else {
                return Ok(());
            };
            seen.push((*index, stamp.version));
        }
        // Looked at after the reads: the changes that end the run come after the word to stop, so either we see it
        // here or they are newer than what we have seen.
        if self.is_stopping() || self.log.room() <= 16 {
            return Ok(());
        }
        let open = self.log.begin(Kind::Wait, seen[0].0).with_count(seen[0].1.0);
        let answer = match seen.as_slice() {
            [(index, version)] => self
                .record(*index)?
                .wait_newer(*version, Deadline::never())
                .map(|newer| newer.map(|version| (*index, version))),
            several => self
                .segment
                .wait_any(several, Deadline::after(Duration::from_secs(86_400)))
                .and_then(|changed| self.newer_of(changed)),
        };
        match answer {
            Ok(Some((index, version))) => {
                let before = seen.iter().find(|(of, _)| *of == index);
                open.woken(index, before.map_or(u64::MAX, |(_, v)| v.0), version.0);
            }
            Ok(None) => open.finish(Outcome::TimedOut, 0, 0),
            Err(error) => {
                self.refused(open, &error);
            }
        }
        Ok(())
    }

    /// `wait_any` says which record changed; its version is read.
    fn newer_of(&mut self, changed: Option<u32>) -> Result<Option<(u32, Version)>, Error> {
        let Some(index) = changed else {
            return Ok(None);
        };
        let version = match self.read(index)? {
            Some((stamp, _)) => stamp.version,
            None => Version(0),
        };
        Ok(Some((index, version)))
    }

    /// A value of this thread's own for `record`, on top of `before`, by the entry begun after `others` more.
    pub fn value_after(&self, others: u64, index: u32, before: &Evidence) -> Vec<u8> {
        let author = self.log.author_after(others);
        let mut value = Vec::new();
        before.followed_by(author).write(index, value::length_of(author, self.longest), &mut value);
        value
    }
}

fn never_written() -> Stamp {
    Stamp { version: Version(0), revision: slotguard::Revision(0), fingerprint: 0 }
}
