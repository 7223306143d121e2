//! Named entries in a segment: the contract of [`Backend`] kept by records, without a server.
//!
//! ```text
//!  read · commit          write: what must hold, what changes ─► one commit over records
//!     │        wait · watch · range          heads looked at twice around one reading of the clock
//!     ▼                    ▼
//!  directory: name ─► record          a B+ tree whose nodes are records        lease: a record with a hidden name
//!     │
//!  crate::memory          records, commits, claims, waiting, recovery
//! ```
//! Nothing here has a mechanism of its own: kills, helping, reclamation and revisions are those of commits over records, so
//! what holds there at every instruction holds here. A handle ([`Key`]) keeps where its entry is, in this process; every
//! block carries its incarnation, so a handle that is out of date is noticed by the read it is for.
//!
//! # Memory
//! An entry costs 128 bytes of head, a block of its value's class and 128 bytes, and its place in the directory (12 bytes and
//! the name, in nodes that are between a quarter and all full). [`SegmentBuilder::keys`](crate::SegmentBuilder::keys) says
//! how much room is set aside.

mod directory;
mod lease;
mod node;
mod snapshot;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use self::directory::{Directory, Path};
use self::node::Place;
use super::{Backend, Limits, Meta, Op, check_name, check_ops};
use crate::clock::{Deadline, Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::block::spares::LaneHandle;
use crate::memory::handle::record::{Outcome, Record};
use crate::memory::handle::segment::Segment;
use crate::memory::layout::word::Head;
use crate::memory::record::read::Observed;
use crate::memory::sync::error::RetryBudget;
use crate::memory::wait::change::{Pace, WaitStep};

pub use watch::SharedWatch;

/// The named entries of a segment that was built with [`keys`](crate::SegmentBuilder::keys).
///
/// ```
/// use slotguard::Segment;
/// use slotguard::backend::{Backend, Op, SharedMemory};
/// # fn main() -> slotguard::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("app");
/// // Any number of processes open the same path.
/// let store = SharedMemory::new(Segment::builder().keys(1_000).open_or_create(&path)?)?;
/// let limit = store.key("limits/billing")?;
/// store.commit(&[Op::put(&limit, b"100").if_absent()])?;
/// let mut value = Vec::new();
/// let (meta, _) = store.read(&limit, &mut value)?;
/// assert_eq!((value.as_slice(), meta.unwrap().version.0), (&b"100"[..], 1));
/// # slotguard::Segment::remove(&path)?;
/// # Ok(())
/// # }
/// ```
///
/// Clones share the attachment.
///
/// # When a process dies
/// A commit has taken place as a whole or not at all. The leases it granted end as soon as somebody asks the kernel: a commit
/// that one of their entries is in the way of, a waiter or watcher (within a wait slice), whoever finds the segment full, or
/// [`SharedMemory::reap`]. A mere reader asks the clock only, and sees such an entry until then.
#[derive(Clone)]
pub struct SharedMemory {
    directory: Arc<Directory>,
}

/// A name, and where its entry was last seen. Stores nothing in the segment; clones share what they know.
#[derive(Clone)]
pub struct Key(Arc<Handle>);

struct Handle {
    name: Box<str>,
    /// The segment that `place` is of; in any other the key is looked up by its name, every time.
    segment: u64,
    /// The [`Place`] of the entry; 0: unknown.
    place: AtomicU64,
}

impl Key {
    fn new(name: &str, directory: &Directory) -> Self {
        Self(Arc::new(Handle { name: name.into(), segment: directory.generation(), place: AtomicU64::new(0) }))
    }

    fn bytes(&self) -> &[u8] {
        self.0.name.as_bytes()
    }

    fn place_in(&self, directory: &Directory) -> Option<Place> {
        let here = self.0.segment == directory.generation();
        Place::of_word(self.0.place.load(Relaxed)).filter(|_| here)
    }

    fn remember(&self, place: Place, directory: &Directory) {
        if self.0.segment == directory.generation() {
            self.0.place.store(place.word(), Relaxed);
        }
    }

    fn forget(&self) {
        self.0.place.store(0, Relaxed);
    }
}

impl Place {
    /// `incarnation:40 | record:23`, never 0: no entry is in record 0.
    fn word(self) -> u64 {
        Head::value(self.incarnation, self.record).0
    }

    fn of_word(word: u64) -> Option<Self> {
        let head = Head(word);
        (word != 0).then_some(Self { record: head.block(), incarnation: head.count(), leased: false })
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.0.name).finish()
    }
}

