//! From a seed and the options to everything a run will do: the same seed, the same plan.
//!
//! What the machine makes of the plan (who wins a race, where a kill lands) differs from run to run; who is started,
//! what each thread draws, when each life is to end and how long each stop lasts does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nemesis::{Lives, Schedule, Slot};
use crate::options::{Mode, Options, Workload};
use crate::workloads::exclusion::Way;
use crate::workloads::{Scenario, assignment, bank, churn, delivery, exclusion, leases, watch};
use harness::random::Random;

/// Processes that are alive at the same time when many come in waves.
pub const WAVE: u32 = 100;
/// Longest stretch of a phase with kills and stops on one segment; a longer run makes several.
pub const ROUND: Duration = Duration::from_secs(60);
/// Entries all writers of one round may write together: 64 bytes each.
const ROUND_ENTRIES: u64 = 4_000_000;
const ENTRIES_A_SECOND: u64 = 200_000;
/// Each workload on several records or on names lasts this part of the sustained phase, but never less than
/// [`SHORTEST`].
const SHARE: u32 = 4;
/// Those on recipes this part.
const SHARE_OF_RECIPES: u32 = 5;
/// Long enough for everything that must happen to happen.
const SHORTEST: Duration = Duration::from_secs(2);

/// What one phase shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: String,
    pub work: PhaseWork,
}

/// What the workers of a phase do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhaseWork {
    /// Read-modify-write of a number in a plain file, with a yield in the window: must lose.
    Naive(Burst),
    /// The same under flock: must not lose.
    Flock(Burst),
    /// Updates of one record.
    Updates(Burst),
    /// Everything a record can do at once, with kills and stops.
    Sustained(Sustained),
    Bank(bank::Plan),
    Churn(churn::Plan),
    Leases(leases::Plan),
    Watch(watch::Plan),
    Exclusion(exclusion::Plan),
    Assignment(assignment::Plan),
    Delivery(delivery::Plan),
}

impl PhaseWork {
    /// Whether it goes through the engine.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Naive(_) | Self::Flock(_))
    }

    /// Which of the workloads that can be picked it belongs to.
    pub fn workload(&self) -> Workload {
        match self {
            Self::Naive(_) | Self::Flock(_) | Self::Updates(_) | Self::Sustained(_) => Workload::Records,
            Self::Bank(_) => Workload::Bank,
            Self::Churn(_) => Workload::Churn,
            Self::Leases(_) => Workload::Leases,
            Self::Watch(_) => Workload::Watch,
            Self::Exclusion(plan) => match plan.way() {
                Way::Lock => Workload::Lock,
                Way::Election => Workload::Election,
                Way::Guard => Workload::Guard,
            },
            Self::Assignment(_) => Workload::Assignment,
            Self::Delivery(_) => Workload::Delivery,
        }
    }

    /// The workload on several records or on names, if it is one.
    pub fn scenario(&self) -> Option<&dyn Scenario> {
        match self {
            Self::Naive(_) | Self::Flock(_) | Self::Updates(_) | Self::Sustained(_) => None,
            Self::Bank(plan) => Some(plan),
            Self::Churn(plan) => Some(plan),
            Self::Leases(plan) => Some(plan),
            Self::Watch(plan) => Some(plan),
            Self::Exclusion(plan) => Some(plan),
            Self::Assignment(plan) => Some(plan),
            Self::Delivery(plan) => Some(plan),
        }
    }

    /// What is done to its processes, if anything is.
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            Self::Sustained(plan) => Some(&plan.schedule),
            work => work.scenario().map(Scenario::schedule),
        }
    }

    /// A rough length in seconds, for the progress bar only.
    pub fn rough_seconds(&self) -> f64 {
        match self {
            Self::Naive(burst) | Self::Flock(burst) | Self::Updates(burst) => {
                f64::from(burst.processes) * 0.003 + burst.total() as f64 * 1e-5
            }
            _ => self.schedule().map_or(0.0, |schedule| schedule.length.as_secs_f64() * 1.2),
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

/// One round of the sustained phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sustained {
    pub schedule: Schedule,
    /// What the threads of each slot do.
    pub roles: Vec<Vec<Role>>,
    pub records: Records,
}

/// What a thread of the sustained phase does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Changes records, by closure and by compare-and-swap, and reads in between.
    Updater,
    /// Rests, and changes records as fast as it can when somebody is about to come for it: so that a kill at a random
    /// moment finds it at a random instruction of a change, and not asleep.
    Sprinter,
    /// Reads and checks.
    Reader,
    /// Waits for changes with a deadline far away.
    Waiter,
    /// Claims, intends, commits, renews, releases, drops.
    Claimer,
}

