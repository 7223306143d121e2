//! Every number of a run, once: `summary.json` is this, written down.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::recovery::{ALLOWANCE, BOUND, Next, Recovery, Times};
use crate::check::{Counted, Findings, Promise, Verdicts};
use crate::examine::{EngineCounts, PhaseResult};
use crate::nemesis::FaultKind;
use crate::options::{Mode, Options};
use crate::plan::{Phase, PhaseWork};
use crate::workloads::{Figure, Workload};

#[derive(Debug, Serialize)]
pub struct Summary {
    /// As text too, since not every reader of JSON has 64-bit numbers.
    pub seed: u64,
    pub seed_text: String,
    pub replay: String,
    pub mode: String,
    pub verdict: &'static str,
    /// Why the verdict is what it is, if it is FAIL.
    pub reasons: Vec<String>,
    pub seconds_taken: f64,
    pub promises: BTreeMap<Promise, Findings>,
    pub operations: Operations,
    pub kills: u64,
    pub stops: u64,
    /// Writes of holders that had lost their claim, refused as they must be.
    pub late_writes_refused: u64,
    pub recovery: Recovered,
    pub phases: Vec<PhaseSummary>,
    pub workloads: Vec<WorkloadSummary>,
}

/// What one workload came to, all its rounds together.
#[derive(Debug, Serialize)]
pub struct WorkloadSummary {
    pub workload: &'static Workload,
    pub seconds: f64,
    pub kills: u64,
    pub stops: u64,
    pub promises: BTreeMap<Promise, Meant>,
    pub figures: Vec<Figure>,
}

/// A promise as a workload means it, and what was found.
#[derive(Debug, Serialize)]
pub struct Meant {
    pub words: &'static str,
    #[serde(flatten)]
    pub found: Findings,
}

/// Changes made through the engine, all phases together.
#[derive(Debug, Default, Serialize)]
pub struct Operations {
    pub acknowledged: u64,
    pub found: u64,
    pub lost: u64,
    /// Changes whose author was killed before it was answered.
    pub in_doubt: u64,
    pub in_doubt_that_took_effect: u64,
}

#[derive(Debug, Serialize)]
pub struct PhaseSummary {
    pub name: String,
    pub workers: u64,
    pub acknowledged: u64,
    pub found: u64,
    pub lost: u64,
    pub milliseconds: f64,
    pub updates_per_second: f64,
    pub as_it_must_be: bool,
    pub kills: u64,
    pub stops: u64,
    pub counted: Option<Counted>,
    pub engine: Option<EngineCounts>,
}

/// Times from a kill to the next success of others, and from a change to the end of a wait for it.
#[derive(Debug, Default, Serialize)]
pub struct Recovered {
    pub bound_ms: f64,
    pub allowance_ms: f64,
    pub by_kind: BTreeMap<Next, Times>,
    /// All kinds that follow a kill, in milliseconds, in the order of the kills.
    pub times_ms: Vec<f64>,
}

impl Next {
    pub fn words(self) -> &'static str {
        match self {
            Self::SameRecord => "killed while changing a record → its next change by another",
            Self::AnyRecord => "killed while changing none → the next change by another",
            Self::Grant => "killed while holding a claim → its next grant",
            Self::HandOver => "a claim or a name was given back, or a claim ran out → its next grant",
            Self::Wake => "a change → the end of a wait for it",
            Self::Commit => "killed at work on several → the next commit by another",
            Self::Name => "killed while holding a name → its next holder",
            Self::Expiry => "stopped past its lease → the name's next holder",
            Self::Batch => "a change → the batch that tells a sleeping watcher",
        }
    }
}

impl Summary {
    pub fn of(options: &Options, planned: &[Phase], phases: &[PhaseResult], seconds_taken: f64) -> Self {
        let mut verdicts = Verdicts::default();
        phases.iter().for_each(|phase| verdicts.merge(phase.verdicts.clone()));
        let ours = || planned.iter().zip(phases).filter(|(plan, _)| plan.work.is_ours());
        let sum = |number: fn(&PhaseResult) -> u64| ours().map(|(_, phase)| number(phase)).sum();
        let recoveries: Vec<&Recovery> = phases.iter().flat_map(|phase| &phase.recoveries).collect();
        let mut summary = Self {
            seed: options.seed,
            seed_text: options.seed.to_string(),
            replay: options.replay(),
            mode: options.mode.to_string(),
            verdict: "PASS",
            reasons: Vec::new(),
            seconds_taken,
            promises: verdicts.0,
            operations: Operations {
                acknowledged: sum(|phase| phase.acknowledged),
                found: sum(|phase| phase.found),
                lost: sum(|phase| phase.lost),
                in_doubt: sum(|phase| phase.in_doubt),
                in_doubt_that_took_effect: sum(|phase| phase.took_effect),
            },
            kills: phases.iter().map(|phase| phase.count(FaultKind::Kill)).sum(),
            stops: phases.iter().map(|phase| phase.count(FaultKind::Stop)).sum(),
            late_writes_refused: sum(|phase| phase.refused_late),
            recovery: recovered(&recoveries),
            phases: phases.iter().map(PhaseSummary::of).collect(),
            workloads: workloads(planned, phases),
        };
        summary.judge(options, planned, phases);
        summary
    }

