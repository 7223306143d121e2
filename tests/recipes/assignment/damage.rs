//! What nobody wrote through an assignment: refused by its name, and neither repaired nor wiped.

use std::sync::Arc;

use slotguard::ErrorKind;
use slotguard::backend::{Backend, Op};
use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assignment, Error, Finding};

use super::{assignment, delete, everything, put};
use crate::on_every_backend;

on_every_backend! {
    d6_an_entry_that_makes_no_sense_is_never_taken_for_free,
    d6_a_node_whose_slot_is_not_its_own_cannot_be_released,
    four_findings_are_told_apart,
    other_settings_are_refused,
    what_makes_no_sense_is_refused,
    d6_a_slot_that_there_is_not_is_nobodys,
}

/// Source 1 took a table that it could not read for an empty one and wrote over it: S1-7.
fn d6_an_entry_that_makes_no_sense_is_never_taken_for_free(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), subject.client());
    let place = slots.assign("node").unwrap().placement().clone();
    let (node, slot) = ("a/node/node", format!("a/slot/{:05}", place.slot));
    for (entry, value) in
        [(node, &b""[..]), (node, b"0"), (node, b"256"), (node, b"x"), (node, b"\xff"), (&slot, b"\xff")]
    {
        put(&store, entry, value);
        let before = everything(&store, "a/");
        for error in
            [slots.assign("node").unwrap_err(), slots.assign("other").map(|_| ()).err().unwrap_or(Error::EmptyNode)]
        {
            // Who does not come by the damage is given a slot of its own.
            let fine = matches!(error, Error::Damaged { .. } | Error::Inconsistent { .. } | Error::EmptyNode);
            assert!(fine, "{entry}: {error}");
        }
        if slots.release("other").is_err() {
            assert_eq!(everything(&store, "a/"), before);
        }
        put(&store, node, place.slot.to_string().as_bytes());
        put(&store, &slot, b"node");
        assert_eq!(slots.assign("node").unwrap().placement(), &place);
    }
    // An entry alone says nothing true: no slot is made up for it.
    delete(&store, &slot);
    let before = everything(&store, "a/");
    assert!(matches!(slots.assign("node"), Err(Error::Inconsistent { .. })));
    // Written back by hand it is not of the same commit.
    put(&store, &slot, b"node");
    assert!(matches!(slots.assign("node"), Err(Error::Damaged { .. })));
    delete(&store, &slot);
    assert_eq!(everything(&store, "a/"), before);
}

/// It is an error, and no search without an end for who released it.
fn d6_a_node_whose_slot_is_not_its_own_cannot_be_released(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let slots = Assignment::open(&store, "nodes").unwrap();
    store.commit(&[Op::put(&store.key("nodes/node/orphan").unwrap(), b"5")]).unwrap();
    let found = slots.release("orphan");
    let orphan = Finding::OrphanedEntry { node: "orphan".to_owned(), slot: 5 };
    assert!(matches!(&found, Err(Error::Inconsistent { findings }) if *findings == [orphan]), "{found:?}");

    // Its slot's entry has its name, but was not created with it.
    store.commit(&[Op::put(&store.key("nodes/slot/00005").unwrap(), b"orphan")]).unwrap();
    assert!(matches!(slots.release("orphan"), Err(Error::Damaged { .. })));
    assert_eq!(slots.lookup("orphan").unwrap().unwrap().slot, 5, "nothing was wiped");
}

