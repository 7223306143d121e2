//! The operations on named entries and leases, each as a child runs it, and what the survivor must find of it.

use std::path::Path;

use slotguard::backend::{Backend, Op, When};
use slotguard::{Outcome, Revision};

use super::fixture::{Fixture, LONG};
use super::scenario::Scenario;
use super::shape::Shape;
use super::store::{Entries, Entry, Store, committed, name, put, put_under, value};
use super::sweep::{Order, Verdict};
use super::tracee::SyncPoint;

/// One operation and what it does to the entries.
#[derive(Clone, Copy)]
pub struct Named {
    pub name: &'static str,
    pub body: fn(&Store, &SyncPoint<'_>),
    pub effect: fn(&mut Entries),
    pub shape: Shape,
}

const PLAIN: Named = Named { name: "", body: |_, _| (), effect: |_| (), shape: Shape::Small };

pub const CREATE: Named = Named { name: "creation of a key", body: create_2, effect: |all| added(all, 2), ..PLAIN };
pub const DELETE: Named = Named {
    name: "deletion of a key",
    body: |store, sync| delete(store, sync, 3),
    effect: |all| removed(all, 3),
    ..PLAIN
};
pub const PUT: Named = Named { name: "put of a key", body: put_1, effect: |all| put_again(all, 1, false), ..PLAIN };
pub const MOVE: Named = Named { name: "deletion and creation in one commit", body: r#move, effect: moved, ..PLAIN };
pub const GROW: Named = Named {
    name: "creation that gives the root children",
    body: |store, sync| create(store, sync, Shape::AboutToGrow.there()),
    effect: |all| added(all, Shape::AboutToGrow.there()),
    shape: Shape::AboutToGrow,
};
pub const SPLIT: Named = Named {
    name: "creation that splits a leaf",
    body: |store, sync| create(store, sync, Shape::AboutToSplit.there()),
    effect: |all| added(all, Shape::AboutToSplit.there()),
    shape: Shape::AboutToSplit,
};
pub const MERGE: Named = Named {
    name: "deletion that merges two leaves",
    body: |store, sync| delete(store, sync, Shape::AboutToMerge.there() - 1),
    effect: |all| removed(all, Shape::AboutToMerge.there() - 1),
    shape: Shape::AboutToMerge,
};
pub const SHRINK: Named = Named {
    name: "deletion that lowers the root",
    body: |store, sync| delete(store, sync, Shape::AboutToShrink.there() - 1),
    effect: |all| removed(all, Shape::AboutToShrink.there() - 1),
    shape: Shape::AboutToShrink,
};
/// In another leaf there is to be nothing of [`AT_THE_FRONT`].
pub const CREATE_ALONE: Named = Named {
    name: "creation where another name is absent",
    body: create_alone,
    effect: |all| added(all, Shape::AboutToSplit.there()),
    shape: Shape::AboutToSplit,
};
/// A name in the first leaf.
pub const AT_THE_FRONT: &str = "v/first of all";
/// Of the last name in a leaf that is about to be split.
pub const READ: Named = Named { name: "read of a key", body: read_last, shape: Shape::AboutToSplit, ..PLAIN };
pub const GRANT: Named = Named { name: "grant of a lease", body: grant, ..PLAIN };
pub const CREATE_UNDER: Named = Named {
    name: "creation under a lease",
    body: |store, sync| under_a_lease(store, sync, 2),
    effect: |all| put_again(all, 2, true),
    ..PLAIN
};
pub const PUT_UNDER: Named = Named {
    name: "put of a key under a lease",
    body: |store, sync| under_a_lease(store, sync, 1),
    effect: |all| put_again(all, 1, true),
    ..PLAIN
};
pub const RENEW: Named = Named { name: "renewal of a lease", body: renew, ..PLAIN };
pub const REVOKE: Named = Named {
    name: "revocation of a lease",
    body: revoke,
    effect: |all| all.retain(|_, entry| !entry.is_leased),
    ..PLAIN
};

fn create(store: &Store, sync: &SyncPoint<'_>, number: u32) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    let (key, value) = (mine.key(&name(number)).expect("a name"), value(1));
    sync.ready();
    // While it was stopped somebody else may have created it.
    if let Outcome::Committed(revision) = mine.commit(&[Op::put(&key, &value).if_absent()]).expect("a commit") {
        sync.page.acknowledge(revision.0);
    }
    std::mem::forget(mine);
}

fn create_alone(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    let (key, value) = (mine.key(&name(Shape::AboutToSplit.there())).expect("a name"), value(1));
    let other = mine.key(AT_THE_FRONT).expect("a name");
    sync.ready();
    let ops = [Op::put(&key, &value).if_absent(), Op::check(&other, When::Absent)];
    if let Outcome::Committed(revision) = mine.commit(&ops).expect("a commit") {
        sync.page.acknowledge(revision.0);
    }
    std::mem::forget(mine);
}

/// Acknowledges the revision of what it finds.
fn read_last(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    let (key, mut value) = (mine.key(&name(Shape::AboutToSplit.there() - 1)).expect("a name"), Vec::new());
    sync.ready();
    if let (Some(meta), _) = mine.read(&key, &mut value).expect("a read") {
        sync.page.acknowledge(meta.modified.0);
    }
    std::mem::forget(mine);
}

fn create_2(store: &Store, sync: &SyncPoint<'_>) {
    create(store, sync, 2);
}

fn delete(store: &Store, sync: &SyncPoint<'_>, number: u32) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    let key = mine.key(&name(number)).expect("a name");
    sync.ready();
    let revision = committed(&mine, &[Op::delete(&key).if_exists()]);
    sync.page.acknowledge(revision.0);
    std::mem::forget(mine);
}

fn put_1(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    let key = mine.key(&name(1)).expect("a name");
    let version = mine.read(&key, &mut Vec::new()).expect("a read").0.expect("an entry").version;
    let next = value(version.0 + 1);
    sync.ready();
    let revision = committed(&mine, &[Op::put(&key, &next)]);
    sync.page.acknowledge(revision.0);
    std::mem::forget(mine);
}

fn r#move(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    let (from, to, value) = (mine.key(&name(3)).expect("a name"), mine.key(&name(4)).expect("a name"), value(1));
    sync.ready();
    let revision = committed(&mine, &[Op::delete(&from).if_exists(), Op::put(&to, &value).if_absent()]);
    sync.page.acknowledge(revision.0);
    std::mem::forget(mine);
}

fn grant(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    put(&mine, &name(1));
    sync.ready();
    mine.grant(LONG).expect("a lease");
    sync.done();
    std::mem::forget(mine);
}

fn under_a_lease(store: &Store, sync: &SyncPoint<'_>, number: u32) {
    let mine = store.own_keys();
    let lease = mine.grant(LONG).expect("a lease");
    let key = mine.key(&name(number)).expect("a name");
    let version = mine.read(&key, &mut Vec::new()).expect("a read").0.map_or(0, |meta| meta.version.0);
    let next = value(version + 1);
    sync.ready();
    let revision = committed(&mine, &[Op::put_leased(&key, &next, lease)]);
    sync.page.acknowledge(revision.0);
    std::mem::forget(mine);
}

fn renew(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    let lease = mine.grant(LONG).expect("a lease");
    put_under(&mine, &name(2), lease);
    sync.ready();
    mine.renew(lease).expect("a lease that lives");
    sync.done();
    std::mem::forget(mine);
}

fn revoke(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    let lease = mine.grant(LONG).expect("a lease");
    put_under(&mine, &name(2), lease);
    put_under(&mine, &name(3), lease);
    sync.ready();
    mine.revoke(lease).expect("a lease that lives");
    sync.done();
    std::mem::forget(mine);
}

/// What the change itself will number.
const NEW: Revision = Revision(0);

fn added(all: &mut Entries, number: u32) {
    all.insert(name(number), Entry { version: 1, created: NEW, modified: NEW, is_leased: false });
}

fn removed(all: &mut Entries, number: u32) {
    all.remove(&name(number)).expect("it was there");
}

fn moved(all: &mut Entries) {
    removed(all, 3);
    added(all, 4);
}

fn put_again(all: &mut Entries, number: u32, is_leased: bool) {
    let entry = all.entry(name(number)).or_insert(Entry { version: 0, created: NEW, modified: NEW, is_leased });
    *entry = Entry { version: entry.version + 1, modified: NEW, is_leased, ..*entry };
}

fn newest(all: &Entries) -> Revision {
    all.values().map(|entry| entry.modified).max().unwrap_or_default()
}

/// Whether the entries are as expected; what is new has one revision, larger than all before, which is returned.
fn is_as(expected: &Entries, found: &Entries, before: Revision) -> Option<Revision> {
    let mut number = before;
    let same = expected.len() == found.len()
        && expected.iter().zip(found).all(|((name, expected), (found_name, found))| {
            let mut is_new = |expected: Revision, found: Revision| {
                if expected != NEW {
                    return expected == found;
                }
                assert!(found > before, "{name}: a later change has a larger revision");
                assert!(number == before || number == found, "{name}: one commit, one revision");
                number = found;
                true
            };
            name == found_name
                && (expected.version, expected.is_leased) == (found.version, found.is_leased)
                && is_new(expected.created, found.created)
                && is_new(expected.modified, found.modified)
        });
    same.then_some(number)
}

impl Named {
    /// Leases live where the operation is about one.
    fn is_about_leases(&self) -> bool {
        [GRANT, CREATE_UNDER, PUT_UNDER, RENEW, REVOKE].iter().any(|other| other.name == self.name)
    }

