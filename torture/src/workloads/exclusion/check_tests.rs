//! Each way in which turns can fail their takers, planted into a history written by hand and seen.

use super::*;
use crate::check::by_hand::Story;
use crate::check::holds::Wanted;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::value::Author;

const TERMS: Terms = Terms { way: Way::Lock, names: 2, lease_ms: 1 };
const TIME: u64 = 1_000_000;

/// Three takers, each a process of its own; one thing happens after the other, every 10 ns.
struct Fixture {
    story: Story,
    left: Left,
    way: Way,
    leases: u64,
}

#[derive(Clone, Copy)]
struct Turn {
    writer: u32,
    name: u16,
    token: u64,
}

impl Fixture {
    fn new(way: Way) -> Self {
        let counted = if way == Way::Guard { vec![(0, 0); 2] } else { Vec::new() };
        let left = Left { data: vec![Final::NEVER; 2], counted, of_the_dead: Vec::new() };
        Self { story: Story::new(3, 0), left, way, leases: 100 }
    }

    fn told(&mut self, writer: u32, kind: Kind, record: u16, outcome: Outcome, extra: u64) -> Author {
        let entry = Entry { extra, outcome, ..self.story.operation(kind, record) };
        self.story.push(writer, entry)
    }

    /// A turn by a session that may be counted on for its whole time.
    fn take(&mut self, writer: u32, name: u16) -> Turn {
        self.take_as(writer, name, Wanted::default())
    }

    fn take_as(&mut self, writer: u32, name: u16, wanted: Wanted) -> Turn {
        self.leases += 1;
        let lease = self.leases;
        let lend = self.told(writer, Kind::Lend, 0, Outcome::Done, lease);
        self.story.entry(lend).count = self.story.now + TIME;
        let token = self.story.draw_revision();
        let taken = self.told(writer, Kind::Take, name, Outcome::Done, lease);
        let clock = self.story.draw_revision();
        let entry = self.story.entry(taken);
        (entry.revision, entry.version, entry.count) = (token, clock, wanted.packed());
        Turn { writer, name, token }
    }

    fn write(&mut self, turn: Turn) -> Author {
        let data = &self.left.data[usize::from(turn.name)];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let author = self.told(turn.writer, Kind::Guarded, turn.name, Outcome::Done, turn.token);
        let revision = if self.way == Way::Guard { 0 } else { self.story.draw_revision() };
        let entry = self.story.entry(author);
        (entry.previous, entry.count, entry.version, entry.revision) = (before.author, version, version, revision);
        let data = &mut self.left.data[usize::from(turn.name)];
        (data.version, data.evidence) = (version, Ok(before.followed_by(author)));
        author
    }

    /// Counts the last change of the row, and ends the turn.
    fn settle(&mut self, turn: Turn) -> Author {
        let changes = self.left.data[usize::from(turn.name)].version;
        let author = self.told(turn.writer, Kind::Settle, turn.name, Outcome::Done, turn.token);
        let entry = self.story.entry(author);
        (entry.count, entry.version) = (changes, changes);
        self.left.counted[usize::from(turn.name)] = (changes, changes);
        author
    }

    fn leave(&mut self, turn: Turn) {
        self.told(turn.writer, Kind::Leave, turn.name, Outcome::Done, turn.token);
    }

    fn sight(&mut self, turn: Turn) {
        let seen = self.told(2, Kind::Sight, turn.name, Outcome::Done, 0);
        self.story.entry(seen).revision = turn.token;
    }

    fn examine(&self) -> Examined {
        self.story.with_scene(|scene| check(scene, Terms { way: self.way, ..TERMS }, &self.left))
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
    let mut fixture = Fixture::new(Way::Lock);
    let one = fixture.take(0, 0);
    fixture.write(one);
    fixture.sight(one);
    fixture.leave(one);
    // Readers together, and somebody who wants both names after them.
    let (two, three) = (fixture.take_as(1, 0, READER), fixture.take_as(2, 0, READER));
    fixture.leave(two);
    fixture.leave(three);
    let four = fixture.take_as(0, 0, Wanted { alone: 0b11, shared: 0 });
    fixture.write(Turn { name: 1, ..four });
    fixture.story.kill(0);
    let five = fixture.take(1, 1);
    fixture.write(five);
    // Stopped past its lease, and refused.
    let at = fixture.story.now;
    fixture.story.fault(1, crate::nemesis::FaultKind::Stop, 2 * TIME);
    fixture.story.now = at + 2 * TIME;
    fixture.take(2, 1);
    fixture.told(1, Kind::Guarded, 1, Outcome::LeaseLost, five.token);
    let examined = fixture.is_sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (3, 3, 1));
    let kinds: Vec<Next> = examined.recoveries.iter().map(|one| one.next).collect();
    assert_eq!(kinds, [Next::Name, Next::Expiry]);
}

#[test]
fn two_holders_and_a_reader_beside_a_writer_are_seen() {
    for (one, two) in [(Wanted::default(), Wanted::default()), (READER, Wanted::default()), (Wanted::default(), READER)]
    {
        let mut fixture = Fixture::new(Way::Lock);
        fixture.take_as(0, 0, one);
        fixture.take_as(1, 0, two);
        fixture.breaks(Promise::P7, "could end");
    }
}

#[test]
fn a_late_write_that_was_accepted_is_seen() {
    let mut fixture = Fixture::new(Way::Lock);
    let one = fixture.take(0, 0);
    fixture.story.now += TIME + 100;
    let two = fixture.take(1, 0);
    fixture.write(one);
    fixture.breaks(Promise::P7, "has revision 5; the next token is 3");
    fixture.write(two);
    fixture.write(one);
    fixture.breaks(Promise::P1, "came after one of token");
}

