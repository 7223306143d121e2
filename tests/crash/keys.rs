//! Operations on named entries and leases killed, or stopped, after each of their instructions: the directory is as before
//! or as after, takes every name, and has lost no room; and whatever lived by a dead one's lease goes.

use slotguard::backend::{Backend, Event, Op, Watch, When};
use slotguard::{Deadline, Outcome, Revision, WAIT_SLICE};

use super::asleep::{Wait, Waker, published, wakers_get_no_further};
use super::entries::{self, Named};
use super::fixture::Fixture;
use super::scale::{isolated, kills};
use super::scenario::Scenario;
use super::stopped::stop;
use super::store::{Entries, Store, name, value};
use super::sweep::{Context, sweep_along, trace};
use super::tracee::Tracee;
use super::tracee::stay_on_one_processor;

/// The survivor changes the neighbours of what a stopped one is about, in the same leaf and in others, and needs nothing
/// from it; it goes on and does what it was about, once.
fn others_go_on(named: Named, store: &Store, before: &Entries, stopped: Tracee) {
    let acknowledged = store.page().is_acknowledged();
    let found = store.observe();
    let done = named.is_in(before, &found);
    assert!(done.is_some() || (found == *before && !acknowledged), "as before or as after: {found:?}");
    let mut names = named.shape.names();
    store.is_found(&found, &names);
    names.insert(0, String::from("v/first of all"));
    names.push(String::from("x/last of all"));
    let meant = named.names_meant(before);
    for name in names.iter().filter(|name| !meant.contains(name)) {
        store.put(name);
        store.delete(name);
        store.put(name);
    }
    let seen = store.observe();
    let reaped = store.segment().reap().expect("a recovery");
    assert_eq!(reaped.participants, 0, "the stopped are not dead");

    stopped.finish();
    assert!(store.page().is_acknowledged(), "the stopped one does what it was about");
    let last = store.observe();
    if found != *before {
        let number = done.expect("found done");
        // What is deleted bears no number that others could see.
        let is_seen = named.is_numbered() && before.values().all(|entry| entry.modified < number);
        assert!(!is_seen || store.page().revision() == number.0, "its author is told the number that others saw");
        assert_eq!(last, seen, "what others saw is all there was of it");
    } else {
        assert!(named.is_in(&seen, &last).is_some(), "it is in, once: {seen:?} became {last:?}");
    }
    store.goes_on(&last, &names);
    store.nothing_is_lost();
}

fn killed_or_stopped_anywhere(named: Named) {
    isolated(|folder| {
        stay_on_one_processor();
        let trace = trace(folder, named);
        sweep_along(folder, named, &trace, kills() / 2);
        stop(folder, named, &trace, kills() / 4, |store, before, stopped| others_go_on(named, store, &before, stopped));
    });
}

#[test]
fn a_creation_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::CREATE);
}

#[test]
fn a_deletion_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::DELETE);
}

#[test]
fn a_put_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::PUT);
}

#[test]
fn a_deletion_and_creation_in_one_commit_killed_or_stopped_at_any_instruction_are_both_in_or_neither() {
    killed_or_stopped_anywhere(entries::MOVE);
}

#[test]
fn a_creation_that_splits_a_leaf_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::SPLIT);
}

#[test]
fn a_creation_that_gives_the_root_children_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::GROW);
}

#[test]
fn a_deletion_that_merges_two_leaves_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::MERGE);
}

#[test]
fn a_deletion_that_lowers_the_root_killed_or_stopped_at_any_instruction_is_in_or_not_in() {
    killed_or_stopped_anywhere(entries::SHRINK);
}

#[test]
fn of_two_creations_that_want_each_others_name_absent_one_is_refused_wherever_the_other_was_stopped() {
    isolated(|folder| {
        stay_on_one_processor();
        let scenario = entries::CREATE_ALONE;
        stop(folder, scenario, &trace(folder, scenario), kills() / 4, |store, _, stopped| {
            let theirs = store.keys.key(&name(scenario.shape.there())).expect("a name");
            let mine = store.keys.key(entries::AT_THE_FRONT).expect("a name");
            let value = value(1);
            let ops = [Op::put(&mine, &value).if_absent(), Op::check(&theirs, When::Absent)];
            let is_mine = store.keys.commit(&ops).expect("a commit") != Outcome::Conflict;
            stopped.finish();
            let found = store.observe();
            let is_theirs = store.page().is_acknowledged();
            assert!(is_mine != is_theirs, "one of the two: the survivor {is_mine}, the stopped one {is_theirs}");
            let there = [mine, theirs].map(|key| found.contains_key(AsRef::<str>::as_ref(&key)));
            assert_eq!(there, [is_mine, is_theirs], "what was told is there");
        });
    });
}

