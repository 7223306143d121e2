//! What must hold of locks, elections and guards; [`holds`] has what they share with leases, [`confirmed`] the rows of a
//! guard.

use super::confirmed::{self, Confirmed};
use super::{Recipe, Settings};
use crate::check::chain::{self, Chains};
use crate::check::holds::{self, HoldTable};
use crate::check::recovery::{Next, Recoveries};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::workloads::{Examined, Figure, count, slowest};

/// What the promises mean.
pub const OF_LOCKS: [(Promise, &str); 5] = [
    (Promise::P1, "a write under a token is in the data once, in the order of tokens"),
    (Promise::P3, "every value read is whole"),
    (Promise::P4, "the next waiter has a lock in time; no ticket and no session is left"),
    (Promise::P6, "revisions respect real time; an observer never sees an earlier holder again"),
    (Promise::P7, "one holder or readers only, late writes refused, nothing changes under a reader"),
];
pub const OF_ELECTIONS: [(Promise, &str); 5] = [
    (Promise::P1, "a write under a term is in the data once, in the order of terms"),
    (Promise::P3, "every value read is whole"),
    (Promise::P4, "the next leader is elected in time; of an ex-leader nothing is left but its resignation"),
    (Promise::P6, "revisions respect real time; the terms an observer sees only grow"),
    (Promise::P7, "one leader at a time, an ex-leader can neither write nor proclaim"),
];
pub const OF_GUARDS: [(Promise, &str); 5] = [
    (Promise::P1, "every change of a row is counted once, in the rows' order, by its author or the next holder"),
    (Promise::P3, "every row read is whole"),
    (Promise::P4, "the next holder has the guard in time; no ticket and no session is left"),
    (Promise::P6, "an observer never sees an earlier holder again"),
    (Promise::P7, "one holder at a time; a late one can neither intend nor commit"),
];

/// What is in the segment after the run.
#[derive(Default)]
pub struct FinalState {
    /// By name: its data, or its row.
    pub data: Vec<Final>,
    /// By name, of a guard: how many changes had been counted, before and after one more holder.
    pub counted: Vec<(u64, u64)>,
    /// Entries of sessions that have ended.
    pub of_the_dead: Vec<String>,
}

