//! P7: a holder that lost its claim cannot write, holders do not overlap, and tokens grow.
//!
//! Every grant logs its token and the version it found. Ordered by token, the grants of a record must find versions
//! that never run backwards, and whatever a holder wrote must be the version right after the one it found, already
//! there when the next holder looked: a write of an earlier token that shows up after a later grant was accepted late.
//! A grant may not return while the one before still holds for certain, that is before its lease can have ended, and
//! before it gave the claim back, wrote, or was killed.

use std::collections::BTreeMap;

use super::chain::Chains;
use super::{Execution, Findings};
use crate::history::{Entry, Kind, Outcome};
use crate::nemesis::FaultKind;
use crate::value::Author;

/// What was found, and how often a late holder was refused.
#[derive(Debug, Default)]
pub struct Claims {
    pub findings: Findings,
    pub refused_late: u64,
}

/// One grant with what its holder did under it.
#[derive(Clone, Debug)]
pub struct Grant {
    pub slot: u32,
    pub life: u32,
    pub record: u16,
    pub token: u64,
    pub begin: u64,
    pub end: u64,
    /// The version found under the claim, if the holder got to look.
    pub found: Option<u64>,
    /// The token of the intent it was handed, if any.
    pub abandoned: Option<u64>,
    /// Before this moment the lease cannot have ended.
    pub holds_until: u64,
    /// After this moment the lease has ended for certain.
    pub expired_by: u64,
    /// When the holder began to end it: commit, release or drop.
    pub ending: Option<u64>,
    /// When it was told that it had.
    pub ended: Option<u64>,
    /// What was done under the token, in order.
    pub done: Vec<UnderClaim>,
}

/// One operation of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderClaim {
    pub kind: Kind,
    pub outcome: Outcome,
    /// The version it made, if it made one: a commit in doubt may have.
    pub made: Option<u64>,
}

impl Grant {
    /// The last operation under the token, if there was one after the grant.
    pub fn last(&self) -> Option<(Kind, Outcome)> {
        self.done.last().map(|done| (done.kind, done.outcome))
    }

    fn made(&self) -> Vec<u64> {
        self.done.iter().filter_map(|done| done.made).collect()
    }
}

/// All grants by record and token.
pub fn grants(execution: &Execution<'_>, chains: &Chains) -> BTreeMap<u16, Vec<Grant>> {
    let mut grants: BTreeMap<u16, Vec<Grant>> = BTreeMap::new();
    for (writer, region) in execution.history.regions.iter().enumerate() {
        let slot = execution.history.slot(writer as u32);
        let mut current: Option<Grant> = None;
        for (sequence, entry) in region.entries.iter().enumerate() {
            let author = Author { writer: writer as u32, sequence: sequence as u64 };
            if entry.kind == Kind::Grant {
                current.take().into_iter().for_each(|grant| {
                    grants.entry(grant.record).or_default().push(grant);
                });
                current = entry.is_granted().then(|| granted(slot, entry));
            } else if let Some(grant) = &mut current {
                under(grant, author, entry, chains);
            }
        }
        current.into_iter().for_each(|grant| {
            grants.entry(grant.record).or_default().push(grant);
        });
    }
    for list in grants.values_mut() {
        list.sort_by_key(|grant| (grant.token, grant.begin));
    }
    grants
}

fn granted(slot: u32, entry: &Entry) -> Grant {
    Grant {
        slot,
        life: entry.life,
        record: entry.record,
        token: entry.revision,
        begin: entry.begin,
        end: entry.end,
        found: (entry.version != Entry::UNKNOWN).then_some(entry.version),
        abandoned: (entry.extra != 0).then_some(entry.extra),
        holds_until: entry.begin.saturating_add(entry.count),
        expired_by: entry.end.saturating_add(entry.count),
        ending: None,
        ended: None,
        done: Vec::new(),
    }
}

