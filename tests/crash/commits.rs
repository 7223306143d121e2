//! Commits over several records killed, or stopped, after each of their instructions: all of each or nothing, also where
//! several are in each other's way.

use std::cell::Cell;
use std::path::Path;

use slotguard::Deadline;

use super::asleep::{Wait, Waker, published, wakers_get_no_further};
use super::fixture::{Fixture, Records};
use super::scale::{isolated, kills, seeded, some_of};
use super::scenario::Scenario;
use super::several::{self, Several, Stamps};
use super::stopped::stop;
use super::sweep::{Context, sweep_along, trace};
use super::trace::Trace;
use super::tracee::Tracee;
use super::tracee::stay_on_one_processor;

/// Others read, update and commit the same records while the author is stopped, and need nothing from it.
fn others_go_on(commit: Several, rounds: &Cell<usize>, fixture: &Records, before: &Stamps, stopped: Tracee) {
    rounds.set(rounds.get() + 1);
    let acknowledged = fixture.page.is_acknowledged();
    let mut own = [0; 10];
    commit.meet(fixture, rounds.get(), &mut own);
    let found = commit.observe(fixture);
    let done = commit.is_in(before, &found, &own);
    assert!(done.is_some() || !acknowledged, "an acknowledged commit is there");
    // A whole commit, an update of one record and a read; then all the blocks in use change hands.
    commit.change(fixture);
    commit.writes.iter().for_each(|index| own[*index as usize] += 1);
    for variant in [2, 4, 7] {
        commit.meet(fixture, variant, &mut own);
    }
    let seen = commit.observe(fixture);
    assert_eq!(commit.is_in(before, &seen, &own).is_some(), done.is_some(), "it takes place when it is met, or later");
    let reaped = fixture.segment.reap().expect("a recovery");
    assert_eq!(reaped.participants, 0, "the stopped are not dead");

    stopped.finish();
    assert!(fixture.page.is_acknowledged(), "the stopped one completes its commit");
    let last = commit.observe(fixture);
    assert!(commit.is_in(before, &last, &own).is_some(), "its commit is in, once");
    if let Some(done) = done.filter(|done| done.0 > 0) {
        assert_eq!(fixture.page.revision(), done.0, "its author is told the number that others saw");
        assert_eq!(last, seen, "what others saw is all there was of it");
    }
    fixture.all_is_recovered();
}

fn killed_or_stopped_anywhere(commit: Several) {
    isolated(|folder| {
        stay_on_one_processor();
        let trace = trace(folder, commit);
        let tally = sweep_along(folder, commit, &trace, kills());
        assert!(tally.done > 0, "somebody else completes what its author no longer can");
        let rounds = Cell::new(0);
        stop(folder, commit, &trace, kills(), |fixture, before, stopped| {
            others_go_on(commit, &rounds, fixture, &before, stopped);
        });
    });
}

#[test]
fn a_commit_of_two_records_killed_or_stopped_at_any_instruction_is_in_as_a_whole_or_not_at_all() {
    killed_or_stopped_anywhere(several::TWO);
}

#[test]
fn a_commit_of_eight_records_killed_or_stopped_at_any_instruction_is_in_as_a_whole_or_not_at_all() {
    killed_or_stopped_anywhere(several::EIGHT);
}

/// What becomes of the second of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rival {
    Killed,
    /// And goes on when all others are done.
    Stopped,
}

/// The survivor's way of going on beside the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It meets what they left, and both their commits are driven to their ends.
    Meet,
    /// It changes their last record first: a commit that has not come to it fails.
    Spoil,
    /// The first of them goes on before anybody looks.
    FirstGoesOn,
    /// It changes their last record, looks, and lets both go on, the first of them first, before it changes more.
    SpoilAndWait,
}

const WAYS: &[Way] = &[Way::Meet, Way::Spoil, Way::FirstGoesOn];

const NOTHING: [u64; 10] = [0; 10];

/// One more change of each of the commit's records.
fn and_by(mut own: [u64; 10], commit: Several) -> [u64; 10] {
    commit.writes.iter().for_each(|index| own[*index as usize] += 1);
    own
}

/// Two authors whose commits have two records in common, and one each to itself.
#[derive(Clone, Copy)]
struct Two {
    first: Several,
    second: Several,
    rival: Rival,
    ways: &'static [Way],
}

impl Two {
    /// Each has a record that the other leaves alone.
    fn changed(commit: Several, before: &Stamps, found: &Stamps) -> bool {
        found[commit.writes[0] as usize] != before[commit.writes[0] as usize]
    }

