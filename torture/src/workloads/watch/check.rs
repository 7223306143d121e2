//! What must hold of watches: each view is the store at one moment, the last state arrives, sleepers are told in time.
//!
//! Watchers say on the spot what cannot be: half a commit, an older moment, a name twice. Here their counts are held
//! against the history: a view at revision R shows as many changes of the pairs as have a revision up to R. And whoever
//! saw the last word must know exactly what a range shows when everybody has left.

use std::collections::BTreeMap;

use slotguard::Error;
use slotguard::backend::{Backend, SharedMemory};

use super::view::View;
use super::{PAIRS, Prefix, QUIET, names};
use crate::check::chain::{self, Chains};
use crate::check::numbers::Numbers;
use crate::check::recovery::{self, Next, Recoveries, Recovery};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::nemesis::FaultKind;
use crate::value::Evidence;
use crate::workloads::{Examined, Figure, slowest};

/// What is there when everybody has left, by prefix.
pub type FinalState = BTreeMap<Prefix, View>;

/// Reads all of it.
pub fn final_state(store: &SharedMemory) -> Result<FinalState, Error> {
    let mut final_state = FinalState::new();
    for prefix in Prefix::ALL {
        let mut view = View::default();
        let revision = store.range(prefix.text(), &mut |key, value, meta| {
            view.entries.insert(key.as_ref().to_owned(), (value.to_vec(), meta));
        })?;
        view.at = revision.0;
        final_state.insert(prefix, view);
    }
    Ok(final_state)
}

/// Holds the history against what is left; `followers` says how many threads followed a prefix to the end.
pub fn check(execution: &Execution<'_>, final_state: &FinalState, followers: impl Fn(Prefix) -> usize) -> Examined {
    let finals: Vec<Final> = (0..PAIRS + QUIET).map(|number| last(final_state, number)).collect();
    let execution = &Execution { finals: &finals, ..*execution };
    let chains = chain::walk(execution);
    let mut whole = Findings::default();
    for (prefix, view) in final_state {
        whole.expect(view.contradictions().is_empty(), || format!("what is left of {prefix:?} is half a commit"));
        views_show_one_moment(execution, &chains, *prefix, &mut whole);
        last_views_are_what_is_left(execution, *prefix, view, followers(*prefix), &mut whole);
    }
    let mut going_on = Recoveries::default();
    recovery::others_go_on(execution, |entry| entry.kind == Kind::PairPut, &mut going_on);
    answers_are_explained(execution, &mut going_on.findings);
    sleepers_are_told(execution, &mut going_on);
    let figures = figures(execution, &chains, &going_on);
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, chains.findings.clone());
    verdicts.add(Promise::P4, going_on.findings);
    verdicts.add(Promise::P5, whole);
    verdicts.add(Promise::P6, order::check(execution.history));
    Examined { verdicts, recoveries: going_on.recoveries, figures, ..Examined::of(&chains) }
}

/// The last value of a pair or a quiet entry.
fn last(final_state: &FinalState, number: u32) -> Final {
    let entry = final_state.values().find_map(|view| view.entries.get(&names(number)[0]));
    let (version, evidence) =
        entry.map_or((0, Ok(Evidence::NONE)), |(value, meta)| (meta.version.0, Evidence::of(number, value)));
    Final { version, evidence, fingerprint_agrees: true }
}

fn told<'a>(execution: &'a Execution<'_>, prefix: Prefix) -> impl Iterator<Item = &'a Entry> {
    let of_prefix = move |entry: &&Entry| u32::from(entry.record) == prefix as u32 && entry.outcome == Outcome::Done;
    let all = execution.history.regions.iter().flat_map(|region| &region.entries);
    all.filter(|entry| matches!(entry.kind, Kind::Snapshot | Kind::WatchBatch)).filter(of_prefix)
}

/// Each view shows as many changes as have a revision up to its own.
fn views_show_one_moment(execution: &Execution<'_>, chains: &Chains, prefix: Prefix, findings: &mut Findings) {
    let numbers = Numbers::of(execution, chains, &prefix.numbers());
    for view in told(execution, prefix) {
        let (revision, shown) = (view.revision, view.count);
        let (least, most) = numbers.up_to(revision);
        findings.expect((least..=most).contains(&shown), || {
            format!("{prefix:?}: a {:?} at revision {revision} shows {shown} changes, not {least} to {most}", view.kind)
        });
    }
}

/// Whoever was told the last word knows what is there, and everybody was told it.
fn last_views_are_what_is_left(
    execution: &Execution<'_>,
    prefix: Prefix,
    final_state: &View,
    followers: usize,
    findings: &mut Findings,
) {
    let views = execution.history.all().filter(|(_, entry)| entry.kind == Kind::LastView);
    let views: Vec<_> = views.filter(|(_, entry)| u32::from(entry.record) == prefix as u32).collect();
    findings.expect(views.len() == followers, || {
        format!("{prefix:?}: {} watchers were told the last word, there are {followers}", views.len())
    });
    for (author, view) in views {
        findings.expect(view.extra == final_state.digest(), || {
            format!("{prefix:?}: the last view of {author:?}, at revision {}, is not what is left", view.revision)
        });
    }
}