/// Which records are there for what: `0..hot` are fought for, then come the quiet ones, which people wait for, then
/// the claimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    pub hot: u32,
    pub quiet: u32,
    pub claimed: u32,
    /// Length of a lease in milliseconds.
    pub lease_ms: u64,
}

impl Records {
    pub fn total(&self) -> u32 {
        self.hot + self.quiet + self.claimed
    }

    pub fn draw_hot(&self, random: &mut Random) -> u32 {
        // Half of all changes meet on record 0.
        match random.one_in(2) {
            true => 0,
            false => random.below(u64::from(self.hot)) as u32,
        }
    }

    pub fn draw_quiet(&self, random: &mut Random) -> u32 {
        self.hot + random.below(u64::from(self.quiet)) as u32
    }

    pub fn draw_claimed(&self, random: &mut Random) -> u32 {
        self.hot + self.quiet + random.below(u64::from(self.claimed)) as u32
    }
}

/// The phases of a run, in order.
pub fn phases(options: &Options) -> Vec<Phase> {
    let mut phases = Vec::new();
    if options.workloads.contains(&Workload::Records) {
        phases.extend(records(options));
    }
    if !options.mode.includes(Mode::Ours) {
        return phases;
    }
    for workload in options.workloads.iter().filter(|workload| **workload != Workload::Records) {
        let share = if workload.is_of_recipes() { SHARE_OF_RECIPES } else { SHARE };
        let whole = (Duration::from_secs(options.seconds) / share).max(SHORTEST);
        phases.extend(rounds(workload.name(), whole, |round, length| scenario(*workload, options.seed, round, length)));
    }
    phases
}

/// One round of a workload that is a scenario.
fn scenario(workload: Workload, seed: u64, round: u64, length: Duration) -> PhaseWork {
    let exclusion = |way| PhaseWork::Exclusion(exclusion::Plan::of(way, seed, round, length));
    match workload {
        Workload::Bank => PhaseWork::Bank(bank::Plan::of(seed, round, length)),
        Workload::Churn => PhaseWork::Churn(churn::Plan::of(seed, round, length)),
        Workload::Leases => PhaseWork::Leases(leases::Plan::of(seed, round, length)),
        Workload::Watch => PhaseWork::Watch(watch::Plan::of(seed, round, length)),
        Workload::Lock => exclusion(Way::Lock),
        Workload::Election => exclusion(Way::Election),
        Workload::Guard => exclusion(Way::Guard),
        Workload::Assignment => PhaseWork::Assignment(assignment::Plan::of(seed, round, length)),
        Workload::Delivery => PhaseWork::Delivery(delivery::Plan::of(seed, round, length)),
        Workload::Records => unreachable!("single records are no scenario"),
    }
}