impl SharedMemory {
    /// The named entries of this segment.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it was built without keys.
    pub fn new(segment: Segment) -> Result<Self> {
        if segment.keys() == 0 {
            let what = "the segment was built without room for keys; build it with SegmentBuilder::keys";
            return Err(Error::Invalid(what.to_owned()));
        }
        Ok(Self { directory: Arc::new(Directory::new(segment)) })
    }

    /// The segment, for its members, statistics and numbered records.
    pub fn segment(&self) -> &Segment {
        self.directory.segment()
    }

    /// Ends the leases that are over (their time has passed or their owner is dead) and removes what lived by them, now
    /// instead of when somebody meets it; recovers dead participants first. Answers how many leases ended.
    ///
    /// # Errors
    /// As [`Backend::commit`].
    pub fn reap(&self) -> Result<u32> {
        self.segment().reap()?;
        self.noted(self.with_lane(|lane| self.sweep(lane)))
    }

    fn arena(&self) -> &Arena {
        &self.segment().inner.arena
    }

    fn with_lane<R>(&self, work: impl FnOnce(&mut LaneHandle) -> Result<R>) -> Result<R> {
        self.segment().inner.with_lane(|lane, _| work(lane))
    }

    /// Runs `work`, and again when the segment is full, once the entries of dead leases are removed.
    #[inline]
    fn with_room<R>(&self, work: impl Fn() -> Result<R>) -> Result<R> {
        let sweep = || {
            if self.any_over()? {
                self.with_lane(|lane| self.sweep(lane))?;
            }
            Ok(())
        };
        self.segment().inner.with_room(sweep, work)
    }

