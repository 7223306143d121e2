//! Killing an operation after each of its instructions, and what the survivor finds.

use std::path::Path;
use std::time::Instant;

use super::diff::Diff;
use super::fixture::Fixture;
use super::scale::seeded;
use super::scenario::Scenario;
use super::trace::Trace;
use super::tracee::stay_on_one_processor;

/// What the survivor does first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// It goes on with its own work, and recovers later.
    WorkFirst,
    RecoverFirst,
}

impl Order {
    /// Points that others can tell from the one before are tried in both orders, the many between them in either.
    pub fn at(point: usize, trace: &Trace) -> &'static [Self] {
        match (trace.changes.contains(&point), point % 2) {
            (true, _) => &[Self::WorkFirst, Self::RecoverFirst],
            (false, 0) => &[Self::WorkFirst],
            (false, _) => &[Self::RecoverFirst],
        }
    }
}

/// What became of an operation whose author was killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Undone,
    Done,
    /// Done, and its author was told so.
    Acknowledged,
}

/// How many operations of a sweep ended in which way.
#[derive(Default)]
pub struct Tally {
    pub undone: u64,
    pub done: u64,
    pub acknowledged: u64,
    /// Children that took another path than the one traced.
    pub diverged: u64,
}

impl Tally {
    pub fn kills(&self) -> usize {
        (self.undone + self.done + self.acknowledged) as usize
    }

    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Undone => self.undone += 1,
            Verdict::Done => self.done += 1,
            Verdict::Acknowledged => self.acknowledged += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { undone, done, acknowledged, diverged } = self;
        let kills = self.kills();
        write!(f, "{kills} kills: {undone} undone, {done} done, {acknowledged} acknowledged; {diverged} diverged")
    }
}

/// Prints what was being done if the code that follows panics.
pub struct Context(String);

impl Context {
    pub fn new(context: impl Into<String>) -> Self {
        Self(context.into())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("context: {}", self.0);
        }
    }
}

/// Traces the scenario with no other process running.
///
/// A dry run shows which pages it changes, and that it succeeds; then only these pages are compared.
pub fn trace<S: Scenario>(folder: &Path, scenario: S) -> Trace {
    trace_beside(folder, scenario, |_| ())
}

/// Like [`trace`], with a bystander that is started once the author has come to its sync point.
pub fn trace_beside<S: Scenario, G>(folder: &Path, scenario: S, bystander: impl Fn(&S::Fixture) -> G) -> Trace {
    let pages = {
        let fixture = scenario.fixture(folder);
        let tracee = scenario.author(&fixture);
        let before = scenario.observe(&fixture);
        let _bystander = bystander(&fixture);
        let diff = Diff::new(fixture.path());
        tracee.finish();
        let pages = diff.changed_pages();
        scenario.succeeded(&fixture, before);
        pages
    };
    let fixture = scenario.fixture(folder);
    let tracee = scenario.author(&fixture);
    let _bystander = bystander(&fixture);
    let mut diff = Diff::on(fixture.path(), pages);
    Trace::of(tracee, |asked| diff.advance(asked))
}

/// Kills the scenario's author at every point that is to be had with `most` kills and at every one that makes a difference.
pub fn sweep<S: Scenario>(folder: &Path, scenario: S, most: usize) -> Tally {
    stay_on_one_processor();
    let trace = trace(folder, scenario);
    sweep_along(folder, scenario, &trace, most)
}

/// Like [`sweep`], with a trace that is already there.
pub fn sweep_along<S: Scenario>(folder: &Path, scenario: S, trace: &Trace, most: usize) -> Tally {
    let mut random = seeded();
    let began = Instant::now();
    let points = trace.points(&mut random, most);
    let mut tally = Tally::default();
    for &point in &points {
        for &order in Order::at(point, trace) {
            let _context =
                Context::new(format!("{}, killed after {point} instructions, survivor: {order:?}", scenario.name()));
            let fixture = scenario.fixture(folder);
            let mut tracee = scenario.author(&fixture);
            let before = scenario.observe(&fixture);
            tally.diverged += u64::from(!trace.lead(&mut tracee, point));
            tracee.kill();
            tally.count(scenario.check(&fixture, before, order, tally.kills()));
        }
    }
    println!(
        "{}: {} instructions, {} of them seen by others; killed after {}; {tally}; {:.1} s",
        scenario.name(),
        trace.last(),
        trace.seen(),
        points.len(),
        began.elapsed().as_secs_f64(),
    );
    assert!(tally.undone > 0 && tally.acknowledged > 0, "the sweep reaches from before the operation to after it");
    tally
}
