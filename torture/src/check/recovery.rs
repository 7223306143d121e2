//! P4: whoever is killed, nothing leaks, every wait ends, nothing announced is lost, and the others go on in time.
//!
//! The bound is two wait slices. On a loaded machine a runnable thread may be kept from running for longer than that,
//! which says nothing about the engine, so two numbers are kept apart: how many recoveries came *within the bound* is
//! counted and reported as measured; a *violation* is one that came later than the bound and an allowance for the
//! scheduler: a second, and whatever time the harness itself was kept from running meanwhile. Waits have no deadline
//! that would end them, so one that lost its wake-up is found by never ending.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::chain::Chains;
use super::claims::{self, Grant, UnderClaim};
use super::{Execution, Findings};
use crate::history::{Entry, Kind, Outcome};
use crate::nemesis::{Fault, FaultKind};
use crate::value::Author;

/// Two wait slices, in nanoseconds.
pub const BOUND: u64 = 2 * slotguard::WAIT_SLICE.as_nanos() as u64;
/// What the scheduler is granted on top before lateness counts as a violation, in nanoseconds.
pub const ALLOWANCE: u64 = 1_000_000_000;

/// What the others were waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// A change of the record the victim was changing.
    SameRecord,
    /// A change of any record: the victim was changing none.
    AnyRecord,
    /// A grant of the claim the victim held.
    Grant,
    /// A grant to somebody who waited, of a claim whose holder ended it or let its lease run out.
    HandOver,
    /// The end of a wait for a version that had been made; nobody needs to have been killed.
    Wake,
    /// A commit by anybody else: the victim was at work on several records, or on names.
    Commit,
    /// The name the victim held under a lease.
    Name,
    /// A name whose holder was stopped past its lease.
    Expiry,
    /// The batch that tells a sleeping watcher of a change.
    Batch,
}

/// From a kill, or from what else others were waiting for, to the next success of somebody else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Recovery {
    pub at: u64,
    pub took: u64,
    pub next: Next,
}

impl Next {
    pub fn follows_a_kill(self) -> bool {
        !matches!(self, Self::HandOver | Self::Wake | Self::Expiry | Self::Batch)
    }
}

