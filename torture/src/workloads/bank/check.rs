//! What must hold of the bank: every transfer once and whole, every look one moment.
//!
//! The ledgers lead back from the last transfer of each teller to the first, as single records do ([`chain`]); so it is
//! known which transfers took effect, those of killed tellers included. From these follow the balances that must be
//! there at the end, and how many transfers a look at revision R must show: those with a revision up to R. Of a transfer
//! in doubt the revision was never told; it lies between those of its neighbours in the ledger.

use slotguard::Error;

use super::account::Account;
use super::book::{Book, Place, ledger};
use super::work::Payment;
use super::{ACCOUNTS, LEDGERS, OPENING, TOTAL, Which};
use crate::check::chain::{self, Chains};
use crate::check::numbers::Numbers;
use crate::check::recovery::{self, Recoveries};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::value::Torn;
use crate::workloads::{Examined, Figure, slowest};

/// What a book holds when everybody has left.
pub struct BalanceSheet {
    /// By account.
    pub balances: Vec<Result<u64, Torn>>,
    /// By ledger; those of the other books were never written.
    pub ledgers: Vec<Final>,
}

/// Reads all of a book.
pub fn balance_sheet(book: &impl Book) -> Result<BalanceSheet, Error> {
    let mut sheet = BalanceSheet { balances: Vec::new(), ledgers: vec![Final::NEVER; LEDGERS as usize] };
    let mut bytes = Vec::new();
    for number in 0..ACCOUNTS {
        book.read(Place::Account(number), &mut bytes)?;
        sheet.balances.push(Account::of(number, &bytes).map(|account| account.balance));
    }
    for number in book.which().ledgers() {
        let seen = book.read(Place::Ledger(number), &mut bytes)?;
        let evidence = ledger(number, &bytes);
        sheet.ledgers[number as usize] = Final { version: seen.version, evidence, ..Final::NEVER };
    }
    Ok(sheet)
}

/// Holds the history against the balance sheets of both books.
pub fn check(execution: &Execution<'_>, sheets: &[(Which, BalanceSheet)]) -> Examined {
    let mut finals = vec![Final::NEVER; LEDGERS as usize];
    for (which, sheet) in sheets {
        for number in which.ledgers() {
            finals[number as usize] = sheet.ledgers[number as usize];
        }
    }
    let execution = &Execution { finals: &finals, ..*execution };
    let chains = chain::walk(execution);
    let mut whole = Findings::default();
    for (which, sheet) in sheets {
        balances_follow(execution, &chains, *which, sheet, &mut whole);
        looks_show_one_moment(execution, &chains, *which, &mut whole);
    }
    let mut going_on = Recoveries::default();
    recovery::others_go_on(execution, |entry| entry.kind == Kind::Transfer, &mut going_on);
    answers_are_explained(execution, &mut going_on.findings);
    let figures = figures(execution, &chains, &going_on);
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, chains.findings.clone());
    verdicts.add(Promise::P4, going_on.findings);
    verdicts.add(Promise::P5, whole);
    verdicts.add(Promise::P6, order::check(execution.history));
    Examined { verdicts, figures, recoveries: going_on.recoveries, ..Examined::of(&chains) }
}

fn figures(execution: &Execution<'_>, chains: &Chains, going_on: &Recoveries) -> Vec<Figure> {
    let looks = |which: Which| count(execution, |entry| is_look(entry, which) && entry.outcome == Outcome::Done);
    let lost = count(execution, |entry| entry.kind == Kind::Transfer && entry.outcome == Outcome::Conflict);
    let mut figures = vec![
        Figure::needed("transfers acknowledged", chains.acknowledged),
        Figure::count("transfers that lost a race", lost),
        Figure::count("transfers in doubt after a kill", chains.in_doubt),
        Figure::count("of these had taken effect", chains.took_effect),
        Figure::needed("looks at all numbered accounts by a commit", looks(Which::Numbered)),
        Figure::needed("looks at all named accounts by a range", looks(Which::Named)),
    ];
    figures.extend(slowest(&going_on.recoveries, "kills after which others went on", "slowest to go on"));
    figures
}

fn count(execution: &Execution<'_>, holds: impl Fn(&Entry) -> bool) -> u64 {
    execution.history.all().filter(|(_, entry)| holds(entry)).count() as u64
}

fn is_look(entry: &Entry, which: Which) -> bool {
    entry.kind == Kind::Snapshot && u32::from(entry.record) == which as u32
}

