//! P6: revisions respect real time and versions.
//!
//! If one operation had returned before another began, on whatever records, its revision is the smaller one. A token is
//! the revision that created a claim, so grants take part; so do logged reads, as operations that return a revision:
//! what was read was numbered before the read returned. A look at one moment answers the clock: whatever had returned
//! before is as old or older. No two changes or grants share a revision, and on one record the higher version has the
//! higher revision.

use rayon::prelude::*;

use super::Findings;
use crate::history::{Outcome, Recorded, RevisionSource};
use crate::value::Author;

#[derive(Clone, Copy)]
struct Answer {
    begin: u64,
    end: u64,
    revision: u64,
    author: Author,
    record: u16,
    version: u64,
    revision_is: RevisionSource,
}

impl Answer {
    fn drew(&self) -> bool {
        self.revision_is == RevisionSource::Own
    }
}

pub fn check(history: &Recorded) -> Findings {
    let mut numbered: Vec<Answer> = history
        .all()
        .filter(|(_, entry)| entry.outcome == Outcome::Done && entry.revision != 0)
        .filter_map(|(author, entry)| {
            Some(Answer {
                begin: entry.begin,
                end: entry.end,
                revision: entry.revision,
                author,
                record: entry.record,
                version: if entry.is_change() { entry.version } else { 0 },
                revision_is: entry.kind.revision()?,
            })
        })
        .collect();
    let mut findings = Findings::default();
    each_its_own(&mut numbered, &mut findings);
    grows_with_the_version(&mut numbered, &mut findings);
    respects_real_time(&mut numbered, &mut findings);
    findings
}

fn each_its_own(numbered: &mut [Answer], findings: &mut Findings) {
    numbered.par_sort_unstable_by_key(|one| (!one.drew(), one.revision));
    let drawn = numbered.iter().take_while(|one| one.drew()).count();
    for pair in numbered[..drawn].windows(2) {
        findings.expect(pair[0].revision != pair[1].revision, || {
            format!("{:?} and {:?} both have revision {}", pair[0].author, pair[1].author, pair[0].revision)
        });
    }
}

fn grows_with_the_version(numbered: &mut [Answer], findings: &mut Findings) {
    numbered.par_sort_unstable_by_key(|one| (one.record, one.version, one.revision));
    for pair in numbered.windows(2) {
        let comparable = pair[0].record == pair[1].record && pair[0].version != 0;
        if comparable && pair[0].version < pair[1].version {
            findings.expect(pair[0].revision < pair[1].revision, || {
                format!(
                    "record {}: version {} has revision {}, version {} has {}",
                    pair[0].record, pair[0].version, pair[0].revision, pair[1].version, pair[1].revision
                )
            });
        }
    }
}

fn respects_real_time(numbered: &mut [Answer], findings: &mut Findings) {
    let mut by_end = numbered.to_vec();
    by_end.par_sort_unstable_by_key(|one| one.end);
    numbered.par_sort_unstable_by_key(|one| one.begin);
    let mut returned = by_end.iter().peekable();
    let mut newest: Option<&Answer> = None;
    for one in numbered.iter().filter(|one| one.revision_is != RevisionSource::Found) {
        while let Some(before) = returned.next_if(|before| before.end < one.begin) {
            if newest.is_none_or(|newest| newest.revision < before.revision) {
                newest = Some(before);
            }
        }
        if let Some(before) = newest {
            let holds = before.revision < one.revision || before.revision == one.revision && !one.drew();
            findings.expect(holds, || {
                format!(
                    "{:?} (record {}) had returned with revision {} before {:?} (record {}) began and got {}",
                    before.author, before.record, before.revision, one.author, one.record, one.revision
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted_run::ScriptedRun;

    fn run() -> ScriptedRun {
        let mut run = ScriptedRun::new(2, 2);
        run.change(0, 0);
        run.change(1, 1);
        run.change(0, 0);
        run.grant(1, 1);
        run.read(0, 1);
        run.change(0, 1);
        run
    }

    #[test]
    fn revisions_in_the_order_of_time_are_sound() {
        let findings = check(&run().history);
        assert_eq!(findings.violations, 0, "{:?}", findings.examples);
        assert!(findings.checked > 6);
    }

    #[test]
    fn a_revision_out_of_order_across_records_is_seen() {
        let mut run = run();
        let late = run.change(1, 1);
        let early = run.change(0, 0);
        let (one, two) = (run.entry(late).revision, run.entry(early).revision);
        run.entry(late).revision = two;
        run.entry(early).revision = one;
        let findings = check(&run.history);
        assert_eq!(findings.violations, 1, "{:?}", findings.examples);
        assert!(findings.examples[0].contains("had returned"));
    }

    #[test]
    fn concurrent_operations_may_have_either_order() {
        let mut run = run();
        let one = run.change(1, 1);
        let two = run.change(0, 0);
        run.entry(two).begin = run.entry(one).begin;
        let (a, b) = (run.entry(one).revision, run.entry(two).revision);
        run.entry(one).revision = b;
        run.entry(two).revision = a;
        assert_eq!(check(&run.history).violations, 0);
    }

    #[test]
    fn a_revision_used_twice_is_seen() {
        let mut run = run();
        let one = run.change(0, 0);
        let two = run.change(1, 1);
        run.entry(two).revision = run.entry(one).revision;
        run.entry(two).begin = run.entry(one).begin;
        let findings = check(&run.history);
        assert!(findings.examples.iter().any(|words| words.contains("both have")));
    }

    #[test]
    fn an_older_revision_on_a_newer_version_is_seen() {
        let mut run = run();
        let one = run.change(0, 0);
        let two = run.change(1, 0);
        // Concurrent in time, so only the versions give it away.
        run.entry(two).begin = run.entry(one).begin;
        let (a, b) = (run.entry(one).revision, run.entry(two).revision);
        run.entry(one).revision = b;
        run.entry(two).revision = a;
        let findings = check(&run.history);
        assert!(findings.examples.iter().any(|words| words.contains("has revision")));
    }

    #[test]
    fn a_revision_read_before_it_was_drawn_is_seen() {
        let mut run = run();
        let read = run.read(0, 0);
        let change = run.change(1, 0);
        run.entry(read).revision = run.entry(change).revision;
        assert!(check(&run.history).violations > 0);
    }
}
