//! Each way in which a lease can fail its holder or the others, planted into a history written by hand and seen.

use super::*;
use crate::check::by_hand::Story;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::value::Author;

const TERMS: Terms = Terms { names: 2, lease_ms: 1 };
const TIME: u64 = 1_000_000;

/// Three holders, each a process of its own; one thing happens after the other, every 10 ns.
struct House {
    story: Story,
    left: Left,
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

impl House {
    fn new() -> Self {
        Self { story: Story::new(3, 0), left: Left { data: vec![Final::NEVER; 2], leased: Vec::new() }, leases: 100 }
    }

    fn done(&mut self, writer: u32, kind: Kind, record: u16, extra: u64) -> Author {
        let entry = Entry { extra, ..self.story.operation(kind, record) };
        let entry = match kind.revision() {
            Some(_) => Entry { revision: self.story.draw_revision(), ..entry },
            None => entry,
        };
        self.story.push(writer, entry)
    }

    fn refused(&mut self, writer: u32, kind: Kind, record: u16, extra: u64) -> Author {
        let entry = Entry { outcome: Outcome::LeaseLost, extra, ..self.story.operation(kind, record) };
        self.story.push(writer, entry)
    }

    fn lend(&mut self, writer: u32) -> u64 {
        self.leases += 1;
        self.done(writer, Kind::Lend, 0, self.leases);
        self.leases
    }

    fn take(&mut self, writer: u32, name: u16) -> Given {
        let lease = self.lend(writer);
        let taken = self.done(writer, Kind::Take, name, lease);
        Given { writer, name, lease, token: self.story.entry(taken).revision }
    }

    fn write(&mut self, hold: Given) -> Author {
        let data = &self.left.data[usize::from(hold.name)];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let author = self.done(hold.writer, Kind::Guarded, hold.name, hold.token);
        let entry = self.story.entry(author);
        (entry.previous, entry.count, entry.version) = (before.author, before.count + 1, version);
        let data = &mut self.left.data[usize::from(hold.name)];
        (data.version, data.evidence) = (version, Ok(before.followed_by(author)));
        author
    }

    fn leave(&mut self, hold: Given) {
        self.done(hold.writer, Kind::Leave, hold.name, hold.token);
    }

    /// Somebody sees the name held by this token.
    fn sight(&mut self, hold: Given) -> Author {
        let seen = self.done(2, Kind::Sight, hold.name, hold.lease);
        self.story.entry(seen).revision = hold.token;
        seen
    }

    fn pass(&mut self, time: u64) {
        self.story.now += time;
    }

    fn examine(&self) -> Examined {
        self.story.with_scene(|scene| check(scene, TERMS, &self.left))
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn holders_one_after_the_other_are_sound() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.write(one);
    house.sight(one);
    house.leave(one);
    let two = house.take(1, 0);
    house.write(two);
    // Two comes too late, and is refused.
    house.pass(TIME);
    let three = house.take(0, 0);
    house.refused(1, Kind::Guarded, 0, two.token);
    house.refused(1, Kind::Lend, 0, two.lease);
    house.write(three);
    house.done(0, Kind::Revoke, 0, three.lease);
    house.refused(2, Kind::Lodge, 0, three.lease);
    // Four is killed, and five has waited for the name.
    let four = house.take(0, 1);
    house.story.kill(0);
    let five = house.take(1, 1);
    house.write(five);
    let examined = house.examine().sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (4, 4, 1));
    assert_eq!(four.name, five.name);
    let kinds: Vec<Next> = examined.recoveries.iter().map(|one| one.next).collect();
    assert_eq!(kinds, [Next::Expiry, Next::Name]);
}

#[test]
fn two_holders_of_one_name_are_seen() {
    let mut house = House::new();
    house.take(0, 0);
    house.take(1, 0);
    house.breaks(Promise::P7, "could end");
    let mut house = House::new();
    let one = house.take(0, 0);
    house.pass(TIME - 100);
    // Renewed in time.
    house.done(0, Kind::Lend, 0, one.lease);
    house.pass(200);
    house.take(1, 0);
    house.breaks(Promise::P7, "could end");
}

#[test]
fn a_late_write_that_was_accepted_is_seen() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.pass(TIME);
    let two = house.take(1, 0);
    house.write(one);
    house.breaks(Promise::P7, "the next token is 2");
    house.write(two);
    house.write(one);
    house.breaks(Promise::P1, "came after one of token");
}

