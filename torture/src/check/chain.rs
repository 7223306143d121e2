//! P1: every acknowledged change is in its record's history exactly once, one in doubt at most once.
//!
//! The value left in a record names its author and the author before; each author names an entry of the history, which
//! names the author it found in turn. Walking back from the last value must meet versions N, N−1 … 1, each won by one
//! entry that says it made that version. Whatever was acknowledged and is not on the way was lost; a refused change
//! that is on the way had an effect it must not have had.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::{Execution, Final, Findings};
use crate::history::{Entry, Outcome, Recorded};
use crate::value::{self, Author};

/// The histories of all records, as the walk found them.
#[derive(Debug, Default)]
pub struct Chains {
    /// By record, by version − 1: who made it, if somebody known did.
    pub authors: Vec<Vec<Option<Author>>>,
    pub findings: Findings,
    pub acknowledged: u64,
    /// Acknowledged changes that are on the way.
    pub found: u64,
    pub in_doubt: u64,
    /// Changes in doubt that are on the way.
    pub took_effect: u64,
}

impl Chains {
    /// The version a change made, whether it was acknowledged or in doubt.
    pub fn version_made(&self, author: Author, entry: &Entry) -> Option<u64> {
        let record = self.authors.get(usize::from(entry.record))?;
        let version = match entry.outcome {
            Outcome::Done => entry.version,
            _ => entry.count,
        };
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        (record.get(index) == Some(&Some(author))).then_some(version)
    }
}

/// Walks every record back from its last value.
pub fn walk(execution: &Execution<'_>) -> Chains {
    let history = execution.history;
    let by_record = changes_by_record(history, execution.finals.len());
    let records = execution.finals.par_iter().zip(by_record).enumerate();
    let walks: Vec<Walk> =
        records.map(|(record, (last, changes))| walk_record(history, record as u16, last, &changes)).collect();
    let mut chains = Chains::default();
    for walk in walks {
        chains.authors.push(walk.authors);
        chains.findings.add(walk.findings);
        chains.acknowledged += walk.acknowledged;
        chains.found += walk.found;
        chains.in_doubt += walk.in_doubt;
        chains.took_effect += walk.took_effect;
    }
    chains
}

/// Names of all changes, by the record they are about.
fn changes_by_record(history: &Recorded, records: usize) -> Vec<Vec<Author>> {
    let mut changes = vec![Vec::new(); records];
    for (author, entry) in history.all().filter(|(_, entry)| entry.is_change()) {
        if let Some(list) = changes.get_mut(usize::from(entry.record)) {
            list.push(author);
        }
    }
    changes
}

#[derive(Default)]
struct Walk {
    authors: Vec<Option<Author>>,
    findings: Findings,
    acknowledged: u64,
    found: u64,
    in_doubt: u64,
    took_effect: u64,
}

fn walk_record(history: &Recorded, record: u16, last: &Final, changes: &[Author]) -> Walk {
    let mut walk = Walk::default();
    let acknowledged = acknowledged_by_version(history, record, last.version, changes, &mut walk);
    let evidence = match last.evidence {
        Ok(evidence) => Some(evidence),
        Err(torn) => {
            walk.findings.violation(|| format!("record {record}: its last value is not whole: {torn:?}"));
            None
        }
    };
    walk.findings
        .expect(last.fingerprint_agrees, || format!("record {record}: the fingerprint of its last value is wrong"));
    if let Some(evidence) = evidence {
        walk.findings.expect(evidence.count == last.version, || {
            format!("record {record} ends at version {} with {} changes in it", last.version, evidence.count)
        });
    }
    let end = evidence.and_then(|evidence| Author::unpack(evidence.author));
    walk.authors = way_back(history, record, last.version, end, &acknowledged, &mut walk);
    if let Some(evidence) = evidence {
        let mut authors = walk.authors.iter();
        let chain = authors.try_fold(0, |chain, author| Some(value::chained(chain, (*author)?)));
        walk.findings.expect(chain == Some(evidence.chain), || {
            format!("record {record}: the digest over all authors is not that of the way found")
        });
    }
    count(history, record, changes, &mut walk);
    walk
}

