//! From a seed and the options to everything a run will do: the same seed, the same plan.
//!
//! What the machine makes of the plan (who wins a race, where a kill lands) differs from run to run; who is started,
//! what each thread draws, when each life is to end and how long each stop lasts does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::{Mode, Options};
use crate::random::Random;

/// Processes that are alive at the same time when many come in waves.
pub const WAVE: u32 = 100;
/// Longest stretch of the sustained phase on one segment; a longer run makes several.
pub const ROUND: Duration = Duration::from_secs(60);
/// Entries all writers of one sustained round may write together: 64 bytes each.
const ROUND_ENTRIES: u64 = 4_000_000;
const ENTRIES_A_SECOND: u64 = 200_000;

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
    /// Everything at once, with kills and stops.
    Sustained(Sustained),
}

impl PhaseWork {
    /// Whether it goes through the engine.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Updates(_) | Self::Sustained(_))
    }

    /// A rough length in seconds, for the progress bar only.
    pub fn rough_seconds(&self) -> f64 {
        match self {
            Self::Sustained(plan) => plan.length.as_secs_f64() * 1.2,
            Self::Naive(burst) | Self::Flock(burst) | Self::Updates(burst) => {
                f64::from(burst.processes) * 0.003 + burst.total() as f64 * 1e-5
            }
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
    pub length: Duration,
    pub slots: Vec<Slot>,
    pub records: Records,
    /// What the faults of this round are drawn from.
    pub seed: u64,
}

/// One process slot: its threads, and how long its lives are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub roles: Vec<Role>,
    pub lives: Lives,
    /// Entries of each thread's region of the history.
    pub capacity: u64,
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

/// How long the lives of a slot's processes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lives {
    /// Killed within milliseconds, often while it attaches.
    Short,
    /// Killed a few times a second.
    Long,
    /// Stopped, never killed.
    Steady,
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

impl Sustained {
    /// When life number `life` of a slot is to end, counted from its start; `None` if it is not to be killed.
    pub fn killed_after(&self, slot: u32, life: u32) -> Option<Duration> {
        let mut random = Random::of(self.seed, &[1, u64::from(slot), u64::from(life)]);
        let ms = Duration::from_millis;
        match self.slots[slot as usize].lives {
            // Often before or while it attaches.
            Lives::Short if random.one_in(4) => Some(random.between(Duration::ZERO, ms(3))),
            Lives::Short => Some(random.between(ms(1), ms(12))),
            Lives::Long => Some(random.between(ms(20), ms(600))),
            Lives::Steady => None,
        }
    }

    /// Stop `number` of its stream: how long after the one before, how long it lasts, and whom it is to hit.
    pub fn stop(&self, stream: Stops, number: u32) -> Stop {
        let mut random = Random::of(self.seed, &[2, stream as u64, u64::from(number)]);
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        let (after, lasts, aim) = match stream {
            Stops::Brief => (random.between(ms(1), ms(6)), random.between(us(100), ms(2)), Aim::Busy),
            Stops::Long => {
                let after = random.between(ms(10), ms(90));
                match random.one_in(3) {
                    true => (after, random.between(ms(1), ms(120)), Aim::Anybody),
                    false => {
                        let past_the_lease = ms(self.records.lease_ms) + random.between(ms(10), ms(60));
                        (after, past_the_lease, Aim::Holder)
                    }
                }
            }
        };
        Stop { after, lasts, aim, draw: random.next() }
    }
}

/// The two streams of stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// In the middle of a change, for others to finish it meanwhile.
    Brief,
    /// Long enough for leases to end.
    Long,
}

/// One SIGSTOP with its SIGCONT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub after: Duration,
    pub lasts: Duration,
    pub aim: Aim,
    /// Picks the victim among those that are there.
    pub draw: u64,
}

/// Whom a stop is to hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Somebody who holds a claim at this moment.
    Holder,
    /// One of those whose lives are short: they make most of the changes.
    Busy,
    Anybody,
}

