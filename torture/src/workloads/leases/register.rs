//! Who held what under which lease, as the history tells it.

use std::collections::BTreeMap;

use crate::check::Scene;
use crate::history::{Entry, Kind, Outcome};

/// One hold of a name, from its token to whatever ended it.
#[derive(Clone, Debug)]
pub struct Hold {
    pub name: u16,
    pub token: u64,
    pub lease: u64,
    pub writer: u32,
    pub slot: u32,
    pub life: u32,
    /// When it was asked for.
    pub begin: u64,
    /// When the holder was told.
    pub taken: u64,
    /// When the holder set out to part with it, if it did.
    pub parting: Option<u64>,
    /// When it was told that it had.
    pub parted: Option<u64>,
    /// Its writes: where they stand in the writer's region.
    pub writes: Vec<usize>,
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    /// Before this moment its time cannot have passed.
    pub at_least: u64,
    /// After this moment it has passed for certain.
    pub at_most: u64,
    /// When its owner set out to revoke it.
    revoking: Option<u64>,
    pub revoked: Option<Revoked>,
    slot: u32,
    life: u32,
}

/// A lease that was ended by its owner.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// When that was told.
    pub told: u64,
    /// What the clock said after that.
    pub clock: u64,
}

/// All holds and leases.
pub struct Register {
    pub holds: Vec<Hold>,
    pub leases: BTreeMap<u64, Lease>,
    /// By name: when somebody was killed, or not, who had asked for it and was never answered: (slot, life).
    unanswered: Vec<(u16, u32, u32)>,
    /// When each life was ended.
    deaths: BTreeMap<(u32, u32), u64>,
    /// By name and token: which hold.
    by_token: BTreeMap<(u16, u64), usize>,
}

impl Register {
    /// `time` is what every lease lasts from its grant or renewal on, in nanoseconds.
    pub fn of(scene: &Scene<'_>, time: u64) -> Self {
        let deaths = scene.faults.iter().filter(|fault| fault.kind.ends_life());
        let mut register = Self {
            holds: Vec::new(),
            leases: BTreeMap::new(),
            unanswered: Vec::new(),
            deaths: deaths.map(|fault| ((fault.slot, fault.life), fault.at)).collect(),
            by_token: BTreeMap::new(),
        };
        for (writer, region) in scene.history.regions.iter().enumerate() {
            let slot = scene.history.slot(writer as u32);
            // Where this writer's current hold is.
            let mut current = None;
            for (at, entry) in region.entries.iter().enumerate() {
                match entry.kind {
                    Kind::Lend => register.lend(entry, slot, time),
                    Kind::Take => current = register.take(entry, writer as u32, slot),
                    _ => register.under(current, at, entry),
                }
            }
        }
        register
    }

    fn lend(&mut self, entry: &Entry, slot: u32, time: u64) {
        // A grant that was never answered is of a lease nobody knows.
        if entry.extra == 0 {
            return;
        }
        let lease = self.leases.entry(entry.extra).or_default();
        (lease.slot, lease.life) = (slot, entry.life);
        match entry.outcome {
            Outcome::Done => {
                lease.at_least = entry.begin.saturating_add(time);
                lease.at_most = entry.end.saturating_add(time).max(lease.at_most);
            }
            // A renewal in doubt may have made it longer.
            Outcome::InDoubt => lease.at_most = u64::MAX,
            _ => {}
        }
    }

    fn take(&mut self, entry: &Entry, writer: u32, slot: u32) -> Option<usize> {
        if entry.is_in_doubt() {
            self.unanswered.push((entry.record, slot, entry.life));
        }
        (entry.outcome == Outcome::Done).then(|| {
            self.by_token.insert((entry.record, entry.revision), self.holds.len());
            self.holds.push(Hold {
                name: entry.record,
                token: entry.revision,
                lease: entry.extra,
                writer,
                slot,
                life: entry.life,
                begin: entry.begin,
                taken: entry.end,
                parting: None,
                parted: None,
                writes: Vec::new(),
            });
            self.holds.len() - 1
        })
    }

    /// What a writer did while `current` was its hold.
    fn under(&mut self, current: Option<usize>, at: usize, entry: &Entry) {
        let hold = current.map(|current| &mut self.holds[current]);
        let told = (entry.outcome == Outcome::Done).then_some(entry.end);
        match entry.kind {
            Kind::Guarded => {
                if let Some(hold) = hold.filter(|hold| hold.token == entry.extra) {
                    hold.writes.push(at);
                }
            }
            Kind::Leave => {
                if let Some(hold) = hold.filter(|hold| hold.token == entry.extra) {
                    hold.part(entry.begin, told);
                }
            }
            Kind::Revoke => {
                if let Some(hold) = hold.filter(|hold| hold.lease == entry.extra) {
                    hold.part(entry.begin, told);
                }
                let lease = self.leases.entry(entry.extra).or_default();
                lease.revoking = Some(entry.begin);
                lease.revoked = told.map(|told| Revoked { told, clock: entry.revision });
            }
            _ => {}
        }
    }

    /// Holds by name, in the order of their tokens.
    pub fn by_name(&self) -> Vec<Vec<&Hold>> {
        let mut by_name: BTreeMap<u16, Vec<&Hold>> = BTreeMap::new();
        self.holds.iter().for_each(|hold| by_name.entry(hold.name).or_default().push(hold));
        by_name.values_mut().for_each(|list| list.sort_unstable_by_key(|hold| hold.token));
        by_name.into_values().collect()
    }

    /// When the holder was killed, if it was.
    pub fn killed(&self, hold: &Hold) -> Option<u64> {
        self.deaths.get(&(hold.slot, hold.life)).copied()
    }

    /// Before this moment the hold cannot have ended.
    pub fn surely_until(&self, hold: &Hold) -> u64 {
        let ends = [hold.parting, self.killed(hold)].into_iter().flatten();
        ends.fold(self.lasts_until(hold.lease), u64::min)
    }

    /// Before this moment the lease cannot have ended; 0: nothing is known of it.
    pub fn lasts_until(&self, lease: u64) -> u64 {
        let Some(lease) = self.leases.get(&lease) else {
            return 0;
        };
        let death = self.deaths.get(&(lease.slot, lease.life)).copied();
        [lease.revoking, death].into_iter().flatten().fold(lease.at_least, u64::min)
    }

    /// When the holder of this token had parted with the name.
    pub fn gone(&self, name: u16, token: u64) -> Option<u64> {
        self.by_token.get(&(name, token)).and_then(|at| self.holds[*at].parted)
    }

    /// When those were killed who had asked for the name and were not answered.
    pub fn killed_while_asking(&self, name: u16) -> impl Iterator<Item = u64> {
        let asked = self.unanswered.iter().filter(move |(of, ..)| *of == name);
        asked.filter_map(|(_, slot, life)| self.deaths.get(&(*slot, *life)).copied())
    }
}

impl Hold {
    fn part(&mut self, parting: u64, told: Option<u64>) {
        self.parting = self.parting.or(Some(parting));
        self.parted = self.parted.or(told);
    }
}
