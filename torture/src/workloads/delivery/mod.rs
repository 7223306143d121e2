//! Messages between members: each sends, and does something for every message of the others by the commit that acknowledges
//! it, so that what was done can be counted.
//!
//! A member's number stays when its process is killed; the next one goes on where it was. What it does for a message is one
//! more change of its own entry, whose value leads back from change to change and so from message to message, in the order
//! in which it was given them.
//!
//! ```text
//! member 1 ── send m ─────────────────┐
//! member 2 ── next: m ► { data/2: one change more, by m; acknowledged up to m } or, with a reply m' that m has caused
//! member 3 ── next: m, and only then m' …
//! ```

mod check;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use super::{Examined, Round, Scenario, fill, roles};
use crate::check::{Execution, Findings, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use crate::value;
use harness::random::Random;

/// Messages, cursors, sessions and their leases the segment has room for.
const KEYS: u32 = 512;
const NAME: &str = "chat";
const MEMBERS: u32 = 5;
/// How many messages of a member may be under way.
const BOUND: u64 = 64;

/// What members have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For how long a session lasts that is not renewed, in milliseconds.
    pub lease_ms: u64,
}

/// Who takes part, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
}

/// What a thread does: it is the member of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role(u32, Settings);

/// The whole life of a thread.
fn act(Role(number, settings): Role, client: &mut Client<'_>) -> Result<()> {
    let store = Arc::new(SharedMemory::new(client.segment.clone())?);
    work::take_part(&store, number, Duration::from_millis(settings.lease_ms), client)
}

impl Plan {
    pub fn of(round: Round) -> Self {
        let mut random = Random::of(round.seed, &[10, round.number]);
        let settings = Settings { lease_ms: 50 + random.below(50) };
        let member = |number| Role(number, settings);
        let slots = [
            (Lifetime::Brisk, vec![member(0)]),
            (Lifetime::Brisk, vec![member(1)]),
            (Lifetime::Long, vec![member(2), member(3)]),
            (Lifetime::Steady, vec![member(4)]),
        ];
        let lease = Duration::from_millis(settings.lease_ms);
        let called = |Role(number, _): &Role| format!("member {number}");
        let schedule = Schedule::of(&slots, called, round.length, lease, random.next());
        Self { schedule, roles: roles(slots) }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        let builder = Segment::builder().records(1).keys(KEYS);
        builder.payload(payload.max(value::SHORTEST)).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()> {
        act(self.roles[slot as usize][thread], client)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> Result<Examined> {
        let store = Arc::new(SharedMemory::new(segment.clone())?);
        let mut room = Findings::default();
        let final_state = work::final_state(&store, &mut room)?;
        let mut examined = check::check(execution, &final_state);
        fill::to_the_limit(&store, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "effects = acknowledgements: every message has its effect once at each member",
            Promise::P3 => "every value read is whole",
            Promise::P4 => "after a kill the others go on; no session and no message is left",
            Promise::P5 => return None,
            Promise::P6 => "no message comes before what caused it; revisions respect real time",
            Promise::P7 => return None,
        })
    }
}