#[test]
fn a_holder_in_time_that_is_refused_is_seen() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.refused(0, Kind::Guarded, 0, one.token);
    house.breaks(Promise::P7, "while it held for certain");
    let mut house = House::new();
    let one = house.take(0, 0);
    house.refused(0, Kind::Lend, 0, one.lease);
    house.breaks(Promise::P7, "which it was not");
}

#[test]
fn a_name_seen_after_its_end_is_seen() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.leave(one);
    house.sight(one);
    house.breaks(Promise::P7, "had ended before");
    let mut house = House::new();
    let one = house.take(0, 0);
    house.pass(2 * TIME);
    house.sight(one);
    house.breaks(Promise::P7, "had run out");
    let mut house = House::new();
    let one = house.take(0, 0);
    house.done(0, Kind::Revoke, 0, one.lease);
    house.sight(one);
    house.breaks(Promise::P7, "had ended before");
}

#[test]
fn an_entry_put_under_a_lease_that_had_ended_is_seen() {
    let mut house = House::new();
    let lease = house.lend(0);
    house.done(0, Kind::Revoke, 0, lease);
    house.done(1, Kind::Lodge, 0, lease);
    house.breaks(Promise::P7, "newer than the end of its lease");
    let mut house = House::new();
    let lease = house.lend(0);
    house.pass(2 * TIME);
    house.done(1, Kind::Lodge, 0, lease);
    house.breaks(Promise::P7, "had run out");
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_data_is_seen() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.write(one);
    let lost = house.done(0, Kind::Guarded, 0, one.token);
    let entry = house.story.entry(lost);
    (entry.version, entry.count) = (2, 2);
    house.breaks(Promise::P1, "the last is 1");
}

#[test]
fn a_token_that_does_not_grow_is_seen() {
    let mut house = House::new();
    let one = house.take(0, 0);
    house.leave(one);
    house.take(1, 0);
    let entries = &mut house.story.history.regions[1].entries;
    entries.last_mut().expect("a hold").revision = 0;
    house.take(0, 1);
    house.story.history.regions[0].entries.last_mut().expect("a hold").revision = 1;
    house.breaks(Promise::P6, "had returned");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut house = House::new();
    house.take(0, 0);
    house.left.leased.push("participant/4/1".to_owned());
    house.breaks(Promise::P4, "participant/4/1");
}

#[test]
fn a_take_over_that_comes_too_late_is_seen_unless_the_taker_was_stopped() {
    let late = |house: &mut House| {
        house.take(0, 0);
        house.story.kill(0);
        let begin = house.story.now;
        house.pass(BOUND + ALLOWANCE + 1_000);
        let two = house.take(1, 0);
        // It had asked from the beginning.
        house.story.history.regions[1].entries[1].begin = begin;
        two
    };
    let mut house = House::new();
    late(&mut house);
    house.breaks(Promise::P4, "the next hold of name 0 by token 2 (Name) took");
    let mut house = House::new();
    late(&mut house);
    let (at, until) = (house.story.now - 100, house.story.now);
    house.story.faults.push(crate::nemesis::Fault {
        kind: crate::nemesis::FaultKind::Stop,
        slot: 1,
        life: 0,
        at,
        until,
    });
    assert_eq!(house.examine().verdicts.0[&Promise::P4].violations, 0);
}

#[test]
fn an_answer_that_nothing_explains_is_seen() {
    let mut house = House::new();
    let failed = house.done(0, Kind::Take, 0, 5);
    house.story.entry(failed).outcome = Outcome::Conflict;
    house.breaks(Promise::P4, "was told Conflict");
}