#[test]
fn a_reader_stopped_at_any_instruction_finds_what_was_moved_to_another_leaf_meanwhile() {
    isolated(|folder| {
        stay_on_one_processor();
        let scenario = entries::READ;
        stop(folder, scenario, &trace(folder, scenario), kills() / 4, |store, before, stopped| {
            let nodes = store.nodes();
            store.put(&name(scenario.shape.there()));
            assert!(store.nodes() > nodes, "the leaf was split");
            stopped.finish();
            let there = before[&name(scenario.shape.there() - 1)].modified;
            assert_eq!(Revision(store.page().revision()), there, "it is found");
        });
    });
}

#[test]
fn a_grant_killed_or_stopped_at_any_instruction_leaves_no_lease() {
    killed_or_stopped_anywhere(entries::GRANT);
}

#[test]
fn a_creation_under_a_lease_killed_or_stopped_at_any_instruction_goes_with_its_author() {
    killed_or_stopped_anywhere(entries::CREATE_UNDER);
}

#[test]
fn a_put_under_a_lease_killed_or_stopped_at_any_instruction_goes_with_its_author_or_leaves_the_old_value() {
    killed_or_stopped_anywhere(entries::PUT_UNDER);
}

#[test]
fn a_renewal_killed_or_stopped_at_any_instruction_leaves_no_lease() {
    killed_or_stopped_anywhere(entries::RENEW);
}

#[test]
fn a_revocation_killed_or_stopped_at_any_instruction_leaves_all_its_entries_until_it_is_over_and_then_none() {
    killed_or_stopped_anywhere(entries::REVOKE);
}

/// Waits for the name that is created.
fn wait_for_key(store: &Store, _: &Entries) -> u64 {
    let (keys, mut value) = (store.own_keys(), Vec::new());
    let key = keys.key(&name(2)).expect("a name");
    loop {
        let (meta, revision) = keys.read(&key, &mut value).expect("a read");
        if let Some(meta) = meta {
            return meta.created.0;
        }
        assert!(keys.wait(&key, revision, &Deadline::never()).expect("a wait"), "a wait without an end");
    }
}

/// Watches all names until that one is reported.
fn watch_for_key(store: &Store, seen: &Entries) -> u64 {
    let keys = store.own_keys();
    let newest = seen.values().map(|entry| entry.modified).max().expect("an entry");
    let mut watch = keys.watch("w/", Revision(newest.0 + 1)).expect("a watch");
    let mut is_there = false;
    loop {
        let visit = &mut |event: Event<'_, _>| match event {
            Event::Put { key, meta, .. } if AsRef::<str>::as_ref(key) == name(2) => is_there = meta.version.0 > 0,
            Event::Put { .. } | Event::Progress(_) => {}
            Event::Delete { key } => panic!("{key:?} is still there"),
            Event::Resync => panic!("nothing was missed"),
        };
        let told = watch.next(&Deadline::never(), visit).expect("a batch").expect("a watch without an end");
        if is_there {
            return told.0;
        }
    }
}

fn awaited(waker: Waker, wait: fn(&Store, &Entries) -> u64) {
    wakers_get_no_further(Wait { scenario: entries::CREATE, waker, wait, from: published });
}

#[test]
fn a_waiter_for_a_key_whose_creator_is_killed_returns() {
    awaited(Waker::Killed, wait_for_key);
}

#[test]
fn a_waiter_for_a_key_whose_creator_is_stopped_returns() {
    awaited(Waker::Stopped, wait_for_key);
}

#[test]
fn a_watcher_of_a_prefix_whose_committer_is_killed_is_told() {
    awaited(Waker::Killed, watch_for_key);
}

#[test]
fn a_watcher_of_a_prefix_whose_committer_is_stopped_is_told() {
    awaited(Waker::Stopped, watch_for_key);
}

/// A watcher that asks for less than a slice at a time has none that comes to its end, and must be told all the same. The
/// committer was killed between the decision and the mark: readers see the entry, and no group of records says so.
#[test]
fn a_watcher_that_asks_for_less_than_a_slice_at_a_time_is_told() {
    isolated(|folder| {
        stay_on_one_processor();
        let scenario = entries::CREATE;
        let trace = trace(folder, scenario);
        // From where readers see it although nobody has recovered the author.
        let wait = Wait { scenario, waker: Waker::Stopped, wait: watch_for_key, from: published };
        let from = published(folder, &wait, &trace);
        for &point in trace.changes.iter().filter(|point| **point >= from) {
            let _context = Context::new(format!("killed after {point} of {} instructions", trace.last()));
            let store = scenario.fixture(folder);
            let mut author = scenario.author(&store);
            let newest = store.segment().revision();
            let mut watch = store.keys.watch("w/", Revision(newest.0 + 1)).expect("a watch");
            trace.lead(&mut author, point);
            author.kill();
            let mut is_told = false;
            // Far more than two slices in all.
            for _ in 0..100 {
                let visit = &mut |event: Event<'_, _>| is_told |= matches!(event, Event::Put { .. });
                watch.next(&Deadline::after(WAIT_SLICE / 10), visit).expect("a look");
                if is_told {
                    break;
                }
            }
            assert!(is_told, "the watcher is told of what readers see");
            drop(watch);
            store.all_is_recovered();
        }
    });
}