fn four_findings_are_told_apart(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), subject.client());
    let long = "l".repeat(300);
    let [one, two, three] = ["one", "two", &long].map(|node| slots.assign(node).unwrap().slot());
    assert_eq!(slots.integrity().unwrap(), []);
    let (text, named) = (|slot: u16| slot.to_string(), |slot| format!("a/slot/{slot:05}"));

    // Two entries name one slot; and the slot of the second belongs to somebody whose entry names another.
    put(&store, "a/node/two", text(one).as_bytes());
    let duplicate = Finding::DuplicateSlot { slot: one, nodes: vec!["one".into(), "two".into()] };
    let mismatch = Finding::Mismatch { slot: two, node: "two".into(), entry: one };
    assert_eq!(slots.integrity().unwrap(), [duplicate, mismatch]);
    put(&store, "a/node/two", text(two).as_bytes());

    delete(&store, &named(one));
    assert_eq!(slots.integrity().unwrap(), [Finding::OrphanedEntry { node: "one".into(), slot: one }]);
    assert!(matches!(slots.export(), Err(Error::Inconsistent { .. })));
    put(&store, &named(one), b"one");

    delete(&store, "a/node/one");
    assert_eq!(slots.integrity().unwrap(), [Finding::OrphanedUsage { slot: one, node: "one".into() }]);
    put(&store, "a/node/one", text(one).as_bytes());
    assert_eq!(slots.integrity().unwrap(), []);
    assert_eq!(slots.lookup(&long).unwrap().unwrap().slot, three);
}

/// Source 1 took a table of another cluster for a broken one, and a broken one for an empty one: S1-7.
fn other_settings_are_refused(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    Assignment::open_with(&store, "a", "prod", 100).unwrap().assign("node").unwrap();
    let before = everything(&*store, "a/");
    for (cluster, slots) in [("test", 100), ("prod", 255), ("prod ", 100)] {
        let error = Assignment::open_with(&store, "a", cluster, slots).unwrap_err();
        assert!(matches!(&error, Error::OtherSettings { .. }), "{error}");
        assert!(error.to_string().contains("100 slots of cluster \"prod\""), "{error}");
    }
    assert_eq!(everything(&*store, "a/"), before);
    let again = Assignment::open_with(&store, "a", "prod", 100).unwrap();
    assert!(again.lookup("node").unwrap().is_some());
}

fn what_makes_no_sense_is_refused(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    assert!(matches!(Assignment::open_with(&store, "a", "c", 0), Err(Error::NoSlots)));
    for name in ["", "n\0", &"x".repeat(200)] {
        let error = Assignment::open(&store, name).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert_eq!(everything(&*store, ""), []);
    let slots = Assignment::open_with(&store, "a", "c", 9).unwrap();
    for slot in [0, 10, u16::MAX] {
        assert!(matches!(slots.node_of(slot), Err(Error::NoSuchSlot { slots: 9, .. })));
    }
    let wide = "w".repeat(1 << 20);
    if let Err(error) = slots.assign(&wide) {
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
        assert_eq!(slots.stats().unwrap().taken, 0);
    }
}

/// Node and slot agree, in one commit: only that there is no such slot gives it away.
fn d6_a_slot_that_there_is_not_is_nobodys(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let slots = Assignment::open_with(&store, "a", "c", 9).unwrap();
    for slot in [0, 10] {
        let (node, text) = (format!("node-{slot}"), slot.to_string());
        let keys = [format!("a/node/{node}"), format!("a/slot/{slot:05}")].map(|name| store.key(&name).unwrap());
        store.commit(&[Op::put(&keys[0], text.as_bytes()), Op::put(&keys[1], node.as_bytes())]).unwrap();
        let before = everything(&*store, "a/");
        let finding = [Finding::NoSuchSlot { slot, node: node.clone(), slots: 9 }];
        assert_eq!(slots.integrity().unwrap(), finding);
        assert!(matches!(slots.assign(&node), Err(Error::Inconsistent { findings }) if findings == finding));
        assert!(matches!(slots.export(), Err(Error::Inconsistent { findings }) if findings == finding));
        assert!(matches!(slots.lookup(&node), Err(Error::Damaged { .. })));
        assert!(matches!(slots.release(&node), Err(Error::Damaged { .. })));
        assert_eq!(everything(&*store, "a/"), before);
        store.commit(&keys.each_ref().map(Op::delete)).unwrap();
    }
}