    /// Enters an error into the segment's table of distinct errors.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.segment().inner.note_error(error, 0))
    }

    /// Looks at the record of `place`, if it still is that incarnation of an entry or lease.
    fn look_at(&self, place: Place, seen: &mut Observed) -> Result<bool> {
        if !self.directory.is_key(place.record) {
            return Ok(false);
        }
        self.arena()
            .read_into(place.record, None, seen)
            .map_err(|error| self.directory.explain(error, place.record))?;
        Ok(!seen.head.is_absent() && seen.meta.incarnation == place.incarnation)
    }

    fn look_at_entry(&self, place: Place, seen: &mut Observed) -> Result<bool> {
        Ok(self.look_at(place, seen)? && seen.meta.kind == 0)
    }

    /// What the handle says, if it is still true; `seen` is filled then.
    fn cached(&self, key: &Key, seen: &mut Observed) -> Result<Option<Place>> {
        let Some(place) = key.place_in(&self.directory) else { return Ok(None) };
        if self.look_at_entry(place, seen)? {
            return Ok(Some(place));
        }
        key.forget();
        Ok(None)
    }

    /// Reads an entry's record by its place; `None` if it is another incarnation or kind.
    fn read_at(&self, place: Place, into: &mut Vec<u8>, seen: &mut Observed) -> Result<bool> {
        if !self.directory.is_key(place.record) {
            return Ok(false);
        }
        self.arena()
            .read_into(place.record, Some(into), seen)
            .map_err(|error| self.directory.explain(error, place.record))?;
        let same = seen.meta.incarnation == place.incarnation;
        Ok(!seen.head.is_absent() && same && seen.meta.kind == 0)
    }

    /// Reads an entry; where it is, or the leaf's revision and place if it is absent.
    fn find(&self, key: &Key, into: &mut Vec<u8>, seen: &mut Observed) -> Result<Presence> {
        self.find_with(key, into, seen, true)
    }

    /// The same; what is found dead is removed only where the caller has no lane in use.
    fn find_with(&self, key: &Key, into: &mut Vec<u8>, seen: &mut Observed, remove: bool) -> Result<Presence> {
        let mut path = Path::default();
        let mut budget = RetryBudget::new();
        for _ in 0..ROUNDS {
            self.segment().inner.check()?;
            let mut place = key.place_in(&self.directory);
            if let Some(known) = place
                && !self.read_at(known, into, seen)?
            {
                key.forget();
                place = None;
            }
            let place = match place {
                Some(place) => place,
                None => {
                    self.directory.descend(key.bytes(), &mut path)?;
                    let leaf = path.leaf();
                    let Ok(at) = leaf.node().search(key.bytes()) else {
                        into.clear();
                        return Ok(Presence::Absent {
                            revision: leaf.revision(),
                            leaf: leaf.record,
                            head: leaf.seen.head,
                        });
                    };
                    let place = leaf.node().place(at);
                    if !self.read_at(place, into, seen)? {
                        // Deleted since the leaf was read, or damage: then the leaf stays as it is.
                        let (record, head) = (path.leaf().record, path.leaf().seen.head.0);
                        budget
                            .again("an entry that the directory does not mean", record, head, place.record.into())
                            .map_err(|error| self.directory.explain(error, record))?;
                        continue;
                    }
                    key.remember(place, &self.directory);
                    place
                }
            };
            let lease = Lease(seen.meta.lease);
            if remove && lease.0 != 0 && self.is_over(lease)? {
                // Ended for good before its first entry goes: nobody may renew it once somebody saw an absence.
                self.with_lane(|lane| match self.lease_status(lane, lease, lease::Probe::Clock)? {
                    lease::LeaseStatus::Alive(_) => Ok(()),
                    _ => self.remove_dead(lane, key.bytes(), place, lease),
                })?;
                continue;
            }
            return Ok(Presence::Present(place));
        }
        Err(Error::Outrun { what: format!("key {:?}", key.as_ref()), rounds: ROUNDS })
    }

    /// A look on behalf of somebody who waits for a change after `known`, which an absence seen now moves on.
    fn look_for_wait(&self, key: &Key, known: &mut Known) -> Result<Waiting> {
        let (mut value, mut seen) = (Vec::new(), Observed::NOTHING);
        let place = match self.find(key, &mut value, &mut seen)? {
            Presence::Absent { revision, leaf, head } => {
                // A leaf that changed while the name was absent before and after changed for another name.
                if revision > known.revision.0 && known.present != Some(false) {
                    return Ok(Waiting::Changed);
                }
                *known = Known { revision: Revision(revision.max(known.revision.0)), present: Some(false) };
                return Ok(Waiting::Sleep { record: leaf, head, lease: None });
            }
            Presence::Present(place) => place,
        };
        if seen.modified() > known.revision.0 {
            return Ok(Waiting::Changed);
        }
        known.present = Some(true);
        if seen.meta.lease == 0 {
            return Ok(Waiting::Sleep { record: place.record, head: seen.head, lease: None });
        }
        let lease = Lease(seen.meta.lease);
        // Somebody waits for it: the time to ask the kernel whether its owner lives.
        let gone = self.with_lane(|lane| match self.lease_status(lane, lease, lease::Probe::Owner)? {
            lease::LeaseStatus::Alive(_) => Ok(false),
            _ => self.remove_dead(lane, key.bytes(), place, lease).map(|()| true),
        })?;
        if gone {
            return Ok(Waiting::Changed);
        }
        Ok(Waiting::Sleep { record: place.record, head: seen.head, lease: Some(lease) })
    }
}

/// What a waiter knows of its entry.
struct Known {
    revision: Revision,
    /// Whether it was there when it was last looked at, if it has been.
    present: Option<bool>,
}