/// The controls, and single records.
fn records(options: &Options) -> Vec<Phase> {
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
        let whole = Duration::from_secs(options.seconds);
        phases.extend(rounds("ours: sustained", whole, |round, length| {
            PhaseWork::Sustained(sustained(options.seed, round, length))
        }));
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

/// As many rounds of equal length as the whole time takes.
fn rounds(name: &str, whole: Duration, work: impl Fn(u64, Duration) -> PhaseWork) -> Vec<Phase> {
    let rounds = whole.as_secs().div_ceil(ROUND.as_secs()).max(1);
    (0..rounds)
        .map(|round| {
            let name = match rounds {
                1 => format!("{name}, kills and stops"),
                _ => format!("{name} {} of {rounds}, kills and stops", round + 1),
            };
            Phase { name, work: work(round, whole / rounds as u32) }
        })
        .collect()
}

/// What is done to those who are there in a phase: the busy ones are told before they are stopped or killed, and each
/// thread has an equal part of the history.
pub fn schedule<R>(
    crew: &[(Lives, Vec<R>)],
    called: impl Fn(&R) -> String,
    length: Duration,
    lease: Duration,
    seed: u64,
) -> Schedule {
    let slot = |(lives, roles): &(Lives, Vec<R>)| {
        let slot = Slot::of(*lives, roles.iter().map(&called));
        Slot { sprints: slot.is_busy(), ..slot }
    };
    let mut slots: Vec<Slot> = crew.iter().map(slot).collect();
    share_entries(&mut slots, length, |_| 1);
    Schedule { length, slots, lease, seed }
}

/// What the threads of each slot do.
pub fn roles<R>(crew: impl IntoIterator<Item = (Lives, Vec<R>)>) -> Vec<Vec<R>> {
    crew.into_iter().map(|(_, roles)| roles).collect()
}

/// Divides the history of one round among its threads, so many parts for each thread of a slot as `weight` says.
pub fn share_entries(slots: &mut [Slot], length: Duration, weight: impl Fn(&Slot) -> u64) {
    let entries = (ENTRIES_A_SECOND * length.as_secs().max(1)).min(ROUND_ENTRIES);
    let all: u64 = slots.iter().map(|slot| weight(slot) * u64::from(slot.threads)).sum();
    for slot in slots {
        slot.capacity = entries * weight(slot) / all;
    }
}

fn sustained(seed: u64, round: u64, length: Duration) -> Sustained {
    use Role::{Claimer, Reader, Sprinter, Updater, Waiter};
    let mut random = Random::of(seed, &[3, round]);
    let mut plan: Vec<(Lives, Vec<Role>)> = (0..4).map(|_| (Lives::Short, vec![Sprinter])).collect();
    plan.push((Lives::Long, vec![Updater, Claimer]));
    plan.push((Lives::Long, vec![Claimer, Waiter, Reader]));
    plan.push((Lives::Steady, vec![Updater, Waiter, Claimer]));
    plan.push((Lives::Steady, vec![Updater, Reader, Waiter, Claimer]));
    // One of the short-lived ones claims, so that holders are killed often.
    let claims = random.below(4) as usize;
    plan[claims].1 = vec![Claimer];
    let called = |role: &Role| format!("{role:?}");
    let mut slots: Vec<Slot> = plan.iter().map(|(lives, roles)| Slot::of(*lives, roles.iter().map(called))).collect();
    for (slot, (_, roles)) in slots.iter_mut().zip(&plan) {
        slot.sprints = roles.contains(&Sprinter);
    }
    // The busier those are who are killed most, the more often a kill meets a change.
    share_entries(&mut slots, length, |slot| if slot.sprints { 8 } else { 1 });
    let records = Records {
        hot: 2 + random.below(5) as u32,
        quiet: 2 + random.below(3) as u32,
        claimed: 1 + random.below(3) as u32,
        lease_ms: 40 + random.below(80),
    };
    let lease = Duration::from_millis(records.lease_ms);
    Sustained { schedule: Schedule { length, slots, lease, seed: random.next() }, roles: roles(plan), records }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let plan = |seed| phases(&Options::usual(seed, 20));
        assert_eq!(plan(11), plan(11));
        assert_ne!(plan(11), plan(12));
    }

    #[test]
    fn somebody_survives_every_phase_with_kills() {
        for seed in 0..20 {
            for phase in phases(&Options::usual(seed, 20)) {
                let Some(schedule) = phase.work.schedule() else {
                    continue;
                };
                let survives = |slot: &u32| schedule.killed_after(*slot, 0).is_none();
                assert!((0..schedule.slots.len() as u32).any(|slot| survives(&slot)), "{}", phase.name);
                assert!(schedule.slots.iter().all(|slot| slot.capacity > 0), "{}", phase.name);
            }
        }
    }

    #[test]
    fn a_long_run_is_made_of_rounds() {
        let plan = phases(&Options::usual(1, 600));
        let lengths = |workload| {
            let of_part = plan.iter().filter(move |phase| phase.work.workload() == workload);
            of_part
                .filter_map(|phase| phase.work.schedule())
                .map(|schedule| schedule.length.as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(Workload::Records), [60; 10]);
        assert_eq!(lengths(Workload::Bank), [50; 3]);
    }

    #[test]
    fn a_workload_that_is_picked_is_all_there_is() {
        for workload in Workload::ALL {
            let options = Options { workloads: [workload].into(), ..Options::usual(1, 20) };
            assert!(phases(&options).iter().all(|phase| phase.work.workload() == workload));
        }
    }

    #[test]
    fn a_hundred_processes_make_a_thousand_updates_each() {
        let plan = phases(&Options::usual(1, 20));
        let hundred = Burst { processes: 100, threads: 1, updates: 1_000 };
        assert!(plan.iter().any(|p| p.work == PhaseWork::Updates(hundred)));
        assert_eq!(plan[0].work, PhaseWork::Naive(hundred));
        assert_eq!(plan[0].name, "naive: 100 processes × 1000");
        assert_eq!(plan[2].name, "ours: 1000 threads × 1");
        let few = |text: &str| plan.iter().any(|p| p.name.contains(text));
        assert!(few("1000 processes × 1") && few("8 processes × 125 threads × 10"));
    }
}
