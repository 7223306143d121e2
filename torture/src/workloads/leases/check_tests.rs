//! Each way in which a lease can fail its holder or the others, planted into a history written by hand and seen.

use super::*;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::check::scripted_run::ScriptedRun;
use crate::value::Author;

const TERMS: Settings = Settings { names: 2, lease_ms: 1 };
const TIME: u64 = 1_000_000;

/// Three holders, each a process of its own; one thing happens after the other, every 10 ns.
struct Fixture {
    run: ScriptedRun,
    final_state: FinalState,
    leases: u64,
}

/// A hold that was given.
#[derive(Clone, Copy)]
struct Given {
    writer: u32,
    name: u16,
    lease: u64,
    token: u64,
}

impl Fixture {
    fn new() -> Self {
        Self {
            run: ScriptedRun::new(3, 0),
            final_state: FinalState { data: vec![Final::NEVER; 2], leased: Vec::new() },
            leases: 100,
        }
    }

    fn done(&mut self, writer: u32, kind: Kind, record: u16, extra: u64) -> Author {
        let entry = Entry { extra, ..self.run.operation(kind, record) };
        let entry = match kind.revision() {
            Some(_) => Entry { revision: self.run.draw_revision(), ..entry },
            None => entry,
        };
        self.run.push(writer, entry)
    }

    fn refused(&mut self, writer: u32, kind: Kind, record: u16, extra: u64) -> Author {
        let entry = Entry { outcome: Outcome::LeaseLost, extra, ..self.run.operation(kind, record) };
        self.run.push(writer, entry)
    }

    fn lend(&mut self, writer: u32) -> u64 {
        self.leases += 1;
        self.done(writer, Kind::Lease, 0, self.leases);
        self.leases
    }

    fn take(&mut self, writer: u32, name: u16) -> Given {
        let lease = self.lend(writer);
        let taken = self.done(writer, Kind::Acquire, name, lease);
        Given { writer, name, lease, token: self.run.entry(taken).revision }
    }

    fn write(&mut self, hold: Given) -> Author {
        let data = &self.final_state.data[usize::from(hold.name)];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let author = self.done(hold.writer, Kind::GuardedWrite, hold.name, hold.token);
        let entry = self.run.entry(author);
        (entry.previous, entry.count, entry.version) = (before.author, before.count + 1, version);
        let data = &mut self.final_state.data[usize::from(hold.name)];
        (data.version, data.evidence) = (version, Ok(before.followed_by(author)));
        author
    }

    fn leave(&mut self, hold: Given) {
        self.done(hold.writer, Kind::ReleaseName, hold.name, hold.token);
    }

    /// Somebody sees the name held by this token.
    fn sight(&mut self, hold: Given) -> Author {
        let seen = self.done(2, Kind::Observe, hold.name, hold.lease);
        self.run.entry(seen).revision = hold.token;
        seen
    }

    fn pass(&mut self, time: u64) {
        self.run.now += time;
    }

    fn examine(&self) -> Examined {
        self.run.with_execution(|execution| check(execution, TERMS, &self.final_state))
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn holders_one_after_the_other_are_sound() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.write(one);
    fixture.sight(one);
    fixture.leave(one);
    let two = fixture.take(1, 0);
    fixture.write(two);
    // Two comes too late, and is refused.
    fixture.pass(TIME);
    let three = fixture.take(0, 0);
    fixture.refused(1, Kind::GuardedWrite, 0, two.token);
    fixture.refused(1, Kind::Lease, 0, two.lease);
    fixture.write(three);
    fixture.done(0, Kind::Revoke, 0, three.lease);
    fixture.refused(2, Kind::LeasedPut, 0, three.lease);
    // Four is killed, and five has waited for the name.
    let four = fixture.take(0, 1);
    fixture.run.kill(0);
    let five = fixture.take(1, 1);
    fixture.write(five);
    let examined = fixture.examine().sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (4, 4, 1));
    assert_eq!(four.name, five.name);
    let kinds: Vec<Next> = examined.recoveries.iter().map(|one| one.next).collect();
    assert_eq!(kinds, [Next::Expiry, Next::Name]);
}