fn answers_are_explained(execution: &Execution<'_>, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = matches!(entry.outcome, Outcome::Done | Outcome::Conflict | Outcome::InDoubt);
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

/// From a change of a quiet entry to the batch that tells of it: nothing else wakes a watcher of those.
fn sleepers_are_told(execution: &Execution<'_>, found: &mut Recoveries) {
    let history = execution.history;
    let is_quiet = |entry: &&Entry| entry.kind == Kind::PairPut && u32::from(entry.record) >= PAIRS;
    let entries = || history.regions.iter().flat_map(|region| &region.entries);
    let changes: Vec<&Entry> = entries().filter(is_quiet).filter(|entry| entry.outcome == Outcome::Done).collect();
    for (writer, region) in history.regions.iter().enumerate() {
        let slot = history.slot(writer as u32);
        let is_batch =
            |entry: &&Entry| entry.kind == Kind::WatchBatch && u32::from(entry.record) == Prefix::Quiet as u32;
        let batches: Vec<&Entry> =
            region.entries.iter().filter(is_batch).filter(|entry| entry.outcome == Outcome::Done).collect();
        for change in &changes {
            // Revisions of a writer's batches grow with the time, from life to life too.
            let first = batches.partition_point(|batch| batch.revision < change.revision);
            let Some(batch) = batches.get(first).filter(|batch| batch.begin < change.end && change.end < batch.end)
            else {
                continue;
            };
            if !recovery::was_stopped(execution, slot, change.end, batch.end) {
                let recovery = Recovery { at: change.end, took: batch.end - change.end, next: Next::Batch };
                let what = || format!("to tell a sleeper of revision {}", change.revision);
                recovery::judge(execution, recovery, what, found);
            }
        }
    }
    recovery::most_are_woken(Next::Batch, found);
}

/// How long watchers took for their next batch after a stop, and how many did.
fn caught_up(execution: &Execution<'_>) -> Vec<Recovery> {
    let mut caught = Vec::new();
    for (writer, region) in execution.history.regions.iter().enumerate() {
        let slot = execution.history.slot(writer as u32);
        let is_batch = |entry: &&Entry| {
            let of_pairs = u32::from(entry.record) == Prefix::Pairs as u32;
            entry.kind == Kind::WatchBatch && of_pairs && entry.outcome == Outcome::Done
        };
        let batches: Vec<&Entry> = region.entries.iter().filter(is_batch).collect();
        for stop in execution.faults.iter().filter(|fault| fault.kind == FaultKind::Stop && fault.slot == slot) {
            let next = batches.partition_point(|batch| batch.end < stop.until);
            let next = batches.get(next).filter(|batch| batch.life == stop.life);
            caught.extend(next.map(|batch| Recovery {
                at: stop.until,
                took: batch.end - stop.until,
                next: Next::Batch,
            }));
        }
    }
    caught
}

fn figures(execution: &Execution<'_>, chains: &Chains, going_on: &Recoveries) -> Vec<Figure> {
    let count =
        |kind| execution.history.all().filter(|(_, e)| e.kind == kind && e.outcome == Outcome::Done).count() as u64;
    let batches = || told(execution, Prefix::Pairs).filter(|entry| entry.kind == Kind::WatchBatch);
    let mut followers: Vec<u32> = execution
        .history
        .all()
        .filter(|(_, entry)| matches!(entry.kind, Kind::WatchBatch | Kind::LastView))
        .map(|(author, _)| execution.history.slot(author.writer))
        .collect();
    followers.sort_unstable();
    followers.dedup();
    let kills = execution.faults.iter().filter(|fault| fault.kind == FaultKind::Kill);
    let replaced = kills.filter(|kill| followers.binary_search(&kill.slot).is_ok()).count() as u64;
    let mut figures = vec![
        Figure::needed("commits of pairs acknowledged", chains.acknowledged),
        Figure::needed("batches told of pairs, and looked at", batches().count() as u64),
        Figure::count("events in them", batches().map(|batch| batch.extra).sum()),
        Figure::needed("views that began with a range", count(Kind::Snapshot)),
        Figure::needed("last views that are what is left", count(Kind::LastView)),
        Figure::needed("watchers killed and replaced", replaced),
    ];
    figures.extend(slowest(
        &caught_up(execution),
        "stops of watchers that caught up",
        "slowest to the next batch after one",
    ));
    let told: Vec<Recovery> = going_on.recoveries.iter().filter(|one| one.next == Next::Batch).copied().collect();
    figures.extend(slowest(&told, "quiet changes told to sleepers", "slowest to be told"));
    figures
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
