//! Each way in which a watch can mislead, planted into a history written by hand and seen.

use super::*;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::check::scripted_run::ScriptedRun;
use crate::value::Author;
use slotguard::backend::Meta;
use slotguard::{Revision, Version};

/// Writer 0 puts pairs and quiet entries, 1 follows pairs, 2 follows the quiet ones.
struct Channel {
    run: ScriptedRun,
    final_state: FinalState,
}

impl Channel {
    fn new() -> Self {
        let final_state = Prefix::ALL.map(|prefix| (prefix, View::default())).into();
        Self { run: ScriptedRun::new(3, 0), final_state }
    }

    fn put(&mut self, number: u32) -> Author {
        let before = last(&self.final_state, number).evidence.expect("whole");
        let revision = self.run.draw_revision();
        let entry = Entry {
            revision,
            version: before.count + 1,
            previous: before.author,
            count: before.count + 1,
            ..self.run.operation(Kind::PairPut, number as u16)
        };
        let author = self.run.push(0, entry);
        let prefix = if number < PAIRS { Prefix::Pairs } else { Prefix::Quiet };
        let view = self.final_state.get_mut(&prefix).expect("a view");
        let evidence = before.followed_by(author);
        let mut value = Vec::new();
        evidence.write(number, 0, &mut value);
        let meta =
            Meta { created: Revision(1), modified: Revision(revision), version: Version(evidence.count), lease: None };
        view.entries.extend(names(number).into_iter().map(|name| (name, (value.clone(), meta))));
        author
    }

    /// The follower of a prefix is told so many changes.
    fn told(&mut self, prefix: Prefix, changes: u64) -> Author {
        let revision = self.run.draw_revision();
        let entry = Entry { revision, count: changes, extra: 3, ..self.run.operation(Kind::WatchBatch, prefix as u16) };
        self.run.push(1 + prefix as u32, entry)
    }

    /// Both followers are told the last word.
    fn end(&mut self) {
        for prefix in Prefix::ALL {
            let revision = self.run.draw_revision();
            let digest = self.final_state[&prefix].digest();
            let entry = Entry { revision, extra: digest, ..self.run.operation(Kind::LastView, prefix as u16) };
            self.run.push(1 + prefix as u32, entry);
        }
    }

    fn examine(&self) -> Examined {
        self.run.with_execution(|execution| check(execution, &self.final_state, |_| 1))
    }

    fn breaks(&self, promise: Promise, words: &str) {
        self.examine().breaks(promise, words);
    }
}

#[test]
fn watches_that_tell_what_is_are_sound() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.put(1);
    channel.told(Prefix::Pairs, 2);
    let doubt = channel.put(0);
    channel.run.entry(doubt).outcome = Outcome::InDoubt;
    channel.told(Prefix::Pairs, 2);
    channel.run.kill(2);
    channel.put(0);
    channel.told(Prefix::Pairs, 4);
    channel.put(PAIRS);
    channel.told(Prefix::Quiet, 1);
    channel.end();
    let examined = channel.examine();
    assert_eq!(examined.verdicts.violations(), 0, "{:?}", examined.verdicts);
    assert_eq!((examined.acknowledged, examined.found, examined.took_effect), (4, 4, 1));
}

#[test]
fn a_batch_that_misses_a_change_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.put(1);
    channel.told(Prefix::Pairs, 1);
    channel.end();
    channel.breaks(Promise::P5, "shows 1 changes, not 2 to 2");
}

#[test]
fn a_batch_that_tells_of_the_future_is_seen() {
    let mut channel = Channel::new();
    channel.told(Prefix::Pairs, 1);
    channel.put(0);
    channel.end();
    channel.breaks(Promise::P5, "shows 1 changes, not 0 to 0");
}

#[test]
fn a_last_view_that_is_not_what_is_left_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.end();
    channel.put(0);
    channel.breaks(Promise::P5, "is not what is left");
}

#[test]
fn a_watcher_that_was_never_told_the_last_word_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.end();
    channel.run.forget_last_entry(2);
    channel.breaks(Promise::P5, "0 watchers were told the last word");
}

#[test]
fn half_a_commit_that_is_left_is_seen() {
    let mut channel = Channel::new();
    channel.put(3);
    let view = channel.final_state.get_mut(&Prefix::Pairs).expect("a view");
    view.entries.remove(&names(3)[1]);
    channel.end();
    channel.breaks(Promise::P5, "half a commit");
}

#[test]
fn a_lost_pair_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.final_state.insert(Prefix::Pairs, View::default());
    channel.end();
    channel.breaks(Promise::P1, "the last is 0");
}

#[test]
fn a_sleeper_that_is_told_too_late_is_seen() {
    let mut channel = Channel::new();
    let begin = channel.run.now;
    channel.put(PAIRS);
    channel.run.now += BOUND + ALLOWANCE + 1_000;
    let batch = channel.told(Prefix::Quiet, 1);
    channel.run.entry(batch).begin = begin;
    channel.end();
    channel.breaks(Promise::P4, "to tell a sleeper of revision 1 took");
}

#[test]
fn sleepers_whom_only_the_slices_wake_are_seen() {
    let mut channel = Channel::new();
    for round in 1..=20 {
        let begin = channel.run.now;
        channel.put(PAIRS);
        channel.run.now += BOUND / 2;
        let batch = channel.told(Prefix::Quiet, round);
        channel.run.entry(batch).begin = begin;
    }
    channel.end();
    channel.breaks(Promise::P4, "they are not woken");
}

#[test]
fn a_moment_older_than_what_had_returned_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.put(1);
    let batch = channel.told(Prefix::Pairs, 1);
    channel.run.entry(batch).revision = 1;
    channel.end();
    channel.breaks(Promise::P6, "had returned");
}

#[test]
fn an_answer_that_nothing_explains_is_seen() {
    let mut channel = Channel::new();
    let put = channel.put(0);
    channel.run.entry(put).outcome = Outcome::Held;
    channel.end();
    channel.breaks(Promise::P4, "was told Held");
}
