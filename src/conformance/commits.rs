//! Commits and what they leave: all or nothing, conditions, versions, incarnations.

use super::asking::Asking;
use super::subject::Subject;
use crate::backend::{Backend, Limits, Op, When};
use crate::{Revision, Version};

/// An entry that was never put is absent, and reading it clears the caller's buffer.
pub fn an_entry_that_was_never_put_is_absent(subject: &impl Subject) {
    let store = subject.client();
    assert_eq!(store.state(&store.named("a")), None);
    assert!(store.contents("").0.is_empty());
    store.set("b", b"something");
    assert_eq!(store.state(&store.named("a")), None);
}

/// Values of 0 bytes to 64 KiB come back as they were put, with their meta.
pub fn what_was_committed_is_what_is_read(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    for (puts, length) in [0, 1, 7, 8, 9, 63, 64, 65, 255, 4_096, 65_535, 65_536, 0, 3].into_iter().enumerate() {
        let value: Vec<u8> = (0..length).map(|at| (at * 31 + puts) as u8).collect();
        let revision = store.apply(&[Op::put(&key, &value)]);
        let state = store.state(&key).expect("the entry that was just put");
        assert!(state.value == value, "a value of {length} bytes comes back as {} others", state.value.len());
        assert_eq!(state.meta.modified, revision);
        assert_eq!(state.meta.version, Version(puts as u64 + 1));
        assert_eq!(state.meta.lease, None);
        assert_eq!(store.contents("a").0["a"], state, "range and read agree");
    }
}

/// Whichever of a commit's conditions is false, and however many puts and deletes it has: nothing happens.
pub fn a_commit_whose_condition_is_false_changes_nothing(subject: &impl Subject) {
    let store = subject.client();
    let keys: Vec<_> = (0..6).map(|number| store.named(&format!("k{number}"))).collect();
    for key in &keys[..4] {
        store.apply(&[Op::put(key, b"old")]);
    }
    let (before, at) = store.contents("");
    for wrong in 0..6 {
        let mut ops = vec![
            Op::put(&keys[0], b"new").if_exists(),
            Op::delete(&keys[1]).if_exists(),
            Op::put(&keys[2], b"new").if_modified_at(store.meta(&keys[2]).modified),
            Op::check(&keys[3], When::CreatedAt(store.meta(&keys[3]).created)),
            Op::put(&keys[4], b"new").if_absent(),
            Op::delete(&keys[5]).if_absent(),
        ];
        ops[wrong].when = if wrong < 4 { When::Absent } else { When::Exists };
        store.loses(&ops);
        assert_eq!(store.contents("").0, before, "nothing has changed, though only condition {wrong} was false");
    }
    assert!(keys[..4].iter().all(|key| !store.has_changed(key, at)), "nobody who waits is told of a change");
}

/// Each condition against an absent entry, the present one, one put since, and one created anew since.
pub fn every_condition_holds_exactly_when_it_says(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    let other = store.set("b", b"");
    let judge = |right: &[When], wrong: &[When]| {
        for when in right {
            store.apply(&[Op::check(&key, *when), Op::put(&store.named("judged"), b"")]);
        }
        for when in wrong {
            store.loses(&[Op::check(&key, *when), Op::put(&store.named("judged"), b"")]);
        }
    };
    let (modified, created) = (When::ModifiedAt, When::CreatedAt);
    let never = Revision(u64::MAX);

    judge(
        &[When::Always, When::Absent],
        &[When::Exists, modified(Revision(0)), created(Revision(0)), modified(other), created(other)],
    );
    let first = store.apply(&[Op::put(&key, b"one")]);
    judge(
        &[When::Always, When::Exists, modified(first), created(first)],
        &[
            When::Absent,
            modified(Revision(0)),
            created(Revision(0)),
            modified(other),
            created(other),
            modified(never),
            created(never),
        ],
    );
    let second = store.apply(&[Op::put(&key, b"two")]);
    judge(
        &[When::Always, When::Exists, modified(second), created(first)],
        &[When::Absent, modified(first), created(second)],
    );
    store.apply(&[Op::delete(&key)]);
    judge(&[When::Always, When::Absent], &[When::Exists, modified(second), created(first)]);
    let third = store.apply(&[Op::put(&key, b"two")]);
    judge(
        &[When::Always, When::Exists, modified(third), created(third)],
        &[When::Absent, modified(second), created(first)],
    );
}

