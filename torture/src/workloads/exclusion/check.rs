//! What must hold of names had in turns, through whatever recipe; see [`holds`] for what they share
//! with leases, and [`settled`] for the rows of a guard.

use super::settled::{self, Settled};
use super::{Terms, Way};
use crate::check::chain::{self, Chains};
use crate::check::holds::{self, Register};
use crate::check::recovery::{Next, Recoveries};
use crate::check::{Final, Findings, Promise, Scene, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::workloads::{Examined, Figure, count, slowest};

/// What the promises mean.
pub const OF_LOCKS: [(Promise, &str); 5] = [
    (Promise::P1, "a write under a token is in the data once, in the order of tokens"),
    (Promise::P3, "every value read is whole"),
    (Promise::P4, "the next one has a lock in time; no ticket and no session is left"),
    (Promise::P6, "revisions respect real time, and who looks never sees an earlier holder"),
    (Promise::P7, "one holder or readers only, late writes refused, nothing changes under a reader"),
];
pub const OF_ELECTIONS: [(Promise, &str); 5] = [
    (Promise::P1, "a write under a term is in the data once, in the order of terms"),
    (Promise::P3, "every value read is whole"),
    (Promise::P4, "the next one leads in time; nothing of an ex-leader is left but that it resigned"),
    (Promise::P6, "revisions respect real time, and terms only grow for whoever looks"),
    (Promise::P7, "one leader at a time, an ex-leader can neither write nor proclaim"),
];
pub const OF_GUARDS: [(Promise, &str); 5] = [
    (Promise::P1, "every change of a row is counted once, in the rows' order, by its author or by who comes next"),
    (Promise::P3, "every row read is whole"),
    (Promise::P4, "the next turn comes in time; no ticket and no session is left"),
    (Promise::P6, "who looks never sees an earlier turn"),
    (Promise::P7, "one turn at a time, who is late can neither intend nor commit"),
];

/// What is left when everybody has gone.
#[derive(Default)]
pub struct Left {
    /// By name: its data, or its row.
    pub data: Vec<Final>,
    /// By name, of a guard: how many changes had been counted, and after a last turn.
    pub counted: Vec<(u64, u64)>,
    /// What should have gone with whoever put it.
    pub of_the_dead: Vec<String>,
}

/// Holds the history against what is left.
pub fn check(scene: &Scene<'_>, terms: Terms, left: &Left) -> Examined {
    let scene = &Scene { finals: &left.data, ..*scene };
    let chains = chain::walk(scene);
    let register = Register::of(scene, terms.lease().as_nanos() as u64);
    let mut turns = Findings::default();
    holds::check(scene, &register, &mut turns);
    holds::looks_are_not_late(scene, &register, &mut turns, |entry| entry.kind == Kind::Sight);
    let mut once = chains.findings.clone();
    holds::tokens_grow_along_the_data(scene, &chains, &mut once);
    let settled = settled::check(scene, &chains, &register, left, &mut once);
    let mut after = Recoveries::default();
    after
        .findings
        .expect(left.of_the_dead.is_empty(), || format!("entries of the dead are left: {:?}", left.of_the_dead));
    answers_are_explained(scene, terms.way, &mut after.findings);
    holds::names_are_free_in_time(scene, &register, &mut after);
    holds::nobody_stands_in_the_way(scene, &register, &mut after);
    let mut order = order::check(scene.history);
    holds::looks_go_forward(scene, seen, &mut order);
    let figures = figures(scene, terms.way, &register, &chains, &settled, &after);
    let mut verdicts = reads::anomalies(scene.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, after.findings);
    verdicts.add(Promise::P6, order);
    verdicts.add(Promise::P7, turns);
    Examined {
        verdicts,
        refused_late: refused_late(scene),
        recoveries: after.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

/// Which token a look shows.
fn seen(entry: &Entry) -> Option<u64> {
    match entry.kind {
        Kind::Sight => Some(entry.revision),
        // An observer that is told of a leader.
        Kind::Wait if entry.revision == 1 => Some(entry.version),
        _ => None,
    }
}

/// What is refused to those who are late.
fn refused_late(scene: &Scene<'_>) -> u64 {
    [Kind::Guarded, Kind::Intend, Kind::Settle, Kind::Leave]
        .iter()
        .map(|kind| count(scene, *kind, Outcome::LeaseLost))
        .sum()
}

fn figures(
    scene: &Scene<'_>,
    way: Way,
    register: &Register,
    chains: &Chains,
    settled: &Settled,
    after: &Recoveries,
) -> Vec<Figure> {
    let of = |next: Next| after.recoveries.iter().filter(|one| one.next == next).copied().collect::<Vec<_>>();
    let count = |kind, outcome| count(scene, kind, outcome);
    let mut figures = vec![Figure::needed("turns", count(Kind::Take, Outcome::Done))];
    match way {
        Way::Lock => {
            let several = scene.history.all().filter(|(_, entry)| {
                entry.kind == Kind::Take && entry.outcome == Outcome::Done && entry.count.count_ones() > 1
            });
            figures.extend([
                Figure::needed("locks had alone", register.holds.iter().filter(|hold| !hold.shared).count() as u64),
                Figure::needed(
                    "locks had with other readers",
                    register.holds.iter().filter(|hold| hold.shared).count() as u64,
                ),
                Figure::needed("several at once", several.count() as u64),
                Figure::needed("writes under a token acknowledged", chains.acknowledged),
                Figure::needed("late writes and releases refused", refused_late(scene)),
                Figure::needed("reads under a lock", count(Kind::Read, Outcome::Done)),
                Figure::needed("locks seen held", count(Kind::Sight, Outcome::Done)),
            ]);
        }
        Way::Election => figures.extend([
            Figure::needed("writes under a term acknowledged", chains.acknowledged),
            Figure::needed("late writes, proclamations and resignations refused", refused_late(scene)),
            Figure::needed("changes told to observers", count(Kind::Wait, Outcome::Done)),
            Figure::needed("leaders seen", count(Kind::Sight, Outcome::Done)),
        ]),
        Way::Guard => figures.extend([
            Figure::needed("changes of rows", chains.found + chains.took_effect),
            Figure::needed("counted by their authors", settled.by_author),
            Figure::needed("counted by who came next", settled.by_next),
            Figure::count("counted by somebody killed in that call", settled.in_doubt),
            Figure::needed("intents shown to who came next", settled.shown),
            Figure::count("changes that the row refused", count(Kind::Guarded, Outcome::Conflict)),
            Figure::needed("late intents, counts and withdrawals refused", refused_late(scene)),
        ]),
    }
    figures.extend([
        Figure::count("gave up waiting", count(Kind::Take, Outcome::TimedOut)),
        Figure::count("lost their session while waiting", count(Kind::Take, Outcome::LeaseLost)),
    ]);
    figures.extend(slowest(&of(Next::Name), "turns after somebody was killed", "slowest turn after a kill"));
    figures.extend(slowest(&of(Next::Expiry), "turns after a lease ran out", "slowest turn after its end"));
    figures.extend(slowest(&of(Next::HandOver), "turns of those who had waited", "slowest of these"));
    figures
}

/// Giving up, and losing a turn to time, is all that is refused; a row may refuse as well.
fn answers_are_explained(scene: &Scene<'_>, way: Way, findings: &mut Findings) {
    for (author, entry) in scene.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            Outcome::TimedOut => matches!(entry.kind, Kind::Take | Kind::Wait),
            Outcome::Declined => entry.kind == Kind::Sight,
            Outcome::Conflict => way == Way::Guard && entry.kind == Kind::Guarded,
            Outcome::LeaseLost => entry.kind != Kind::Sight,
            Outcome::Held | Outcome::Failed => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