/// How long something took, how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    pub measured: u64,
    pub within_bound: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Times {
    pub fn of(recoveries: &[&Recovery]) -> Self {
        let mut took: Vec<u64> = recoveries.iter().map(|one| one.took).collect();
        took.sort_unstable();
        let at = |part: f64| {
            let index = (part * took.len() as f64).ceil() as usize;
            took.get(index.saturating_sub(1)).map_or(0.0, |ns| *ns as f64 / 1e6)
        };
        Self {
            measured: took.len() as u64,
            within_bound: took.partition_point(|ns| *ns <= BOUND) as u64,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}

/// What was found, and every recovery that was measured.
#[derive(Debug, Default)]
pub struct Recoveries {
    pub findings: Findings,
    pub recoveries: Vec<Recovery>,
}

pub fn check(execution: &Execution<'_>, chains: &Chains) -> Recoveries {
    let mut found = Recoveries::default();
    let grants = claims::grants(execution, chains);
    every_answer_is_explained(execution, &mut found.findings);
    successes_after_kills(execution, &mut found);
    grants_after_claims(execution, &grants, &mut found);
    wakes_after_changes(execution, chains, &mut found);
    intents_are_handed_on(&grants, &mut found.findings);
    found
}

/// What must hold of every run, whatever went on in it, when all have left.
pub fn aftermath(execution: &Execution<'_>, findings: &mut Findings) {
    nothing_leaked(execution, findings);
    everything_ended(execution, findings);
}

fn nothing_leaked(execution: &Execution<'_>, findings: &mut Findings) {
    let counted = &execution.counted;
    for (count, what) in [
        (counted.missing, "blocks are missing"),
        (counted.doubled, "blocks are in two places"),
        (counted.lanes_taken, "lanes are still taken"),
        (counted.rows_taken, "rows are still taken"),
        (counted.pending, "operations are still pending"),
        (counted.files_left, "files are left after removal"),
    ] {
        findings.expect(count == 0, || format!("when everybody had left, {count} {what}"));
    }
    findings.expect(counted.placed == counted.blocks, || {
        format!("of {} blocks {} have a place", counted.blocks, counted.placed)
    });
}

/// An operation may stay open only because its process was killed.
fn everything_ended(execution: &Execution<'_>, findings: &mut Findings) {
    let killed: BTreeSet<(u32, u32)> = execution
        .faults
        .iter()
        .filter(|fault| fault.kind == FaultKind::Kill)
        .map(|fault| (fault.slot, fault.life))
        .collect();
    for (author, entry) in execution.history.all() {
        let life = (execution.history.slot(author.writer), entry.life);
        let ended = !entry.is_in_doubt() || killed.contains(&life);
        findings.expect(ended, || format!("{:?} of record {} by {author:?} never ended", entry.kind, entry.record));
    }
    for fault in execution.faults {
        match fault.kind {
            FaultKind::Died => {
                findings.violation(|| format!("the process of slot {} life {} died by itself", fault.slot, fault.life))
            }
            FaultKind::Stuck => findings
                .violation(|| format!("the process of slot {} life {} did not come to an end", fault.slot, fault.life)),
            FaultKind::Kill | FaultKind::Stop => {}
        }
    }
}

/// `Held` where nobody claims, waits that time out, and errors nothing explains.
fn every_answer_is_explained(execution: &Execution<'_>, findings: &mut Findings) {
    let claimed: BTreeSet<u16> =
        execution.history.all().filter(|(_, entry)| entry.kind == Kind::Grant).map(|(_, entry)| entry.record).collect();
    for (author, entry) in execution.history.all() {
        let explained = match entry.outcome {
            Outcome::Failed | Outcome::TimedOut => false,
            Outcome::Held => claimed.contains(&entry.record),
            Outcome::LeaseLost => entry.extra != 0,
            _ => true,
        };
        findings.expect(explained, || {
            format!("{:?} of record {} by {author:?} was told {:?}", entry.kind, entry.record, entry.outcome)
        });
    }
}

/// Counts one recovery, and a violation if it is past the bound and everything the scheduler can be blamed for.
pub fn judge(execution: &Execution<'_>, recovery: Recovery, what: impl FnOnce() -> String, found: &mut Recoveries) {
    let end = recovery.at + recovery.took;
    let late: u64 = execution
        .lateness
        .iter()
        .filter(|(at, by)| *at >= recovery.at && at.saturating_sub(*by) <= end)
        .map(|(_, by)| by)
        .sum();
    found.findings.expect(recovery.took <= BOUND + ALLOWANCE + late, || {
        format!("{} took {} ms", what(), recovery.took / 1_000_000)
    });
    found.recoveries.push(recovery);
}

fn successes_after_kills(execution: &Execution<'_>, found: &mut Recoveries) {
    let history = execution.history;
    // By record, and once more for all records: when changes were acknowledged, and in which slot.
    let mut all = Vec::new();
    let mut by_record: Vec<Vec<(u64, u32)>> = vec![Vec::new(); execution.finals.len()];
    let mut in_doubt: BTreeMap<(u32, u32), Vec<u16>> = BTreeMap::new();
    for (author, entry) in history.all().filter(|(_, entry)| entry.is_change()) {
        let slot = history.slot(author.writer);
        if entry.outcome == Outcome::Done {
            all.push((entry.end, slot));
            by_record[usize::from(entry.record)].push((entry.end, slot));
        } else if entry.is_in_doubt() {
            in_doubt.entry((slot, entry.life)).or_default().push(entry.record);
        }
    }
    all.sort_unstable();
    by_record.iter_mut().for_each(|list| list.sort_unstable());
    let claimed = claimed_records(execution);
    for kill in execution.faults.iter().filter(|fault| fault.kind == FaultKind::Kill) {
        let victims = in_doubt.get(&(kill.slot, kill.life));
        // A claimed record is changed by its next holder; `grants_after_claims` looks at those.
        let records = victims.into_iter().flatten().filter(|record| !claimed.contains(record));
        let records: Vec<u16> = records.copied().collect();
        for record in &records {
            let list = &by_record[usize::from(*record)];
            goes_on(execution, kill, list, Next::SameRecord, &format!("record {record}"), found);
        }
        if records.is_empty() {
            goes_on(execution, kill, &all, Next::AnyRecord, "any record", found);
        }
    }
}

/// After every kill somebody else succeeds with an operation that `counts`.
pub fn others_go_on(execution: &Execution<'_>, counts: impl Fn(&Entry) -> bool, found: &mut Recoveries) {
    let history = execution.history;
    let done = history.all().filter(|(_, entry)| entry.outcome == Outcome::Done && counts(entry));
    let mut list: Vec<(u64, u32)> = done.map(|(author, entry)| (entry.end, history.slot(author.writer))).collect();
    list.sort_unstable();
    for kill in execution.faults.iter().filter(|fault| fault.kind == FaultKind::Kill) {
        goes_on(execution, kill, &list, Next::Commit, "anything", found);
    }
}

/// Looks for the next of these successes by another than the victim.
fn goes_on(
    execution: &Execution<'_>,
    kill: &Fault,
    list: &[(u64, u32)],
    next: Next,
    what: &str,
    found: &mut Recoveries,
) {
    match next_by_another(list, kill.at, kill.slot) {
        Some(at) => {
            let recovery = Recovery { at: kill.at, took: at - kill.at, next };
            judge(execution, recovery, || format!("the next change of {what} after a kill"), found);
        }
        None => {
            let too_late = execution.history.end.saturating_sub(kill.at) <= BOUND + ALLOWANCE;
            found.findings.expect(too_late, || format!("after a kill {what} was never changed again"));
        }
    }
}

fn claimed_records(execution: &Execution<'_>) -> BTreeSet<u16> {
    let grants = execution.history.all().filter(|(_, entry)| entry.kind == Kind::Grant);
    grants.map(|(_, entry)| entry.record).collect()
}

fn next_by_another(sorted: &[(u64, u32)], after: u64, slot: u32) -> Option<u64> {
    let start = sorted.partition_point(|(end, _)| *end <= after);
    let others = sorted[start..].iter().find(|(_, by)| *by != slot);
    others.map(|(end, _)| *end)
}

/// From the end of a claim to its next grant: the holder was killed, ended it, or let its lease run out.
fn grants_after_claims(execution: &Execution<'_>, grants: &BTreeMap<u16, Vec<Grant>>, found: &mut Recoveries) {
    let kills = execution.faults.iter().filter(|fault| fault.kind == FaultKind::Kill);
    let kills: BTreeMap<(u32, u32), u64> = kills.map(|kill| ((kill.slot, kill.life), kill.at)).collect();
    for (record, list) in grants {
        for pair in list.windows(2) {
            let killed = kills.get(&(pair[0].slot, pair[0].life)).copied();
            // Killed later than it ended the claim, or after the next one had it, does not count.
            let killed = killed.filter(|killed| pair[0].ending.is_none() && *killed < pair[1].end);
            let (over, next) = match (killed, pair[0].ended) {
                (Some(killed), _) => (killed, Next::Grant),
                (None, Some(ended)) => (ended.min(pair[0].expired_by), Next::HandOver),
                (None, None) => (pair[0].expired_by, Next::HandOver),
            };
            let somebody_waited = next == Next::Grant || pair[1].begin < over && over < pair[1].end;
            let from = over.max(pair[1].begin);
            if somebody_waited && !was_stopped(execution, pair[1].slot, from, pair[1].end) {
                let recovery = Recovery { at: from, took: pair[1].end.saturating_sub(from), next };
                let what = || format!("the grant of record {record} after its last claim was over ({next:?})");
                judge(execution, recovery, what, found);
            }
        }
    }
}

/// From the moment a newer version was there to the return of whoever waited for it.
fn wakes_after_changes(execution: &Execution<'_>, chains: &Chains, found: &mut Recoveries) {
    let history = execution.history;
    for (author, entry) in history.all().filter(|(_, entry)| entry.kind == Kind::Wait) {
        if entry.outcome != Outcome::Done {
            continue;
        }
        found.findings.expect(entry.version > entry.count, || {
            format!(
                "record {}: a wait for a version newer than {} ended with {}",
                entry.record, entry.count, entry.version
            )
        });
        let Some(there) = first_acknowledged_after(execution, chains, entry) else {
            continue;
        };
        let from = there.max(entry.begin);
        let slot = history.slot(author.writer);
        if entry.end > from && !was_stopped(execution, slot, from, entry.end) {
            let recovery = Recovery { at: from, took: entry.end - from, next: Next::Wake };
            let what = || format!("the end of a wait for record {}", entry.record);
            judge(execution, recovery, what, found);
        }
    }
    most_are_woken(Next::Wake, found);
}

/// One wait in two that lasts most of a slice is not the scheduler's doing: the wake-ups are missing, and the slices
/// end the waits.
pub fn most_are_woken(next: Next, found: &mut Recoveries) {
    const ENOUGH: usize = 16;
    let waits = found.recoveries.iter().filter(|one| one.next == next);
    let mut took: Vec<u64> = waits.map(|one| one.took).collect();
    if took.len() < ENOUGH {
        return;
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    found.findings.expect(median < BOUND / 4, || {
        format!("half of {} waits took more than {} ms: they are not woken", took.len(), median / 1_000_000)
    });
}

/// When the first version newer than the one a wait had seen was acknowledged to its author.
fn first_acknowledged_after(execution: &Execution<'_>, chains: &Chains, wait: &Entry) -> Option<u64> {
    let authors = chains.authors.get(usize::from(wait.record))?;
    let newer = authors.get(usize::try_from(wait.count).ok()?..)?;
    let named = newer.iter().flatten().take(8);
    let entries = named.filter_map(|author: &Author| execution.history.entry(*author));
    entries.filter(|e| e.outcome == Outcome::Done).map(|e| e.end).min()
}

/// Whether a slot's process was stopped at some moment between the two.
pub fn was_stopped(execution: &Execution<'_>, slot: u32, from: u64, until: u64) -> bool {
    execution
        .faults
        .iter()
        .any(|fault| fault.kind == FaultKind::Stop && fault.slot == slot && fault.at <= until && fault.until >= from)
}

/// What a holder announced and neither made nor took back is handed to every later holder, until one of them commits or
/// announces something of its own.
fn intents_are_handed_on(grants: &BTreeMap<u16, Vec<Grant>>, findings: &mut Findings) {
    for (record, list) in grants {
        let mut left = PendingIntent::Token(None);
        for grant in list {
            if let PendingIntent::Token(token) = left {
                findings.expect(grant.abandoned == token, || {
                    format!(
                        "record {record}: token {} was handed the intent of {:?}, the one left was of {token:?}",
                        grant.token, grant.abandoned
                    )
                });
            }
            left = PendingIntent::Token(grant.abandoned);
            for done in &grant.done {
                left = left.after(grant.token, done);
            }
        }
    }
}

/// Whose intent is on a record.
#[derive(Clone, Copy)]
enum PendingIntent {
    Token(Option<u64>),
    /// Somebody was killed while changing it.
    Unknown,
}

impl PendingIntent {
    fn after(self, token: u64, done: &UnderClaim) -> Self {
        match (done.kind, done.outcome) {
            (Kind::Intend, Outcome::Done) => Self::Token(Some(token)),
            (Kind::Intend, Outcome::InDoubt) => Self::Unknown,
            (Kind::Commit, _) if done.made.is_some() => Self::Token(None),
            (Kind::Release, Outcome::Done | Outcome::InDoubt) => match self {
                Self::Token(Some(left)) if left != token => self,
                Self::Token(_) if done.outcome == Outcome::Done => Self::Token(None),
                _ => Self::Unknown,
            },
            _ => self,
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
