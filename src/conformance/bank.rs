//! Accounts between which money moves and never vanishes: whoever sees another total has not seen one moment.

use super::asking::{Asking, Contents};
use super::dice::Dice;
use super::ledger::{Effects, Ledger};
use crate::backend::{Backend, Op};
use crate::{Outcome, Revision};

/// How many accounts there are; one that is empty is deleted.
const ACCOUNTS: usize = 8;

/// What is in each at the beginning.
const OPENING: u64 = 3;

/// What is in all of them together, always.
const TOTAL: u64 = ACCOUNTS as u64 * OPENING;

/// The prefix of the accounts.
pub(super) const BANK: &str = "bank/";

fn account(number: usize) -> String {
    format!("{BANK}{number}")
}

fn amount(value: &[u8]) -> u64 {
    value.try_into().map(u64::from_le_bytes).expect("an account holds eight bytes")
}

/// Opens all accounts in one commit.
pub(super) fn open<B: Backend>(store: &B, ledger: &Ledger) {
    let keys: Vec<_> = (0..ACCOUNTS).map(|number| store.named(&account(number))).collect();
    let value = OPENING.to_le_bytes();
    let revision = store.apply(&keys.iter().map(|key| Op::put(key, &value).if_absent()).collect::<Vec<_>>());
    ledger.enter(revision, (0..ACCOUNTS).map(|number| (account(number), Some(value.to_vec()))).collect());
}

/// Makes this many transfers between two to four accounts each, and enters them into the ledger.
pub(super) fn transfer<B: Backend>(store: &B, ledger: &Ledger, transfers: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let keys: Vec<_> = (0..ACCOUNTS).map(|number| store.named(&account(number))).collect();
    let mut last = Revision(0);
    let mut made = 0;
    while made < transfers {
        let first = dice.below(ACCOUNTS);
        let step = 1 + dice.below(ACCOUNTS / 4);
        // In any order: who waits in order of names would have it easier.
        let parties: Vec<_> = (0..2 + dice.below(3)).map(|party| (first + party * step) % ACCOUNTS).collect();
        let Some((revision, effects)) = try_transfer(store, &keys, &parties) else {
            continue;
        };
        assert!(revision > last, "a transfer at {revision} after one at {last}");
        last = revision;
        ledger.enter(revision, effects);
        made += 1;
    }
}

/// Gives one unit of the first account to the last; those in between are written as they are. `None` if somebody changed
/// one of them since it was read, or there is nothing to give.
fn try_transfer<B: Backend>(store: &B, keys: &[B::Key], parties: &[usize]) -> Option<(Revision, Effects)> {
    let before: Vec<_> = parties.iter().map(|party| store.state(&keys[*party])).collect();
    let mut amounts: Vec<_> = before.iter().map(|state| state.as_ref().map_or(0, |s| amount(&s.value))).collect();
    amounts[0] = amounts[0].checked_sub(1)?;
    amounts[parties.len() - 1] += 1;
    let values: Vec<_> = amounts.iter().map(|amount| amount.to_le_bytes()).collect();
    let ops: Vec<_> = (0..parties.len())
        .map(|at| {
            let key = &keys[parties[at]];
            let op = if amounts[at] == 0 { Op::delete(key) } else { Op::put(key, &values[at]) };
            match &before[at] {
                Some(state) => op.if_modified_at(state.meta.modified),
                None => op.if_absent(),
            }
        })
        .collect();
    match store.commit(&ops).expect("a transfer") {
        Outcome::Conflict => None,
        Outcome::Committed(revision) => {
            let value = |at: usize| (amounts[at] > 0).then(|| values[at].to_vec());
            Some((revision, (0..parties.len()).map(|at| (account(parties[at]), value(at))).collect()))
        }
    }
}

/// Whether nothing has been lost or doubled.
pub(super) fn check_total(contents: &Contents, at: Revision) {
    let total: u64 = contents.values().map(|state| amount(&state.value)).sum();
    assert_eq!(total, TOTAL, "the accounts at {at} are not of one moment: {contents:#?}");
}
