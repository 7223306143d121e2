//! Names that are held for a while, one holder at a time or several readers together, and written under tokens: what the
//! workloads on leases, locks, elections, guards and slots have in common.
//!
//! ```text
//! holder A ── Take (token 5) ═══ Guarded … ═══ Leave                     [hold_table] makes holds of these, and knows from
//! holder B ────── Take (token 8, waits) ──────────── ═══ Guarded …       when to when each lasts for certain
//! ```

mod hold_table;

pub use hold_table::{Hold, HoldTable, Wanted};

use std::collections::BTreeMap;

use super::chain::Chains;
use super::recovery::{self, Next, Recoveries, Recovery};
use super::{Execution, Findings};
use crate::history::{Entry, Kind, Outcome};

/// What must hold of names and their holders, whatever keeps them apart.
pub fn check(execution: &Execution<'_>, table: &HoldTable, findings: &mut Findings) {
    for holds in table.by_name() {
        one_at_a_time(table, &holds, findings);
        writes_are_of_the_holder(execution, &holds, findings);
    }
    nobody_is_refused_in_time(execution, table, findings);
}

/// Those of one name, in the order of their tokens, that had to end before the last of these began.
fn in_the_way<'r>(before: &[&'r Hold], next: &Hold) -> Vec<&'r Hold> {
    let alone = before.iter().rposition(|hold| !hold.shared);
    match (alone, next.shared) {
        (Some(alone), true) => vec![before[alone]],
        (None, true) => Vec::new(),
        (alone, false) => before[alone.unwrap_or(0)..].to_vec(),
    }
}

/// Nobody takes a name while another has it for certain. The holds are those of one name, in the order of their tokens.
fn one_at_a_time(table: &HoldTable, holds: &[&Hold], findings: &mut Findings) {
    // Until when somebody with a smaller token has it for certain: whoever, and alone.
    let (mut anyhow, mut alone) = ((0, 0), (0, 0));
    for hold in holds {
        let (until, by) = if hold.shared { alone } else { anyhow };
        findings.expect(hold.taken >= until, || {
            let early = until - hold.taken;
            format!("name {}: token {} was given {early} ns before token {by} could end", hold.name, hold.token)
        });
        let mine = (table.surely_until(hold), hold.token);
        anyhow = anyhow.max(mine);
        if !hold.shared {
            alone = alone.max(mine);
        }
    }
}

/// A write that was acknowledged has a revision between its own token and the moment the next one has the name.
fn writes_are_of_the_holder(execution: &Execution<'_>, holds: &[&Hold], findings: &mut Findings) {
    let mut next = (u64::MAX, u64::MAX);
    for hold in holds.iter().rev() {
        let (ends, next_token) = next;
        let region = &execution.history.regions[hold.writer as usize].entries;
        let writes = hold.writes.iter().map(|at| &region[*at]);
        // What is written elsewhere has no revision.
        for write in writes.filter(|write| write.outcome == Outcome::Done && write.revision != 0) {
            findings.expect(hold.token < write.revision && write.revision <= ends, || {
                format!(
                    "name {}: a write of token {} has revision {}; the next token is {next_token}",
                    hold.name, hold.token, write.revision
                )
            });
        }
        next = next.min((hold.had_by(), hold.token));
    }
}

/// Who is in time is not refused.
fn nobody_is_refused_in_time(execution: &Execution<'_>, table: &HoldTable, findings: &mut Findings) {
    for hold in &table.holds {
        let until = table.surely_until(hold);
        let region = &execution.history.regions[hold.writer as usize].entries;
        for refused in hold.refused.iter().map(|at| &region[*at]) {
            findings.expect(refused.end >= until, || {
                format!("name {}: token {} was refused while it held for certain", hold.name, hold.token)
            });
        }
    }
}

/// What a look at who holds a name shows was not given back before the look began.
pub fn looks_are_not_late(
    execution: &Execution<'_>,
    table: &HoldTable,
    findings: &mut Findings,
    is_look: fn(&Entry) -> bool,
) {
    for (author, look) in execution.history.all().filter(|(_, entry)| is_look(entry) && entry.outcome == Outcome::Done)
    {
        let gone = table.gone(look.record, look.revision).unwrap_or(u64::MAX);
        findings.expect(look.begin <= gone, || {
            format!(
                "{:?} by {author:?} (name {}, revision {}) shows what had ended before",
                look.kind, look.record, look.revision
            )
        });
    }
}

