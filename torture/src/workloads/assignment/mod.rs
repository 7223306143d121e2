//! Slots for nodes: more nodes than slots join, write under their generation, are released by themselves or by anybody, and
//! swept away when nobody has been there for a while.
//!
//! Each thread has some nodes of its own, whichever process it lives in: started again it goes on under their names. It
//! joins a node, writes the data of its slot by commits that check the generation and nothing else, and then keeps the slot,
//! gives it back, or releases somebody else's. *Sweepers* free the slots of nodes whose process is gone. *Observers* take in
//! everything by one `range`, and ask who has what both ways.
//!
//! ```text
//! thread ── join node 7 ► { check slot 12 is of my generation, write data/12 } … ► keep it, give it back, release node 31
//! sweeper ─ look, and 20 ms later: release who has been away all the time
//! observer ── range: a node's entry and its slot's are there together, of one commit, or neither
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

/// Entries, sessions and their leases the segment has room for.
const KEYS: u32 = 512;
/// The assignment's name, and that of its cluster.
const NAME: &str = "gpus";
const CLUSTER: &str = "torture";
/// Nodes of each thread.
const OWN: u32 = 8;

/// What everybody has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub slots: u16,
    /// For how long a session lasts that is not renewed, in milliseconds.
    pub lease_ms: u64,
}

impl Settings {
    pub fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// Who joins, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
    settings: Settings,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Joins the nodes of this thread's number.
    Joiner(u32, Settings),
    Sweeper(Settings),
    Observer(Settings),
}

const JOINERS: u32 = 6;

/// The whole life of a thread.
fn act(role: Role, client: &mut Client<'_>) -> Result<()> {
    let store = Arc::new(SharedMemory::new(client.segment.clone())?);
    match role {
        Role::Joiner(number, settings) => work::join_nodes(&store, number, settings, client),
        Role::Sweeper(settings) => work::sweep(&store, settings, client),
        Role::Observer(settings) => work::look(&store, settings, client),
    }
}

/// What a node is called.
fn called(node: u32) -> String {
    format!("node-{node}")
}

impl Plan {
    pub fn of(round: Round) -> Self {
        let mut random = Random::of(round.seed, &[9, round.number]);
        // About as many as there are nodes with a slot at a time: now and then none is free.
        let slots = (JOINERS * OWN) as u16 * 5 / 12 + random.below(5) as u16;
        let settings = Settings { slots, lease_ms: 50 + random.below(50) };
        let joiner = |number| Role::Joiner(number, settings);
        let slots = [
            (Lifetime::Brisk, vec![joiner(0)]),
            (Lifetime::Brisk, vec![joiner(1)]),
            (Lifetime::Long, vec![joiner(2), joiner(3)]),
            (Lifetime::Long, vec![joiner(4), Role::Observer(settings)]),
            (Lifetime::Steady, vec![joiner(5), Role::Observer(settings)]),
            // Whom it has freed is told by nobody else.
            (Lifetime::Steady, vec![Role::Sweeper(settings)]),
        ];
        let called = |role: &Role| match role {
            Role::Joiner(..) => "joiner",
            Role::Sweeper(_) => "sweeper",
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
        let builder = Segment::builder().records(1).keys(KEYS);
        builder.payload(payload.max(value::SHORTEST)).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()> {
        act(self.roles[slot as usize][thread], client)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> Result<Examined> {
        let store = Arc::new(SharedMemory::new(segment.clone())?);
        let mut room = Findings::default();
        let final_state = check::final_state(&store, self.settings, &mut room)?;
        let mut examined = check::check(execution, &final_state);
        fill::to_the_limit(&store, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "a write under a generation is in its slot's data once, in the order of generations",
            Promise::P3 => "every value read is whole",
            Promise::P4 => "after a kill the others go on; nobody is announced, and every slot can be had",
            Promise::P5 => "nodes and slots agree both ways at every moment",
            Promise::P6 => "revisions respect real time",
            Promise::P7 => "one node a slot, which it keeps until it is released; who was released is refused",
        })
    }
}