/// Who was told to have made which version; two for one version is a violation.
fn acknowledged_by_version(
    history: &Recorded,
    record: u16,
    last: u64,
    changes: &[Author],
    walk: &mut Walk,
) -> Vec<Option<Author>> {
    let mut winners = vec![None; last as usize];
    for author in changes {
        let Some(entry) = history.entry(*author).filter(|e| e.is_acknowledged_change()) else {
            continue;
        };
        let index = entry.version.wrapping_sub(1);
        match winners.get_mut(index as usize) {
            None => walk.findings.violation(|| {
                let version = entry.version;
                format!("record {record}: {author:?} was told version {version}, the last is {last}")
            }),
            Some(Some(other)) => {
                let other: &mut Author = other;
                walk.findings.violation(|| {
                    let version = entry.version;
                    format!("record {record}: version {version} was told to {other:?} and {author:?}")
                });
            }
            Some(winner) => *winner = Some(*author),
        }
    }
    winners
}

/// Goes from the last version to the first; where the way breaks off, goes on with who was told that version.
fn way_back(
    history: &Recorded,
    record: u16,
    last: u64,
    end: Option<Author>,
    acknowledged: &[Option<Author>],
    walk: &mut Walk,
) -> Vec<Option<Author>> {
    let mut authors = vec![None; last as usize];
    let mut named = end;
    for version in (1..=last).rev() {
        let entry = named.and_then(|author| history.entry(author));
        let fits = entry.is_some_and(|e| e.is_change() && e.record == record && e.count == version);
        walk.findings.expect(fits, || {
            format!("record {record}: version {version} names {named:?} as its author, who did not attempt it")
        });
        let author = match fits {
            true => named,
            false => acknowledged[version as usize - 1],
        };
        authors[version as usize - 1] = author;
        named = author.and_then(|author| history.entry(author)).and_then(|entry| Author::unpack(entry.previous));
    }
    walk.findings.expect(last == 0 || named.is_none(), || {
        format!("record {record}: version 1 was built on a change by {named:?}")
    });
    authors
}