    /// Either commit is in as a whole or not at all; which of them are.
    fn are_in(self, before: &Stamps, found: &Stamps, own: [u64; 10]) -> [bool; 2] {
        let [one, two] = [self.first, self.second].map(|commit| Self::changed(commit, before, found));
        self.first.is_in(before, found, &if two { and_by(own, self.second) } else { own });
        self.second.is_in(before, found, &if one { and_by(own, self.first) } else { own });
        [one, two]
    }

    /// What an author was told since the last time.
    fn told(fixture: &Records) -> Option<u64> {
        let told = fixture.page.is_acknowledged().then(|| fixture.page.revision());
        fixture.page.clear();
        told
    }

    /// Lets one of them come to its end, unless it already has; what it was told.
    fn finish(fixture: &Records, one: &mut Option<Tracee>, told: &mut Option<u64>) {
        if let Some(one) = one.take().filter(|one| !one.has_ended()) {
            one.finish();
            *told = told.or(Self::told(fixture));
        }
    }

    /// All go on, and what each was told is true. Answers whether the first one's commit had taken place without it.
    fn go_on(
        self,
        fixture: &Records,
        before: &Stamps,
        way: Way,
        author: Tracee,
        rival: Tracee,
        told: Option<u64>,
    ) -> bool {
        let Self { first, second, .. } = self;
        let (mut told_first, mut told_second, mut own) = (told, Self::told(fixture), NOTHING);
        let (mut author, mut rival) = (Some(author), Some(rival));
        if self.rival == Rival::Killed {
            rival.take().into_iter().for_each(Tracee::kill);
        }
        match way {
            Way::Meet => {}
            Way::Spoil | Way::SpoilAndWait => Self::spoil(first, fixture, &mut own),
            Way::FirstGoesOn => Self::finish(fixture, &mut author, &mut told_first),
        }
        let mut found = first.observe(fixture);
        let [one, _] = self.are_in(before, &found, own);
        let without = one && told_first.is_none();
        if way == Way::SpoilAndWait {
            Self::finish(fixture, &mut author, &mut told_first);
            Self::finish(fixture, &mut rival, &mut told_second);
            found = first.observe(fixture);
        }
        let [one, two] = self.are_in(before, &found, own);
        for (told, commit, is_in) in [(told_first, first, one), (told_second, second, two)] {
            let number = found[commit.writes[0] as usize].revision.0;
            assert!(told.is_none_or(|told| is_in && told == number), "what is acknowledged is there: {told:?}");
        }
        // The survivor proceeds, with the dead not yet recovered and the stopped as they are.
        second.change(fixture);
        first.change(fixture);
        own = and_by(and_by(own, first), second);
        fixture.segment.reap().expect("a recovery");
        let seen = first.observe(fixture);
        // Then the stopped ones, the one that helped before the one that was helped.
        Self::finish(fixture, &mut rival, &mut told_second);
        Self::finish(fixture, &mut author, &mut told_first);
        let [first_is_in, second_is_in] = [one || told_first.is_some(), two || told_second.is_some()];
        assert!(first_is_in || !first.tries_again, "the first one completes its commit");
        assert!(second_is_in || self.rival == Rival::Killed, "the second one completes its commit");
        let last = first.observe(fixture);
        let found_first = first.is_in(before, &last, &if second_is_in { and_by(own, second) } else { own });
        let found_second = second.is_in(before, &last, &if first_is_in { and_by(own, first) } else { own });
        assert_eq!(found_first.is_some(), first_is_in, "in, once, if it was found or its author was told so");
        assert_eq!(found_second.is_some(), second_is_in, "in, once, if it was found or its author was told so");
        if (one, two) == (first_is_in, second_is_in) {
            assert_eq!(last, seen, "what others saw is all there was of it");
        }
        fixture.all_is_recovered();
        first.work(fixture);
        second.work(fixture);
        fixture.nothing_is_amiss(1);
        without
    }

    /// Whether the first one has been met at some of its records by then, and can still be made to fail at its last.
    fn is_half_there(self, folder: &Path, path: &Trace, stop: usize) -> bool {
        let fixture = self.first.fixture(folder);
        let mut author = self.first.author(&fixture);
        let (before, helped) = (self.first.observe(&fixture), fixture.segment.stats().helped);
        path.lead(&mut author, stop);
        let mut own = NOTHING;
        Self::spoil(self.first, &fixture, &mut own);
        let found = self.first.observe(&fixture);
        fixture.segment.stats().helped > helped && self.first.is_in(&before, &found, &own).is_none()
    }

