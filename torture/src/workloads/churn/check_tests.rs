//! Each way in which names can go wrong, planted into a history written by hand and seen.

use super::*;
use crate::check::scripted_run::ScriptedRun;

/// Two owners, 0 and 1, of whom 0 may be killed; one thing happens after the other.
struct Names {
    run: ScriptedRun,
    final_state: Vec<FinalName>,
}

impl Names {
    fn new() -> Self {
        Self { run: ScriptedRun::new(2, 0), final_state: Vec::new() }
    }

    fn create(&mut self, writer: u32, first: u64, names: u64) -> Author {
        let author = self.attempt(writer, first, names, Outcome::Done);
        let created = self.run.draw_revision();
        self.run.entry(author).revision = created;
        self.final_state.extend((first..first + names).map(|ticket| FinalName {
            ticket,
            created,
            author: Some(author),
        }));
        author
    }

    fn attempt(&mut self, writer: u32, first: u64, names: u64, outcome: Outcome) -> Author {
        let entry = Entry { outcome, extra: first, ..self.run.operation(Kind::Create, names as u16) };
        self.run.push(writer, entry)
    }

    /// Deletes what `author` created, and says that it did.
    fn delete(&mut self, author: Author) -> Author {
        let by = self.try_to_delete(author, Outcome::Done);
        let revision = self.run.draw_revision();
        self.run.entry(by).revision = revision;
        self.final_state.retain(|final_state| final_state.author != Some(author));
        by
    }

    fn try_to_delete(&mut self, author: Author, outcome: Outcome) -> Author {
        let Entry { extra, revision, record, .. } = *self.run.entry(author);
        let entry = Entry {
            outcome,
            extra,
            previous: author.packed(),
            count: revision,
            ..self.run.operation(Kind::Delete, record)
        };
        self.run.push(author.writer, entry)
    }

    fn count(&mut self, all: u64, of_steady: u64) {
        let revision = self.run.draw_revision();
        let entry = Entry { revision, version: all, count: of_steady, ..self.run.operation(Kind::Snapshot, 0) };
        self.run.push(1, entry);
    }

    fn examine(&self) -> Examined {
        self.run.with_execution(|execution| check(execution, &self.final_state, 1))
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn names_that_come_and_go_are_sound() {
    let mut names = Names::new();
    let one = names.create(0, 10, 3);
    names.attempt(1, 12, 1, Outcome::Conflict);
    names.count(3, 0);
    names.delete(one);
    let two = names.create(1, 12, 2);
    names.count(2, 2);
    names.delete(two);
    names.create(1, 12, 1);
    // A creation in doubt that took effect, and a deletion in doubt that did too.
    let doubt = names.create(0, 20, 2);
    names.run.entry(doubt).outcome = Outcome::InDoubt;
    let three = names.create(0, 30, 1);
    names.try_to_delete(three, Outcome::InDoubt);
    names.final_state.retain(|final_state| final_state.author != Some(three));
    names.run.kill(0);
    names.try_to_delete(three, Outcome::Conflict);
    names.count(3, 1);
    names.create(1, 30, 1);
    // Killed before it had written down what it was to delete.
    let unbegun = names.try_to_delete(three, Outcome::InDoubt);
    names.run.entry(unbegun).count = 0;
    let examined = names.examine();
    assert_eq!(examined.verdicts.violations(), 0, "{:?}", examined.verdicts);
    assert_eq!((examined.acknowledged, examined.found), (7, 7));
    assert_eq!((examined.in_doubt, examined.took_effect), (3, 1));
}

#[test]
fn two_winners_of_one_name_are_seen() {
    let mut names = Names::new();
    names.create(0, 10, 2);
    names.create(1, 11, 1);
    names.breaks(Promise::P7, "name 11 was created by");
}

#[test]
fn a_name_created_again_before_it_was_deleted_is_seen() {
    let mut names = Names::new();
    let one = names.create(0, 10, 1);
    let two = names.create(1, 10, 1);
    names.delete(one);
    names.delete(two);
    names.breaks(Promise::P7, "name 10 was created by");
}

#[test]
fn a_loser_who_met_nobody_is_seen() {
    let mut names = Names::new();
    let one = names.create(0, 10, 1);
    names.delete(one);
    names.attempt(1, 10, 4, Outcome::Conflict);
    names.breaks(Promise::P7, "nobody had");
}

#[test]
fn an_acknowledged_name_that_is_not_there_is_seen() {
    let mut names = Names::new();
    names.create(0, 10, 1);
    names.final_state.clear();
    names.breaks(Promise::P1, "0 are left at the end");
    assert_eq!(names.examine().found, 0);
}

#[test]
fn an_acknowledged_name_that_its_owner_finds_gone_is_seen() {
    let mut names = Names::new();
    let one = names.create(0, 10, 1);
    names.try_to_delete(one, Outcome::Conflict);
    names.breaks(Promise::P1, "was told Conflict");
}

#[test]
fn a_deleted_name_that_is_still_there_is_seen() {
    let mut names = Names::new();
    let one = names.create(0, 10, 1);
    let final_state = names.final_state.clone();
    names.delete(one);
    names.final_state = final_state;
    names.breaks(Promise::P1, "1 are left at the end");
}

#[test]
fn a_name_deleted_twice_is_seen() {
    let mut names = Names::new();
    let one = names.create(0, 10, 1);
    names.delete(one);
    names.delete(one);
    names.breaks(Promise::P1, "was told Done");
}

#[test]
fn a_name_that_nobody_created_is_seen() {
    let mut names = Names::new();
    let refused = names.create(0, 10, 1);
    names.run.entry(refused).outcome = Outcome::Conflict;
    names.breaks(Promise::P1, "who did not create them");
    let mut names = Names::new();
    names.create(0, 10, 1);
    names.final_state[0].author = None;
    names.breaks(Promise::P1, "who did not create them");
    let mut names = Names::new();
    names.create(0, 10, 1);
    names.final_state[0].created += 1;
    names.breaks(Promise::P1, "who did not create them");
}

#[test]
fn half_of_what_one_commit_created_is_seen() {
    let mut names = Names::new();
    names.create(0, 10, 3);
    names.final_state.pop();
    names.breaks(Promise::P5, "2 of the 3 names");
}

#[test]
fn a_count_of_no_moment_is_seen() {
    let mut names = Names::new();
    let one = names.create(1, 10, 2);
    names.count(2, 2);
    names.delete(one);
    names.create(1, 20, 1);
    names.count(2, 1);
    names.breaks(Promise::P6, "shows 2 names, not 1 to 1");
    names.count(1, 0);
    names.breaks(Promise::P6, "shows 0 names of the steady owner, not 1");
}

#[test]
fn an_answer_that_nothing_explains_is_seen() {
    let mut names = Names::new();
    names.attempt(0, 10, 1, Outcome::Failed);
    names.breaks(Promise::P4, "was told Failed");
}
