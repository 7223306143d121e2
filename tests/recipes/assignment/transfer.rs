//! A table into a store and out of it.

use std::sync::Arc;

use slotguard::backend::Backend;
use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assignment, Error, Table, TableError, node_hash, probe};

use super::everything;
use crate::delivery::frail::Frail;
use crate::on_every_backend;

on_every_backend! {
    a_table_is_imported_once_and_exported_as_it_is,
    an_import_that_contradicts_changes_nothing,
    an_import_that_dies_is_finished_by_the_next,
    an_import_beside_others_takes_nothing_from_them,
    an_export_that_no_table_holds_is_refused,
}

fn a_table_is_imported_once_and_exported_as_it_is(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let mut table = Table::new("c");
    for n in 0..100 {
        table.assign(&format!("node-{n}")).unwrap();
    }
    let slots = Assignment::open_with(&store, "a", "c", 255).unwrap();
    assert_eq!(slots.import(&table).unwrap(), 100);
    let before = everything(&*store, "a/");
    assert_eq!(slots.import(&table).unwrap(), 0);
    assert_eq!(everything(&*store, "a/"), before);
    for (node, entry) in &table.entries {
        let place = slots.lookup(node).unwrap().unwrap();
        assert_eq!(place.slot, entry.slot);
        assert_eq!(slots.node_of(entry.slot).unwrap(), Some(place));
    }
    let out = slots.export().unwrap();
    assert_eq!((&out.usage, out.integrity()), (&table.usage, vec![]));
    assert_eq!(Table::unmarshal(&out.marshal(), "c").unwrap(), out);
    slots.assign("later").unwrap();
    assert!(slots.export().unwrap().version > out.version);
}

fn an_import_that_contradicts_changes_nothing(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let slots = Assignment::open_with(&store, "a", "c", 255).unwrap();
    let mut table = Table::new("c");
    let there = table.assign("node").unwrap();
    table.assign("other").unwrap();
    assert!(matches!(slots.import(&Table::new("d")), Err(Error::Table(TableError::Cluster { .. }))));

    let mut broken = table.clone();
    broken.usage.remove(&there);
    assert!(matches!(slots.import(&broken), Err(Error::Inconsistent { .. })));
    let mut nameless = Table::new("c");
    for node in ["x", "y"] {
        nameless.assign(node).unwrap();
    }
    let small = Assignment::open_with(&store, "small", "c", 1).unwrap();
    assert!(matches!(small.import(&nameless), Err(Error::NoSuchSlot { slots: 1, .. })));

    // The slot is another's; the node has another slot.
    let taken = (0..).map(|n| format!("n{n}")).find(|n| probe(node_hash("c", n), 0, 255) == there).unwrap();
    slots.assign(&taken).unwrap();
    let before = everything(&*store, "a/");
    let error = slots.import(&table).unwrap_err();
    assert!(matches!(&error, Error::ImportConflict { node, .. } if node == "node"), "{error}");
    slots.assign("node").unwrap();
    slots.release(&taken).unwrap();
    let error = slots.import(&table).unwrap_err();
    assert!(matches!(&error, Error::ImportConflict { node, .. } if node == "node"), "{error}");
    slots.release("node").unwrap();
    assert_eq!(slots.import(&table).unwrap(), 2);
    assert!(everything(&*store, "a/").len() > before.len());
}

/// Its client dies at each of its commits, which takes place or not.
fn an_import_that_dies_is_finished_by_the_next<S: Subject>(subject: &S) {
    let (store, part) = (Arc::new(subject.client()), S::Store::LIMITS.ops / 2);
    let mut table = Table::new("c");
    let nodes = 2 * part + part / 2;
    for n in 0..nodes {
        table.assign(&format!("node-{n}")).unwrap();
    }
    for commits in 0..3 {
        for applies in [false, true] {
            let name = format!("a-{commits}-{applies}");
            let slots = Assignment::open_with(&store, &name, "c", 255).unwrap();
            let frail = Frail::dies_at(subject.client(), commits, applies);
            let dies = Assignment::open_with(&frail, &name, "c", 255).unwrap();
            assert!(dies.import(&table).is_err());
            // So many whole commits, each of whole nodes.
            let there = slots.stale().unwrap();
            assert_eq!(there.len(), nodes.min(part * (commits as usize + usize::from(applies))));
            assert_eq!(slots.integrity().unwrap(), []);
            assert_eq!(slots.import(&table).unwrap(), nodes - there.len());
            assert_eq!(slots.export().unwrap().usage, table.usage);
            for place in there {
                assert_eq!(slots.lookup(&place.node).unwrap(), Some(place), "what was there is given out anew");
            }
        }
    }
}

/// Between the import's look and its commit.
fn an_import_beside_others_takes_nothing_from_them(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let slots = Assignment::open_with(&frail, "a", "c", 255).unwrap();
    let others = || Assignment::open_with(&Arc::new(subject.client()), "a", "c", 255).unwrap();
    let mut table = Table::new("c");
    let there = table.assign("node").unwrap();
    let rival = (0..).map(|n| format!("n{n}")).find(|n| probe(node_hash("c", n), 0, 255) == there).unwrap();
    let (taker, name) = (others(), rival.clone());
    frail.before_next_commit(move |_| assert_eq!(taker.assign(&name).unwrap().slot(), there));
    let error = slots.import(&table).unwrap_err();
    assert!(matches!(&error, Error::ImportConflict { slot, .. } if *slot == there), "{error}");
    assert_eq!(slots.node_of(there).unwrap().unwrap().node, rival);
    assert_eq!(slots.lookup("node").unwrap(), None);

    // The node itself, to the slot that the table gives it.
    slots.release(&rival).unwrap();
    let other = table.assign("other").unwrap();
    let joins = others();
    frail.before_next_commit(move |_| assert_eq!(joins.assign("node").unwrap().slot(), there));
    assert_eq!(slots.import(&table).unwrap(), 1);
    assert_eq!(slots.lookup("other").unwrap().unwrap().slot, other);
    assert_eq!(slots.export().unwrap().usage, table.usage);
}

fn an_export_that_no_table_holds_is_refused(subject: &impl Subject) {
    let wide = Assignment::open_with(&Arc::new(subject.client()), "a", "c", 1_000).unwrap();
    let of = |slots: std::ops::RangeInclusive<u16>| {
        (0..).map(|n| format!("n{n}")).find(|n| slots.contains(&probe(node_hash("c", n), 0, 1_000))).unwrap()
    };
    let (held, beyond) = (of(1..=255), of(256..=1_000));
    wide.assign(&held).unwrap();
    let slot = wide.assign(&beyond).unwrap().slot();
    let error = wide.export().unwrap_err();
    assert!(
        matches!(&error, Error::SlotBeyondTable { node, slot: told, most: 255 } if *node == beyond && *told == slot),
        "{error}"
    );
    wide.release(&beyond).unwrap();
    let out = wide.export().unwrap();
    assert_eq!(Table::unmarshal(&out.marshal(), "c").unwrap().entries.keys().collect::<Vec<_>>(), [&held]);
}