    /// Changes the commit's last record, and counts that.
    fn spoil(commit: Several, fixture: &Records, own: &mut [u64; 10]) {
        let last = *commit.writes.last().expect("a record");
        fixture.sizes.bump(fixture.segment.record(last).expect("a record")).expect("an update");
        own[last as usize] += 1;
    }

    /// One is stopped on its way through a commit, the other is killed or stopped on its way through one that meets it and
    /// helps it, and a third goes on.
    fn meet_anywhere(self) {
        let Self { first, second, .. } = self;
        isolated(|folder| {
            stay_on_one_processor();
            let mut random = seeded();
            let path = trace(folder, first);
            let all: Vec<usize> = match self.ways {
                [Way::SpoilAndWait] => {
                    path.changes.iter().copied().filter(|stop| self.is_half_there(folder, &path, *stop)).collect()
                }
                _ => path.changes.clone(),
            };
            let stops: Vec<usize> = some_of(&mut random, 0..all.len(), kills().div_ceil(50)).map(|i| all[i]).collect();
            let (mut rounds, mut without, mut longest) = (0, 0, 0);
            for &stop in &stops {
                // The second first, so that it meets nobody on the way to its sync point.
                let both = |fixture: &Records| {
                    let rival = second.author(fixture);
                    let mut author = first.author(fixture);
                    let before = first.observe(fixture);
                    path.lead(&mut author, stop);
                    (author, rival, before, Self::told(fixture))
                };
                let rivals = {
                    let fixture = first.fixture(folder);
                    let (_author, rival, _, _) = both(&fixture);
                    Trace::of(rival, fixture.diff())
                };
                longest = longest.max(rivals.last());
                for point in rivals.points(&mut random, kills() / stops.len()) {
                    let way = self.ways[rounds % self.ways.len()];
                    let _context = Context::new(format!(
                        "{} stopped after {stop} instructions, {} {:?} after {point}, survivor: {way:?}",
                        first.name, second.name, self.rival
                    ));
                    let fixture = first.fixture(folder);
                    let (author, mut rival, before, told) = both(&fixture);
                    rivals.lead(&mut rival, point);
                    without += usize::from(self.go_on(&fixture, &before, way, author, rival, told));
                    rounds += 1;
                }
            }
            println!(
                "{} stopped at {} points, {} of up to {longest} instructions {:?} at {rounds}; {without} times the first \
                 one's commit had taken place without it",
                first.name,
                stops.len(),
                second.name,
                self.rival
            );
            assert!(without > 0 || !first.tries_again, "the first one was helped some time");
        });
    }
}

#[test]
fn one_killed_while_it_helps_a_stopped_one_leaves_both_commits_whole() {
    Two { first: several::ODD, second: several::EVEN, rival: Rival::Killed, ways: WAYS }.meet_anywhere();
}

#[test]
fn one_killed_with_a_smaller_record_in_its_hands_leaves_both_commits_whole() {
    Two { first: several::EVEN, second: several::ODD, rival: Rival::Killed, ways: WAYS }.meet_anywhere();
}

#[test]
fn one_stopped_while_it_helps_a_stopped_one_leaves_both_commits_whole() {
    Two { first: several::ODD, second: several::EVEN, rival: Rival::Stopped, ways: WAYS }.meet_anywhere();
}

/// The helper may be about to install what has meanwhile failed and been put back: the record must look different to it.
#[test]
fn one_stopped_while_it_helps_what_fails_changes_nothing_when_it_goes_on() {
    let ways = &[Way::SpoilAndWait];
    Two { first: several::ODD_ONCE, second: several::EVEN, rival: Rival::Stopped, ways }.meet_anywhere();
}

fn waited_for(waker: Waker) {
    let wait = |fixture: &Records, seen: &Stamps| {
        let last = several::TWO.writes[1];
        let (record, seen) = (fixture.own().record(last).expect("a record"), seen[last as usize].version);
        let found = record.wait_newer(seen, Deadline::never()).expect("a wait").expect("a wait without an end");
        assert!(found > seen, "something newer");
        found.0
    };
    wakers_get_no_further(Wait { scenario: several::TWO, waker, wait, from: published });
}

#[test]
fn a_waiter_for_a_record_of_a_commit_whose_author_is_killed_returns() {
    waited_for(Waker::Killed);
}

#[test]
fn a_waiter_for_a_record_of_a_commit_whose_author_is_stopped_returns() {
    waited_for(Waker::Stopped);
}
