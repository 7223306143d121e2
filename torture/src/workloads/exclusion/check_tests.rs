//! Each way in which exclusion can fail, planted into a scripted history and found.

use super::*;
use crate::check::holds::Wanted;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::check::scripted_run::ScriptedRun;
use crate::value::Author;

const TERMS: Settings = Settings { recipe: Recipe::Lock, names: 2, lease_ms: 1 };
const TIME: u64 = 1_000_000;

/// Three takers, each a process of its own; one thing happens after the other, every 10 ns.
struct Fixture {
    run: ScriptedRun,
    final_state: FinalState,
    recipe: Recipe,
    leases: u64,
}

#[derive(Clone, Copy)]
struct Held {
    writer: u32,
    name: u16,
    token: u64,
}

impl Fixture {
    fn new(recipe: Recipe) -> Self {
        let counted = if recipe == Recipe::Guard { vec![(0, 0); 2] } else { Vec::new() };
        let final_state = FinalState { data: vec![Final::NEVER; 2], counted, of_the_dead: Vec::new() };
        Self { run: ScriptedRun::new(3, 0), final_state, recipe, leases: 100 }
    }

    fn told(&mut self, writer: u32, kind: Kind, record: u16, outcome: Outcome, extra: u64) -> Author {
        let entry = Entry { extra, outcome, ..self.run.operation(kind, record) };
        self.run.push(writer, entry)
    }

    /// A hold by a session that lasts for certain for its whole time.
    fn take(&mut self, writer: u32, name: u16) -> Held {
        self.take_as(writer, name, Wanted::default())
    }

    fn take_as(&mut self, writer: u32, name: u16, wanted: Wanted) -> Held {
        self.leases += 1;
        let lease = self.leases;
        let lend = self.told(writer, Kind::Lease, 0, Outcome::Done, lease);
        self.run.entry(lend).count = self.run.now + TIME;
        let token = self.run.draw_revision();
        let taken = self.told(writer, Kind::Acquire, name, Outcome::Done, lease);
        let clock = self.run.draw_revision();
        let entry = self.run.entry(taken);
        (entry.revision, entry.version, entry.count) = (token, clock, wanted.packed());
        Held { writer, name, token }
    }

    fn write(&mut self, held: Held) -> Author {
        let data = &self.final_state.data[usize::from(held.name)];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let author = self.told(held.writer, Kind::GuardedWrite, held.name, Outcome::Done, held.token);
        let revision = if self.recipe == Recipe::Guard { 0 } else { self.run.draw_revision() };
        let entry = self.run.entry(author);
        (entry.previous, entry.count, entry.version, entry.revision) = (before.author, version, version, revision);
        let data = &mut self.final_state.data[usize::from(held.name)];
        (data.version, data.evidence) = (version, Ok(before.followed_by(author)));
        author
    }

    /// Counts the last change of the row, and releases the guard.
    fn confirm(&mut self, held: Held) -> Author {
        let changes = self.final_state.data[usize::from(held.name)].version;
        let author = self.told(held.writer, Kind::Confirm, held.name, Outcome::Done, held.token);
        let entry = self.run.entry(author);
        (entry.count, entry.version) = (changes, changes);
        self.final_state.counted[usize::from(held.name)] = (changes, changes);
        author
    }

    fn release(&mut self, held: Held) {
        self.told(held.writer, Kind::ReleaseName, held.name, Outcome::Done, held.token);
    }

    fn observe(&mut self, held: Held) {
        let seen = self.told(2, Kind::Observe, held.name, Outcome::Done, 0);
        self.run.entry(seen).revision = held.token;
    }

    fn examine(&self) -> Examined {
        self.run
            .with_execution(|execution| check(execution, Settings { recipe: self.recipe, ..TERMS }, &self.final_state))
    }

