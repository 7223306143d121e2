//! Each way in which turns can fail their takers, planted into a history written by hand and seen.

use super::*;
use crate::check::by_hand::Story;
use crate::check::holds::Wanted;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::value::Author;

const TERMS: Terms = Terms { way: Way::Lock, names: 2, lease_ms: 1 };
const TIME: u64 = 1_000_000;

/// Three takers, each a process of its own; one thing happens after the other, every 10 ns.
struct House {
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

impl House {
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
    let mut house = House::new(Way::Lock);
    let one = house.take(0, 0);
    house.write(one);
    house.sight(one);
    house.leave(one);
    // Readers together, and somebody who wants both names after them.
    let (two, three) = (house.take_as(1, 0, READER), house.take_as(2, 0, READER));
    house.leave(two);
    house.leave(three);
    let four = house.take_as(0, 0, Wanted { alone: 0b11, shared: 0 });
    house.write(Turn { name: 1, ..four });
    house.story.kill(0);
    let five = house.take(1, 1);
    house.write(five);
    // Stopped past its lease, and refused.
    let at = house.story.now;
    house.story.fault(1, crate::nemesis::FaultKind::Stop, 2 * TIME);
    house.story.now = at + 2 * TIME;
    house.take(2, 1);
    house.told(1, Kind::Guarded, 1, Outcome::LeaseLost, five.token);
    let examined = house.is_sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (3, 3, 1));
    let kinds: Vec<Next> = examined.recoveries.iter().map(|one| one.next).collect();
    assert_eq!(kinds, [Next::Name, Next::Expiry]);
}

#[test]
fn two_holders_and_a_reader_beside_a_writer_are_seen() {
    for (one, two) in [(Wanted::default(), Wanted::default()), (READER, Wanted::default()), (Wanted::default(), READER)]
    {
        let mut house = House::new(Way::Lock);
        house.take_as(0, 0, one);
        house.take_as(1, 0, two);
        house.breaks(Promise::P7, "could end");
    }
}

#[test]
fn a_late_write_that_was_accepted_is_seen() {
    let mut house = House::new(Way::Lock);
    let one = house.take(0, 0);
    house.story.now += TIME + 100;
    let two = house.take(1, 0);
    house.write(one);
    house.breaks(Promise::P7, "has revision 5; the next token is 3");
    house.write(two);
    house.write(one);
    house.breaks(Promise::P1, "came after one of token");
}

#[test]
fn who_is_refused_in_time_is_seen() {
    for kind in [Kind::Guarded, Kind::Intend, Kind::Settle, Kind::Leave] {
        let mut house = House::new(Way::Lock);
        let one = house.take(0, 0);
        house.told(0, kind, 0, Outcome::LeaseLost, one.token);
        house.breaks(Promise::P7, "while it held for certain");
    }
}

#[test]
fn a_look_that_goes_back_or_comes_late_is_seen() {
    let mut house = House::new(Way::Election);
    let one = house.take(0, 0);
    house.leave(one);
    let two = house.take(1, 0);
    house.sight(two);
    house.is_sound();
    house.sight(one);
    house.breaks(Promise::P6, "after another had shown");
    house.breaks(Promise::P7, "had ended before");
}

#[test]
fn a_turn_that_comes_too_late_is_seen_unless_somebody_else_may_have_had_it() {
    let late = |parts: bool| {
        let mut house = House::new(Way::Lock);
        let one = house.take(0, 0);
        let waits = house.story.now;
        if parts {
            house.leave(one);
        } else {
            house.story.kill(0);
        }
        house.story.now += BOUND + ALLOWANCE + 1_000;
        house.take(1, 0);
        house.story.history.regions[1].entries[1].begin = waits;
        house
    };
    late(true).breaks(Promise::P4, "(HandOver) took");
    late(false).breaks(Promise::P4, "(Name) took");
    let mut house = late(false);
    // It was ahead, and was killed when nobody had told it that it was its turn.
    let asked = house.told(2, Kind::Take, 0, Outcome::InDoubt, 5);
    house.story.entry(asked).begin = 100;
    house.story.kill(2);
    let taken = &mut house.story.history.regions[1].entries[1];
    (taken.begin, taken.end) = (100, house.story.now + 10);
    house.is_sound();
}

#[test]
fn a_release_that_was_told_to_somebody_who_had_lost_it_is_seen() {
    let mut house = House::new(Way::Lock);
    let one = house.take(0, 0);
    house.story.now += TIME + 100;
    house.take(1, 0);
    house.told(0, Kind::Drop, 0, Outcome::Done, one.token);
    house.is_sound();
    house.leave(one);
    house.breaks(Promise::P7, "could end");
}

#[test]
fn a_ticket_of_nobody_that_stays_first_is_seen() {
    let mut house = House::new(Way::Lock);
    let gave_up = Turn { writer: 0, name: 0, token: house.story.draw_revision() };
    house.sight(gave_up);
    house.story.now += BOUND;
    house.sight(gave_up);
    house.is_sound();
    house.story.now += ALLOWANCE;
    house.sight(gave_up);
    house.breaks(Promise::P4, "and nobody ever had it");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut house = House::new(Way::Lock);
    house.left.of_the_dead.push("turn/0/t/5-1".to_owned());
    house.breaks(Promise::P4, "turn/0/t/5-1");
}

/// A row that is changed three times: by somebody who counts it, by somebody killed before it could, by who came next.
fn three_changes() -> (House, [Author; 2]) {
    let mut house = House::new(Way::Guard);
    let one = house.take(0, 0);
    house.write(one);
    let first = house.settle(one);
    let two = house.take(1, 0);
    house.write(two);
    house.story.kill(1);
    let three = house.take(2, 0);
    house.story.history.regions[2].entries.last_mut().expect("a turn").previous = two.token;
    let second = house.settle(three);
    let four = house.take(2, 0);
    house.write(four);
    house.settle(four);
    (house, [first, second])
}

#[test]
fn changes_that_are_counted_once_are_sound() {
    let (house, _) = three_changes();
    let examined = house.is_sound();
    let figure = |words: &str| examined.figures.iter().find(|figure| figure.words == words).expect(words).number;
    assert_eq!(figure("counted by their authors"), crate::workloads::Number::Count(2));
    assert_eq!(figure("counted by who came next"), crate::workloads::Number::Count(1));
    assert_eq!(figure("intents shown to who came next"), crate::workloads::Number::Count(1));
}

#[test]
fn a_change_that_is_counted_twice_never_or_by_nobody_is_seen() {
    let (mut house, [_, second]) = three_changes();
    house.story.entry(second).version = 3;
    house.breaks(Promise::P1, "its change 2 was counted as 3");
    let (mut house, [first, _]) = three_changes();
    house.story.entry(first).outcome = Outcome::LeaseLost;
    house.breaks(Promise::P1, "1 was counted, and nobody says that it did");
    let (mut house, [first, _]) = three_changes();
    // Killed in the call: it may have been this one.
    house.story.entry(first).outcome = Outcome::InDoubt;
    house.story.kill(0);
    house.is_sound();
    let (mut house, _) = three_changes();
    house.left.counted[0] = (1, 2);
    house.breaks(Promise::P1, "3 changes, of which 1 had been counted, and in the end 2");
}

#[test]
fn an_intent_that_is_not_shown_is_seen() {
    let (mut house, _) = three_changes();
    house.story.history.regions[2].entries[1].previous = Author::NOBODY;
    house.breaks(Promise::P1, "was not shown the intent of token");
}