/// N puts are versions 1 to N; checks, lost commits and refused ones change neither version nor `modified`.
pub fn each_put_counts_one_version_and_nothing_else_does(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    let mut created = None;
    for version in 1..=100 {
        let revision = store.apply(&[Op::put(&key, b"value")]);
        let meta = store.meta(&key);
        assert_eq!((meta.version, meta.modified), (Version(version), revision));
        assert_eq!(meta.created, *created.get_or_insert(revision));

        store.apply(&[Op::check(&key, When::Exists), Op::put(&other, b"")]);
        store.loses(&[Op::put(&key, b"lost").if_absent()]);
        store.loses(&[Op::put(&key, b"lost"), Op::check(&other, When::Absent)]);
        assert!(store.commit(&[Op::put(&key, b"refused"), Op::put(&key, b"refused")]).is_err());
        assert_eq!(store.meta(&key), meta, "only puts count");
    }
}

/// A, B, A again: who read the first A cannot write.
pub fn a_value_that_came_back_is_not_the_value_that_was_read(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    let first = store.apply(&[Op::put(&key, b"A")]);
    store.apply(&[Op::put(&key, b"B")]);
    let third = store.apply(&[Op::put(&key, b"A")]);
    assert_eq!(store.value(&key).as_deref(), Some(&b"A"[..]));
    store.loses(&[Op::put(&key, b"late").if_modified_at(first)]);
    store.apply(&[Op::put(&key, b"in time").if_modified_at(third)]);

    // The same across a deletion, where the version is the same as well.
    let was = store.meta(&key);
    store.apply(&[Op::delete(&key)]);
    for value in [b"A", b"B", b"A", b"A"] {
        store.apply(&[Op::put(&key, value)]);
    }
    assert_eq!(store.meta(&key).version, was.version);
    store.loses(&[Op::put(&key, b"late").if_modified_at(was.modified)]);
    store.loses(&[Op::delete(&key).if_created_at(was.created)]);
}

/// Who read an entry before it was deleted cannot bring it back.
pub fn a_deleted_key_stays_deleted(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    for _ in 0..20 {
        let read = store.apply(&[Op::put(&key, b"value")]);
        let deleted = store.apply(&[Op::delete(&key).if_exists()]);
        assert!(deleted > read);
        store.loses(&[Op::put(&key, b"late").if_modified_at(read)]);
        store.loses(&[Op::put(&key, b"late").if_created_at(read)]);
        store.loses(&[Op::put(&key, b"late").if_exists()]);
        store.loses(&[Op::delete(&key).if_exists()]);
        assert_eq!(store.state(&key), None);
    }
}

/// `created`, the fencing token, is larger in each incarnation, and no revision of an earlier one is as large.
pub fn created_grows_across_delete_and_create(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    let mut last = Revision(0);
    for round in 0..50 {
        let created = store.apply(&[Op::put(&key, b"first").if_absent()]);
        assert_eq!(store.meta(&key).created, created);
        assert!(created > last, "incarnation {round} is created at {created}, after {last}");
        for _ in 0..round % 3 {
            store.apply(&[Op::put(&key, b"again")]);
        }
        let meta = store.meta(&key);
        assert_eq!((meta.created, meta.version), (created, Version(1 + round % 3)), "versions count from 1 again");
        last = store.apply(&[Op::delete(&key)]).max(meta.modified);
    }
}