    fn judge(&mut self, options: &Options, planned: &[Phase], phases: &[PhaseResult]) {
        for (plan, phase) in planned.iter().zip(phases) {
            self.reasons.extend(reason(plan, phase));
        }
        if options.mode.includes(Mode::Ours) {
            self.judge_what_was_exercised();
        }
        if !self.reasons.is_empty() {
            self.verdict = "FAIL";
        }
    }

    /// What was never looked at has not been shown to hold.
    fn judge_what_was_exercised(&mut self) {
        let reasons = &mut self.reasons;
        for one in &self.workloads {
            let name = one.workload.name;
            for (promise, _) in one.promises.iter().filter(|(_, meant)| meant.found.checked == 0) {
                reasons.push(format!("{name}: {promise:?} was not exercised"));
            }
            for figure in one.figures.iter().filter(|figure| figure.is_missing()) {
                reasons.push(format!("{name}: {}: none, so nothing was shown of them", figure.words));
            }
        }
        if self.kills == 0 || self.stops == 0 {
            reasons.push("nobody was killed, or nobody stopped".into());
        }
    }

    pub fn passed(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// The workloads, each with all its rounds.
fn workloads(planned: &[Phase], phases: &[PhaseResult]) -> Vec<WorkloadSummary> {
    let mut summaries: Vec<WorkloadSummary> = Vec::new();
    for (plan, phase) in planned.iter().zip(phases) {
        let PhaseWork::Workload(workload, _, scenario) = &plan.work else {
            continue;
        };
        if summaries.last().is_none_or(|last| last.workload != *workload) {
            let meant =
                |promise| Some((promise, Meant { words: scenario.words(promise)?, found: Findings::default() }));
            let promises = Promise::ALL.into_iter().filter_map(meant).collect();
            let (seconds, kills, stops, figures) = (0.0, 0, 0, Vec::new());
            summaries.push(WorkloadSummary { workload, seconds, kills, stops, promises, figures });
        }
        if let Some(summary) = summaries.last_mut() {
            summary.add(phase);
        }
    }
    summaries
}

impl WorkloadSummary {
    fn add(&mut self, phase: &PhaseResult) {
        self.seconds += phase.milliseconds / 1_000.0;
        self.kills += phase.count(FaultKind::Kill);
        self.stops += phase.count(FaultKind::Stop);
        for (promise, found) in &phase.verdicts.0 {
            // What a workload does not mean by itself breaks no promise of its own unless something was found.
            let words = "found on the way";
            if found.violations > 0 || self.promises.contains_key(promise) {
                let meant =
                    self.promises.entry(*promise).or_insert_with(|| Meant { words, found: Findings::default() });
                meant.found.add(found.clone());
            }
        }
        for figure in &phase.figures {
            match self.figures.iter_mut().find(|known| known.words == figure.words) {
                Some(known) => known.number = known.number.with(figure.number),
                None => self.figures.push(*figure),
            }
        }
    }
}

/// Why a phase is not as it must be.
fn reason(plan: &Phase, phase: &PhaseResult) -> Option<String> {
    if phase.as_it_must_be {
        return None;
    }
    let name = &phase.name;
    if let Some(trouble) = &phase.trouble {
        return Some(format!("{name}: {trouble}"));
    }
    Some(match &plan.work {
        PhaseWork::Naive(_) if phase.lost == 0 => {
            format!("{name}: lost nothing, so this harness would not see a loss either")
        }
        PhaseWork::Naive(burst) | PhaseWork::Flock(burst) | PhaseWork::Updates(burst)
            if phase.acknowledged != burst.total() =>
        {
            let (told, planned) = (phase.acknowledged, burst.total());
            format!("{name}: {told} of {planned} updates were acknowledged")
        }
        // What it lacks is told by itself.
        _ if phase.lost == 0 && phase.verdicts.violations() == 0 => return None,
        _ => {
            let violations = phase.verdicts.violations();
            format!("{name}: {} lost, {violations} violations", phase.lost)
        }
    })
}

fn recovered(recoveries: &[&Recovery]) -> Recovered {
    let mut by_kind: BTreeMap<Next, Vec<&Recovery>> = BTreeMap::new();
    for one in recoveries {
        by_kind.entry(one.next).or_default().push(one);
    }
    let mut after_kills: Vec<&&Recovery> = recoveries.iter().filter(|one| one.next.follows_a_kill()).collect();
    after_kills.sort_by_key(|one| one.at);
    Recovered {
        bound_ms: BOUND as f64 / 1e6,
        allowance_ms: ALLOWANCE as f64 / 1e6,
        by_kind: by_kind.iter().map(|(next, list)| (*next, Times::of(list))).collect(),
        times_ms: after_kills.iter().map(|one| (one.took / 1_000) as f64 / 1e3).collect(),
    }
}

impl PhaseSummary {
    fn of(phase: &PhaseResult) -> Self {
        Self {
            name: phase.name.clone(),
            workers: phase.workers,
            acknowledged: phase.acknowledged,
            found: phase.found,
            lost: phase.lost,
            milliseconds: phase.milliseconds,
            updates_per_second: phase.per_second(),
            as_it_must_be: phase.as_it_must_be,
            kills: phase.count(FaultKind::Kill),
            stops: phase.count(FaultKind::Stop),
            counted: phase.counted,
            engine: phase.engine,
        }
    }
}