/// Adds what a holder did under its token.
fn under(grant: &mut Grant, author: Author, entry: &Entry, chains: &Chains) {
    let is_under = matches!(entry.kind, Kind::Commit | Kind::Intend | Kind::Renew | Kind::Release | Kind::Drop);
    if !is_under || entry.extra != grant.token {
        return;
    }
    match entry.kind {
        Kind::Renew if entry.outcome == Outcome::Done => {
            grant.holds_until = entry.begin.saturating_add(entry.count);
            grant.expired_by = entry.end.saturating_add(entry.count);
        }
        // A renewal in doubt may have made the lease longer.
        Kind::Renew if entry.outcome == Outcome::InDoubt => grant.expired_by = u64::MAX,
        Kind::Commit | Kind::Release | Kind::Drop => {
            grant.ending = Some(entry.begin);
            grant.ended = (entry.outcome == Outcome::Done).then_some(entry.end);
        }
        _ => {}
    }
    grant.done.push(UnderClaim {
        kind: entry.kind,
        outcome: entry.outcome,
        made: match entry.kind {
            Kind::Commit => chains.version_made(author, entry),
            _ => None,
        },
    });
}

pub fn check(execution: &Execution<'_>, chains: &Chains) -> Claims {
    let mut claims = Claims::default();
    let commits = || execution.history.all().filter(|(_, entry)| entry.kind == Kind::Commit);
    claims.refused_late = commits().filter(|(_, entry)| entry.outcome == Outcome::LeaseLost).count() as u64;
    for (record, mut grants) in grants(execution, chains) {
        each_write_follows_its_grant(record, &grants, &mut claims.findings);
        one_at_a_time(execution, record, &grants, &mut claims.findings);
        grants.sort_by_key(|grant| grant.begin);
        tokens_grow(record, &grants, &mut claims.findings);
    }
    claims
}

fn each_write_follows_its_grant(record: u16, grants: &[Grant], findings: &mut Findings) {
    // The newest version any grant with a smaller token made, and by which token.
    let mut written = (0, 0);
    for grant in grants {
        let Some(found) = grant.found else {
            continue;
        };
        let token = grant.token;
        findings.expect(written.0 <= found, || {
            let (version, late) = written;
            format!("record {record}: token {late} wrote version {version} after token {token} had found {found}")
        });
        let all_made = grant.made();
        findings
            .expect(all_made.len() <= 1, || format!("record {record}: token {token} wrote {} times", all_made.len()));
        for made in &all_made {
            findings.expect(*made == found + 1, || {
                format!("record {record}: token {token} found version {found} and wrote {made}")
            });
            written = written.max((*made, token));
        }
    }
    let found = grants.iter().filter_map(|grant| Some((grant.token, grant.found?)));
    let found: Vec<(u64, u64)> = found.collect();
    for pair in found.windows(2) {
        findings.expect(pair[0].1 <= pair[1].1, || {
            format!(
                "record {record}: token {} found version {}, token {} found {}",
                pair[0].0, pair[0].1, pair[1].0, pair[1].1
            )
        });
    }
}

/// The moment until which a holder held for certain.
fn held_until(execution: &Execution<'_>, grant: &Grant) -> u64 {
    let killed = execution
        .faults
        .iter()
        .find(|fault| fault.kind.ends_life() && fault.slot == grant.slot && fault.life == grant.life);
    let ends = [grant.ending, killed.map(|fault| fault.at)];
    ends.into_iter().flatten().fold(grant.holds_until, u64::min)
}

fn one_at_a_time(execution: &Execution<'_>, record: u16, grants: &[Grant], findings: &mut Findings) {
    for pair in grants.windows(2) {
        let until = held_until(execution, &pair[0]);
        findings.expect(pair[1].end >= until, || {
            format!(
                "record {record}: token {} was granted {} ns before token {} could end",
                pair[1].token,
                until - pair[1].end,
                pair[0].token
            )
        });
    }
}