/// What a look on behalf of a waiter found.
enum Waiting {
    Changed,
    /// Nothing yet: sleep until this record has another head, and no longer than the lease lasts.
    Sleep {
        record: u32,
        head: Head,
        lease: Option<Lease>,
    },
}

/// More rounds than honest others cause an operation to take.
const ROUNDS: u64 = 1 << 16;
/// What a lookup found.
enum Presence {
    Present(Place),
    /// With the leaf that shows it.
    Absent {
        revision: u64,
        leaf: u32,
        head: Head,
    },
}

/// What a block says of its entry.
fn meta_of(seen: &Observed) -> Meta {
    Meta {
        created: Revision(seen.created()),
        modified: Revision(seen.modified()),
        version: Version(seen.meta.version),
        lease: (seen.meta.lease != 0).then_some(Lease(seen.meta.lease)),
    }
}

impl Backend for SharedMemory {
    type Key = Key;
    type Watch<'a> = SharedWatch<'a>;

    const LIMITS: Limits = Limits {
        name: node::NAME_BYTES,
        ops: crate::MAX_OPS,
        value: crate::MAX_PAYLOAD,
        shortest_lease: Duration::from_millis(1),
        longest_lease: Duration::from_secs(10 * 365 * 24 * 3600),
        clock_drift: 0,
    };

    fn key(&self, name: &str) -> Result<Key> {
        self.noted(check_name(name, &Self::LIMITS))?;
        Ok(Key::new(name, &self.directory))
    }

    fn read(&self, key: &Key, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        let mut seen = Observed::NOTHING;
        Ok(match self.noted(self.find(key, into, &mut seen))? {
            Presence::Present(_) => (Some(meta_of(&seen)), Revision(seen.modified())),
            Presence::Absent { revision, .. } => (None, Revision(revision)),
        })
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(Key, &[u8], Meta)) -> Result<Revision> {
        self.noted(self.range_at_once(prefix, visit))
    }

    fn commit(&self, ops: &[Op<'_, Key>]) -> Result<Outcome> {
        let home = &self.segment().inner;
        let commit = || home.with_lane(|lane, copies| self.commit_ops(lane, &mut copies.seen, ops));
        let done = check_ops(ops, &Self::LIMITS, self.segment().max_payload()).and_then(|()| self.with_room(commit));
        self.noted(done)
    }

    fn wait(&self, key: &Key, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        let home = &self.segment().inner;
        let mut known = Known { revision: newer_than, present: None };
        loop {
            // The record to sleep on changes when the entry is created or deleted, or its leaf is split: each of that ends
            // the inner wait, and we look where to sleep anew.
            let (record, lease) = match self.noted(self.look_for_wait(key, &mut known))? {
                Waiting::Changed => return Ok(true),
                Waiting::Sleep { record, lease, .. } => (record, lease),
            };
            // An owner's death wakes nobody: whoever waits for a leased entry looks often at first.
            let pace = if lease.is_some() { Pace::Leased } else { Pace::Steady };
            let done = home.wait_until(Record::new(self.segment(), record), deadline, pace, || {
                Ok(match self.look_for_wait(key, &mut known)? {
                    Waiting::Changed => WaitStep::Done(true),
                    Waiting::Sleep { record: now, lease: under, .. } if (now, under) != (record, lease) => {
                        WaitStep::Done(false)
                    }
                    Waiting::Sleep { head, lease, .. } => {
                        let until = lease.map(|lease| self.lease_until(lease)).transpose()?.flatten();
                        WaitStep::Wait { head, until }
                    }
                })
            });
            match self.noted(done)? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => return Ok(false),
            }
        }
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<SharedWatch<'_>> {
        self.noted(SharedWatch::new(self, prefix, from))
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        self.noted(self.with_room(|| self.with_lane(|lane| self.grant_lease(lane, time_to_live))))
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        self.noted(self.with_lane(|lane| self.renew_lease(lane, lease)))
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        self.noted(self.lease_expiry(lease))
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        self.noted(self.with_lane(|lane| self.revoke_lease(lane, lease)))
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("segment", self.segment()).finish()
    }
}
