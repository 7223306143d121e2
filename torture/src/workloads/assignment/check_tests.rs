//! Each way in which slots can be given wrongly, planted into a history written by hand and seen.

use super::*;
use crate::check::scripted_run::ScriptedRun;
use crate::history::Entry;

/// Two joiners; one thing happens after the other.
struct Fixture {
    run: ScriptedRun,
    final_state: FinalState,
}

impl Fixture {
    fn new() -> Self {
        Self {
            run: ScriptedRun::new(2, 0),
            final_state: FinalState { data: vec![Final::NEVER; 4], ..FinalState::default() },
        }
    }

    fn told(&mut self, writer: u32, kind: Kind, record: u16, slot: u64, generation: u64) -> Author {
        let entry = Entry { version: slot, revision: generation, ..self.run.operation(kind, record) };
        self.run.push(writer, entry)
    }

    /// The node gets a free slot, and has it at the end.
    fn place(&mut self, writer: u32, node: u16, slot: u16) -> u64 {
        let generation = self.run.draw_revision();
        self.told(writer, Kind::Assign, node, u64::from(slot), generation);
        self.final_state.places.insert(slot, (node, generation));
        generation
    }

    fn free(&mut self, writer: u32, node: u16, slot: u16, generation: u64) -> Author {
        self.final_state.places.remove(&slot);
        self.told(writer, Kind::Unassign, node, u64::from(slot), generation)
    }

    fn write(&mut self, writer: u32, slot: u16, generation: u64) {
        let data = self.final_state.data[usize::from(slot)];
        let (before, version) = (data.evidence.expect("whole data"), data.version + 1);
        let revision = self.run.draw_revision();
        let author = self.told(writer, Kind::GuardedWrite, slot, version, revision);
        let entry = self.run.entry(author);
        (entry.previous, entry.count, entry.extra) = (before.author, version, generation);
        self.final_state.data[usize::from(slot)] = Final { version, evidence: Ok(before.followed_by(author)), ..data };
    }

    fn refuse(&mut self, writer: u32, slot: u16, generation: u64) {
        let author = self.told(writer, Kind::GuardedWrite, slot, 0, 0);
        let entry = self.run.entry(author);
        (entry.extra, entry.outcome) = (generation, Outcome::LeaseLost);
    }

    fn examine(&self) -> Examined {
        self.run.with_execution(|execution| check(execution, &self.final_state))
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn slots_that_are_given_released_and_given_again_are_sound() {
    let mut fixture = Fixture::new();
    let one = fixture.place(0, 7, 1);
    fixture.write(0, 1, one);
    // The same node comes back to its slot.
    fixture.told(0, Kind::Assign, 7, 1, one);
    fixture.free(1, 7, 1, one);
    fixture.refuse(0, 1, one);
    let two = fixture.place(1, 8, 1);
    fixture.write(1, 1, two);
    fixture.place(0, 7, 2);
    // Released by somebody who was killed then.
    let doubt = fixture.free(1, 8, 1, 0);
    fixture.run.entry(doubt).outcome = Outcome::InDoubt;
    fixture.run.kill(1);
    fixture.place(0, 9, 1);
    let examined = fixture.examine().sound();
    assert_eq!((examined.acknowledged, examined.found, examined.refused_late), (2, 2, 1));
}

#[test]
fn a_slot_with_two_nodes_and_a_node_with_two_slots_are_seen() {
    let mut fixture = Fixture::new();
    fixture.place(0, 7, 1);
    fixture.place(1, 8, 1);
    fixture.breaks(Promise::P7, "nobody had released node 7, slot 1");
    let mut fixture = Fixture::new();
    fixture.place(0, 7, 1);
    fixture.place(0, 7, 2);
    fixture.breaks(Promise::P7, "nobody had released node 7, slot 1");
    let mut fixture = Fixture::new();
    let one = fixture.place(0, 7, 1);
    fixture.told(1, Kind::Assign, 8, 1, one);
    fixture.breaks(Promise::P7, "node 8 has slot 1, and node 7 slot 1");
}

#[test]
fn a_slot_that_is_lost_or_released_twice_is_seen() {
    let mut fixture = Fixture::new();
    fixture.place(0, 7, 1);
    fixture.final_state.places.clear();
    fixture.breaks(Promise::P7, "at the end it is None");
    let mut fixture = Fixture::new();
    let one = fixture.place(0, 7, 1);
    fixture.free(0, 7, 1, one);
    fixture.free(1, 7, 1, one);
    fixture.breaks(Promise::P7, "was ended twice");
}

#[test]
fn a_write_of_the_released_and_a_refusal_of_the_owner_are_seen() {
    let mut fixture = Fixture::new();
    let one = fixture.place(0, 7, 1);
    fixture.free(1, 7, 1, one);
    fixture.write(0, 1, one);
    fixture.breaks(Promise::P7, "after generation 1 had ended");
    let two = fixture.place(1, 8, 1);
    fixture.write(1, 1, two);
    fixture.write(0, 1, one);
    fixture.breaks(Promise::P1, "came after one of token");
    let mut fixture = Fixture::new();
    let one = fixture.place(0, 7, 1);
    fixture.refuse(0, 1, one);
    fixture.breaks(Promise::P7, "which lasted");
}

#[test]
fn what_is_left_of_the_dead_is_seen() {
    let mut fixture = Fixture::new();
    fixture.final_state.of_the_dead.push("sessions/1".to_owned());
    fixture.breaks(Promise::P4, "sessions/1");
}
