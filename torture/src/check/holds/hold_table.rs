//! Who held what under which lease, as the history tells it.

use std::collections::BTreeMap;

use crate::check::Execution;
use crate::check::recovery::Next;
use crate::history::{Entry, Kind, Outcome};
use crate::nemesis::FaultKind;

/// The names somebody asks for, by their bits: those it wants alone, and those together with other readers. Nothing at all
/// is the name of the entry's record, alone. Packed as `alone:16 | shared:16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub alone: u16,
    pub shared: u16,
}

/// One hold of a name, from its token to whatever ended it.
#[derive(Clone, Debug)]
pub struct Hold {
    pub name: u16,
    pub token: u64,
    /// Together with other readers.
    pub shared: bool,
    pub lease: u64,
    pub writer: u32,
    pub slot: u32,
    pub life: u32,
    /// When it was asked for.
    pub begin: u64,
    /// When the holder was told.
    pub taken: u64,
    /// What the clock was then; 0: the token was drawn at the very moment.
    pub clock: u64,
    /// The token of the intent that it was shown.
    pub abandoned: Option<u64>,
    /// When the holder set out to part with it, if it did.
    pub parting: Option<u64>,
    /// When it was told that it had.
    pub parted: Option<u64>,
    /// When it began the last thing that only a holder is told it has done.
    proven: u64,
    /// Its writes: where they stand in the writer's region.
    pub writes: Vec<usize>,
    /// What it was refused since it was no holder any more.
    pub refused: Vec<usize>,
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
pub struct HoldTable {
    pub holds: Vec<Hold>,
    pub leases: BTreeMap<u64, Lease>,
    /// By name: when it was over with those who had asked for it and never had it, as far as they know.
    in_vain: BTreeMap<u16, Vec<u64>>,
    /// When each life was ended.
    deaths: BTreeMap<(u32, u32), u64>,
    /// Stops that are longer than a lease lasts: which life, from when, and when a lease renewed just before has ended.
    overslept: Vec<((u32, u32), u64, u64)>,
    /// By name and token: which hold.
    by_token: BTreeMap<(u16, u64), usize>,
}

impl Wanted {
    pub fn packed(self) -> u64 {
        u64::from(self.alone) | u64::from(self.shared) << 16
    }

    /// What the entry asks for: (name, together with others).
    fn of(entry: &Entry) -> Vec<(u16, bool)> {
        let (alone, shared) = (entry.count as u16, (entry.count >> 16) as u16);
        if (alone, shared) == (0, 0) {
            return vec![(entry.record, false)];
        }
        let bits =
            |mask: u16, together| (0..16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| (bit, together));
        bits(alone, false).chain(bits(shared, true)).collect()
    }
}

impl HoldTable {
    /// `time` is what every lease lasts from its grant or renewal on, in nanoseconds.
    pub fn of(execution: &Execution<'_>, time: u64) -> Self {
        let deaths = execution.faults.iter().filter(|fault| fault.kind.ends_life());
        let long = |fault: &&crate::nemesis::Fault| fault.kind == FaultKind::Stop && fault.until - fault.at > time;
        let overslept = execution.faults.iter().filter(long);
        let mut table = Self {
            holds: Vec::new(),
            leases: BTreeMap::new(),
            in_vain: BTreeMap::new(),
            deaths: deaths.map(|fault| ((fault.slot, fault.life), fault.at)).collect(),
            overslept: overslept.map(|fault| ((fault.slot, fault.life), fault.at, fault.at + time)).collect(),
            by_token: BTreeMap::new(),
        };
        for (writer, region) in execution.history.regions.iter().enumerate() {
            let slot = execution.history.slot(writer as u32);
            // Where this writer's current holds are: several, if it took several names at once.
            let mut current = 0..0;
            for (at, entry) in region.entries.iter().enumerate() {
                match entry.kind {
                    Kind::Lease => table.lend(entry, slot, time),
                    Kind::Acquire => {
                        let before = table.holds.len();
                        table.take(entry, writer as u32, slot);
                        current = before..table.holds.len();
                    }
                    _ => table.under(current.clone(), at, entry),
                }
            }
        }
        table
    }

    fn lend(&mut self, entry: &Entry, slot: u32, time: u64) {
        // A grant that was never answered is of a lease nobody knows.
        if entry.extra == 0 {
            return;
        }
        let lease = self.leases.entry(entry.extra).or_default();
        (lease.slot, lease.life) = (slot, entry.life);
        match entry.outcome {
            // It is renewed by itself.
            Outcome::Done if entry.count != 0 => {
                (lease.at_least, lease.at_most) = (entry.count.max(lease.at_least), u64::MAX);
            }
            Outcome::Done => {
                lease.at_least = entry.begin.saturating_add(time);
                lease.at_most = entry.end.saturating_add(time).max(lease.at_most);
            }
            // A renewal in doubt may have made it longer.
            Outcome::InDoubt => lease.at_most = u64::MAX,
            _ => {}
        }
    }

