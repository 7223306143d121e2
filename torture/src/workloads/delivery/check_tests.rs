//! Each way in which messages can be lost, doubled or come in the wrong order, planted into a history written by hand and
//! seen.

use super::*;
use crate::check::scripted_run::ScriptedRun;

/// Three members, each a process of its own; one thing happens after the other.
struct Fixture {
    run: ScriptedRun,
    final_state: FinalState,
}

impl Fixture {
    fn new() -> Self {
        let final_state =
            FinalState { data: vec![Final::NEVER; 3], rest: vec![(true, Vec::new()); 3], of_the_dead: Vec::new() };
        let mut fixture = Self { run: ScriptedRun::new(3, 0), final_state };
        (0..3).for_each(|member| fixture.join(member, false));
        fixture
    }

    fn join(&mut self, member: u32, resumed: bool) {
        let entry = Entry { version: u64::from(resumed), ..self.run.operation(Kind::Join, member as u16) };
        self.run.push(member, entry);
    }

    fn send(&mut self, member: u32) -> Author {
        let own = &self.run.history.regions[member as usize].entries;
        let version = 1 + own.iter().filter(|entry| entry.kind == Kind::Send).count() as u64;
        let revision = self.run.draw_revision();
        let entry = Entry { version, revision, ..self.run.operation(Kind::Send, member as u16) };
        self.run.push(member, entry)
    }

    fn deliver(&mut self, member: u32, message: Author) -> Author {
        let data = self.final_state.data[member as usize];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let revision = self.run.draw_revision();
        let entry = Entry {
            version,
            revision,
            previous: before.author,
            count: version,
            extra: message.packed(),
            ..self.run.operation(Kind::Deliver, member as u16)
        };
        let author = self.run.push(member, entry);
        self.final_state.data[member as usize] = Final { version, evidence: Ok(before.followed_by(author)), ..data };
        author
    }

    fn examine(&self) -> Examined {
        self.run.with_execution(|execution| check(execution, &self.final_state))
    }

    fn is_sound(&self) -> Examined {
        self.examine().sound()
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn messages_that_everybody_is_given_once_are_sound() {
    let mut fixture = Fixture::new();
    let one = fixture.send(0);
    let given = fixture.deliver(1, one);
    fixture.deliver(2, one);
    // Member 1 is killed in the middle: what it did for the message took effect, what it sent did not.
    fixture.run.entry(given).outcome = Outcome::InDoubt;
    let lost = fixture.send(1);
    fixture.run.entry(lost).outcome = Outcome::InDoubt;
    fixture.run.kill(1);
    fixture.join(1, true);
    let two = fixture.send(1);
    fixture.deliver(0, two);
    // The last one is given when everybody has left.
    fixture.final_state.rest[2].1.push(two.packed());
    let examined = fixture.is_sound();
    assert_eq!((examined.acknowledged, examined.found, examined.took_effect), (2, 2, 1));
    assert_eq!(examined.recoveries.len(), 1);
}

#[test]
fn a_message_that_is_given_twice_or_never_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.send(0);
    fixture.deliver(2, one);
    fixture.deliver(1, one);
    fixture.deliver(1, one);
    fixture.breaks(Promise::P1, "member 1 was given message 0 of member 0 once more or too late");
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.send(0), fixture.send(0));
    for message in [one, two] {
        fixture.deliver(2, message);
    }
    fixture.deliver(1, one);
    fixture.breaks(Promise::P1, "member 1 was given 1 of the 2 messages of member 0");
    let three = fixture.send(0);
    fixture.deliver(2, three);
    fixture.deliver(1, three);
    fixture.breaks(Promise::P1, "member 1 was given message 2 of member 0 too early: the next was 1");
}

#[test]
fn who_begins_anew_is_not_given_what_was_sent_before() {
    let mut fixture = Fixture::new();
    let (one, two, three) = (fixture.send(0), fixture.send(0), fixture.send(0));
    for message in [one, two, three] {
        fixture.deliver(2, message);
    }
    fixture.deliver(1, one);
    fixture.join(1, false);
    fixture.is_sound();
    fixture.deliver(1, three);
    fixture.is_sound();
}

#[test]
fn a_message_that_comes_before_what_caused_it_is_seen() {
    // Member 0 asks, and member 1 answers: as a message of its own, or by the same commit.
    for reply in [0, 1] {
        let mut fixture = Fixture::new();
        let earlier = fixture.send(0);
        fixture.deliver(1, earlier);
        fixture.deliver(2, earlier);
        let question = fixture.send(0);
        if reply == 0 {
            fixture.deliver(1, question);
        }
        let answer = fixture.send(1);
        fixture.run.entry(answer).extra = reply;
        if reply == 1 {
            fixture.deliver(1, question);
        }
        fixture.deliver(0, answer);
        fixture.deliver(2, answer);
        fixture.deliver(2, question);
        fixture.breaks(Promise::P6, "member 2 was given message 0 of member 1 before message 1 of member 0");
        assert_eq!(fixture.examine().verdicts.0[&Promise::P1].violations, 0);
    }
}

#[test]
fn a_message_that_was_refused_and_arrived_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.send(0);
    fixture.deliver(1, one);
    fixture.run.entry(one).outcome = Outcome::Declined;
    fixture.breaks(Promise::P1, "arrived all the same");
}

#[test]
fn an_effect_without_its_acknowledgement_is_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.send(0);
    fixture.deliver(2, one);
    let given = fixture.deliver(1, one);
    fixture.run.entry(given).outcome = Outcome::LeaseLost;
    fixture.breaks(Promise::P1, "all the same");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut fixture = Fixture::new();
    fixture.final_state.of_the_dead.push("sessions/1".to_owned());
    fixture.breaks(Promise::P4, "sessions/1");
}
