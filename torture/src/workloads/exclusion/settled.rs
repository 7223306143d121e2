//! What must hold of rows that are changed under a guard: each change is counted once, in the rows' order.

use std::collections::BTreeMap;

use super::check::Left;
use crate::check::chain::Chains;
use crate::check::holds::{Hold, Register};
use crate::check::{Findings, Scene};
use crate::history::{Entry, Kind, Outcome};

/// Who counted which change.
#[derive(Default)]
pub struct Settled {
    /// By the author of the change itself.
    pub by_author: u64,
    /// By who came next.
    pub by_next: u64,
    /// By somebody who was killed before it was told.
    pub in_doubt: u64,
    /// Intents of the dead, or of those who walked away, that were shown to who came next.
    pub shown: u64,
}

/// Holds the counting against the rows.
pub fn check(scene: &Scene<'_>, chains: &Chains, register: &Register, left: &Left, findings: &mut Findings) -> Settled {
    let mut settled = Settled::default();
    let holds: BTreeMap<u16, Vec<&Hold>> =
        register.by_name().into_iter().filter_map(|holds| Some((holds.first()?.name, holds))).collect();
    for (name, (&(before, after), authors)) in left.counted.iter().zip(&chains.authors).enumerate() {
        let changes = authors.len() as u64;
        // The last turn of all counted what was left to be counted: one change at most.
        findings.expect(after == changes && changes - before.min(changes) <= 1 && before <= changes, || {
            format!("row {name}: {changes} changes, of which {before} had been counted, and in the end {after}")
        });
        let tokens: Vec<Option<u64>> =
            authors.iter().map(|author| Some(scene.history.entry((*author)?)?.extra)).collect();
        let name = name as u16;
        each_is_counted_once(scene, name, &tokens, before, &mut settled, findings);
        let holds = holds.get(&name).map_or(&[][..], Vec::as_slice);
        intents_are_shown(name, holds, &tokens, &settles(scene, name), &mut settled, findings);
    }
    settled
}

/// Who counted, of one row.
fn settles<'a>(scene: &'a Scene<'_>, name: u16) -> Vec<&'a Entry> {
    let all = scene.history.all().map(|(_, entry)| entry);
    all.filter(|entry| entry.kind == Kind::Settle && entry.record == name).collect()
}

fn each_is_counted_once(
    scene: &Scene<'_>,
    name: u16,
    tokens: &[Option<u64>],
    counted: u64,
    settled: &mut Settled,
    findings: &mut Findings,
) {
    let mut by_version: BTreeMap<u64, u64> = BTreeMap::new();
    let mut in_doubt: Vec<(u64, u64)> = Vec::new();
    for entry in settles(scene, name) {
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
                *(if author == Some(token) { &mut settled.by_author } else { &mut settled.by_next }) += 1;
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
            settled.in_doubt += 1;
        }
    }
    let in_order: Vec<u64> = by_version.into_values().collect();
    for pair in in_order.windows(2) {
        findings.expect(pair[0] < pair[1], || format!("row {name}: token {} counted after token {}", pair[1], pair[0]));
    }
}

/// Whoever comes right after somebody who changed the row and did not count it is shown that one's intent.
fn intents_are_shown(
    name: u16,
    holds: &[&Hold],
    tokens: &[Option<u64>],
    settles: &[&Entry],
    settled: &mut Settled,
    findings: &mut Findings,
) {
    for pair in holds.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        settled.shown += u64::from(next.abandoned == Some(one.token));
        // The next one counted the change of the one before: so it had found it.
        let found = settles.iter().find(|settle| settle.extra == next.token && settle.outcome == Outcome::Done);
        let author = found.and_then(|settle| tokens.get(settle.count.wrapping_sub(1) as usize).copied().flatten());
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
