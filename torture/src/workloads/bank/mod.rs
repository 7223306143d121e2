//! Transfers between accounts: whoever looks at all of them at once sees the same total, whatever is being killed.
//!
//! There are two books in one segment. The *numbered* one keeps its accounts in records and moves money with
//! `Segment::commit`; the *named* one keeps them under names and moves it with the backend's commit. A transfer changes
//! three entries at one moment: who pays, who is paid, and the teller's own *ledger*, whose value leads back from
//! transfer to transfer. Auditors look at all accounts and ledgers of a book at once: in the numbered one by a commit that
//! checks them all and writes one scratch record, in the named one by a `range`.
//!
//! ```text
//! teller ── read payer, payee, own ledger ──► commit { payer − n, payee + n, ledger: transfer k } if all are as read
//! auditor ─ numbered: read all, commit { check all, write scratch }      named: range("bank/")
//! ```

mod account;
mod book;
mod check;
mod work;

use std::path::Path;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::{Error, Segment, recipe};

use super::{Examined, Round, Scenario, roles};
use crate::check::{Execution, Promise};
use crate::client::Client;
use crate::nemesis::{Lifetime, Schedule};
use book::{Book, Named, Numbered};
use harness::random::Random;

use work::act;

/// Accounts of each book.
pub const ACCOUNTS: u32 = 16;
/// What is in each at the beginning.
pub const OPENING: u64 = 1_000;
/// What is in all accounts of a book together, always.
pub const TOTAL: u64 = ACCOUNTS as u64 * OPENING;

/// A bank and what is done to its people.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    roles: Vec<Vec<Role>>,
}

/// Which of the two books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Numbered,
    Named,
}

/// What a thread of the bank does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Moves money, and writes the ledger of this number.
    Teller(Which, u32),
    /// Looks at everything at once; the number is its own scratch record's.
    Auditor(Which, u32),
}

/// The ledgers of a book. A ledger's number is that of the one thread that writes it.
const NUMBERED: [u32; 3] = [0, 2, 4];
const NAMED: [u32; 3] = [1, 3, 5];
const LEDGERS: u32 = 6;
const AUDITORS: u32 = 2;

impl Which {
    pub fn ledgers(self) -> [u32; 3] {
        match self {
            Self::Numbered => NUMBERED,
            Self::Named => NAMED,
        }
    }
}

impl Plan {
    pub fn of(round: Round) -> Self {
        use Role::{Auditor, Teller};
        use Which::{Named, Numbered};
        let mut random = Random::of(round.seed, &[4, round.number]);
        let slots = [
            (Lifetime::Brisk, vec![Teller(Numbered, 0)]),
            (Lifetime::Brisk, vec![Teller(Named, 1)]),
            (Lifetime::Brisk, vec![Teller(Numbered, 2)]),
            (Lifetime::Brisk, vec![Teller(Named, 3)]),
            // Two threads of one attachment, killed together.
            (Lifetime::Long, vec![Teller(Numbered, 4), Teller(Named, 5)]),
            (Lifetime::Long, vec![Auditor(Named, 0), Auditor(Numbered, 0)]),
            (Lifetime::Steady, vec![Auditor(Numbered, 1), Auditor(Named, 1)]),
        ];
        // Nobody holds anything here: this only says how long the long stops are.
        let lease = Duration::from_millis(60);
        let mut schedule = Schedule::of(&slots, |role| format!("{role:?}"), round.length, lease, random.next());
        schedule.share_entries(|slot| if slot.is_busy() { 3 } else { 1 });
        Self { schedule, roles: roles(slots) }
    }
}

impl Scenario for Plan {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        let segment = Segment::builder()
            .records(ACCOUNTS + LEDGERS + AUDITORS)
            .keys(ACCOUNTS + LEDGERS)
            .payload(payload.max(account::SHORTEST))
            .participants(64)
            .lanes(256)
            .create(path)?;
        Numbered::new(&segment).open()?;
        Named::new(&SharedMemory::new(segment.clone())?)?.open()?;
        Ok(segment)
    }

    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> recipe::Result<()> {
        Ok(act(self.roles[slot as usize][thread], client)?)
    }

    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> recipe::Result<Examined> {
        let store = SharedMemory::new(segment.clone())?;
        let numbered = check::balance_sheet(&Numbered::new(segment))?;
        let named = check::balance_sheet(&Named::new(&store)?)?;
        Ok(check::check(execution, &[(Which::Numbered, numbered), (Which::Named, named)]))
    }

    fn words(&self, promise: Promise) -> Option<&'static str> {
        Some(match promise {
            Promise::P1 => "an acknowledged transfer is in its ledger once, a killed one at most once",
            Promise::P3 => "every account and ledger read is whole",
            Promise::P4 => "after a kill the others go on, and nothing is left",
            Promise::P5 => "each look sums to the same and shows the transfers up to its moment",
            Promise::P6 => "revisions respect real time, of transfers and of looks",
            Promise::P7 => return None,
        })
    }
}
