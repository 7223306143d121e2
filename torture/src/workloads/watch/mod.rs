//! Pairs that are always written together, and watchers who must never see one half without the other.
//!
//! *Writers* put both halves of a pair by one commit, each with the pair's next count; other pairs come and go, both halves
//! at once; and now and then a quiet entry is put of which only sleepers want to know. *Followers* keep a view of all pairs:
//! a range and the watch from there on, or a watch from the beginning. *Sleepers* do the same for the quiet entries, and
//! sleep most of the time. They are killed and stopped as everybody else; at the end a last word is put, and whoever sees
//! it compares its view with what is there.
//!
//! ```text
//! writer ── commit { pair/07/left: n + 1, pair/07/right: n + 1 } if both are as read
//! follower ─ range("pair/") at R ─► watch("pair/", R + 1) ─► batch … batch … ─► last word: view = range
//! ```

mod check;
mod follow;
mod view;
mod write;

use std::path::Path;
use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, Outcome, Segment, recipe};

use super::{Examined, Round, Scenario, roles};
use crate::check::{Execution, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use crate::value;
use harness::random::Random;

/// Pairs that are always there once they have been put.
const PAIRS: u32 = 12;
/// Pairs that come and go.
const TRANSIENT: u32 = 4;
/// Entries of which only sleepers want to know; numbered behind the pairs.
const QUIET: u32 = 2;

const HALVES: [&str; 2] = ["left", "right"];

/// What somebody follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prefix {
    Pairs,
    Quiet,
}

impl Prefix {
    const ALL: [Self; 2] = [Self::Pairs, Self::Quiet];

    fn text(self) -> &'static str {
        match self {
            Self::Pairs => "pair/",
            Self::Quiet => "quiet/",
        }
    }

    /// The numbers of the entries whose counts a view adds up.
    fn numbers(self) -> Vec<u32> {
        match self {
            Self::Pairs => (0..PAIRS).collect(),
            Self::Quiet => (PAIRS..PAIRS + QUIET).collect(),
        }
    }

    /// The name of the last word.
    fn last_word(self) -> String {
        format!("{}~", self.text())
    }
}

/// The names of what has this number: two halves, or one quiet entry.
fn names(number: u32) -> Vec<String> {
    match number.checked_sub(PAIRS) {
        None => HALVES.map(|half| format!("pair/{number:02}/{half}")).into(),
        Some(quiet) => vec![format!("quiet/{quiet}")],
    }
}

/// Writers, watchers, and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
}

/// What a thread writes or follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Writer,
    /// Puts a quiet entry now and then.
    QuietWriter,
    Follower(Prefix),
}

/// The whole life of a thread.
fn act(role: Role, client: &mut Client<'_>) -> Result<(), Error> {
    let store = SharedMemory::new(client.segment.clone())?;
    match role {
        Role::Writer => write::write_pairs(&store, client),
        Role::QuietWriter => write::write_quiet(&store, client),
        Role::Follower(prefix) => follow::follow(&store, prefix, client),
    }
}

impl Plan {
    pub fn of(round: Round) -> Self {
        use Role::{Follower, QuietWriter, Writer};
        let mut random = Random::of(round.seed, &[7, round.number]);
        let (follower, sleeper) = (Follower(Prefix::Pairs), Follower(Prefix::Quiet));
        let slots = [
            (Lifetime::Brisk, vec![Writer]),
            (Lifetime::Brisk, vec![Writer]),
            (Lifetime::Long, vec![Writer, QuietWriter]),
            (Lifetime::Steady, vec![Writer, QuietWriter]),
            (Lifetime::Brisk, vec![follower]),
            (Lifetime::Long, vec![follower, sleeper]),
            (Lifetime::Steady, vec![follower]),
            (Lifetime::Steady, vec![sleeper]),
        ];
        let lease = Duration::from_millis(60);
        let schedule = Schedule::of(&slots, |role| format!("{role:?}"), round.length, lease, random.next());
        Self { schedule, roles: roles(slots) }
    }

    /// How many threads follow this prefix at any time.
    fn followers(&self, prefix: Prefix) -> usize {
        self.roles.iter().flatten().filter(|role| **role == Role::Follower(prefix)).count()
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        // Room enough for the quiet entries to lie apart, so that pairs wake nobody who sleeps.
        let builder = Segment::builder().records(1).keys(512).name_bytes(16);
        builder.payload(payload.max(value::SHORTEST)).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> recipe::Result<()> {
        Ok(act(self.roles[slot as usize][thread], client)?)
    }

    fn goes_on(&self, slot: u32) -> bool {
        self.roles[slot as usize].iter().any(|role| matches!(role, Role::Follower(_)))
    }

    fn close(&self, client: &mut Client<'_>) -> recipe::Result<()> {
        let store = SharedMemory::new(client.segment.clone())?;
        let keys: Vec<_> =
            Prefix::ALL.iter().map(|prefix| store.key(&prefix.last_word())).collect::<Result<_, Error>>()?;
        let ops: Vec<_> = keys.iter().map(|key| Op::put(key, b"the last word")).collect();
        match store.commit(&ops)? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(Error::Invalid("a commit without conditions lost".to_owned()).into()),
        }
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> recipe::Result<Examined> {
        let store = SharedMemory::new(segment.clone())?;
        let final_state = check::final_state(&store)?;
        Ok(check::check(execution, &final_state, |prefix| self.followers(prefix)))
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "a pair put is in its history once, with every count from 1 on",
            Promise::P3 => "every value a watcher is told of is whole",
            Promise::P4 => "a sleeping watcher is told in time, a killed one leaves nothing",
            Promise::P5 => "no batch tells of half a commit; each view is the store at its moment",
            Promise::P6 => "a watch never runs backwards, and its moments respect real time",
            Promise::P7 => return None,
        })
    }
}
