//! Names, their order, and prefixes.

use super::asking::Asking;
use super::subject::Subject;
use crate::Version;
use crate::backend::{Backend, Op};

/// Names of one byte and of the longest length are names like others, and every byte of them counts.
pub fn names_of_one_byte_and_of_the_longest_are_different_keys<S: Subject>(subject: &S) {
    let longest = <S::Store as Backend>::LIMITS.name;
    let store = subject.client();
    let mut names = vec!["a".to_owned(), "b".to_owned(), "/".to_owned(), "\u{1}".to_owned(), "\u{7f}".to_owned()];
    names.extend([1, 2, longest / 2, longest - 1].map(|length| "x".repeat(length)));
    names.extend(["a", "b"].map(|end| "x".repeat(longest - 1) + end));
    names.extend(["a", "b"].map(|start| start.to_owned() + &"x".repeat(longest - 1)));
    // A character of two bytes up to the last one.
    names.push("é".repeat(longest / 2) + if longest % 2 == 1 { "e" } else { "" });
    for name in &names {
        store.apply(&[Op::put(&store.named(name), name.as_bytes()).if_absent()]);
    }
    let found = store.contents("").0;
    assert_eq!(found.len(), names.len());
    for name in &names {
        assert_eq!(found[name].value, name.as_bytes());
        assert_eq!(store.value(&store.named(name)).as_deref(), Some(name.as_bytes()));
        assert_eq!(store.contents(name).0.first_key_value().map(|(first, _)| first), Some(name));
    }
}

/// A key is equal to another key of the same name, compares as its name does, and tells it.
pub fn keys_compare_as_their_names(subject: &impl Subject) {
    let (store, again) = (subject.client(), subject.client());
    let names = ["", "/", "/1", "0", "a/1", "b", "é", "\u{10ffff}"].map(|end| format!("a{end}"));
    let mut keys: Vec<_> = names.iter().map(|name| store.named(name)).collect();
    for (key, name) in keys.iter().zip(&names) {
        assert_eq!(key.as_ref(), name);
        assert!(*key == store.named(name));
        // A key is good for the store's other clients, too, if resolved by them.
        assert_eq!(again.named(name).as_ref(), name);
    }
    keys.reverse();
    keys.sort();
    assert!(keys.iter().map(AsRef::as_ref).eq(&names), "{keys:?}");
}

/// A prefix is the beginning of names, byte by byte, and knows nothing of paths; the empty one is the beginning of all.
pub fn a_prefix_finds_what_begins_with_it_and_nothing_else(subject: &impl Subject) {
    let store = subject.client();
    let names = ["app", "app/1", "app/1/x", "app/2", "apple", "apple/1", "ap", "b", "é", "éa", "/app/1"];
    for name in names {
        store.set(name, b"");
    }
    let prefixes = ["", "a", "app", "app/", "app/1", "app/1/", "apple/1", "apple/12", "b", "c", "é", "/", "\u{10ffff}"];
    for prefix in prefixes {
        let mut expected: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).collect();
        expected.sort();
        let found = store.contents(prefix).0;
        assert!(found.keys().eq(expected.iter().copied()), "{prefix:?} finds {:?}", found.keys());
    }
    let longer_than_any_name = "a".repeat(10_000);
    assert!(store.contents(&longer_than_any_name).0.is_empty());
}

/// A range visits entries in the order of the bytes of their names, in whatever order they were created.
pub fn a_range_is_in_the_order_of_names(subject: &impl Subject) {
    let store = subject.client();
    let mut names: Vec<String> = (0..200).map(|number| format!("n{}", number * 7919 % 1000)).collect();
    names.extend(["n", "n\u{1}", "n/", "nA", "na", "nä", "n\u{ffff}", "n\u{10000}"].map(String::from));
    for name in &names {
        store.set(name, name.as_bytes());
    }
    for name in names.iter().step_by(3) {
        store.apply(&[Op::delete(&store.named(name))]);
    }
    let mut left: Vec<_> = names.iter().enumerate().filter(|(at, _)| at % 3 != 0).map(|(_, name)| name).collect();
    left.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let mut found = Vec::new();
    store
        .range("n", &mut |key, value, _| {
            assert_eq!(key.as_ref().as_bytes(), value);
            found.push(key.as_ref().to_owned());
        })
        .expect("a range");
    assert!(found.iter().eq(left), "{found:?}");
}

/// Looking for what is not there leaves nothing behind, however often.
pub fn looking_for_absent_names_stores_nothing(subject: &impl Subject) {
    let store = subject.client();
    store.set("there", b"");
    let (before, at) = store.contents("");
    for number in 0..5_000 {
        let key = store.named(&format!("absent/{number}"));
        assert_eq!(store.state(&key), None);
        store.loses(&[Op::put(&key, b"").if_exists()]);
    }
    assert_eq!(store.contents("").0, before);
    assert!(!store.has_changed(&store.named("there"), at));
}

/// Names can be created and deleted for ever; a store fills up with entries, not with names that once were.
pub fn names_come_and_go_without_end(subject: &impl Subject) {
    let store = subject.client();
    let mut last = None;
    for number in 0..10_000 {
        let key = store.named(&format!("session/{number}"));
        let ops = [Some(Op::put(&key, b"here").if_absent()), last.as_ref().map(|last| Op::delete(last).if_exists())];
        store.apply(&ops.into_iter().flatten().collect::<Vec<_>>());
        last = Some(key);
    }
    assert!(store.contents("").0.keys().eq(["session/9999"]));
}

/// What a range visits may be looked at and changed at once; the range stays as of its moment.
pub fn a_visit_may_call_the_store(subject: &impl Subject) {
    let store = subject.client();
    for number in 0..20 {
        store.set(&format!("k{number:02}"), b"old");
    }
    let mut visited = 0;
    let revision = store
        .range("k", &mut |key, value, meta| {
            assert_eq!((key.as_ref(), value), (format!("k{visited:02}").as_str(), &b"old"[..]));
            assert_eq!(meta.version, Version(1));
            visited += 1;
            // The visits before have changed this one, and this one changes the next; after the last comes a new entry.
            assert_eq!(store.meta(&key).version, Version(if visited == 1 { 1 } else { 2 }));
            store.set(&format!("k{visited:02}"), b"new");
        })
        .expect("a range");
    assert_eq!(visited, 20);
    let after = store.contents("k").0;
    assert_eq!(after.len(), 21);
    assert!(after.values().skip(1).all(|state| state.meta.modified > revision));
}