    /// Whether its author is told the revision of a commit.
    pub fn is_numbered(&self) -> bool {
        ![GRANT, RENEW, REVOKE].iter().any(|other| other.name == self.name)
    }

    /// Whether what is found is what it leads to; the revision of what is new then, or the newest there was.
    pub fn is_in(&self, before: &Entries, found: &Entries) -> Option<Revision> {
        is_as(&self.expected(before), found, newest(before))
    }

    /// The names that it changes.
    pub fn names_meant(&self, before: &Entries) -> Vec<String> {
        let after = self.expected(before);
        let names = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
        names.cloned().collect()
    }

    fn expected(&self, before: &Entries) -> Entries {
        let mut after = before.clone();
        (self.effect)(&mut after);
        after
    }
}

impl Scenario for Named {
    type Fixture = Store;
    type Observed = Entries;

    fn name(&self) -> &'static str {
        self.name
    }

    fn fixture(&self, folder: &Path) -> Store {
        self.shape.store(folder)
    }

    fn run(&self, store: &Store, sync: &SyncPoint<'_>) {
        (self.body)(store, sync);
    }

    fn observe(&self, store: &Store) -> Entries {
        store.observe()
    }

    fn check(&self, store: &Store, mut before: Entries, order: Order, _variant: usize) -> Verdict {
        let (newest, original) = (newest(&before), before.clone());
        let mut after = self.expected(&before);
        if order == Order::RecoverFirst {
            store.all_is_recovered();
        }
        let acknowledged = store.page().is_acknowledged();
        let found = store.observe();
        // What lives by the dead one's lease goes with it, all at once for whoever looks.
        if !found.values().any(|entry| entry.is_leased) {
            before.retain(|_, entry| !entry.is_leased);
            after.retain(|_, entry| !entry.is_leased);
        }
        let done = is_as(&after, &found, newest);
        if acknowledged {
            let done = done.unwrap_or_else(|| panic!("what is acknowledged is there: {found:?}"));
            assert!(done == newest || done.0 == store.page().revision(), "the number its author was told");
        }
        assert!(done.is_some() || found == before, "as before or as after: {found:?}, before: {before:?}");
        let names = self.shape.names();
        store.is_found(&found, &names);
        store.goes_on(&found, &names);
        store.nothing_is_lost();
        let undone = if order == Order::RecoverFirst { before } else { original };
        match (acknowledged, done) {
            (true, _) => Verdict::Acknowledged,
            (false, Some(number)) if number > newest || found != undone => Verdict::Done,
            _ => Verdict::Undone,
        }
    }

    fn change(&self, store: &Store) {
        let before = store.observe();
        for name in self.shape.names() {
            store.put(&name);
        }
        let after = store.observe();
        for name in self.shape.names() {
            let version = before.get(&name).map_or(0, |entry| entry.version);
            assert_eq!(after[&name].version, version + 1, "{name}: the survivor's put is one version");
        }
    }

    fn succeeded(&self, store: &Store, before: Entries) {
        let found = store.observe();
        assert!(self.is_in(&before, &found).is_some(), "{}: {found:?}", self.name);
        if !self.is_about_leases() && self.name != READ.name {
            assert_eq!(store.nodes(), self.shape.nodes_afterwards(), "{}: nodes besides the root", self.name);
        }
    }
}
