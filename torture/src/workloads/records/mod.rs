//! Single records: changed, read, waited for and claimed by many at once.
//!
//! Half of all changes meet on record 0. *Updaters* change records by closure and by compare-and-swap, *readers* check what
//! they read, *waiters* wait for changes of records that are changed seldom, and *claimers* claim records under leases:
//! they announce what they intend, write, renew, release, or come too late.
//!
//! ```text
//! updater ── update(record, change)         reader ── read, verify         waiter ── wait_any(seldom changed)
//! claimer ── claim(record, lease) ► intend ► renew ► commit, release, drop, or be refused
//! ```

mod check;
mod claim;
mod work;

use std::path::Path;
use std::time::Duration;

use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use super::{Examined, Round, Scenario, roles};
use crate::check::{Execution, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule, Slot};
use harness::random::Random;

pub use check::examine;

/// What the workload is called: the controls belong to it.
pub const NAME: &str = "records";

/// Who does what to which records, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
    records: Records,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Changes records, by closure and by compare-and-swap, and reads in between.
    Updater,
    /// Rests, and changes records as fast as it can when somebody is about to come for it: so that a kill at a random
    /// moment finds it at a random instruction of a change, and not asleep.
    WarnedUpdater,
    /// Reads and checks.
    Reader,
    /// Waits for changes with a deadline far away.
    Waiter,
    /// Claims, intends, commits, renews, releases, drops.
    Claimer,
}

/// Which records are there for what: `0..hot` are fought for, then come the quiet ones, which waiters wait for, then
/// the claimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Records {
    hot: u32,
    quiet: u32,
    claimed: u32,
    /// Length of a lease in milliseconds.
    lease_ms: u64,
}

impl Records {
    fn total(&self) -> u32 {
        self.hot + self.quiet + self.claimed
    }

    fn draw_hot(&self, random: &mut Random) -> u32 {
        // Half of all changes meet on record 0.
        match random.one_in(2) {
            true => 0,
            false => random.below(u64::from(self.hot)) as u32,
        }
    }

    fn draw_quiet(&self, random: &mut Random) -> u32 {
        self.hot + random.below(u64::from(self.quiet)) as u32
    }

    fn draw_claimed(&self, random: &mut Random) -> u32 {
        self.hot + self.quiet + random.below(u64::from(self.claimed)) as u32
    }
}

impl Plan {
    pub fn of(round: Round) -> Self {
        use Role::{Claimer, Reader, Updater, Waiter, WarnedUpdater};
        let mut random = Random::of(round.seed, &[3, round.number]);
        let mut slots = vec![(Lifetime::Short, vec![WarnedUpdater]); 4];
        slots.push((Lifetime::Long, vec![Updater, Claimer]));
        slots.push((Lifetime::Long, vec![Claimer, Waiter, Reader]));
        slots.push((Lifetime::Steady, vec![Updater, Waiter, Claimer]));
        slots.push((Lifetime::Steady, vec![Updater, Reader, Waiter, Claimer]));
        // One of the short-lived ones claims, so that holders are killed often.
        let claims = random.below(4) as usize;
        slots[claims].1 = vec![Claimer];
        let records = Records {
            hot: 2 + random.below(5) as u32,
            quiet: 2 + random.below(3) as u32,
            claimed: 1 + random.below(3) as u32,
            lease_ms: 40 + random.below(80),
        };
        let lease = Duration::from_millis(records.lease_ms);
        let mut schedule = Schedule::of(&slots, |role| format!("{role:?}"), round.length, lease, random.next());
        for (slot, (_, roles)) in schedule.slots.iter_mut().zip(&slots) {
            slot.is_warned = roles.contains(&WarnedUpdater);
        }
        // The busier those are who are killed most, the more often a kill meets a change.
        schedule.share_entries(|slot: &Slot| if slot.is_warned { 8 } else { 1 });
        Self { schedule, roles: roles(slots), records }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        Segment::builder().records(self.records.total()).payload(payload).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()> {
        Ok(work::act(self.roles[slot as usize][thread], &self.records, client)?)
    }

    fn goes_on(&self, slot: u32) -> bool {
        self.roles[slot as usize].contains(&Role::Waiter)
    }

    fn close(&self, client: &mut Client<'_>) -> Result<()> {
        Ok(work::change_all(client)?)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> Result<Examined> {
        Ok(examine(segment, execution, Some(&self.schedule)))
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        (promise != Promise::P5).then(|| promise.words())
    }
}