/// Nobody who never had a name stands in the way of those who want it for long: who gives up, or dies, is gone.
pub fn nobody_stands_in_the_way(execution: &Execution<'_>, table: &HoldTable, found: &mut Recoveries) {
    // By name and token: the first look that showed it, and the last.
    let mut seen: BTreeMap<(u16, u64), (u64, u64)> = BTreeMap::new();
    for (_, look) in execution.history.all().filter(|(_, e)| e.kind == Kind::Observe && e.outcome == Outcome::Done) {
        let (first, last) = seen.entry((look.record, look.revision)).or_insert((look.begin, look.begin));
        (*first, *last) = ((*first).min(look.begin), (*last).max(look.begin));
    }
    let late: u64 = execution.lateness.iter().map(|(_, by)| by).sum();
    for ((name, token), (first, last)) in seen {
        let stands = last - first;
        let known = table.is_known(name, token);
        found.findings.expect(known || stands <= recovery::BOUND + recovery::ALLOWANCE + late, || {
            format!("name {name}: token {token} stood first for {} ms, and nobody ever had it", stands / 1_000_000)
        });
    }
}

/// Along the data of a name the tokens never fall, those of the killed included.
pub fn tokens_grow_along_the_data(execution: &Execution<'_>, chains: &Chains, findings: &mut Findings) {
    for (name, authors) in chains.authors.iter().enumerate() {
        let mut highest = 0;
        for token in
            authors.iter().flatten().filter_map(|author| execution.history.entry(*author)).map(|entry| entry.extra)
        {
            findings.expect(token >= highest, || {
                format!("name {name}: a write of token {token} came after one of token {highest}")
            });
            highest = highest.max(token);
        }
    }
}

/// A hold, and what it had waited for.
struct Awaited<'r> {
    next: &'r Hold,
    /// When that was over, and what ended it. `None`: of some of it nobody knows.
    over: Option<(u64, Next)>,
    /// When it was over with the last of those who had asked and were never told that they had it.
    between: u64,
}

/// From the end of what was in its way to a hold: its holder parted with it, was killed, or its lease ran out.
pub fn names_are_free_in_time(execution: &Execution<'_>, table: &HoldTable, found: &mut Recoveries) {
    // Of several names at once the last counts.
    let mut waits: BTreeMap<(u32, u64), Awaited<'_>> = BTreeMap::new();
    for holds in table.by_name() {
        for (at, next) in holds.iter().enumerate() {
            let before = in_the_way(&holds[..at], next);
            if before.is_empty() {
                continue;
            }
            let over = before.iter().map(|one| table.over(one)).collect::<Option<Vec<_>>>();
            let over = over.and_then(|over| over.into_iter().max_by_key(|(at, _)| *at));
            // Somebody who had asked before, and was never told that it had it, may have had it in between.
            let ends = table.asked_in_vain(next.name).filter(|end| *end < next.taken);
            let between = ends.max().unwrap_or(0);
            let wait = waits.entry((next.writer, next.token));
            let wait = wait.or_insert(Awaited { next, over: Some((0, Next::Name)), between: 0 });
            wait.over = wait.over.zip(over).map(|(one, two)| if two.0 > one.0 { two } else { one });
            wait.between = wait.between.max(between);
        }
    }
    for Awaited { next, over, between } in waits.into_values() {
        let Some((over, kind)) = over else { continue };
        // After a hand-over only those count who had waited: the others found it free.
        if over >= next.taken || kind == Next::HandOver && over <= next.begin {
            continue;
        }
        let from = over.max(next.begin).max(between);
        if from < next.taken && !recovery::was_stopped(execution, next.slot, from, next.taken) {
            let recovery = Recovery { at: from, took: next.taken - from, next: kind };
            let what = || format!("the next hold of name {} by token {} ({kind:?})", next.name, next.token);
            recovery::judge(execution, recovery, what, found);
        }
    }
}

/// Looks at who holds a name never go back: if one had returned before another began, that one shows no smaller token.
pub fn looks_go_forward(execution: &Execution<'_>, seen: impl Fn(&Entry) -> Option<u64>, findings: &mut Findings) {
    let mut by_name: BTreeMap<u16, Vec<(&Entry, u64)>> = BTreeMap::new();
    for (_, entry) in execution.history.all().filter(|(_, entry)| entry.outcome == Outcome::Done) {
        if let Some(token) = seen(entry) {
            by_name.entry(entry.record).or_default().push((entry, token));
        }
    }
    for (name, mut looks) in by_name {
        let mut by_end = looks.clone();
        by_end.sort_unstable_by_key(|(look, _)| look.end);
        looks.sort_unstable_by_key(|(look, _)| look.begin);
        let (mut returned, mut newest) = (by_end.into_iter().peekable(), 0);
        for (look, token) in looks {
            while let Some((_, before)) = returned.next_if(|(before, _)| before.end < look.begin) {
                newest = newest.max(before);
            }
            findings.expect(token >= newest, || {
                format!("name {name}: a look showed token {token} after another had shown {newest}")
            });
        }
    }
}
