//! Names held under leases: one holder at a time, and who comes too late is refused, whatever became of the others.
//!
//! *Holders* take a name by putting an entry under a lease of their own if there is none, write the name's data by commits
//! that check their token, prolong the lease, and give the name back, revoke the lease, walk away, are killed, or are
//! stopped for longer than their lease lasts. Whoever finds the name taken waits for it. *Lenders* publish a lease, and
//! revoke it soon after; *borrowers* put entries under it as fast as they can, so that some come in the moment it ends.
//! *Observers* read who holds what.
//!
//! ```text
//! holder ─ grant ► take held/2 if absent ► { check held/2 is of my token, write data/2 } … ► give back, revoke, walk away
//! lender ─── grant ► publish lender/1 ► revoke            borrower ─ read lender/1 ► put borrower/… under that lease
//! ```

mod check;
mod hold;
mod lending;

use std::path::Path;
use std::time::Duration;

use slotguard::backend::{Backend, SharedMemory};
use slotguard::{Error, Segment, recipe};

use super::{Examined, Round, Scenario, fill, roles};
use crate::check::{Execution, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use crate::value;
use harness::random::Random;

/// Names, leases and entries under them the segment has room for.
const KEYS: u32 = 256;
const LENDERS: u32 = 2;
/// Entries each borrower has at most.
const GUEST_ENTRIES: u64 = 8;

const HELD: &str = "held/";
const GUESTS: &str = "borrower/";

/// What holders have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many names there are to hold.
    pub names: u32,
    /// Length of a lease in milliseconds.
    pub lease_ms: u64,
}

impl Settings {
    pub fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// Who holds what for how long, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
    settings: Settings,
}

/// What a thread does with leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Holder(Settings),
    /// Publishes leases under its number.
    Lender(u32, Settings),
    Borrower,
    Observer(Settings),
}

type Key = <SharedMemory as Backend>::Key;

/// The whole life of a thread.
fn act(role: Role, client: &mut Client<'_>) -> Result<(), Error> {
    let store = SharedMemory::new(client.segment.clone())?;
    match role {
        Role::Holder(settings) => hold::hold_names(&store, settings, client),
        Role::Observer(settings) => hold::look_who_holds(&store, settings, client),
        Role::Lender(number, settings) => lending::lender(&store, number, settings, client),
        Role::Borrower => lending::lending(&store, client),
    }
}

impl Plan {
    pub fn of(round: Round) -> Self {
        let mut random = Random::of(round.seed, &[6, round.number]);
        let settings = Settings { names: 1 + random.below(3) as u32, lease_ms: 40 + random.below(60) };
        let (holder, observer) = (Role::Holder(settings), Role::Observer(settings));
        let slots = [
            (Lifetime::Brisk, vec![holder]),
            (Lifetime::Brisk, vec![holder]),
            (Lifetime::Long, vec![holder, observer]),
            (Lifetime::Steady, vec![holder, holder]),
            (Lifetime::Brisk, vec![Role::Borrower]),
            (Lifetime::Brisk, vec![Role::Borrower]),
            (Lifetime::Long, vec![Role::Lender(0, settings)]),
            (Lifetime::Steady, vec![Role::Lender(1, settings), observer]),
        ];
        let called = |role: &Role| match role {
            Role::Holder(_) => "holder",
            Role::Lender(..) => "lender",
            Role::Borrower => "borrower",
            Role::Observer(_) => "observer",
        };
        let schedule =
            Schedule::of(&slots, |role| called(role).to_owned(), round.length, settings.lease(), random.next());
        Self { schedule, roles: roles(slots), settings }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        let builder = Segment::builder().records(1).keys(KEYS).name_bytes(16);
        builder.payload(payload.max(value::SHORTEST)).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> recipe::Result<()> {
        Ok(act(self.roles[slot as usize][thread], client)?)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> recipe::Result<Examined> {
        let store = SharedMemory::new(segment.clone())?;
        let final_state = check::final_state(&store, self.settings)?;
        let mut examined = check::check(execution, self.settings, &final_state);
        let mut room = crate::check::Findings::default();
        fill::to_the_limit(&store, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "a write under a token is in its name's data once, in the order of tokens",
            Promise::P3 => "every value read is whole",
            Promise::P4 => "a dead holder's name is free in time; no entry and no lease is left",
            Promise::P5 => return None,
            Promise::P6 => "revisions respect real time, so tokens grow",
            Promise::P7 => "one holder at a time, late writes refused, nothing lives by a lease that is over",
        })
    }
}
