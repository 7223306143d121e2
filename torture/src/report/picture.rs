//! What is kept of a sustained phase for drawing: counts per bin, marks, samples; never a whole history.

use std::collections::BTreeSet;

use crate::check::claims::{self, Grant};
use crate::check::{Checked, Execution};
use crate::history::{Kind, Outcome};
use crate::nemesis::Schedule;
use crate::nemesis::{Fault, FaultKind};
use crate::value::Author;

/// Bins of the overview.
pub const BINS: usize = 240;
const LATENCY_BINS: usize = 120;
/// Versions that are drawn one by one.
const STRETCH: usize = 400;
/// Length of the window that shows hand-overs one by one, in nanoseconds.
const WINDOW: u64 = 400_000_000;

/// One sustained phase, ready to be drawn. Times are nanoseconds from its beginning.
#[derive(Debug)]
pub struct Picture {
    /// When the phase began, CLOCK_MONOTONIC nanoseconds.
    pub begin: u64,
    pub length: u64,
    pub slots: Vec<SlotPicture>,
    pub latencies: Vec<Latency>,
    pub versions: Versions,
    pub faults: Vec<Fault>,
    pub window: Option<Window>,
}

#[derive(Debug)]
pub struct SlotPicture {
    pub name: String,
    /// Operations by bin.
    pub operations: Vec<u64>,
}

/// How long changes took in one bin of time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub at: u64,
    pub median: u64,
    pub p99: u64,
    pub slowest: u64,
}

/// The versions of record 0 by the process that made them.
#[derive(Debug)]
pub struct Versions {
    /// How many each process made, by slot.
    pub made: Vec<u64>,
    /// The first version of the stretch that is drawn one by one.
    pub first: u64,
    /// Who made each version of the stretch.
    pub by: Vec<Option<u32>>,
}

/// A short stretch in which holds of claims are drawn one by one.
#[derive(Debug)]
pub struct Window {
    pub from: u64,
    pub until: u64,
    pub record: u16,
    pub holds: Vec<Hold>,
}

/// A claim from its grant to its end.
#[derive(Debug)]
pub struct Hold {
    pub slot: u32,
    pub token: u64,
    pub from: u64,
    pub until: u64,
    pub end: HoldEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    Wrote,
    GaveBack,
    /// Came too late and was refused.
    Refused,
    /// Killed.
    Killed,
}

impl Picture {
    pub fn of(execution: &Execution<'_>, checked: &Checked, plan: &Schedule) -> Self {
        let begin = execution.history.begin;
        let length = (execution.history.end - begin).max(1);
        let since = |moment: u64| moment.saturating_sub(begin);
        let faults =
            execution.faults.iter().map(|fault| Fault { at: since(fault.at), until: since(fault.until), ..*fault });
        let faults: Vec<Fault> = faults.collect();
        Self {
            begin,
            length,
            slots: slots(execution, plan, length),
            latencies: latencies(execution, length),
            versions: versions(execution, checked, plan.slots.len()),
            window: window(execution, checked, &faults),
            faults,
        }
    }
}

fn slots(execution: &Execution<'_>, plan: &Schedule, length: u64) -> Vec<SlotPicture> {
    let mut slots: Vec<SlotPicture> =
        plan.slots.iter().map(|slot| SlotPicture { name: slot.name.clone(), operations: vec![0; BINS] }).collect();
    for (author, entry) in execution.history.all() {
        let slot = execution.history.slot(author.writer) as usize;
        let since = entry.begin.saturating_sub(execution.history.begin);
        let bin = (u128::from(since) * BINS as u128 / u128::from(length)) as usize;
        // The closing changes come after the time is over, from a slot that is not drawn.
        if let Some(count) = slots.get_mut(slot).and_then(|slot| slot.operations.get_mut(bin)) {
            *count += 1;
        }
    }
    slots
}

fn latencies(execution: &Execution<'_>, length: u64) -> Vec<Latency> {
    let mut bins: Vec<Vec<u64>> = vec![Vec::new(); LATENCY_BINS];
    let changes = execution.history.all().filter(|(_, entry)| entry.is_acknowledged_change());
    for (_, entry) in changes {
        let since = entry.end.saturating_sub(execution.history.begin);
        let bin = (u128::from(since) * LATENCY_BINS as u128 / u128::from(length)) as usize;
        if let Some(bin) = bins.get_mut(bin) {
            bin.push(entry.end - entry.begin);
        }
    }
    let width = length / LATENCY_BINS as u64;
    let filled = bins.iter_mut().zip(0u64..).filter(|(bin, _)| !bin.is_empty());
    filled
        .map(|(bin, number)| {
            bin.sort_unstable();
            Latency {
                at: number * width + width / 2,
                median: bin[bin.len() / 2],
                p99: bin[(bin.len() * 99).div_ceil(100) - 1],
                slowest: bin[bin.len() - 1],
            }
        })
        .collect()
}