#[test]
fn who_is_refused_in_time_is_seen() {
    for kind in [Kind::Guarded, Kind::Intend, Kind::Settle, Kind::Leave] {
        let mut fixture = Fixture::new(Way::Lock);
        let one = fixture.take(0, 0);
        fixture.told(0, kind, 0, Outcome::LeaseLost, one.token);
        fixture.breaks(Promise::P7, "while it held for certain");
    }
}

#[test]
fn a_look_that_goes_back_or_comes_late_is_seen() {
    let mut fixture = Fixture::new(Way::Election);
    let one = fixture.take(0, 0);
    fixture.leave(one);
    let two = fixture.take(1, 0);
    fixture.sight(two);
    fixture.is_sound();
    fixture.sight(one);
    fixture.breaks(Promise::P6, "after another had shown");
    fixture.breaks(Promise::P7, "had ended before");
}

#[test]
fn a_turn_that_comes_too_late_is_seen_unless_somebody_else_may_have_had_it() {
    let late = |parts: bool| {
        let mut fixture = Fixture::new(Way::Lock);
        let one = fixture.take(0, 0);
        let waits = fixture.story.now;
        if parts {
            fixture.leave(one);
        } else {
            fixture.story.kill(0);
        }
        fixture.story.now += BOUND + ALLOWANCE + 1_000;
        fixture.take(1, 0);
        fixture.story.history.regions[1].entries[1].begin = waits;
        fixture
    };
    late(true).breaks(Promise::P4, "(HandOver) took");
    late(false).breaks(Promise::P4, "(Name) took");
    let mut fixture = late(false);
    // It was ahead, and was killed when nobody had told it that it was its turn.
    let asked = fixture.told(2, Kind::Take, 0, Outcome::InDoubt, 5);
    fixture.story.entry(asked).begin = 100;
    fixture.story.kill(2);
    let taken = &mut fixture.story.history.regions[1].entries[1];
    (taken.begin, taken.end) = (100, fixture.story.now + 10);
    fixture.is_sound();
}

#[test]
fn a_release_that_was_told_to_somebody_who_had_lost_it_is_seen() {
    let mut fixture = Fixture::new(Way::Lock);
    let one = fixture.take(0, 0);
    fixture.story.now += TIME + 100;
    fixture.take(1, 0);
    fixture.told(0, Kind::Drop, 0, Outcome::Done, one.token);
    fixture.is_sound();
    fixture.leave(one);
    fixture.breaks(Promise::P7, "could end");
}

#[test]
fn a_ticket_of_nobody_that_stays_first_is_seen() {
    let mut fixture = Fixture::new(Way::Lock);
    let gave_up = Turn { writer: 0, name: 0, token: fixture.story.draw_revision() };
    fixture.sight(gave_up);
    fixture.story.now += BOUND;
    fixture.sight(gave_up);
    fixture.is_sound();
    fixture.story.now += ALLOWANCE;
    fixture.sight(gave_up);
    fixture.breaks(Promise::P4, "and nobody ever had it");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut fixture = Fixture::new(Way::Lock);
    fixture.left.of_the_dead.push("turn/0/t/5-1".to_owned());
    fixture.breaks(Promise::P4, "turn/0/t/5-1");
}

/// A row that is changed three times: by somebody who counts it, by somebody killed before it could, by who came next.
fn three_changes() -> (Fixture, [Author; 2]) {
    let mut fixture = Fixture::new(Way::Guard);
    let one = fixture.take(0, 0);
    fixture.write(one);
    let first = fixture.settle(one);
    let two = fixture.take(1, 0);
    fixture.write(two);
    fixture.story.kill(1);
    let three = fixture.take(2, 0);
    fixture.story.history.regions[2].entries.last_mut().expect("a turn").previous = two.token;
    let second = fixture.settle(three);
    let four = fixture.take(2, 0);
    fixture.write(four);
    fixture.settle(four);
    (fixture, [first, second])
}

#[test]
fn changes_that_are_counted_once_are_sound() {
    let (fixture, _) = three_changes();
    let examined = fixture.is_sound();
    let figure = |words: &str| examined.figures.iter().find(|figure| figure.words == words).expect(words).number;
    assert_eq!(figure("counted by their authors"), crate::workloads::Number::Count(2));
    assert_eq!(figure("counted by who came next"), crate::workloads::Number::Count(1));
    assert_eq!(figure("intents shown to who came next"), crate::workloads::Number::Count(1));
}

#[test]
fn a_change_that_is_counted_twice_never_or_by_nobody_is_seen() {
    let (mut fixture, [_, second]) = three_changes();
    fixture.story.entry(second).version = 3;
    fixture.breaks(Promise::P1, "its change 2 was counted as 3");
    let (mut fixture, [first, _]) = three_changes();
    fixture.story.entry(first).outcome = Outcome::LeaseLost;
    fixture.breaks(Promise::P1, "1 was counted, and nobody says that it did");
    let (mut fixture, [first, _]) = three_changes();
    // Killed in the call: it may have been this one.
    fixture.story.entry(first).outcome = Outcome::InDoubt;
    fixture.story.kill(0);
    fixture.is_sound();
    let (mut fixture, _) = three_changes();
    fixture.left.counted[0] = (1, 2);
    fixture.breaks(Promise::P1, "3 changes, of which 1 had been counted, and in the end 2");
}

#[test]
fn an_intent_that_is_not_shown_is_seen() {
    let (mut fixture, _) = three_changes();
    fixture.story.history.regions[2].entries[1].previous = Author::NOBODY;
    fixture.breaks(Promise::P1, "was not shown the intent of token");
}