    fn is_sound(&self) -> Examined {
        self.examine().sound()
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

const READER: Wanted = Wanted { alone: 0, shared: 1 };

#[test]
fn turns_one_after_the_other_are_sound() {
    let mut fixture = Fixture::new(Recipe::Lock);
    let one = fixture.take(0, 0);
    fixture.write(one);
    fixture.observe(one);
    fixture.release(one);
    // Readers together, and somebody who wants both names after them.
    let (two, three) = (fixture.take_as(1, 0, READER), fixture.take_as(2, 0, READER));
    fixture.release(two);
    fixture.release(three);
    let four = fixture.take_as(0, 0, Wanted { alone: 0b11, shared: 0 });
    fixture.write(Held { name: 1, ..four });
    fixture.run.kill(0);
    let five = fixture.take(1, 1);
    fixture.write(five);
    // Stopped past its lease, and refused.
    let at = fixture.run.now;
    fixture.run.fault(1, crate::nemesis::FaultKind::Stop, 2 * TIME);
    fixture.run.now = at + 2 * TIME;
    fixture.take(2, 1);
    fixture.told(1, Kind::GuardedWrite, 1, Outcome::LeaseLost, five.token);
    let examined = fixture.is_sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (3, 3, 1));
    let kinds: Vec<Next> = examined.recoveries.iter().map(|one| one.next).collect();
    assert_eq!(kinds, [Next::Name, Next::Expiry]);
}

#[test]
fn two_holders_and_a_reader_beside_a_writer_are_seen() {
    for (one, two) in [(Wanted::default(), Wanted::default()), (READER, Wanted::default()), (Wanted::default(), READER)]
    {
        let mut fixture = Fixture::new(Recipe::Lock);
        fixture.take_as(0, 0, one);
        fixture.take_as(1, 0, two);
        fixture.breaks(Promise::P7, "could end");
    }
}

#[test]
fn a_late_write_that_was_accepted_is_seen() {
    let mut fixture = Fixture::new(Recipe::Lock);
    let one = fixture.take(0, 0);
    fixture.run.now += TIME + 100;
    let two = fixture.take(1, 0);
    fixture.write(one);
    fixture.breaks(Promise::P7, "has revision 5; the next token is 3");
    fixture.write(two);
    fixture.write(one);
    fixture.breaks(Promise::P1, "came after one of token");
}

#[test]
fn who_is_refused_in_time_is_seen() {
    for kind in [Kind::GuardedWrite, Kind::Intend, Kind::Confirm, Kind::ReleaseName] {
        let mut fixture = Fixture::new(Recipe::Lock);
        let one = fixture.take(0, 0);
        fixture.told(0, kind, 0, Outcome::LeaseLost, one.token);
        fixture.breaks(Promise::P7, "while it held for certain");
    }
}

#[test]
fn a_look_that_goes_back_or_comes_late_is_seen() {
    let mut fixture = Fixture::new(Recipe::Election);
    let one = fixture.take(0, 0);
    fixture.release(one);
    let two = fixture.take(1, 0);
    fixture.observe(two);
    fixture.is_sound();
    fixture.observe(one);
    fixture.breaks(Promise::P6, "after another had shown");
    fixture.breaks(Promise::P7, "had ended before");
}

#[test]
fn a_turn_that_comes_too_late_is_seen_unless_somebody_else_may_have_had_it() {
    let late = |parts: bool| {
        let mut fixture = Fixture::new(Recipe::Lock);
        let one = fixture.take(0, 0);
        let waits = fixture.run.now;
        if parts {
            fixture.release(one);
        } else {
            fixture.run.kill(0);
        }
        fixture.run.now += BOUND + ALLOWANCE + 1_000;
        fixture.take(1, 0);
        fixture.run.history.regions[1].entries[1].begin = waits;
        fixture
    };
    late(true).breaks(Promise::P4, "(HandOver) took");
    late(false).breaks(Promise::P4, "(Name) took");
    let mut fixture = late(false);
    // It was first in the queue, and was killed before it was told that it had the name.
    let asked = fixture.told(2, Kind::Acquire, 0, Outcome::InDoubt, 5);
    fixture.run.entry(asked).begin = 100;
    fixture.run.kill(2);
    let taken = &mut fixture.run.history.regions[1].entries[1];
    (taken.begin, taken.end) = (100, fixture.run.now + 10);
    fixture.is_sound();
}

#[test]
fn a_release_that_was_told_to_somebody_who_had_lost_it_is_seen() {
    let mut fixture = Fixture::new(Recipe::Lock);
    let one = fixture.take(0, 0);
    fixture.run.now += TIME + 100;
    fixture.take(1, 0);
    fixture.told(0, Kind::Drop, 0, Outcome::Done, one.token);
    fixture.is_sound();
    fixture.release(one);
    fixture.breaks(Promise::P7, "could end");
}

#[test]
fn a_ticket_of_nobody_that_stays_first_is_seen() {
    let mut fixture = Fixture::new(Recipe::Lock);
    let gave_up = Held { writer: 0, name: 0, token: fixture.run.draw_revision() };
    fixture.observe(gave_up);
    fixture.run.now += BOUND;
    fixture.observe(gave_up);
    fixture.is_sound();
    fixture.run.now += ALLOWANCE;
    fixture.observe(gave_up);
    fixture.breaks(Promise::P4, "and nobody ever had it");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut fixture = Fixture::new(Recipe::Lock);
    fixture.final_state.of_the_dead.push("name/0/t/5-1".to_owned());
    fixture.breaks(Promise::P4, "name/0/t/5-1");
}

/// A row that is changed three times: by somebody who counts it, by somebody killed before it could, by who came next.
fn three_changes() -> (Fixture, [Author; 2]) {
    let mut fixture = Fixture::new(Recipe::Guard);
    let one = fixture.take(0, 0);
    fixture.write(one);
    let first = fixture.confirm(one);
    let two = fixture.take(1, 0);
    fixture.write(two);
    fixture.run.kill(1);
    let three = fixture.take(2, 0);
    fixture.run.history.regions[2].entries.last_mut().expect("a hold").previous = two.token;
    let second = fixture.confirm(three);
    let four = fixture.take(2, 0);
    fixture.write(four);
    fixture.confirm(four);
    (fixture, [first, second])
}

#[test]
fn changes_that_are_counted_once_are_sound() {
    let (fixture, _) = three_changes();
    let examined = fixture.is_sound();
    let figure = |words: &str| examined.figures.iter().find(|figure| figure.words == words).expect(words).number;
    assert_eq!(figure("counted by their authors"), crate::workloads::Number::Count(2));
    assert_eq!(figure("counted by the next holder"), crate::workloads::Number::Count(1));
    assert_eq!(figure("intents shown to the next holder"), crate::workloads::Number::Count(1));
}

#[test]
fn a_change_that_is_counted_twice_never_or_by_nobody_is_seen() {
    let (mut fixture, [_, second]) = three_changes();
    fixture.run.entry(second).version = 3;
    fixture.breaks(Promise::P1, "its change 2 was counted as 3");
    let (mut fixture, [first, _]) = three_changes();
    fixture.run.entry(first).outcome = Outcome::LeaseLost;
    fixture.breaks(Promise::P1, "1 was counted, and nobody says that it did");
    let (mut fixture, [first, _]) = three_changes();
    // Killed in the call: it may have been this one.
    fixture.run.entry(first).outcome = Outcome::InDoubt;
    fixture.run.kill(0);
    fixture.is_sound();
    let (mut fixture, _) = three_changes();
    fixture.final_state.counted[0] = (1, 2);
    fixture.breaks(Promise::P1, "3 changes, of which 1 had been counted, and in the end 2");
}

#[test]
fn an_intent_that_is_not_shown_is_seen() {
    let (mut fixture, _) = three_changes();
    fixture.run.history.regions[2].entries[1].previous = Author::NOBODY;
    fixture.breaks(Promise::P1, "was not shown the intent of token");
}