/// The phases of a run, in order.
pub fn phases(options: &Options) -> Vec<Phase> {
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
        phases.extend(sustained(options));
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

fn sustained(options: &Options) -> Vec<Phase> {
    let whole = Duration::from_secs(options.seconds);
    let rounds = whole.as_secs().div_ceil(ROUND.as_secs()).max(1);
    (0..rounds)
        .map(|round| {
            let length = whole / rounds as u32;
            let work = round_of(options.seed, round, length);
            let name = match rounds {
                1 => "ours: sustained, kills and stops".to_owned(),
                _ => format!("ours: sustained {} of {rounds}, kills and stops", round + 1),
            };
            Phase { name, work: PhaseWork::Sustained(work) }
        })
        .collect()
}

/// Gives most of the history to those who are killed most: the busier they are, the more often a kill meets a change.
fn share_entries(slots: &mut [Slot], entries: u64) {
    let weight = |slot: &Slot| match (slot.lives, slot.roles.as_slice()) {
        (Lives::Short, [Role::Sprinter]) => 8,
        _ => 1,
    };
    let all: u64 = slots.iter().map(|slot| weight(slot) * slot.roles.len() as u64).sum();
    for slot in slots {
        slot.capacity = entries * weight(slot) / all;
    }
}

fn round_of(seed: u64, round: u64, length: Duration) -> Sustained {
    use Role::{Claimer, Reader, Sprinter, Updater, Waiter};
    let mut random = Random::of(seed, &[3, round]);
    let slot = |lives, roles: &[Role]| Slot { roles: roles.to_vec(), lives, capacity: 0 };
    let mut slots: Vec<Slot> = (0..4).map(|_| slot(Lives::Short, &[Sprinter])).collect();
    slots.push(slot(Lives::Long, &[Updater, Claimer]));
    slots.push(slot(Lives::Long, &[Claimer, Waiter, Reader]));
    slots.push(slot(Lives::Steady, &[Updater, Waiter, Claimer]));
    slots.push(slot(Lives::Steady, &[Updater, Reader, Waiter, Claimer]));
    // One of the short-lived ones claims, so that holders are killed often.
    let claims = random.below(4) as usize;
    slots[claims].roles = vec![Claimer];
    share_entries(&mut slots, (ENTRIES_A_SECOND * length.as_secs().max(1)).min(ROUND_ENTRIES));
    Sustained {
        length,
        slots,
        records: Records {
            hot: 2 + random.below(5) as u32,
            quiet: 2 + random.below(3) as u32,
            claimed: 1 + random.below(3) as u32,
            lease_ms: 40 + random.below(80),
        },
        seed: random.next(),
    }
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
    fn faults_are_drawn_from_the_seed_alone() {
        let (one, two) = (round_of(5, 0, Duration::from_secs(20)), round_of(5, 0, Duration::from_secs(20)));
        for number in 0..50 {
            assert_eq!(one.killed_after(0, number), two.killed_after(0, number));
            assert_eq!(one.stop(Stops::Long, number), two.stop(Stops::Long, number));
            assert_eq!(one.stop(Stops::Brief, number), two.stop(Stops::Brief, number));
        }
    }

    #[test]
    fn a_holder_is_stopped_past_its_lease_and_somebody_always_survives() {
        for seed in 0..20 {
            let round = round_of(seed, 0, Duration::from_secs(20));
            let lease = Duration::from_millis(round.records.lease_ms);
            let stops = (0..100).map(|number| round.stop(Stops::Long, number));
            assert!(stops.clone().any(|stop| stop.aim == Aim::Holder));
            assert!(stops.filter(|s| s.aim == Aim::Holder).all(|s| s.lasts > lease));
            let survivors = (0..8).filter(|slot| round.killed_after(*slot, 0).is_none());
            assert_eq!(survivors.count(), 2);
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