#[test]
fn two_holders_of_one_name_are_seen() {
    let mut fixture = Fixture::new();
    fixture.take(0, 0);
    fixture.take(1, 0);
    fixture.breaks(Promise::P7, "could end");
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.pass(TIME - 100);
    // Renewed in time.
    fixture.done(0, Kind::Lease, 0, one.lease);
    fixture.pass(200);
    fixture.take(1, 0);
    fixture.breaks(Promise::P7, "could end");
}

#[test]
fn a_late_write_that_was_accepted_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.pass(TIME);
    let two = fixture.take(1, 0);
    fixture.write(one);
    fixture.breaks(Promise::P7, "the next token is 2");
    fixture.write(two);
    fixture.write(one);
    fixture.breaks(Promise::P1, "came after one of token");
}

#[test]
fn a_holder_in_time_that_is_refused_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.refused(0, Kind::GuardedWrite, 0, one.token);
    fixture.breaks(Promise::P7, "while it held for certain");
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.refused(0, Kind::Lease, 0, one.lease);
    fixture.breaks(Promise::P7, "which it was not");
}

#[test]
fn a_name_seen_after_its_end_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.leave(one);
    fixture.sight(one);
    fixture.breaks(Promise::P7, "had ended before");
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.pass(2 * TIME);
    fixture.sight(one);
    fixture.breaks(Promise::P7, "had run out");
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.done(0, Kind::Revoke, 0, one.lease);
    fixture.sight(one);
    fixture.breaks(Promise::P7, "had ended before");
}

#[test]
fn an_entry_put_under_a_lease_that_had_ended_is_seen() {
    let mut fixture = Fixture::new();
    let lease = fixture.lend(0);
    fixture.done(0, Kind::Revoke, 0, lease);
    fixture.done(1, Kind::LeasedPut, 0, lease);
    fixture.breaks(Promise::P7, "newer than the end of its lease");
    let mut fixture = Fixture::new();
    let lease = fixture.lend(0);
    fixture.pass(2 * TIME);
    fixture.done(1, Kind::LeasedPut, 0, lease);
    fixture.breaks(Promise::P7, "had run out");
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_data_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.write(one);
    let lost = fixture.done(0, Kind::GuardedWrite, 0, one.token);
    let entry = fixture.run.entry(lost);
    (entry.version, entry.count) = (2, 2);
    fixture.breaks(Promise::P1, "the last is 1");
}

#[test]
fn a_token_that_does_not_grow_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.take(0, 0);
    fixture.leave(one);
    fixture.take(1, 0);
    let entries = &mut fixture.run.history.regions[1].entries;
    entries.last_mut().expect("a hold").revision = 0;
    fixture.take(0, 1);
    fixture.run.history.regions[0].entries.last_mut().expect("a hold").revision = 1;
    fixture.breaks(Promise::P6, "had returned");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut fixture = Fixture::new();
    fixture.take(0, 0);
    fixture.final_state.leased.push("borrower/4/1".to_owned());
    fixture.breaks(Promise::P4, "borrower/4/1");
}

#[test]
fn a_take_over_that_comes_too_late_is_seen_unless_the_taker_was_stopped() {
    let late = |fixture: &mut Fixture| {
        fixture.take(0, 0);
        fixture.run.kill(0);
        let begin = fixture.run.now;
        fixture.pass(BOUND + ALLOWANCE + 1_000);
        let two = fixture.take(1, 0);
        // It had asked from the beginning.
        fixture.run.history.regions[1].entries[1].begin = begin;
        two
    };
    let mut fixture = Fixture::new();
    late(&mut fixture);
    fixture.breaks(Promise::P4, "the next hold of name 0 by token 2 (Name) took");
    let mut fixture = Fixture::new();
    late(&mut fixture);
    let (at, until) = (fixture.run.now - 100, fixture.run.now);
    fixture.run.faults.push(crate::nemesis::Fault {
        kind: crate::nemesis::FaultKind::Stop,
        slot: 1,
        life: 0,
        at,
        until,
    });
    assert_eq!(fixture.examine().verdicts.0[&Promise::P4].violations, 0);
}

#[test]
fn an_answer_that_nothing_explains_is_seen() {
    let mut fixture = Fixture::new();
    let failed = fixture.done(0, Kind::Acquire, 0, 5);
    fixture.run.entry(failed).outcome = Outcome::Conflict;
    fixture.breaks(Promise::P4, "was told Conflict");
}