/// Checks the history against the final state.
pub fn check(execution: &Execution<'_>, settings: Settings, final_state: &FinalState) -> Examined {
    let execution = &Execution { finals: &final_state.data, ..*execution };
    let chains = chain::walk(execution);
    let table = HoldTable::of(execution, settings.lease().as_nanos() as u64);
    let mut exclusion = Findings::default();
    holds::check(execution, &table, &mut exclusion);
    holds::looks_are_not_late(execution, &table, &mut exclusion, |entry| entry.kind == Kind::Observe);
    let mut once = chains.findings.clone();
    holds::tokens_grow_along_the_data(execution, &chains, &mut once);
    let confirmed = confirmed::check(execution, &chains, &table, final_state, &mut once);
    let mut after = Recoveries::default();
    after.findings.expect(final_state.of_the_dead.is_empty(), || {
        format!("entries of ended sessions are left: {:?}", final_state.of_the_dead)
    });
    answers_are_explained(execution, settings.recipe, &mut after.findings);
    holds::names_are_free_in_time(execution, &table, &mut after);
    holds::nobody_stands_in_the_way(execution, &table, &mut after);
    let mut order = order::check(execution.history);
    holds::looks_go_forward(execution, seen, &mut order);
    let figures = figures(execution, settings.recipe, &table, &chains, &confirmed, &after);
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, after.findings);
    verdicts.add(Promise::P6, order);
    verdicts.add(Promise::P7, exclusion);
    Examined {
        verdicts,
        refused_late: refused_late(execution),
        recoveries: after.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

/// The token an observer saw.
fn seen(entry: &Entry) -> Option<u64> {
    match entry.kind {
        Kind::Observe => Some(entry.revision),
        // An observer that is told of a leader.
        Kind::Wait if entry.revision == 1 => Some(entry.version),
        _ => None,
    }
}

/// Calls of late holders that were refused.
fn refused_late(execution: &Execution<'_>) -> u64 {
    [Kind::GuardedWrite, Kind::Intend, Kind::Confirm, Kind::ReleaseName]
        .iter()
        .map(|kind| count(execution, *kind, Outcome::LeaseLost))
        .sum()
}

fn figures(
    execution: &Execution<'_>,
    recipe: Recipe,
    table: &HoldTable,
    chains: &Chains,
    confirmed: &Confirmed,
    after: &Recoveries,
) -> Vec<Figure> {
    let of = |next: Next| after.recoveries.iter().filter(|one| one.next == next).copied().collect::<Vec<_>>();
    let count = |kind, outcome| count(execution, kind, outcome);
    let mut figures = vec![Figure::needed("acquired", count(Kind::Acquire, Outcome::Done))];
    match recipe {
        Recipe::Lock => {
            let several = execution.history.all().filter(|(_, entry)| {
                entry.kind == Kind::Acquire && entry.outcome == Outcome::Done && entry.count.count_ones() > 1
            });
            figures.extend([
                Figure::needed("locks had alone", table.holds.iter().filter(|hold| !hold.shared).count() as u64),
                Figure::needed(
                    "locks had with other readers",
                    table.holds.iter().filter(|hold| hold.shared).count() as u64,
                ),
                Figure::needed("several at once", several.count() as u64),
                Figure::needed("writes under a token acknowledged", chains.acknowledged),
                Figure::needed("late writes and releases refused", refused_late(execution)),
                Figure::needed("reads under a lock", count(Kind::Read, Outcome::Done)),
                Figure::needed("locks seen held", count(Kind::Observe, Outcome::Done)),
            ]);
        }
        Recipe::Election => figures.extend([
            Figure::needed("writes under a term acknowledged", chains.acknowledged),
            Figure::needed("late writes, proclamations and resignations refused", refused_late(execution)),
            Figure::needed("changes told to observers", count(Kind::Wait, Outcome::Done)),
            Figure::needed("leaders seen", count(Kind::Observe, Outcome::Done)),
        ]),
        Recipe::Guard => figures.extend([
            Figure::needed("changes of rows", chains.found + chains.took_effect),
            Figure::needed("counted by their authors", confirmed.by_author),
            Figure::needed("counted by the next holder", confirmed.by_next),
            Figure::count("counted by a holder killed in that call", confirmed.in_doubt),
            Figure::needed("intents shown to the next holder", confirmed.shown),
            Figure::count("changes that the row refused", count(Kind::GuardedWrite, Outcome::Conflict)),
            Figure::needed("late intents, counts and withdrawals refused", refused_late(execution)),
        ]),
    }
    figures.extend([
        Figure::count("gave up waiting", count(Kind::Acquire, Outcome::TimedOut)),
        Figure::count("lost their session while waiting", count(Kind::Acquire, Outcome::LeaseLost)),
    ]);
    figures.extend(slowest(&of(Next::Name), "acquired after the holder was killed", "slowest after a kill"));
    figures.extend(slowest(&of(Next::Expiry), "acquired after the holder's lease ran out", "slowest after its end"));
    figures.extend(slowest(&of(Next::HandOver), "acquired after a wait", "slowest after a wait"));
    figures
}

/// Only waiters that give up and holders that are late are refused; a row may refuse as well.
fn answers_are_explained(execution: &Execution<'_>, recipe: Recipe, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            Outcome::TimedOut => matches!(entry.kind, Kind::Acquire | Kind::Wait),
            Outcome::Declined => entry.kind == Kind::Observe,
            Outcome::Conflict => recipe == Recipe::Guard && entry.kind == Kind::GuardedWrite,
            Outcome::LeaseLost => entry.kind != Kind::Observe,
            Outcome::Held | Outcome::Failed => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