/// All that a commit puts bears its one revision.
pub fn a_commit_has_one_revision_for_all_it_changes(subject: &impl Subject) {
    let store = subject.client();
    let keys: Vec<_> = (0..5).map(|number| store.named(&format!("k{number}"))).collect();
    store.apply(&[Op::put(&keys[0], b"there before")]);
    for _ in 0..3 {
        let ops: Vec<_> = keys.iter().map(|key| Op::put(key, b"together")).collect();
        let revision = store.apply(&ops);
        assert!(keys.iter().all(|key| store.meta(key).modified == revision));
        assert!(keys[1..].iter().all(|key| store.meta(key).created == store.meta(&keys[1]).created));
    }
}

/// One commit takes an entry away and puts it elsewhere.
pub fn a_commit_may_put_delete_and_check_at_once(subject: &impl Subject) {
    let store = subject.client();
    let (from, to, gate) = (store.named("from"), store.named("to"), store.named("gate"));
    store.apply(&[Op::put(&from, b"load"), Op::put(&gate, b"open")]);
    let open = store.meta(&gate);
    let moved = [Op::delete(&from).if_exists(), Op::put(&to, b"load").if_absent(), Op::check(&gate, When::Exists)];
    let revision = store.apply(&moved);
    assert_eq!(store.state(&from), None);
    assert_eq!(store.meta(&to).created, revision);
    assert_eq!(store.meta(&gate), open, "a check leaves the entry as it is");
    store.loses(&moved);
}

/// The whole of [`Limits::ops`] fits one commit, of puts, of deletes, and of one put among checks.
pub fn as_many_operations_as_the_limit_are_one_commit<S: Subject>(subject: &S) {
    let Limits { ops, .. } = <S::Store as Backend>::LIMITS;
    let store = subject.client();
    let keys: Vec<_> = (0..ops).map(|number| store.named(&format!("k{number:03}"))).collect();
    let revision = store.apply(&keys.iter().map(|key| Op::put(key, b"put").if_absent()).collect::<Vec<_>>());
    assert!(store.contents("").0.values().all(|state| state.meta.created == revision));
    assert_eq!(store.contents("").0.len(), ops);

    let mut checks: Vec<_> = keys.iter().map(|key| Op::check(key, When::CreatedAt(revision))).collect();
    checks[ops / 2] = Op::put(&keys[ops / 2], b"put").if_modified_at(revision);
    store.apply(&checks);
    store.loses(&checks);

    store.apply(&keys.iter().map(|key| Op::delete(key).if_exists()).collect::<Vec<_>>());
    assert!(store.contents("").0.is_empty());
}

/// Deletes that find nothing are no change, but the answer is a revision at which it was so.
pub fn a_commit_whose_deletes_find_nothing_changes_nothing(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    store.apply(&[Op::put(&key, b"")]);
    let gone = store.apply(&[Op::delete(&key)]);
    let before = store.set("b", b"there");
    let nothing = store.apply(&[Op::delete(&key), Op::check(&other, When::ModifiedAt(before))]);
    assert!(nothing >= before && nothing >= gone, "{nothing} is before {before}, when the condition began to hold");
    assert_eq!(store.meta(&other).modified, before);
    assert!(!store.has_changed(&other, before));
    assert!(store.set("b", b"next") > nothing, "the next change comes after the answer");
    store.loses(&[Op::delete(&key).if_exists()]);
}

/// "There is no such entry" is a condition like others: it holds until the entry is created, and again once it is deleted.
pub fn a_check_for_absence_holds_until_the_entry_is_created(subject: &impl Subject) {
    let store = subject.client();
    let (lock, work) = (store.named("lock"), store.named("work"));
    let unlocked = [Op::check(&lock, When::Absent), Op::put(&work, b"done")];
    store.apply(&unlocked);
    store.apply(&[Op::put(&lock, b"me").if_absent()]);
    store.loses(&unlocked);
    store.loses(&[Op::put(&lock, b"you").if_absent()]);
    store.apply(&[Op::delete(&lock)]);
    store.apply(&unlocked);
    assert_eq!(store.meta(&work).version, Version(2));
}