fn tokens_grow(record: u16, by_begin: &[Grant], findings: &mut Findings) {
    let mut by_end: Vec<&Grant> = by_begin.iter().collect();
    by_end.sort_by_key(|grant| grant.end);
    let mut returned = by_end.into_iter().peekable();
    let mut highest = 0;
    for grant in by_begin {
        while let Some(before) = returned.next_if(|before| before.end < grant.begin) {
            highest = highest.max(before.token);
        }
        findings.expect(grant.token > highest, || {
            format!("record {record}: token {} was granted after token {highest}", grant.token)
        });
    }
}

impl FaultKind {
    /// Whether the process was gone afterwards.
    pub fn ends_life(self) -> bool {
        !matches!(self, Self::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::chain;
    use crate::check::scripted_run::ScriptedRun;

    fn found(run: &ScriptedRun) -> Claims {
        run.with_execution(|execution| check(execution, &chain::walk(execution)))
    }

    fn says(run: &ScriptedRun, words: &str) -> bool {
        let findings = found(run).findings;
        findings.examples.iter().any(|example| example.contains(words))
    }

    #[test]
    fn holders_one_after_the_other_are_sound() {
        let mut run = ScriptedRun::new(2, 1);
        for writer in [0, 1, 0] {
            run.grant(writer, 0);
            run.commit(writer, 0);
        }
        let claims = found(&run);
        assert_eq!(claims.findings.violations, 0, "{:?}", claims.findings.examples);
        assert!(claims.findings.checked >= 9);
    }

    #[test]
    fn a_late_holder_that_is_refused_is_sound_and_counted() {
        let mut run = ScriptedRun::new(2, 1);
        let first = run.grant(0, 0);
        run.entry(first).count = 1;
        run.grant(1, 0);
        run.commit(1, 0);
        let refused = run.attempt_without_effect(0, 0, Kind::Commit, Outcome::LeaseLost);
        let token = run.entry(first).revision;
        run.entry(refused).extra = token;
        let claims = found(&run);
        assert_eq!(claims.findings.violations, 0, "{:?}", claims.findings.examples);
        assert_eq!(claims.refused_late, 1);
    }

    #[test]
    fn a_late_write_that_was_accepted_is_seen() {
        let mut run = ScriptedRun::new(2, 1);
        let first = run.grant(0, 0);
        run.entry(first).count = 1;
        run.grant(1, 0);
        // The first holder writes although the second has been granted.
        run.commit(0, 0);
        assert!(says(&run, "after token"), "{:?}", found(&run).findings.examples);
    }

    #[test]
    fn a_write_on_top_of_a_version_the_holder_never_found_is_seen() {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        run.change(1, 0);
        run.commit(0, 0);
        assert!(says(&run, "found version 0 and wrote 2"));
    }

    #[test]
    fn overlapping_tokens_are_seen() {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        run.grant(1, 0);
        assert!(says(&run, "could end"), "{:?}", found(&run).findings.examples);
    }

    #[test]
    fn taking_over_from_a_killed_holder_at_once_is_sound() {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        run.kill(0);
        run.grant(1, 0);
        let findings = found(&run).findings;
        assert_eq!(findings.violations, 0, "{:?}", findings.examples);
    }

    #[test]
    fn a_token_smaller_than_an_earlier_one_is_seen() {
        let mut run = ScriptedRun::new(2, 1);
        let first = run.grant(0, 0);
        run.entry(first).count = 1;
        let second = run.grant(1, 0);
        run.entry(second).count = 1;
        let (a, b) = (run.entry(first).revision, run.entry(second).revision);
        run.entry(first).revision = b;
        run.entry(second).revision = a;
        assert!(says(&run, "was granted after token"));
    }

    #[test]
    fn two_writes_under_one_token_are_seen() {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        run.commit(0, 0);
        run.commit(0, 0);
        assert!(says(&run, "wrote 2 times"));
    }
}
