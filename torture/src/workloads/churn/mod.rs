//! Names that come and go for ever: far more of them than the segment has room for, and not one place is ever lost.
//!
//! All workers want the same names at the same time: the number of the next one is in a word all share, whoever creates
//! it moves the word on. A worker creates a few names by one commit if all are absent, now and then as many as one commit
//! takes; it keeps them for a while, reads them, writes them anew, and deletes them by one commit if they are still the
//! ones it created. A worker that was killed leaves its names behind; its next life finds them by a range, since each
//! value names its author.
//!
//! ```text
//! churn/3/0000004711 … 4713 ─ create if absent (raced) ─► kept ─► delete if created at ─► wanted again, by anybody
//! ```

mod check;
mod work;

use std::path::Path;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::{Error, Segment, recipe};

use super::{Examined, Round, Scenario, fill, roles};
use crate::check::{Execution, Findings, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use crate::value;
use harness::random::Random;

use work::act;

/// Names the segment has room for.
const KEYS: u32 = 1_024;
/// Names a thread keeps at most; all threads together fill most of the segment.
const KEEP: u64 = 100;
/// Names most commits create, at most.
const BATCH: u64 = 4;
/// Names a few commits create, at most: as many as one commit takes.
const LARGE_BATCH: u64 = slotguard::MAX_OPS as u64;
/// Folders the names are spread over.
const FOLDERS: u64 = 16;

/// The owner who is never killed, whose names are counted exactly: the first thread of the last slot.
const STEADY: u32 = 7;

const PREFIX: &str = "churn/";

/// The name with this number.
fn name(ticket: u64) -> String {
    // Three neighbours share a folder, so a batch is in one leaf of the directory or in several.
    format!("{PREFIX}{:x}/{ticket:010}", ticket / 3 % FOLDERS)
}

/// The number in a name.
fn ticket(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.split_once('/')?.1.parse().ok()
}

/// Who wants names and what is done to them.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
}

/// What a thread does with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Creates and deletes.
    Owner,
    /// Counts the names there are at one moment, and those of this writer, who is never killed.
    Counter(u32),
}

impl Plan {
    pub fn of(round: Round) -> Self {
        use Role::{Counter, Owner};
        let mut random = Random::of(round.seed, &[5, round.number]);
        let slots = [
            (Lifetime::Brisk, vec![Owner]),
            (Lifetime::Brisk, vec![Owner]),
            (Lifetime::Brisk, vec![Owner]),
            (Lifetime::Brisk, vec![Owner]),
            (Lifetime::Long, vec![Owner, Owner]),
            (Lifetime::Long, vec![Counter(STEADY)]),
            (Lifetime::Steady, vec![Owner, Counter(STEADY)]),
        ];
        let lease = Duration::from_millis(60);
        let schedule = Schedule::of(&slots, |role| format!("{role:?}"), round.length, lease, random.next());
        Self { schedule, roles: roles(slots) }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        let builder = Segment::builder().records(1).keys(KEYS).name_bytes(name(0).len() as u32);
        builder.payload(payload.max(value::SHORTEST)).participants(64).lanes(256).create(path)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> recipe::Result<()> {
        Ok(act(self.roles[slot as usize][thread], client)?)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> recipe::Result<Examined> {
        let store = SharedMemory::new(segment.clone())?;
        let final_state = check::final_state(&store)?;
        let mut examined = check::check(execution, &final_state, STEADY);
        let mut room = Findings::default();
        let fitted = fill::to_the_limit(&store, &mut room)?;
        examined.verdicts.add(Promise::P4, room);
        examined.figures.push(super::Figure::needed("names that fitted in at the end", fitted));
        Ok(examined)
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "a name created is there until it is deleted, and gone after that",
            Promise::P3 => "a value is whole and is that of the name it was read by",
            Promise::P4 => "the others go on, nothing is left, and there is room for as many as at first",
            Promise::P5 => "names created or deleted by one commit come and go together",
            Promise::P6 => "revisions respect real time, and a count shows one moment",
            Promise::P7 => "of those who want a name one creates it; creations of a name grow",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_number_and_the_steady_owner_is_who_it_is_said_to_be() {
        for number in [0, 1, 47, 9_999_999_999] {
            assert_eq!(ticket(&name(number)), Some(number));
        }
        let plan = Plan::of(Round { seed: 1, number: 0, length: Duration::from_secs(5) });
        let before: usize = plan.roles[..6].iter().map(Vec::len).sum();
        assert_eq!(before, STEADY as usize);
        assert_eq!(plan.roles[6][0], Role::Owner);
        assert_eq!(plan.schedule.slots[6].lifetime, Lifetime::Steady);
    }
}
