//! From a seed and the options to everything a run will do: the same seed, the same plan.
//!
//! What the machine makes of the plan (who wins a race, where a kill lands) differs from run to run; who is started,
//! what each thread draws, when each life is to end and how long each stop lasts does not.

use std::time::Duration;

use crate::options::{Mode, Options};
use crate::workloads::{Round, Scenario, Workload, records};

/// Processes that are alive at the same time when many come in waves.
pub const WAVE: u32 = 100;
/// Longest stretch of a phase with kills and stops on one segment; a longer run makes several.
pub const ROUND: Duration = Duration::from_secs(60);

/// What one phase shows.
#[derive(Debug)]
pub struct Phase {
    pub name: String,
    pub work: PhaseWork,
}

/// What the workers of a phase do.
#[derive(Debug)]
pub enum PhaseWork {
    /// Read-modify-write of a number in a plain file, with a yield in the window: must lose.
    Naive(Burst),
    /// The same under flock: must not lose.
    Flock(Burst),
    /// Updates of one record.
    Updates(Burst),
    /// A round of a workload, with kills and stops.
    Workload(&'static Workload, Round, Box<dyn Scenario>),
}

impl PhaseWork {
    /// Whether it goes through the engine.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Naive(_) | Self::Flock(_))
    }

    /// A rough length in seconds, for the progress bar only.
    pub fn rough_seconds(&self) -> f64 {
        match self {
            Self::Naive(burst) | Self::Flock(burst) | Self::Updates(burst) => {
                f64::from(burst.processes) * 0.003 + burst.total() as f64 * 1e-5
            }
            Self::Workload(_, round, _) => round.length.as_secs_f64() * 1.2,
        }
    }
}

/// So many processes, each with so many threads, each with so many updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    pub processes: u32,
    pub threads: u32,
    pub updates: u32,
}

impl Burst {
    pub fn total(&self) -> u64 {
        u64::from(self.processes) * u64::from(self.threads) * u64::from(self.updates)
    }
}

/// The phases of a run, in order.
pub fn phases(options: &Options) -> Vec<Phase> {
    let mut phases = Vec::new();
    for workload in &options.workloads {
        if workload.name == records::NAME {
            phases.extend(bursts(options));
        }
        if options.mode.includes(Mode::Ours) {
            phases.extend(rounds(workload, options));
        }
    }
    phases
}

/// Many updates at once of the controls' number, and of a record.
fn bursts(options: &Options) -> Vec<Phase> {
    let mut phases = Vec::new();
    let many = Burst { processes: (options.processes / 10).max(2), threads: 1, updates: options.updates };
    // So many at least that the naive one loses on any machine.
    let control = Burst { processes: many.processes.max(20), updates: many.updates.max(250), ..many };
    if options.mode.includes(Mode::Naive) {
        phases.push(phase("naive", control, PhaseWork::Naive));
    }
    if options.mode.includes(Mode::Flock) {
        phases.push(phase("flock", control, PhaseWork::Flock));
    }
    if options.mode.includes(Mode::Ours) {
        let once = |processes, threads, updates| Burst { processes, threads, updates };
        for burst in [
            once(1, options.threads, 1),
            once(options.processes, 1, 1),
            once(8, (options.threads / 8).max(1), 10),
            many,
        ] {
            phases.push(phase("ours", burst, PhaseWork::Updates));
        }
    }
    phases
}

fn phase(who: &str, burst: Burst, work: impl Fn(Burst) -> PhaseWork) -> Phase {
    let workers = match (burst.processes, burst.threads) {
        (1, threads) => format!("{threads} threads"),
        (processes, 1) => format!("{processes} processes"),
        (processes, threads) => format!("{processes} processes × {threads} threads"),
    };
    Phase { name: format!("{who}: {workers} × {}", burst.updates), work: work(burst) }
}

/// As many rounds of equal length as the workload's time takes.
fn rounds(workload: &'static Workload, options: &Options) -> Vec<Phase> {
    let whole = workload.length(options.seconds);
    let rounds = whole.as_secs().div_ceil(ROUND.as_secs()).max(1);
    let phase = |number| {
        let name = match rounds {
            1 => format!("{}, kills and stops", workload.name),
            _ => format!("{} {} of {rounds}, kills and stops", workload.name, number + 1),
        };
        let round = Round { seed: options.seed, number, length: whole / rounds as u32 };
        Phase { name, work: PhaseWork::Workload(workload, round, workload.plan(round)) }
    };
    (0..rounds).map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads;

    /// The rounds of a plan: workload, round, and what goes on in it.
    fn rounds(plan: &[Phase]) -> impl Iterator<Item = (&'static Workload, Round, &dyn Scenario)> {
        plan.iter().filter_map(|phase| match &phase.work {
            PhaseWork::Workload(workload, round, scenario) => Some((*workload, *round, scenario.as_ref())),
            _ => None,
        })
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let plan = |seed| format!("{:?}", phases(&Options::usual(seed, 20)));
        assert_eq!(plan(11), plan(11));
        assert_ne!(plan(11), plan(12));
    }

    /// A worker process is told the round and no more.
    #[test]
    fn a_worker_computes_the_plan_of_the_run() {
        for (workload, round, scenario) in rounds(&phases(&Options::usual(11, 130))) {
            let told: Round = serde_json::from_str(&serde_json::to_string(&round).expect("text")).expect("a round");
            let again = Workload::named(workload.name).expect("a workload").plan(told);
            assert_eq!(format!("{scenario:?}"), format!("{again:?}"));
        }
    }

    #[test]
    fn somebody_survives_every_phase_with_kills() {
        for seed in 0..20 {
            for (workload, _, scenario) in rounds(&phases(&Options::usual(seed, 20))) {
                let schedule = scenario.schedule();
                let survives = |slot: &u32| schedule.killed_after(*slot, 0).is_none();
                assert!((0..schedule.slots.len() as u32).any(|slot| survives(&slot)), "{workload:?}");
                assert!(schedule.slots.iter().all(|slot| slot.capacity > 0), "{workload:?}");
            }
        }
    }

    #[test]
    fn a_long_run_is_made_of_rounds() {
        let plan = phases(&Options::usual(1, 600));
        let lengths = |name| {
            let of_workload = rounds(&plan).filter(|(workload, ..)| workload.name == name);
            of_workload.map(|(_, round, _)| round.length.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(lengths("records"), [60; 10]);
        assert_eq!(lengths("bank"), [50; 3]);
    }

    #[test]
    fn a_workload_that_is_picked_is_all_there_is() {
        for picked in &workloads::ALL {
            let plan = phases(&Options { workloads: vec![picked], ..Options::usual(1, 20) });
            assert!(rounds(&plan).all(|(workload, ..)| workload == picked));
            assert_eq!(rounds(&plan).count() < plan.len(), picked.name == "records", "who has bursts");
        }
    }

    #[test]
    fn a_hundred_processes_make_a_thousand_updates_each() {
        let plan = phases(&Options::usual(1, 20));
        let hundred = Burst { processes: 100, threads: 1, updates: 1_000 };
        assert!(plan.iter().any(|phase| matches!(phase.work, PhaseWork::Updates(burst) if burst == hundred)));
        assert!(matches!(plan[0].work, PhaseWork::Naive(burst) if burst == hundred));
        assert_eq!(plan[0].name, "naive: 100 processes × 1000");
        assert_eq!(plan[2].name, "ours: 1000 threads × 1");
        let few = |text: &str| plan.iter().any(|p| p.name.contains(text));
        assert!(few("1000 processes × 1") && few("8 processes × 125 threads × 10"));
    }
}
