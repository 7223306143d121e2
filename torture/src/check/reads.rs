//! P3: a reader sees a whole value with its version, revision and fingerprint, and nothing runs backwards.
//!
//! The readers check every value on the spot (see [`crate::client::Client::check`]) and log what is broken. Here the
//! logged reads are placed among the changes: a read must not miss a change that was acknowledged before it began, must
//! not show one that had not begun when it ended, and must show the revision the author was told.

use super::{Execution, Findings, Promise, Verdicts};
use crate::anomaly;
use crate::history::{Entry, Kind, Outcome, Recorded};

pub fn check(execution: &Execution<'_>) -> Findings {
    let mut verdicts = anomalies(execution.history);
    let mut findings = verdicts.0.remove(&Promise::P3).unwrap_or_default();
    for record in 0..execution.finals.len() {
        place_reads(execution, record as u16, &mut findings);
    }
    findings
}

/// What the readers found on the spot, each under the promise it breaks.
pub fn anomalies(history: &Recorded) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for (writer, region) in history.regions.iter().enumerate() {
        let mut findings = Findings { checked: region.reads, ..Findings::default() };
        let logged = region.entries.iter().filter(|entry| entry.kind == Kind::Anomaly);
        let mut told = 0;
        for entry in logged {
            told += 1;
            let (promise, words) = anomaly::meaning(entry.extra);
            let mut one = Findings::default();
            one.violation(|| {
                format!(
                    "writer {writer} read record {} at version {}, revision {}: {}",
                    entry.record, entry.version, entry.revision, words
                )
            });
            verdicts.add(promise, one);
        }
        for _ in told..region.torn_reads {
            findings.violation(|| format!("writer {writer} read a broken value, log full"));
        }
        verdicts.add(Promise::P3, findings);
    }
    verdicts
}

fn place_reads(execution: &Execution<'_>, record: u16, findings: &mut Findings) {
    let of_record = |entry: &&Entry| entry.record == record && entry.outcome == Outcome::Done;
    let entries = || execution.history.regions.iter().flat_map(|region| &region.entries);
    let mut reads: Vec<&Entry> = entries().filter(of_record).filter(|entry| entry.kind == Kind::Read).collect();
    if reads.is_empty() {
        return;
    }
    let mut changes: Vec<&Entry> = entries().filter(of_record).filter(|entry| entry.is_change()).collect();
    let mut by_version: Vec<Option<&Entry>> = Vec::new();
    for change in &changes {
        let version = change.version as usize;
        if by_version.len() <= version {
            by_version.resize(version + 1, None);
        }
        by_version[version] = Some(change);
    }
    reads.sort_unstable_by_key(|read| read.begin);
    changes.sort_unstable_by_key(|change| change.end);
    let mut returned = changes.iter().peekable();
    let mut newest = 0;
    for read in reads {
        while let Some(change) = returned.next_if(|change| change.end < read.begin) {
            newest = newest.max(change.version);
        }
        findings.expect(read.version >= newest, || {
            format!("record {record}: a read that began after version {newest} was acknowledged saw {}", read.version)
        });
        let author = by_version.get(read.version as usize).copied().flatten();
        if let Some(change) = author {
            findings.expect(change.begin <= read.end, || {
                let version = read.version;
                format!("record {record}: version {version} was read before its author began")
            });
            findings.expect(change.revision == read.revision, || {
                format!(
                    "record {record}: version {} was read with revision {}, its author was told {}",
                    read.version, read.revision, change.revision
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::Anomaly;
    use crate::check::scripted_run::ScriptedRun;

    fn found(run: &ScriptedRun) -> Findings {
        run.with_execution(check)
    }

    fn run() -> ScriptedRun {
        let mut run = ScriptedRun::new(2, 2);
        run.change(0, 0);
        run.read(1, 0);
        run.change(0, 0);
        run.read(1, 0);
        run.change(0, 1);
        run
    }

    #[test]
    fn reads_in_their_place_are_sound() {
        let findings = found(&run());
        assert_eq!(findings.violations, 0, "{:?}", findings.examples);
        // Two values, and three looks at the place of each.
        assert_eq!(findings.checked, 8);
    }

    #[test]
    fn a_torn_read_is_seen_even_when_the_log_was_full() {
        let mut run = run();
        run.torn_read(1, 0, Anomaly::Mixed as u64);
        let findings = found(&run);
        assert_eq!(findings.violations, 1);
        assert!(findings.examples[0].contains("mix"));
        run.history.regions[1].torn_reads += 1;
        assert_eq!(found(&run).violations, 2);
    }

    #[test]
    fn a_read_of_the_past_is_seen() {
        let mut run = run();
        let read = run.read(1, 0);
        run.entry(read).version = 1;
        run.entry(read).revision = 1;
        let findings = found(&run);
        assert!(findings.examples.iter().any(|words| words.contains("was acknowledged saw 1")));
    }

    #[test]
    fn a_read_of_the_future_is_seen() {
        let mut run = run();
        let read = run.read(1, 0);
        let change = run.change(0, 0);
        run.entry(read).version = run.entry(change).version;
        run.entry(read).revision = run.entry(change).revision;
        let findings = found(&run);
        assert!(findings.examples.iter().any(|words| words.contains("before its author")));
    }

    #[test]
    fn a_read_with_another_revision_than_the_author_was_told_is_seen() {
        let mut run = run();
        let read = run.read(1, 0);
        run.entry(read).revision += 1_000;
        let findings = found(&run);
        assert!(findings.examples.iter().any(|words| words.contains("was told")));
    }
}
