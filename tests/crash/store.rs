//! A fresh segment with named entries and a survivor attached, and what the survivor must find and be able to do when
//! somebody else has been killed.

use std::collections::BTreeMap;
use std::path::Path;

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, Lease, Outcome, Revision, Segment};

use super::fixture::{Fixture, LONG, Records};
use super::shared_page::SharedPage;
use super::value::Sizes;

/// How long the names are, the longest there are: so that a dozen or two fill a leaf.
const NAME: usize = 255;

pub struct Store {
    pub fixture: Records,
    /// The survivor's.
    pub keys: SharedMemory,
    /// For so many entries and leases there is room.
    room: u32,
    /// How many blocks are under heads when there are no entries and no leases.
    empty: u64,
}

/// All there is, by name.
pub type Entries = BTreeMap<String, Entry>;

/// One entry; its value says how often it has been put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub version: u64,
    pub created: Revision,
    pub modified: Revision,
    pub is_leased: bool,
}

impl Store {
    pub fn new(folder: &Path, room: u32) -> Self {
        let classes = Sizes::Same.classes(room + 32);
        let fixture = Records::built(folder, Sizes::Same, Segment::builder().records(3).keys(room).payloads(&classes));
        let keys = SharedMemory::new(fixture.segment.clone()).expect("a segment with keys");
        let mut store = Self { fixture, keys, room, empty: 0 };
        // What a process does the first time only, it has done before others are forked from it.
        store.put(&name(0));
        let lease = store.keys.grant(LONG).expect("a lease");
        store.keys.renew(lease).expect("a lease that lives");
        put_under(&store.keys, &name(1), lease);
        store.keys.revoke(lease).expect("a lease that lives");
        store.delete(&name(0));
        assert!(store.observe().is_empty(), "nothing is left of the first steps");
        store.empty = store.under_heads();
        store
    }

    /// In a child: named entries of its own attachment, never dropped.
    pub fn own_keys(&self) -> SharedMemory {
        SharedMemory::new(self.own().clone()).expect("a segment with keys")
    }

    pub fn put(&self, name: &str) {
        put(&self.keys, name);
    }

    pub fn delete(&self, name: &str) {
        let key = self.keys.key(name).expect("a name");
        committed(&self.keys, &[Op::delete(&key).if_exists()]);
    }

    /// All entries at one moment.
    pub fn observe(&self) -> Entries {
        let mut entries = Entries::new();
        let visit = &mut |key: <SharedMemory as Backend>::Key, value: &[u8], meta: slotguard::backend::Meta| {
            let entry = Entry {
                version: Sizes::Same.counter(value),
                created: meta.created,
                modified: meta.modified,
                is_leased: meta.lease.is_some(),
            };
            assert_eq!(entry.version, meta.version.0, "{key:?}: as many effects as versions");
            assert!(meta.created <= meta.modified, "{key:?}: created before it was changed");
            assert!(entries.insert(key.as_ref().to_owned(), entry).is_none(), "{key:?}: listed twice");
        };
        self.keys.range("", visit).expect("a range");
        entries
    }

    /// Handles that know nothing find what is listed, and do not find what is not.
    pub fn is_found(&self, entries: &Entries, names: &[String]) {
        let mut value = Vec::new();
        for name in names.iter().chain(entries.keys()) {
            let key = self.keys.key(name).expect("a name");
            let (meta, _) = self.keys.read(&key, &mut value).expect("a read");
            let found = meta.map(|meta| (meta.version.0, meta.created, meta.modified));
            let listed = entries.get(name).map(|entry| (entry.version, entry.created, entry.modified));
            assert_eq!(found, listed, "{name}: found as it is listed");
            assert_eq!(Sizes::Same.counter(&value), listed.map_or(0, |(version, ..)| version), "{name}: its value");
        }
    }

