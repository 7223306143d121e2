//! Each way in which a watch can mislead, planted into a history written by hand and seen.

use super::*;
use crate::check::by_hand::Story;
use crate::check::recovery::{ALLOWANCE, BOUND};
use crate::value::Author;
use slotguard::backend::Meta;
use slotguard::{Revision, Version};

/// Writer 0 puts pairs and quiet entries, 1 follows pairs, 2 follows the quiet ones.
struct Channel {
    story: Story,
    left: Left,
}

impl Channel {
    fn new() -> Self {
        let left = Prefix::ALL.map(|prefix| (prefix, View::default())).into();
        Self { story: Story::new(3, 0), left }
    }

    fn put(&mut self, number: u32) -> Author {
        let before = last(&self.left, number).evidence.expect("whole");
        let revision = self.story.draw_revision();
        let entry = Entry {
            revision,
            version: before.count + 1,
            previous: before.author,
            count: before.count + 1,
            ..self.story.operation(Kind::Pair, number as u16)
        };
        let author = self.story.push(0, entry);
        let prefix = if number < PAIRS { Prefix::Pairs } else { Prefix::Quiet };
        let view = self.left.get_mut(&prefix).expect("a view");
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
        let revision = self.story.draw_revision();
        let entry = Entry { revision, count: changes, extra: 3, ..self.story.operation(Kind::Batch, prefix as u16) };
        self.story.push(1 + prefix as u32, entry)
    }

    /// Both followers are told the last word.
    fn end(&mut self) {
        for prefix in Prefix::ALL {
            let revision = self.story.draw_revision();
            let digest = self.left[&prefix].digest();
            let entry = Entry { revision, extra: digest, ..self.story.operation(Kind::View, prefix as u16) };
            self.story.push(1 + prefix as u32, entry);
        }
    }

    fn examine(&self) -> Examined {
        self.story.with_scene(|scene| check(scene, &self.left, |_| 1))
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
    channel.story.entry(doubt).outcome = Outcome::InDoubt;
    channel.told(Prefix::Pairs, 2);
    channel.story.kill(2);
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
    channel.story.forget_last_entry(2);
    channel.breaks(Promise::P5, "0 watchers were told the last word");
}

#[test]
fn half_a_commit_that_is_left_is_seen() {
    let mut channel = Channel::new();
    channel.put(3);
    let view = channel.left.get_mut(&Prefix::Pairs).expect("a view");
    view.entries.remove(&names(3)[1]);
    channel.end();
    channel.breaks(Promise::P5, "half a commit");
}

#[test]
fn a_lost_pair_is_seen() {
    let mut channel = Channel::new();
    channel.put(0);
    channel.left.insert(Prefix::Pairs, View::default());
    channel.end();
    channel.breaks(Promise::P1, "the last is 0");
}

#[test]
fn a_sleeper_that_is_told_too_late_is_seen() {
    let mut channel = Channel::new();
    let begin = channel.story.now;
    channel.put(PAIRS);
    channel.story.now += BOUND + ALLOWANCE + 1_000;
    let batch = channel.told(Prefix::Quiet, 1);
    channel.story.entry(batch).begin = begin;
    channel.end();
    channel.breaks(Promise::P4, "to tell a sleeper of revision 1 took");
}

#[test]
fn sleepers_whom_only_the_slices_wake_are_seen() {
    let mut channel = Channel::new();
    for round in 1..=20 {
        let begin = channel.story.now;
        channel.put(PAIRS);
        channel.story.now += BOUND / 2;
        let batch = channel.told(Prefix::Quiet, round);
        channel.story.entry(batch).begin = begin;
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
    channel.story.entry(batch).revision = 1;
    channel.end();
    channel.breaks(Promise::P6, "had returned");
}

#[test]
fn an_answer_that_nothing_explains_is_seen() {
    let mut channel = Channel::new();
    let put = channel.put(0);
    channel.story.entry(put).outcome = Outcome::Held;
    channel.end();
    channel.breaks(Promise::P4, "was told Held");
}
