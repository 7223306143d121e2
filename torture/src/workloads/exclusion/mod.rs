//! Mutual exclusion by a recipe: locks, elections, and guards around something outside the store.
//!
//! Each thread joins with a session that is kept alive in the background, and joins anew when it was lost: its process is
//! killed, or stopped for longer than the lease lasts, while it waits or holds. A holder writes the name's data by commits
//! that the recipe guards with the token, and releases the name, drops the guard, or ends its session. Waiters stand in the
//! recipe's queue, and some give up.
//!
//! ```text
//! lock      one name alone, one with other readers, or several at once, in any order ► { guard.commit(write data/2) } …
//! election  campaign ► { lead.commit(write data/1), proclaim } … ► resign            observers follow who leads
//! guard     enter ► read the row ► intend ► write the row, if it has that version ► commit
//!                        └ one change ahead of the count: its author died or was late ► commit what is there
//! ```
//!
//! The rows of `guard` lie in a plain file beside the segment, and refuse writes of another version or a smaller token, as
//! the `WHERE version = ?` of a database does.

mod check;
mod confirmed;
mod election;
mod guard;
mod lock;
mod participant;
mod row;

use std::path::{Path, PathBuf};
use std::time::Duration;

use slotguard::backend::{Backend, SharedMemory};
use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use super::{Examined, Round, Scenario, fill, roles};
use crate::check::{Execution, Findings, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use crate::value;
use harness::random::Random;
use row::Rows;

/// Names, sessions and their leases the segment has room for.
const KEYS: u32 = 256;

const PREFIX: &str = "name/";

type Key = <SharedMemory as Backend>::Key;

/// The recipe that names are acquired by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    Lock,
    Election,
    Guard,
}

/// What all threads of a round know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub recipe: Recipe,
    /// How many names there are.
    pub names: u32,
    /// For how long a session lasts that is not renewed, in milliseconds.
    pub lease_ms: u64,
}

impl Settings {
    pub fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// What a lock, an election or a guarded thing is called.
    fn called(self, name: u32) -> String {
        format!("{PREFIX}{name}")
    }
}

/// The threads, and what is done to their processes.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
    settings: Settings,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Holder(Settings),
    /// Records who holds what.
    Observer(Settings),
}

/// The whole life of a thread.
fn act(role: Role, client: &mut Client<'_>) -> Result<()> {
    match role {
        Role::Holder(settings) => match settings.recipe {
            Recipe::Lock => lock::acquire_often(settings, client),
            Recipe::Election => election::acquire_often(settings, client),
            Recipe::Guard => guard::acquire_often(settings, client),
        },
        Role::Observer(settings) => match settings.recipe {
            Recipe::Election => election::observe(settings, client),
            Recipe::Lock | Recipe::Guard => lock::look(settings, client),
        },
    }
}

/// The file of rows beside a segment.
fn rows_of(segment: &Path) -> PathBuf {
    segment.with_extension("rows")
}

impl Plan {
    pub fn of(recipe: Recipe, round: Round) -> Self {
        let mut random = Random::of(round.seed, &[8, recipe as u64, round.number]);
        // Several at once need several.
        let fewest = if recipe == Recipe::Lock { 3 } else { 2 };
        let settings = Settings { recipe, names: fewest + random.below(2) as u32, lease_ms: 50 + random.below(50) };
        let (holder, observer) = (Role::Holder(settings), Role::Observer(settings));
        let slots = [
            (Lifetime::Brisk, vec![holder]),
            (Lifetime::Brisk, vec![holder]),
            (Lifetime::Long, vec![holder, holder]),
            (Lifetime::Long, vec![observer, holder]),
            (Lifetime::Steady, vec![holder]),
            (Lifetime::Steady, vec![holder, observer]),
        ];
        let called = |role: &Role| match (role, recipe) {
            (Role::Holder(_), Recipe::Election) => "candidate",
            (Role::Holder(_), _) => "holder",
            (Role::Observer(_), Recipe::Election) => "observer",
            (Role::Observer(_), _) => "observer",
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
        if self.settings.recipe == Recipe::Guard {
            Rows::create(&rows_of(path), self.settings.names)?;
        }
        let builder = Segment::builder().records(1).keys(KEYS);
        // A guarded thing has a header of its own before the value.
        builder.payload(payload.max(value::SHORTEST) + 64).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()> {
        act(self.roles[slot as usize][thread], client)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> Result<Examined> {
        let final_state = match self.settings.recipe {
            Recipe::Guard => guard::final_state(segment, self.settings)?,
            Recipe::Lock | Recipe::Election => lock::final_state(&SharedMemory::new(segment.clone())?, self.settings)?,
        };
        let mut examined = check::check(execution, self.settings, &final_state);
        let mut room = Findings::default();
        fill::to_the_limit(&SharedMemory::new(segment.clone())?, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        let (_, words) = match self.settings.recipe {
            Recipe::Lock => check::OF_LOCKS,
            Recipe::Election => check::OF_ELECTIONS,
            Recipe::Guard => check::OF_GUARDS,
        }
        .into_iter()
        .find(|(of, _)| *of == promise)?;
        Some(words)
    }
}