/// Nobody holds anything here, so every answer is done or lost; only a look may find no moment.
fn answers_are_explained(execution: &Execution<'_>, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = matches!(entry.outcome, Outcome::Done | Outcome::Conflict | Outcome::InDoubt);
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

/// The transfers of a book that took effect, in the order of each ledger.
fn effects<'a>(execution: &'a Execution<'_>, chains: &'a Chains, ledger: u32) -> impl Iterator<Item = &'a Entry> {
    let authors = chains.authors.get(ledger as usize).map_or(&[][..], Vec::as_slice);
    authors.iter().flatten().filter_map(|author| execution.history.entry(*author))
}

/// What is in the accounts is what was in them at first and what the transfers in the ledgers moved.
fn balances_follow(
    execution: &Execution<'_>,
    chains: &Chains,
    which: Which,
    sheet: &BalanceSheet,
    findings: &mut Findings,
) {
    let mut expected = vec![i128::from(OPENING); ACCOUNTS as usize];
    for ledger in which.ledgers() {
        for transfer in effects(execution, chains, ledger) {
            let Payment { payer, payee, amount } = Payment::unpack(transfer.extra);
            expected[payer as usize] -= i128::from(amount);
            expected[payee as usize] += i128::from(amount);
        }
    }
    for (number, (balance, expected)) in sheet.balances.iter().zip(&expected).enumerate() {
        let found = balance.map(i128::from);
        findings.expect(found == Ok(*expected), || {
            format!("{which:?} account {number} holds {found:?}; the transfers in the ledgers leave {expected}")
        });
    }
    let total: u64 = sheet.balances.iter().flatten().sum();
    findings.expect(total == TOTAL, || format!("{which:?}: {total} in all accounts at the end, not {TOTAL}"));
}

