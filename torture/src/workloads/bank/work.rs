//! What tellers and auditors do, all the time.

use slotguard::backend::SharedMemory;
use slotguard::{Error, Outcome as Answer};

use super::account::Account;
use super::book::{Book, Named, Numbered, Place, Seen, ledger, number};
use super::{ACCOUNTS, Role, Which};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Evidence};

/// More than this is never moved at once.
const MOST: u64 = 50;
/// How often an auditor tries to find a moment in which nobody moves money, for one entry of the history.
const LOOKS: u32 = 200;

/// Who pays whom how much, as an entry of the history keeps it: `payer:8 | payee:8 | amount:48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    pub payer: u32,
    pub payee: u32,
    pub amount: u64,
}

impl Payment {
    pub fn packed(self) -> u64 {
        u64::from(self.payer) | u64::from(self.payee) << 8 | self.amount << 16
    }

    pub fn unpack(word: u64) -> Self {
        Self { payer: (word & 0xff) as u32, payee: (word >> 8 & 0xff) as u32, amount: word >> 16 }
    }
}

/// The whole life of a thread.
pub fn act(role: Role, client: &mut Client<'_>) -> Result<(), Error> {
    let segment = client.segment;
    let (Role::Teller(which, _) | Role::Auditor(which, _)) = role;
    match which {
        Which::Numbered => act_in(&Numbered::new(segment), role, client),
        Which::Named => act_in(&Named::new(&SharedMemory::new(segment.clone())?)?, role, client),
    }
}

fn act_in(book: &impl Book, role: Role, client: &mut Client<'_>) -> Result<(), Error> {
    while client.awaits_room() {
        match role {
            Role::Teller(_, ledger) => transfer(book, ledger, client)?,
            Role::Auditor(_, auditor) => look(book, auditor, client)?,
        }
    }
    Ok(())
}

/// An account as it is read; `None` if it is not whole, which is written down.
fn read_account(book: &impl Book, at: u32, client: &mut Client<'_>) -> Result<Option<(Seen, Account)>, Error> {
    let mut bytes = Vec::new();
    let seen = book.read(Place::Account(at), &mut bytes)?;
    let account = Account::of(at, &bytes).ok().filter(|account| account.evidence.count == seen.version);
    note_look(client, Place::Account(at), seen, account.is_some());
    Ok(account.map(|account| (seen, account)))
}

fn read_ledger(book: &impl Book, at: u32, client: &mut Client<'_>) -> Result<Option<(Seen, Evidence)>, Error> {
    let mut bytes = Vec::new();
    let seen = book.read(Place::Ledger(at), &mut bytes)?;
    let evidence = ledger(at, &bytes).ok().filter(|evidence| evidence.count == seen.version);
    note_look(client, Place::Ledger(at), seen, evidence.is_some());
    Ok(evidence.map(|evidence| (seen, evidence)))
}

fn note_look(client: &mut Client<'_>, place: Place, seen: Seen, is_whole: bool) {
    client.log.count_read();
    if !is_whole {
        client.anomaly(number(place), seen.revision, Anomaly::Mixed);
    }
}

/// One transfer between two accounts, entered in the ledger.
fn transfer(book: &impl Book, ledger: u32, client: &mut Client<'_>) -> Result<(), Error> {
    let payer = client.random.below(u64::from(ACCOUNTS)) as u32;
    let payee = (payer + 1 + client.random.below(u64::from(ACCOUNTS) - 1) as u32) % ACCOUNTS;
    let amount = 1 + client.random.below(MOST);
    let read =
        (read_account(book, payer, client)?, read_account(book, payee, client)?, read_ledger(book, ledger, client)?);
    let (Some((payer_seen, paying)), Some((payee_seen, paid)), Some((ledger_seen, before))) = read else {
        return Ok(());
    };
    let Some(left) = paying.balance.checked_sub(amount) else {
        return Ok(());
    };
    let open = client.log.begin(Kind::Transfer, ledger).with_extra(Payment { payer, payee, amount }.packed());
    open.attempt(before.author, before.count + 1);
    let (author, longest) = (open.author(), client.longest());
    let mut entered = Vec::new();
    let length = value::length_of(author, longest);
    before.followed_by(author).write(number(Place::Ledger(ledger)), length, &mut entered);
    let (pays, gets) =
        (paying.write(payer, left, author, longest), paid.write(payee, paid.balance + amount, author, longest));
    let mut writes = [
        (Place::Account(payer), payer_seen, &*pays),
        (Place::Account(payee), payee_seen, &*gets),
        (Place::Ledger(ledger), ledger_seen, &*entered),
    ];
    // In any order: who sorted them would have it easier.
    let by = client.random.below(3) as usize;
    writes.rotate_left(by);
    match book.commit(&writes) {
        Ok(Answer::Committed(revision)) => {
            client.log.count_acknowledged();
            open.finish(Outcome::Done, before.count + 1, revision.0);
        }
        Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
        Err(error) => {
            client.refused(open, &error);
        }
    }
    Ok(())
}

/// One look at everything, tried until nobody is in between.
fn look(book: &impl Book, auditor: u32, client: &mut Client<'_>) -> Result<(), Error> {
    let open = client.log.begin(Kind::Snapshot, book.which() as u32);
    for _ in 0..LOOKS {
        if let Some(glance) = book.glance(client, auditor)? {
            open.looked(glance.revision, glance.total, glance.transfers);
            return Ok(());
        }
    }
    open.finish(Outcome::Conflict, 0, 0);
    Ok(())
}
