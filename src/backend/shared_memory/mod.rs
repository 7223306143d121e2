//! Named entries in shared memory: the contract of [`Backend`] without a server.
//!
//! ```text
//!  Backend     read · commit · wait           lease                range · watch
//!                │                              │                       │
//!              lookup  commit  wait           lease             watch ─► snapshot ─► cache
//!                └───────┬───────┴──────────────┴──────────────────────┘
//!              key       │  a name, and where its entry was last seen
//!              tree      │  name ─► record: a B+ tree whose nodes are records
//!              node      │  the bytes of one node
//!              alloc     │  free records
//!                        │
//!  crate::memory            records, commits over several of them, waiting, recovery
//! ```
//! An entry is a record; a B+ tree of records maps names to them. Every change of an entry, of the tree or of a lease is one
//! commit over records, so whatever holds for such commits holds here: readers do not wait, a process killed at any
//! instruction leaves no half change, and all changes are in one order.
//!
//! A [`Key`] caches the record of its entry in this process. A record may be given to another entry later, so every block
//! carries the incarnation of its entry, and a stale cache is noticed by the read that uses it.
//!
//! # Memory
//! An entry takes 128 bytes of head, a block of its value's size class and 128 bytes, and its place in the tree (12 bytes and
//! the name, in nodes that are between a quarter and all full). [`SegmentBuilder::keys`](crate::SegmentBuilder::keys) says
//! how much room is set aside.

mod alloc;
mod cache;
mod commit;
mod key;
mod lease;
mod lookup;
mod node;
mod snapshot;
mod tree;
mod wait;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::lookup::{Presence, meta_of};
use self::tree::Tree;
use super::{Backend, Limits, Meta, Op, check_name, check_ops};
use crate::clock::{Deadline, Lease, Revision};
use crate::error::{Error, Result};
use crate::memory::handle::record::Outcome;
use crate::memory::handle::segment::Segment;
use crate::memory::record::read::Observed;

pub use self::key::Key;
pub use self::watch::SharedWatch;

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
    tree: Arc<Tree>,
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
        Ok(Self { tree: Arc::new(Tree::new(segment)) })
    }

    /// The segment, for its members, statistics and numbered records.
    pub fn segment(&self) -> &Segment {
        self.tree.segment()
    }

    /// Ends the leases that are over (their time has passed or their owner is dead) and removes what lived by them, now
    /// instead of when somebody meets it; recovers dead participants first. Answers how many leases ended.
    ///
    /// # Errors
    /// As [`Backend::commit`].
    pub fn reap(&self) -> Result<u32> {
        self.segment().reap()?;
        self.noted(self.tree.with_lane(|lane| self.tree.sweep(lane)))
    }

    /// Enters an error into the segment's table of distinct errors.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        self.tree.noted(result)
    }
}

impl Backend for SharedMemory {
    type Key = Key;
    type Watch<'a> = SharedWatch<'a>;

    const LIMITS: Limits = Limits {
        name: node::NAME_BYTES,
        ops: crate::MAX_OPS,
        value: crate::MAX_PAYLOAD,
        shortest_lease: lease::SHORTEST,
        longest_lease: lease::LONGEST,
        clock_drift: 0,
    };

    fn key(&self, name: &str) -> Result<Key> {
        self.noted(check_name(name, &Self::LIMITS))?;
        Ok(Key::new(name, &self.tree))
    }

    fn read(&self, key: &Key, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        let mut seen = Observed::NOTHING;
        Ok(match self.noted(self.tree.find(key, into, &mut seen))? {
            Presence::Present(_) => (Some(meta_of(&seen)), Revision(seen.modified())),
            Presence::Absent { revision, .. } => (None, Revision(revision)),
        })
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(Key, &[u8], Meta)) -> Result<Revision> {
        self.noted(self.tree.range(prefix, visit))
    }

    fn commit(&self, ops: &[Op<'_, Key>]) -> Result<Outcome> {
        self.noted(check_ops(ops, &Self::LIMITS, self.segment().max_payload()).and_then(|()| self.tree.commit_ops(ops)))
    }

    fn wait(&self, key: &Key, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        self.noted(self.tree.wait(key, newer_than, deadline))
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<SharedWatch<'_>> {
        self.noted(SharedWatch::new(&self.tree, prefix, from))
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        self.noted(self.tree.grant_lease(time_to_live))
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        self.noted(self.tree.renew_lease(lease))
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        self.noted(self.tree.lease_expiry(lease))
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        self.noted(self.tree.revoke_lease(lease))
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("segment", self.segment()).finish()
    }
}
