//! The two ways in which the bank keeps its book, behind one trait: read an entry, move money, look at everything at once.

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, Outcome, RecordOp, Revision, Segment, Version};

use super::account::{self, Account};
use super::{ACCOUNTS, LEDGERS, OPENING, Which};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::value::{Author, Evidence, Torn};

/// Who opened the accounts: no writer of the history.
const OPENER: Author = Author { writer: 0xff_ffff, sequence: 0 };

/// An entry of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Account(u32),
    Ledger(u32),
}

/// What is known of an entry besides its value: enough to change it only if nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: u64,
    pub revision: u64,
}

/// All of a book at one moment.
pub struct Glance {
    pub revision: u64,
    pub total: u64,
    /// Transfers in all its ledgers.
    pub transfers: u64,
}

/// What tellers and auditors need of a book.
pub trait Book {
    fn which(&self) -> Which;

    fn read(&self, place: Place, into: &mut Vec<u8>) -> Result<Seen, Error>;

    /// Writes all of it at one moment, if every entry is as it was seen.
    fn commit(&self, writes: &[(Place, Seen, &[u8])]) -> Result<Outcome, Error>;

    /// Looks at everything at once; `None` if somebody was in between.
    fn glance(&self, client: &mut Client<'_>, auditor: u32) -> Result<Option<Glance>, Error>;

    /// Opens all accounts.
    fn open(&self) -> Result<(), Error> {
        for number in 0..ACCOUNTS {
            let value = Account::opened_with(OPENING).write(number, OPENING, OPENER, account::SHORTEST);
            let unseen = Seen { version: 0, revision: 0 };
            self.commit(&[(Place::Account(number), unseen, &value)])?;
        }
        Ok(())
    }
}

/// The number that is written into the value of an entry.
pub fn number(place: Place) -> u32 {
    match place {
        Place::Account(number) => number,
        Place::Ledger(number) => ACCOUNTS + number,
    }
}

/// What a ledger's value says; one that was never written is empty.
pub fn ledger(number: u32, bytes: &[u8]) -> Result<Evidence, Torn> {
    Evidence::of(self::number(Place::Ledger(number)), bytes)
}

/// Sums up what is seen, and notes what is not whole.
#[derive(Default)]
struct Sum {
    total: u64,
    transfers: u64,
    torn: Option<(Place, Seen)>,
}

impl Sum {
    fn add(&mut self, place: Place, seen: Seen, bytes: &[u8]) {
        let whole = match place {
            Place::Account(number) => Account::of(number, bytes).map(|account| {
                self.total += account.balance;
                account.evidence.count
            }),
            Place::Ledger(number) => ledger(number, bytes).map(|evidence| {
                self.transfers += evidence.count;
                evidence.count
            }),
        };
        if whole != Ok(seen.version) {
            self.torn = Some((place, seen));
        }
    }

    fn told(self, client: &mut Client<'_>, revision: Revision) -> Glance {
        client.log.count_read();
        if let Some((place, seen)) = self.torn {
            client.anomaly(number(place), seen.revision, Anomaly::Mixed);
        }
        Glance { revision: revision.0, total: self.total, transfers: self.transfers }
    }
}

/// Accounts in numbered records.
pub struct Numbered<'s> {
    segment: &'s Segment,
}

impl<'s> Numbered<'s> {
    pub fn new(segment: &'s Segment) -> Self {
        Self { segment }
    }

    fn scratch(auditor: u32) -> u32 {
        ACCOUNTS + LEDGERS + auditor
    }
}

fn places(which: Which) -> impl Iterator<Item = Place> {
    (0..ACCOUNTS).map(Place::Account).chain(which.ledgers().map(Place::Ledger))
}

impl Book for Numbered<'_> {
    fn which(&self) -> Which {
        Which::Numbered
    }

    fn read(&self, place: Place, into: &mut Vec<u8>) -> Result<Seen, Error> {
        let stamp = self.segment.record(number(place))?.read(into)?;
        Ok(Seen { version: stamp.version.0, revision: stamp.revision.0 })
    }

    fn commit(&self, writes: &[(Place, Seen, &[u8])]) -> Result<Outcome, Error> {
        let ops = writes.iter().map(|(place, seen, value)| {
            let write = RecordOp::write(number(*place), value);
            write.if_version(Version(seen.version))
        });
        self.segment.commit(&ops.collect::<Vec<_>>())
    }

    fn glance(&self, client: &mut Client<'_>, auditor: u32) -> Result<Option<Glance>, Error> {
        let mut bytes = Vec::new();
        let mut sum = Sum::default();
        let mut ops = Vec::new();
        for place in places(self.which()) {
            let seen = self.read(place, &mut bytes)?;
            sum.add(place, seen, &bytes);
            ops.push(RecordOp::check(number(place), Version(seen.version)));
        }
        let total = sum.total.to_le_bytes();
        ops.push(RecordOp::write(Self::scratch(auditor), &total));
        Ok(match self.segment.commit(&ops)? {
            Outcome::Committed(revision) => Some(sum.told(client, revision)),
            Outcome::Conflict => None,
        })
    }
}

/// Accounts under names.
pub struct Named<'s> {
    store: &'s SharedMemory,
    keys: Vec<<SharedMemory as Backend>::Key>,
}

const PREFIX: &str = "bank/";

fn name(number: u32) -> String {
    match number.checked_sub(ACCOUNTS) {
        None => format!("{PREFIX}account/{number:02}"),
        Some(ledger) => format!("{PREFIX}ledger/{ledger}"),
    }
}

impl<'s> Named<'s> {
    pub fn new(store: &'s SharedMemory) -> Result<Self, Error> {
        let keys = (0..ACCOUNTS + LEDGERS).map(|number| store.key(&name(number)));
        Ok(Self { store, keys: keys.collect::<Result<_, _>>()? })
    }

    fn key(&self, place: Place) -> &<SharedMemory as Backend>::Key {
        &self.keys[number(place) as usize]
    }
}

impl Book for Named<'_> {
    fn which(&self) -> Which {
        Which::Named
    }

    fn read(&self, place: Place, into: &mut Vec<u8>) -> Result<Seen, Error> {
        let (meta, _) = self.store.read(self.key(place), into)?;
        Ok(meta.map_or(Seen { version: 0, revision: 0 }, |meta| Seen {
            version: meta.version.0,
            revision: meta.modified.0,
        }))
    }

    fn commit(&self, writes: &[(Place, Seen, &[u8])]) -> Result<Outcome, Error> {
        let ops = writes.iter().map(|(place, seen, value)| {
            let put = Op::put(self.key(*place), value);
            match seen.version {
                0 => put.if_absent(),
                _ => put.if_modified_at(Revision(seen.revision)),
            }
        });
        self.store.commit(&ops.collect::<Vec<_>>())
    }

    fn glance(&self, client: &mut Client<'_>, _auditor: u32) -> Result<Option<Glance>, Error> {
        let mut sum = Sum::default();
        let revision = self.store.range(PREFIX, &mut |key, value, meta| {
            let seen = Seen { version: meta.version.0, revision: meta.modified.0 };
            if let Some(place) = places(Which::Named).find(|place| self.key(*place) == &key) {
                sum.add(place, seen, value);
            }
        })?;
        Ok(Some(sum.told(client, revision)))
    }
}