/// Looks every change up on the way found.
fn count(history: &Recorded, record: u16, changes: &[Author], walk: &mut Walk) {
    let mut on_the_way = BTreeSet::new();
    let mut versions: Vec<(Author, u64)> = Vec::with_capacity(walk.authors.len());
    for (author, version) in walk.authors.iter().zip(1u64..) {
        versions.extend(author.map(|author| (author, version)));
    }
    versions.sort_unstable();
    for pair in versions.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (author, version) = pair[1];
        on_the_way.insert(author);
        walk.findings.violation(|| format!("record {record}: {author:?} made version {} and {version}", pair[0].1));
    }
    for author in changes {
        let Some(entry) = history.entry(*author) else {
            continue;
        };
        let made = versions.binary_search_by_key(author, |(author, _)| *author).ok().map(|at| versions[at].1);
        match entry.outcome {
            Outcome::Done => {
                walk.acknowledged += 1;
                walk.found += u64::from(made.is_some());
                let right = made == Some(entry.version) || on_the_way.contains(author);
                walk.findings.expect(right, || match made {
                    None => {
                        let version = entry.version;
                        format!("record {record}: {author:?} was told version {version} and is lost")
                    }
                    Some(made) => {
                        let version = entry.version;
                        format!("record {record}: {author:?} was told version {version} and made {made}")
                    }
                });
            }
            Outcome::InDoubt => {
                walk.in_doubt += 1;
                walk.took_effect += u64::from(made.is_some());
                walk.findings.checked += 1;
            }
            refused => walk.findings.expect(made.is_none(), || {
                format!("record {record}: {author:?} was told {refused:?} and made {made:?} all the same")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted_run::ScriptedRun;
    use crate::history::Kind;

    fn violations(run: &ScriptedRun) -> Vec<String> {
        run.with_execution(|execution| walk(execution).findings.examples)
    }

    fn three_changes() -> ScriptedRun {
        let mut run = ScriptedRun::new(2, 1);
        for writer in [0, 1, 0] {
            run.change(writer, 0);
        }
        run
    }

    #[test]
    fn a_history_in_which_everything_is_found_is_sound() {
        let run = three_changes();
        run.with_execution(|execution| {
            let chains = walk(execution);
            assert_eq!(chains.findings.violations, 0, "{:?}", chains.findings.examples);
            assert_eq!((chains.acknowledged, chains.found), (3, 3));
            assert_eq!(chains.authors[0].len(), 3);
        });
    }

    #[test]
    fn a_change_in_doubt_may_have_taken_effect_or_not() {
        let mut run = three_changes();
        let in_doubt = run.change(1, 0);
        run.entry(in_doubt).outcome = Outcome::InDoubt;
        run.change(0, 0);
        let nothing = run.attempt_without_effect(1, 0, Kind::Update, Outcome::InDoubt);
        run.with_execution(|execution| {
            let chains = walk(execution);
            assert_eq!(chains.findings.violations, 0, "{:?}", chains.findings.examples);
            assert_eq!((chains.in_doubt, chains.took_effect), (2, 1));
            let entry = |author| execution.history.entry(author).copied().expect("an entry");
            assert_eq!(chains.version_made(in_doubt, &entry(in_doubt)), Some(4));
            assert_eq!(chains.version_made(nothing, &entry(nothing)), None);
        });
    }

    #[test]
    fn a_lost_acknowledgement_is_seen() {
        let mut run = three_changes();
        let lost = run.attempt_without_effect(1, 0, Kind::Update, Outcome::Done);
        run.entry(lost).version = 3;
        let found = violations(&run);
        assert!(found.iter().any(|words| words.contains("is lost")), "{found:?}");
        assert!(found.iter().any(|words| words.contains("was told to")), "{found:?}");
        run.with_execution(|execution| {
            let chains = walk(execution);
            assert_eq!((chains.acknowledged, chains.found), (4, 3));
        });
    }

    #[test]
    fn an_acknowledged_version_past_the_last_is_seen() {
        let mut run = three_changes();
        let lost = run.attempt_without_effect(0, 0, Kind::Update, Outcome::Done);
        run.entry(lost).version = 4;
        let found = violations(&run);
        assert!(found.iter().any(|words| words.contains("the last is 3")), "{found:?}");
    }

    #[test]
    fn a_change_applied_twice_is_seen() {
        let mut run = three_changes();
        let twice = Author { writer: 0, sequence: 1 };
        run.apply_again(twice);
        let found = violations(&run);
        assert!(!found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_gap_in_the_versions_is_seen() {
        let mut run = three_changes();
        run.skip_a_version(0);
        let found = violations(&run);
        assert!(found.iter().any(|words| words.contains("ends at version 4")), "{found:?}");
    }

    #[test]
    fn a_version_nobody_made_is_seen() {
        let mut run = three_changes();
        run.change(1, 0);
        run.forget_last_entry(1);
        let found = violations(&run);
        assert!(found.iter().any(|words| words.contains("did not attempt it")), "{found:?}");
    }

    #[test]
    fn a_refused_change_that_took_effect_is_seen() {
        for refused in [Outcome::Conflict, Outcome::Held, Outcome::LeaseLost, Outcome::Failed] {
            let mut run = three_changes();
            let author = run.change(1, 0);
            run.entry(author).outcome = refused;
            let found = violations(&run);
            assert!(found.iter().any(|words| words.contains("all the same")), "{found:?}");
        }
    }

    #[test]
    fn a_last_value_that_is_torn_is_seen() {
        let mut run = three_changes();
        run.tear_last_value(0);
        assert!(!violations(&run).is_empty());
        let mut run = three_changes();
        run.wrong_fingerprint(0);
        assert!(!violations(&run).is_empty());
    }
}