/// Every look sums to the same, and shows as many transfers as have a revision up to its own.
fn looks_show_one_moment(execution: &Execution<'_>, chains: &Chains, which: Which, findings: &mut Findings) {
    let numbers = Numbers::of(execution, chains, &which.ledgers());
    let looks = execution.history.all().filter(|(_, entry)| is_look(entry, which) && entry.outcome == Outcome::Done);
    for (author, look) in looks {
        let (total, revision, shown) = (look.version, look.revision, look.count);
        findings.expect(total == TOTAL, || {
            format!("{which:?}: the look {author:?} at revision {revision} sums to {total}, not {TOTAL}")
        });
        let (least, most) = numbers.up_to(revision);
        findings.expect((least..=most).contains(&shown), || {
            format!(
                "{which:?}: the look {author:?} at revision {revision} shows {shown} transfers, not {least} to {most}"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted_run::ScriptedRun;
    use crate::value::Author;

    /// A numbered bank in which everything happens one after the other, and its balance sheet.
    struct Day {
        run: ScriptedRun,
        sheet: BalanceSheet,
    }

    impl Day {
        fn new() -> Self {
            let sheet = BalanceSheet {
                balances: vec![Ok(OPENING); ACCOUNTS as usize],
                ledgers: vec![Final::NEVER; LEDGERS as usize],
            };
            Self { run: ScriptedRun::new(3, 0), sheet }
        }

        /// A transfer of 5 from account 1 to account 2, by the writer of a ledger.
        fn transfer(&mut self, writer: u32, ledger: u32) -> Author {
            let author = self.attempt(writer, ledger, Outcome::Done);
            let made = self.run.draw_revision();
            let last = &mut self.sheet.ledgers[ledger as usize];
            last.version += 1;
            last.evidence = last.evidence.map(|before| before.followed_by(author));
            let version = last.version;
            let entry = self.run.entry(author);
            (entry.version, entry.revision) = (version, made);
            self.sheet.balances[1] = self.sheet.balances[1].map(|balance| balance - 5);
            self.sheet.balances[2] = self.sheet.balances[2].map(|balance| balance + 5);
            author
        }

        fn attempt(&mut self, writer: u32, ledger: u32, outcome: Outcome) -> Author {
            let before = self.sheet.ledgers[ledger as usize].evidence.expect("a whole ledger");
            let entry = Entry {
                outcome,
                previous: before.author,
                count: before.count + 1,
                extra: Payment { payer: 1, payee: 2, amount: 5 }.packed(),
                ..self.run.operation(Kind::Transfer, ledger as u16)
            };
            self.run.push(writer, entry)
        }

        fn look(&mut self, total: u64, transfers: u64) -> Author {
            let revision = self.run.draw_revision();
            let entry = Entry {
                version: total,
                revision,
                count: transfers,
                ..self.run.operation(Kind::Snapshot, Which::Numbered as u16)
            };
            self.run.push(2, entry)
        }

        fn examine(self) -> Examined {
            let sheet = self.sheet;
            self.run.with_execution(|execution| check(execution, &[(Which::Numbered, sheet)]))
        }

        fn breaks(self, promise: Promise, words: &str) {
            self.examine().breaks(promise, words);
        }
    }

    #[test]
    fn a_day_without_incidents_is_sound() {
        let mut day = Day::new();
        day.transfer(0, 0);
        day.look(TOTAL, 1);
        day.transfer(1, 2);
        let doubt = day.transfer(0, 0);
        day.run.entry(doubt).outcome = Outcome::InDoubt;
        // The one in doubt may be in this look or not.
        day.look(TOTAL, 2);
        day.look(TOTAL, 3);
        day.transfer(0, 0);
        day.attempt(1, 2, Outcome::Conflict);
        day.attempt(1, 2, Outcome::InDoubt);
        day.look(TOTAL, 4);
        day.run.kill(0);
        day.run.kill(1);
        day.transfer(0, 0);
        day.transfer(1, 2);
        let examined = day.examine();
        assert_eq!(examined.verdicts.violations(), 0, "{:?}", examined.verdicts);
        assert_eq!((examined.acknowledged, examined.found, examined.took_effect), (5, 5, 1));
        assert_eq!(examined.recoveries.len(), 2);
    }

    #[test]
    fn money_that_vanished_in_a_look_is_seen() {
        let mut day = Day::new();
        day.transfer(0, 0);
        day.look(TOTAL - 5, 1);
        day.breaks(Promise::P5, "sums to 15995");
    }

    #[test]
    fn a_look_that_misses_an_acknowledged_transfer_is_seen() {
        let mut day = Day::new();
        day.transfer(0, 0);
        day.transfer(0, 0);
        day.look(TOTAL, 1);
        day.breaks(Promise::P5, "shows 1 transfers, not 2 to 2");
    }

    #[test]
    fn a_look_that_shows_a_transfer_of_later_is_seen() {
        let mut day = Day::new();
        day.look(TOTAL, 1);
        day.transfer(0, 0);
        day.breaks(Promise::P5, "shows 1 transfers, not 0 to 0");
    }

    #[test]
    fn half_a_transfer_is_seen_also_where_the_total_is_right() {
        let mut day = Day::new();
        day.transfer(0, 0);
        day.sheet.balances[2] = Ok(OPENING);
        day.breaks(Promise::P5, "account 2 holds Ok(1000)");
        let mut day = Day::new();
        day.transfer(0, 0);
        (day.sheet.balances[2], day.sheet.balances[3]) = (Ok(OPENING), Ok(OPENING + 5));
        day.breaks(Promise::P5, "account 3 holds Ok(1005)");
    }

    #[test]
    fn an_acknowledged_transfer_that_is_in_no_ledger_is_seen() {
        let mut day = Day::new();
        day.transfer(0, 0);
        let lost = day.attempt(0, 0, Outcome::Done);
        day.run.entry(lost).version = 2;
        day.breaks(Promise::P1, "the last is 1");
    }

    #[test]
    fn a_refused_transfer_that_took_effect_is_seen() {
        let mut day = Day::new();
        let refused = day.transfer(0, 0);
        day.run.entry(refused).outcome = Outcome::Conflict;
        day.breaks(Promise::P1, "all the same");
    }

    #[test]
    fn a_look_older_than_what_had_returned_is_seen() {
        let mut day = Day::new();
        day.transfer(0, 0);
        let look = day.look(TOTAL, 1);
        day.run.entry(look).revision = 0;
        day.transfer(0, 0);
        let late = day.look(TOTAL, 2);
        day.run.entry(late).revision = 1;
        day.breaks(Promise::P6, "had returned");
    }

    #[test]
    fn an_answer_that_nothing_explains_is_seen() {
        let mut day = Day::new();
        day.attempt(0, 0, Outcome::Held);
        day.breaks(Promise::P4, "was told Held");
    }

    #[test]
    fn a_bank_that_stands_still_after_a_kill_is_seen() {
        let mut day = Day::new();
        day.transfer(0, 0);
        day.run.kill(0);
        day.breaks(Promise::P4, "never changed again");
    }
}