    fn take(&mut self, entry: &Entry, writer: u32, slot: u32) {
        let wanted = Wanted::of(entry);
        if entry.outcome != Outcome::Done {
            let end = if entry.is_in_doubt() { self.deaths.get(&(slot, entry.life)).copied() } else { Some(entry.end) };
            let ends = [end, self.overslept((slot, entry.life), entry.begin)];
            for (name, _) in wanted {
                self.in_vain.entry(name).or_default().extend(ends.into_iter().flatten());
            }
            return;
        }
        for (name, shared) in wanted {
            self.by_token.insert((name, entry.revision), self.holds.len());
            self.holds.push(Hold {
                name,
                token: entry.revision,
                shared,
                lease: entry.extra,
                writer,
                slot,
                life: entry.life,
                begin: entry.begin,
                taken: entry.end,
                clock: entry.version,
                abandoned: (entry.previous != u64::MAX).then_some(entry.previous),
                parting: None,
                parted: None,
                proven: 0,
                writes: Vec::new(),
                refused: Vec::new(),
            });
        }
    }

    /// What a writer did while these were its holds.
    fn under(&mut self, current: std::ops::Range<usize>, at: usize, entry: &Entry) {
        let told = (entry.outcome == Outcome::Done).then_some(entry.end);
        let holds = self.holds[current].iter_mut().filter(|hold| match entry.kind {
            Kind::Revoke => hold.lease == entry.extra,
            _ => hold.token == entry.extra,
        });
        match entry.kind {
            Kind::GuardedWrite | Kind::Intend | Kind::Confirm | Kind::ReleaseName | Kind::Drop => {
                let own = holds.filter(|hold| entry.kind != Kind::GuardedWrite || hold.name == entry.record);
                for hold in own {
                    if entry.kind == Kind::GuardedWrite {
                        hold.writes.push(at);
                    }
                    if entry.outcome == Outcome::LeaseLost {
                        hold.refused.push(at);
                    } else if matches!(entry.kind, Kind::Confirm | Kind::ReleaseName | Kind::Drop) {
                        hold.part(entry.begin, told);
                    }
                    // To drop it proves nothing, and neither does what is written elsewhere and has no revision.
                    let elsewhere = entry.kind == Kind::GuardedWrite && entry.revision == 0;
                    if told.is_some() && entry.kind != Kind::Drop && !elsewhere {
                        hold.proven = entry.begin;
                    }
                }
            }
            Kind::Revoke => {
                holds.for_each(|hold| hold.part(entry.begin, told));
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

    /// When a lease had ended for certain that was renewed by itself until its owner was stopped, at `from` or later.
    fn overslept(&self, life: (u32, u32), from: u64) -> Option<u64> {
        let stops = self.overslept.iter().filter(|(of, at, _)| *of == life && *at >= from);
        stops.map(|(_, _, ended)| *ended).min()
    }

    /// When the hold was over for certain, and what ended it; `None`: nobody knows when.
    pub fn over(&self, hold: &Hold) -> Option<(u64, Next)> {
        let expires = self.leases.get(&hold.lease).map_or(u64::MAX, |lease| lease.at_most);
        let overslept = self.overslept((hold.slot, hold.life), hold.taken).unwrap_or(u64::MAX);
        let killed = self.killed(hold).unwrap_or(u64::MAX);
        let parted = hold.parted.unwrap_or(u64::MAX);
        let ends = [(killed, Next::Name), (expires.min(overslept), Next::Expiry), (parted, Next::HandOver)];
        ends.into_iter().min_by_key(|(at, _)| *at).filter(|(at, _)| *at != u64::MAX)
    }

    /// Before this moment the hold cannot have ended.
    pub fn surely_until(&self, hold: &Hold) -> u64 {
        let ends = [hold.parting, self.killed(hold)].into_iter().flatten();
        ends.fold(self.lasts_until(hold.lease), u64::min).max(hold.proven)
    }

    /// Before this moment the lease cannot have ended; 0: nothing is known of it.
    pub fn lasts_until(&self, lease: u64) -> u64 {
        let Some(lease) = self.leases.get(&lease) else {
            return 0;
        };
        let death = self.deaths.get(&(lease.slot, lease.life)).copied();
        [lease.revoking, death].into_iter().flatten().fold(lease.at_least, u64::min)
    }

    /// Whether somebody was told that it had the name with this token.
    pub fn is_known(&self, name: u16, token: u64) -> bool {
        self.by_token.contains_key(&(name, token))
    }

    /// When the holder of this token had parted with the name.
    pub fn gone(&self, name: u16, token: u64) -> Option<u64> {
        self.by_token.get(&(name, token)).and_then(|at| self.holds[*at].parted)
    }

    /// When it was over with those who had asked for the name and were never told that they had it.
    pub(super) fn asked_in_vain(&self, name: u16) -> impl Iterator<Item = u64> {
        self.in_vain.get(&name).into_iter().flatten().copied()
    }
}

impl Hold {
    /// The newest revision that somebody who had the name before can have drawn.
    pub(super) fn had_by(&self) -> u64 {
        if self.clock == 0 { self.token.saturating_sub(1) } else { self.clock }
    }

    fn part(&mut self, parting: u64, told: Option<u64>) {
        self.parting = self.parting.or(Some(parting));
        self.parted = self.parted.or(told);
    }
}
