//! What must hold of rows that are changed under a guard: each change is counted once, in the order of the row.

use std::collections::BTreeMap;

use super::check::FinalState;
use crate::check::chain::Chains;
use crate::check::holds::{Hold, HoldTable};
use crate::check::{Execution, Findings};
use crate::history::{Entry, Kind, Outcome};

/// How many changes were counted, and by whom.
#[derive(Default)]
pub struct Confirmed {
    /// By the author of the change itself.
    pub by_author: u64,
    /// By the next holder.
    pub by_next: u64,
    /// By a holder that was killed before the answer.
    pub in_doubt: u64,
    /// Intents of killed holders, and of those that dropped the guard, shown to the next holder.
    pub shown: u64,
}

/// Compares the counts with the rows.
pub fn check(
    execution: &Execution<'_>,
    chains: &Chains,
    table: &HoldTable,
    final_state: &FinalState,
    findings: &mut Findings,
) -> Confirmed {
    let mut confirmed = Confirmed::default();
    let holds: BTreeMap<u16, Vec<&Hold>> =
        table.by_name().into_iter().filter_map(|holds| Some((holds.first()?.name, holds))).collect();
    for (name, (&(before, after), authors)) in final_state.counted.iter().zip(&chains.authors).enumerate() {
        let changes = authors.len() as u64;
        // After the run one more holder counted what its author had not: one change at most.
        findings.expect(after == changes && changes - before.min(changes) <= 1 && before <= changes, || {
            format!("row {name}: {changes} changes, of which {before} had been counted, and in the end {after}")
        });
        let tokens: Vec<Option<u64>> =
            authors.iter().map(|author| Some(execution.history.entry((*author)?)?.extra)).collect();
        let name = name as u16;
        each_is_counted_once(execution, name, &tokens, before, &mut confirmed, findings);
        let holds = holds.get(&name).map_or(&[][..], Vec::as_slice);
        intents_are_shown(name, holds, &tokens, &confirms(execution, name), &mut confirmed, findings);
    }
    confirmed
}

/// The counts of one row.
fn confirms<'a>(execution: &'a Execution<'_>, name: u16) -> Vec<&'a Entry> {
    let all = execution.history.all().map(|(_, entry)| entry);
    all.filter(|entry| entry.kind == Kind::Confirm && entry.record == name).collect()
}

fn each_is_counted_once(
    execution: &Execution<'_>,
    name: u16,
    tokens: &[Option<u64>],
    counted: u64,
    confirmed: &mut Confirmed,
    findings: &mut Findings,
) {
    let mut by_version: BTreeMap<u64, u64> = BTreeMap::new();
    let mut in_doubt: Vec<(u64, u64)> = Vec::new();
    for entry in confirms(execution, name) {
        match entry.outcome {
            Outcome::Done => {
                let (version, changes, token) = (entry.version, entry.count, entry.extra);
                findings.expect(version == changes, || {
                    format!("row {name}: its change {changes} was counted as {version}")
                });
                let twice = by_version.insert(version, token);
                findings.expect(twice.is_none(), || {
                    format!("row {name}: {version} was counted by token {token} and by {twice:?}")
                });
                let author = tokens.get(version.wrapping_sub(1) as usize).copied().flatten();
                findings.expect(author.is_some_and(|author| author <= token), || {
                    format!("row {name}: change {version}, made by token {author:?}, was counted by token {token}")
                });
                *(if author == Some(token) { &mut confirmed.by_author } else { &mut confirmed.by_next }) += 1;
            }
            Outcome::InDoubt => in_doubt.push((entry.count, entry.extra)),
            _ => {}
        }
    }
    for version in 1..=counted {
        if !by_version.contains_key(&version) {
            let doubtful = in_doubt.iter().find(|(changes, _)| *changes == version);
            findings.expect(doubtful.is_some(), || {
                format!("row {name}: {version} was counted, and nobody says that it did")
            });
            by_version.extend(doubtful.map(|(_, token)| (version, *token)));
            confirmed.in_doubt += 1;
        }
    }
    let in_order: Vec<u64> = by_version.into_values().collect();
    for pair in in_order.windows(2) {
        findings.expect(pair[0] < pair[1], || format!("row {name}: token {} counted after token {}", pair[1], pair[0]));
    }
}

/// The next holder after one that changed the row and did not count the change is shown its intent.
fn intents_are_shown(
    name: u16,
    holds: &[&Hold],
    tokens: &[Option<u64>],
    confirms: &[&Entry],
    confirmed: &mut Confirmed,
    findings: &mut Findings,
) {
    for pair in holds.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        confirmed.shown += u64::from(next.abandoned == Some(one.token));
        // The next one counted the change of the one before: so it had found it.
        let found = confirms.iter().find(|confirm| confirm.extra == next.token && confirm.outcome == Outcome::Done);
        let author = found.and_then(|confirm| tokens.get(confirm.count.wrapping_sub(1) as usize).copied().flatten());
        if author == Some(one.token) {
            findings.expect(next.abandoned == Some(one.token), || {
                format!(
                    "row {name}: token {} was not shown the intent of token {}, which had changed the row, but {:?}",
                    next.token, one.token, next.abandoned
                )
            });
        }
    }
}
