//! What is done to the processes of a phase: how long their lives are, and who is stopped when and for how long.

use std::time::Duration;

use harness::random::Random;

/// The faults of one phase with kills and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub length: Duration,
    pub slots: Vec<Slot>,
    /// How long what people hold lasts: long stops of holders go past it.
    pub lease: Duration,
    /// What the faults are drawn from.
    pub seed: u64,
}

/// One process slot: its threads, and how long its lives are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What its threads do, for people.
    pub name: String,
    pub threads: u32,
    pub lifetime: Lifetime,
    /// Whether it is to be told just before it is killed or stopped, so that it is found in the middle of something.
    pub is_warned: bool,
    /// Entries of each thread's region of the history.
    pub capacity: u64,
}

/// How long the lives of a slot's processes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Killed within milliseconds, often while it attaches.
    Short,
    /// Killed many times a second.
    Brisk,
    /// Killed a few times a second.
    Long,
    /// Stopped, never killed.
    Steady,
}

/// Entries all writers of one round may write together: 64 bytes each.
const ROUND_ENTRIES: u64 = 4_000_000;
const ENTRIES_A_SECOND: u64 = 200_000;

impl Schedule {
    /// What is done to these slots: the busy ones are told before they are stopped or killed, and each thread has an equal
    /// part of the history.
    pub fn of<R>(
        slots: &[(Lifetime, Vec<R>)],
        called: impl Fn(&R) -> String,
        length: Duration,
        lease: Duration,
        seed: u64,
    ) -> Self {
        let slot = |(lifetime, roles): &(Lifetime, Vec<R>)| {
            let slot = Slot::of(*lifetime, roles.iter().map(&called));
            Slot { is_warned: slot.is_busy(), ..slot }
        };
        let mut schedule = Self { length, slots: slots.iter().map(slot).collect(), lease, seed };
        schedule.share_entries(|_| 1);
        schedule
    }

    /// Divides the history among the threads, so many parts for each thread of a slot as `weight` says.
    pub fn share_entries(&mut self, weight: impl Fn(&Slot) -> u64) {
        let entries = (ENTRIES_A_SECOND * self.length.as_secs().max(1)).min(ROUND_ENTRIES);
        let all: u64 = self.slots.iter().map(|slot| weight(slot) * u64::from(slot.threads)).sum();
        for slot in &mut self.slots {
            slot.capacity = entries * weight(slot) / all;
        }
    }

    /// How many threads there are at a time.
    pub fn threads(&self) -> u32 {
        self.slots.iter().map(|slot| slot.threads).sum()
    }

    /// When life number `life` of a slot is to end, counted from its start; `None` if it is not to be killed.
    pub fn killed_after(&self, slot: u32, life: u32) -> Option<Duration> {
        let mut random = Random::of(self.seed, &[1, u64::from(slot), u64::from(life)]);
        let ms = Duration::from_millis;
        match self.slots[slot as usize].lifetime {
            // Often before or while it attaches.
            Lifetime::Short if random.one_in(4) => Some(random.between(Duration::ZERO, ms(3))),
            Lifetime::Short => Some(random.between(ms(1), ms(12))),
            Lifetime::Brisk => Some(random.between(ms(2), ms(60))),
            Lifetime::Long => Some(random.between(ms(20), ms(600))),
            Lifetime::Steady => None,
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
                    false => (after, self.lease + random.between(ms(10), ms(60)), Aim::Holder),
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
    /// Somebody who holds something at this moment.
    Holder,
    /// One of those whose lives are short: they make most of the changes.
    Busy,
    Anybody,
}

impl Slot {
    /// One thread for each role, which is called so; the history is shared out later.
    fn of(lifetime: Lifetime, roles: impl Iterator<Item = String>) -> Self {
        let roles: Vec<String> = roles.collect();
        let name = format!("{lifetime:?}: {}", roles.join(", ")).to_lowercase();
        Self { name, threads: roles.len() as u32, lifetime, is_warned: false, capacity: 0 }
    }

    /// Whether it is one of those who make most of the changes.
    pub fn is_busy(&self) -> bool {
        matches!(self.lifetime, Lifetime::Short | Lifetime::Brisk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64) -> Schedule {
        let slot = |lifetime| Slot { name: String::new(), threads: 1, lifetime, is_warned: false, capacity: 0 };
        let slots = [Lifetime::Short, Lifetime::Brisk, Lifetime::Long, Lifetime::Steady].map(slot);
        Schedule { length: Duration::from_secs(5), slots: slots.into(), lease: Duration::from_millis(80), seed }
    }

    #[test]
    fn faults_are_drawn_from_the_seed_alone() {
        let (one, two, other) = (schedule(5), schedule(5), schedule(6));
        for number in 0..50 {
            assert_eq!(one.killed_after(0, number), two.killed_after(0, number));
            assert_eq!(one.stop(Stops::Long, number), two.stop(Stops::Long, number));
            assert_eq!(one.stop(Stops::Brief, number), two.stop(Stops::Brief, number));
        }
        assert!((0..50).any(|number| one.stop(Stops::Long, number) != other.stop(Stops::Long, number)));
    }

    #[test]
    fn a_holder_is_stopped_past_its_lease_and_somebody_always_survives() {
        for seed in 0..20 {
            let schedule = schedule(seed);
            let stops = (0..100).map(|number| schedule.stop(Stops::Long, number));
            assert!(stops.clone().any(|stop| stop.aim == Aim::Holder));
            assert!(stops.filter(|s| s.aim == Aim::Holder).all(|s| s.lasts > schedule.lease));
            let killed = (0..4).filter(|slot| schedule.killed_after(*slot, 0).is_some());
            assert_eq!(killed.count(), 3);
        }
    }
}
