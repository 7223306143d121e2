//! Names had in turns through a recipe: by a lock, as the leader of an election, or to change something outside the store.
//!
//! Whoever takes part joins with a session that is kept alive by itself, and joins anew when it has lost it: it is killed, or
//! stopped for longer than its lease lasts, while it waits or has its turn. Who has its turn writes the name's data by
//! commits that the recipe guards with the token, and parts with the name by giving it back, dropping it, or ending its
//! session. Whoever must wait waits in the recipe's line, some not for long.
//!
//! ```text
//! lock      one name alone, one with other readers, or several at once, in any order ► { guard.commit(write data/2) } …
//! election  campaign ► { lead.commit(write data/1), proclaim } … ► resign            observers follow who leads
//! guard     enter ► look at the row ► intend ► write the row, if it has that version ► commit
//!                        └ one change ahead of what was counted: somebody died, or came late ► commit what is there
//! ```
//!
//! The rows of `guard` lie in a plain file beside the segment, and refuse writes of another version or a smaller token, as
//! the `WHERE version = ?` of a database does.

mod check;
mod election;
mod guard;
mod lock;
mod participant;
mod row;
mod settled;

use std::path::{Path, PathBuf};
use std::time::Duration;

use slotguard::backend::{Backend, SharedMemory};
use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use super::{Examined, Round, Scenario, fill, roles};
use crate::check::{Findings, Promise, Scene};
use crate::client::Client;
use crate::nemesis::{Lives, Schedule};
use crate::value;
use harness::random::Random;
use row::Rows;

/// Names, sessions and their leases the segment has room for.
const KEYS: u32 = 256;

const TURN: &str = "turn/";

type Key = <SharedMemory as Backend>::Key;

/// Through which recipe names are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Lock,
    Election,
    Guard,
}

/// What everybody has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub way: Way,
    /// How many names there are.
    pub names: u32,
    /// For how long a session lasts that is not renewed, in milliseconds.
    pub lease_ms: u64,
}

impl Terms {
    pub fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// What a lock, an election or a guarded thing is called.
    fn called(self, name: u32) -> String {
        format!("{TURN}{name}")
    }
}

/// Who takes turns at what, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
    terms: Terms,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Taker(Terms),
    /// Looks whose turn it is.
    Looker(Terms),
}

/// The whole life of a thread.
fn act(role: Role, client: &mut Client<'_>) -> Result<()> {
    match role {
        Role::Taker(terms) => match terms.way {
            Way::Lock => lock::take_turns(terms, client),
            Way::Election => election::take_turns(terms, client),
            Way::Guard => guard::take_turns(terms, client),
        },
        Role::Looker(terms) => match terms.way {
            Way::Election => election::observe(terms, client),
            Way::Lock | Way::Guard => lock::look(terms, client),
        },
    }
}

/// Where the rows are that a segment's holders write.
fn rows_of(segment: &Path) -> PathBuf {
    segment.with_extension("rows")
}

impl Plan {
    pub fn of(way: Way, round: Round) -> Self {
        let mut random = Random::of(round.seed, &[8, way as u64, round.number]);
        // Several at once need several.
        let fewest = if way == Way::Lock { 3 } else { 2 };
        let terms = Terms { way, names: fewest + random.below(2) as u32, lease_ms: 50 + random.below(50) };
        let (taker, looker) = (Role::Taker(terms), Role::Looker(terms));
        let slots = [
            (Lives::Brisk, vec![taker]),
            (Lives::Brisk, vec![taker]),
            (Lives::Long, vec![taker, taker]),
            (Lives::Long, vec![looker, taker]),
            (Lives::Steady, vec![taker]),
            (Lives::Steady, vec![taker, looker]),
        ];
        let called = |role: &Role| match (role, way) {
            (Role::Taker(_), Way::Election) => "candidate",
            (Role::Taker(_), _) => "taker",
            (Role::Looker(_), Way::Election) => "observer",
            (Role::Looker(_), _) => "looker",
        };
        let schedule = Schedule::of(&slots, |role| called(role).to_owned(), round.length, terms.lease(), random.next());
        Self { schedule, roles: roles(slots), terms }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        if self.terms.way == Way::Guard {
            Rows::create(&rows_of(path), self.terms.names)?;
        }
        let builder = Segment::builder().records(1).keys(KEYS);
        // A guarded thing has a header of its own before the value.
        builder.payload(payload.max(value::SHORTEST) + 64).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()> {
        act(self.roles[slot as usize][thread], client)
    }

    fn examine(&self, segment: &Segment, scene: &Scene<'_>) -> Result<Examined> {
        let left = match self.terms.way {
            Way::Guard => guard::left(segment, self.terms)?,
            Way::Lock | Way::Election => lock::left(&SharedMemory::new(segment.clone())?, self.terms)?,
        };
        let mut examined = check::check(scene, self.terms, &left);
        let mut room = Findings::default();
        fill::to_the_limit(&SharedMemory::new(segment.clone())?, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        let (_, words) = match self.terms.way {
            Way::Lock => check::OF_LOCKS,
            Way::Election => check::OF_ELECTIONS,
            Way::Guard => check::OF_GUARDS,
        }
        .into_iter()
        .find(|(of, _)| *of == promise)?;
        Some(words)
    }
}