    /// The survivor creates what is absent, or lives by a dead one's lease; changes what is there; and deletes it all.
    pub fn goes_on(&self, entries: &Entries, names: &[String]) {
        let mut created = entries.values().map(|entry| entry.modified).max().unwrap_or_default();
        for name in names {
            let key = self.keys.key(name).expect("a name");
            let stays = entries.get(name).filter(|entry| !entry.is_leased);
            match stays {
                None => {
                    let creation = committed(&self.keys, &[Op::put(&key, &value(1)).if_absent()]);
                    assert!(creation > created, "{name}: a later creation is a larger token");
                    created = creation;
                }
                Some(entry) => {
                    let again = self.keys.commit(&[Op::put(&key, &value(1)).if_absent()]).expect("an attempt");
                    assert_eq!(again, Outcome::Conflict, "{name}: there is one");
                    let next = value(entry.version + 1);
                    committed(&self.keys, &[Op::put(&key, &next).if_created_at(entry.created)]);
                }
            }
        }
        let all = self.observe();
        assert!(all.keys().eq(names.iter()), "all of them are there: {:?}", all.keys());
        for name in names {
            self.delete(name);
        }
        assert_eq!(self.observe(), Entries::new(), "all of them are gone");
    }

    /// There is room for exactly as many as the segment was built for, and once they are gone nothing is left of them.
    pub fn nothing_is_lost(&self) {
        self.all_is_recovered();
        assert_eq!(self.under_heads(), self.empty, "no record is left that no name leads to");
        for number in 0..self.room {
            self.put(&format!("room/{number}"));
        }
        let key = self.keys.key("room/none").expect("a name");
        let error = self.keys.commit(&[Op::put(&key, &value(1))]).expect_err("one too many");
        assert!(matches!(error, Error::Full { .. }), "{error}");
        for number in 0..self.room {
            self.delete(&format!("room/{number}"));
        }
        self.nothing_is_amiss(1);
        assert_eq!(self.under_heads(), self.empty, "no node is left that no name needs");
    }

    pub fn under_heads(&self) -> u64 {
        self.fixture.segment.audit().expect("an audit").under_heads
    }

    /// How many nodes the directory has besides its root, if nobody has a lease.
    pub fn nodes(&self) -> u64 {
        self.under_heads() - self.empty - self.observe().len() as u64
    }
}

impl Fixture for Store {
    fn page(&self) -> &SharedPage {
        &self.fixture.page
    }

    fn segment(&self) -> &Segment {
        &self.fixture.segment
    }

    /// Their leases and what lived by them are gone, too.
    fn all_is_recovered(&self) {
        self.keys.reap().expect("a recovery");
        self.nothing_is_amiss(1);
        let left = self.under_heads();
        assert!(self.observe().values().all(|entry| !entry.is_leased), "nothing lives by a dead one's lease");
        assert_eq!(self.under_heads(), left, "nothing of that is left to whoever looks");
    }
}

/// The name with this number; they ascend.
pub fn name(number: u32) -> String {
    let short = format!("w/{number:03}/");
    format!("{short}{}", "x".repeat(NAME - short.len()))
}

/// The value of an entry that has been put so often.
pub fn value(version: u64) -> Vec<u8> {
    Sizes::Same.value(version)
}

/// One more put, whatever is there.
pub fn put(keys: &SharedMemory, name: &str) -> Revision {
    let key = keys.key(name).expect("a name");
    let found = keys.read(&key, &mut Vec::new()).expect("a read").0;
    committed(keys, &[Op::put(&key, &value(found.map_or(0, |meta| meta.version.0) + 1))])
}

/// One more put, under a lease.
pub fn put_under(keys: &SharedMemory, name: &str, lease: Lease) -> Revision {
    let key = keys.key(name).expect("a name");
    let found = keys.read(&key, &mut Vec::new()).expect("a read").0;
    committed(keys, &[Op::put_leased(&key, &value(found.map_or(0, |meta| meta.version.0) + 1), lease)])
}

/// A commit that nothing is in the way of.
pub fn committed(keys: &SharedMemory, ops: &[Op<'_, <SharedMemory as Backend>::Key>]) -> Revision {
    match keys.commit(ops).expect("a commit") {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a conflict, and all conditions hold: {ops:?}"),
    }
}