/// Who made which version of record 0, and the stretch with the most writers and switches between them.
fn versions(execution: &Execution<'_>, checked: &Checked, slots: usize) -> Versions {
    let authors = checked.chains.authors.first().map_or(&[][..], Vec::as_slice);
    let slot = |author: &Option<Author>| author.map(|author| execution.history.slot(author.writer));
    let mut made = vec![0; slots];
    for slot in authors.iter().filter_map(slot) {
        // The last change is made by a process that is not drawn.
        if let Some(count) = made.get_mut(slot as usize) {
            *count += 1;
        }
    }
    // Most writers first, then most switches.
    let lively = |stretch: &[Option<Author>]| {
        let writers: BTreeSet<u32> = stretch.iter().filter_map(slot).collect();
        let switches = stretch.windows(2).filter(|pair| slot(&pair[0]) != slot(&pair[1]));
        (writers.len(), switches.count())
    };
    let stretches = authors.chunks(STRETCH).zip((1u64..).step_by(STRETCH));
    let (stretch, first) = stretches.max_by_key(|(stretch, _)| lively(stretch)).unwrap_or((&[], 1));
    Versions { made, first, by: stretch.iter().map(slot).collect() }
}

/// The stretch around a late write that was refused, or else around a holder that was killed.
fn window(execution: &Execution<'_>, checked: &Checked, faults: &[Fault]) -> Option<Window> {
    let begin = execution.history.begin;
    let grants = claims::grants(execution, &checked.chains);
    let of_interest = |grant: &&Grant| grant.last() == Some((Kind::Commit, Outcome::LeaseLost));
    let all = || grants.values().flatten();
    let middle = all().find(of_interest).or_else(|| all().next())?;
    let (record, middle) = (middle.record, middle.ending.unwrap_or(middle.end));
    let from = middle.saturating_sub(WINDOW * 2 / 3).max(begin);
    let until = from + WINDOW;
    let holds = grants.get(&record)?.iter().filter_map(|grant| {
        let (ended, end) = end_of(execution, faults, grant);
        (grant.end <= until && ended >= from).then(|| Hold {
            slot: grant.slot,
            token: grant.token,
            from: grant.end.max(from) - begin,
            until: ended.min(until) - begin,
            end,
        })
    });
    Some(Window { from: from - begin, until: until - begin, record, holds: holds.collect() })
}

fn end_of(execution: &Execution<'_>, faults: &[Fault], grant: &Grant) -> (u64, HoldEnd) {
    let kill = faults
        .iter()
        .find(|fault| fault.kind == FaultKind::Kill && fault.slot == grant.slot && fault.life == grant.life);
    let killed = || kill.map_or(grant.end, |kill| kill.at + execution.history.begin);
    match (grant.ending, grant.last()) {
        (Some(at), Some((Kind::Commit, Outcome::Done))) => (at, HoldEnd::Wrote),
        (Some(at), Some((_, Outcome::LeaseLost))) => (at, HoldEnd::Refused),
        (Some(at), Some((_, Outcome::Done))) => (at, HoldEnd::GaveBack),
        _ => (killed(), HoldEnd::Killed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::check::scripted_run::ScriptedRun;
    use crate::workloads::{Round, Scenario, records};
    use std::time::Duration;

    #[test]
    fn a_refused_late_holder_is_in_the_window_with_its_token() {
        let mut run = ScriptedRun::new(2, 1);
        let first = run.grant(0, 0);
        run.entry(first).count = 1;
        run.grant(1, 0);
        run.commit(1, 0);
        run.under_claim(0, 0, Kind::Commit, Outcome::LeaseLost);
        run.history.end = 1_000_000;
        let plan = records::Plan::of(Round { seed: 1, number: 0, length: Duration::from_secs(20) });
        run.with_execution(|execution| {
            let picture = Picture::of(execution, &check(execution), plan.schedule());
            let window = picture.window.expect("a window");
            let ends: Vec<_> = window.holds.iter().map(|hold| (hold.token, hold.end)).collect();
            assert_eq!(ends, [(1, HoldEnd::Refused), (2, HoldEnd::Wrote)]);
            assert_eq!((picture.versions.made[1], picture.versions.by.as_slice()), (1, &[Some(1)][..]));
            assert_eq!(picture.latencies.len(), 1);
            let drawn: u64 = picture.slots.iter().flat_map(|slot| &slot.operations).sum();
            assert_eq!(drawn, run.history.all().count() as u64);
        });
    }
}
