//! The narrow waist: named entries that change together or not at all, tell waiters that they changed, and live no
//! longer than their owner.
//!
//! ```text
//!  View        a prefix as a map in memory, listeners told in order
//!  Session     a lease kept alive, and an entry that lives by it
//!     │
//!  Backend     read · range · commit · wait · watch · lease          recipes know this and the clock
//!     │
//!  model             shared_memory
//!  one map, one      records of a segment,
//!  mutex: the oracle no server
//! ```
//!
//! # The contract
//! What every backend promises, each line a named test of [`conformance`](crate::conformance):
//!
//! * **One order.** [`read`](Backend::read), [`range`](Backend::range) and [`commit`](Backend::commit) are strictly
//!   serializable. [`Revision`]s order all commits and respect real time. They are never reused and may have holes: compare
//!   them, do no arithmetic (the one sum allowed is `R + 1` as the beginning of a watch).
//! * **All or nothing.** A commit's conditions are judged and its writes are seen at one moment, under one revision. Losing
//!   is an answer ([`Outcome::Conflict`]) and means that a condition *was false*, never that somebody was in the way.
//! * **Incarnations.** `created` grows from creation to creation of one name; it is the fencing token. `version` counts the
//!   writes of one incarnation from 1 without a gap; `modified` is the revision of the last.
//! * **Level-triggered watches.** Versions of a key may be skipped; the last state always arrives, what one commit changed
//!   is never split over two batches, the view after each batch *is* the store at that batch's [`Progress`](Event::Progress).
//! * **Leases.** An entry put under a lease is absent for everybody from the moment anybody saw it absent. The end of a
//!   lease is final; its entries go one by one, each with a revision of its own. What must hold together with a session's
//!   end names the session: a check `CreatedAt(token)` of its record in the same commit.
//! * **Synchronous.** Only [`wait`](Backend::wait) and [`Watch::next`] wait, until a [`Deadline`].
//!
//! Source of the shape: the key-value, watch and lease services of etcd 3.4, less what one machine need not ask for.

mod check;
mod model;
mod monitor;
mod process;
pub mod session;
pub mod shared_memory;
pub mod view;

use std::fmt;
use std::time::{Duration, Instant};

use crate::clock::{Deadline, Lease, Revision, Version};
use crate::error::Result;
use crate::memory::Outcome;

pub use model::{Model, ModelKey, ModelWatch};
pub use session::{Opened, Session, Taken};
pub use shared_memory::SharedMemory;
pub use view::{Batch, Change, Entry, Follower, Health, Listening, Snapshot, Subscription, View};

pub(crate) use check::{check_name, check_ops};

/// Named, versioned entries with commits over several of them, waiting, and leases.
///
/// A name is 1 to [`Limits::name`] bytes of UTF-8 without NUL; names are ordered by their bytes. A prefix is any string,
/// the empty one included; end it with `/` where names are paths, or `/app` also matches `/apple/1`.
pub trait Backend: Send + Sync {
    /// A name resolved once: what makes later calls cheap. Holding one stores nothing in the store. Ordered by name.
    type Key: Clone + Ord + AsRef<str> + fmt::Debug + Send + Sync + 'static;

    /// A running watch.
    type Watch<'a>: Watch<Key = Self::Key> + 'a
    where
        Self: 'a;

    /// What this backend takes.
    const LIMITS: Limits;

    /// Resolves a name; whether there is such an entry plays no part.
    ///
    /// # Errors
    /// [`Error::BadName`](crate::Error::BadName).
    fn key(&self, name: &str) -> Result<Self::Key>;

    /// Reads an entry; what `into` held is replaced (cleared if the entry is absent).
    ///
    /// The revision is one at which the entry was as returned: hand it to [`wait`](Backend::wait) to miss no change after.
    ///
    /// # Errors
    /// Those of the store itself, as all calls have them: damaged ([`Error::Corrupt`](crate::Error::Corrupt)), removed
    /// ([`Retired`](crate::Error::Retired)), the parent's of a forked child ([`Forked`](crate::Error::Forked)), changed
    /// faster than it can be read ([`Outrun`](crate::Error::Outrun)). A backend may have to delete what a dead lease left,
    /// and fail as a commit does.
    fn read(&self, key: &Self::Key, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)>;

    /// Visits every entry whose name begins with `prefix`, in the order of names, all as of the one moment that is
    /// returned: it shows every commit up to that revision and none after.
    ///
    /// `visit` runs after the moment has been found, once an entry; it may call the backend.
    ///
    /// # Errors
    /// As [`read`](Backend::read); nothing has been visited then.
    #[allow(clippy::type_complexity, reason = "a name for it would say less")]
    fn range(&self, prefix: &str, visit: &mut dyn FnMut(Self::Key, &[u8], Meta)) -> Result<Revision>;

    /// Applies all operations at one moment if all their conditions hold at that moment, else nothing.
    ///
    /// A commit whose deletes all find nothing has changed nothing; its revision is then one at which its conditions held.
    ///
    /// # Errors
    /// Nothing has been applied after any of them: [`Error::TooManyOps`](crate::Error::TooManyOps),
    /// [`Error::NamedTwice`](crate::Error::NamedTwice), [`Error::NothingToWrite`](crate::Error::NothingToWrite),
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::UnknownLease`](crate::Error::UnknownLease),
    /// [`Error::LeaseExpired`](crate::Error::LeaseExpired), [`Error::Full`](crate::Error::Full). If several apply, the first
    /// in this order. A lease that is over is an error also where a condition is false.
    fn commit(&self, ops: &[Op<'_, Self::Key>]) -> Result<Outcome>;

    /// Waits until the entry has changed after `newer_than`: put, deleted, or gone with its lease. `false` once the
    /// deadline has passed; a past deadline is one look.
    ///
    /// `true` says "read again": for an absent entry a backend that keeps no history may also say so when a neighbour of
    /// its has changed. Level-triggered as a watch is: what was undone before anybody looked (an absent entry created and
    /// deleted again) may pass unnoticed. `newer_than` is what [`read`](Backend::read) returned, or the `modified` of what was
    /// read.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled), and as [`read`](Backend::read).
    fn wait(&self, key: &Self::Key, newer_than: Revision, deadline: &Deadline) -> Result<bool>;

    /// Watches every entry whose name begins with `prefix` for changes at or after `from`.
    ///
    /// From one past what `range` returned, nothing is missed or repeated. From 0, or from a revision whose history is
    /// gone, the first batch begins with [`Event::Resync`] and brings the whole view.
    ///
    /// # Errors
    /// [`Error::FutureRevision`](crate::Error::FutureRevision) if `from` is more than one past the newest.
    fn watch(&self, prefix: &str, from: Revision) -> Result<Self::Watch<'_>>;

    /// Grants a lease that ends by itself `time_to_live` after it was granted or last renewed.
    ///
    /// # Errors
    /// [`Error::TimeToLive`](crate::Error::TimeToLive) outside [`Limits::shortest_lease`] to [`Limits::longest_lease`].
    fn grant(&self, time_to_live: Duration) -> Result<Lease>;

    /// Lets the lease last its whole time again; answers until when the owner may count on it: computed from the moment
    /// *before* the renewal was made, less the backend's [`Limits::clock_drift`].
    ///
    /// # Errors
    /// [`Error::LeaseExpired`](crate::Error::LeaseExpired), which is final; [`Error::UnknownLease`](crate::Error::UnknownLease).
    fn renew(&self, lease: Lease) -> Result<Instant>;

    /// When the lease ends by itself unless it is renewed before, on the clock of [`now`](Backend::now), and no later than it
    /// does: to tell people how long a holder may be silent. It may be renewed, or revoked, right after that.
    ///
    /// # Errors
    /// As [`renew`](Backend::renew).
    fn expiry(&self, lease: Lease) -> Result<Instant>;

    /// Ends the lease; when this returns, every entry bound to it is gone.
    ///
    /// # Errors
    /// As [`renew`](Backend::renew).
    fn revoke(&self, lease: Lease) -> Result<()>;

    /// Now, on the clock that [`renew`](Backend::renew) answers in. Only a model's differs from the system's.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A watch of a prefix. Dropping it ends it.
pub trait Watch: Send {
    /// The backend's.
    type Key;

    /// Waits for the next batch and hands its events to `visit`: perhaps one [`Event::Resync`], then puts and deletes in
    /// the order of names, at most one a key, and one [`Event::Progress`], whose revision is also returned. `None`, without
    /// an event, once the deadline has passed.
    ///
    /// Batches come when something under the prefix has changed; the first comes at once if anything has since `from`. A
    /// deadline that has passed is one look.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) and the backend's. The watch can be asked again and goes on where it was.
    fn next(&mut self, deadline: &Deadline, visit: &mut dyn FnMut(Event<'_, Self::Key>)) -> Result<Option<Revision>>;
}

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a, K> {
    /// The entry was created or changed: this is its state now.
    Put {
        /// Which.
        key: &'a K,
        /// Its value.
        value: &'a [u8],
        /// Another `created` than before means that it was deleted and created in between.
        meta: Meta,
    },
    /// The entry is gone.
    Delete {
        /// Which.
        key: &'a K,
    },
    /// Forget the prefix: the puts up to the next progress are all of it.
    Resync,
    /// What has been reported so far is the store at this revision. The end of a batch.
    Progress(Revision),
}

/// What is known of an entry besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The revision of the commit that created this incarnation: its fencing token.
    pub created: Revision,
    /// The revision of the last commit that put it.
    pub modified: Revision,
    /// How often this incarnation has been put, the creation included.
    pub version: Version,
    /// The lease it lives by.
    pub lease: Option<Lease>,
}

/// One entry's part in a commit: what must hold of it, and what to do.
///
/// ```
/// use slotguard::backend::{Backend, Model, Op};
/// # fn main() -> slotguard::Result<()> {
/// let store = Model::new();
/// let (jobs, done) = (store.key("jobs/7")?, store.key("done/7")?);
/// store.commit(&[Op::put(&jobs, b"resize").if_absent()])?;
/// let mut value = Vec::new();
/// let (meta, _) = store.read(&jobs, &mut value)?;
/// let token = meta.unwrap().created;
/// // Move it, if it is still the one we read.
/// store.commit(&[Op::delete(&jobs).if_created_at(token), Op::put(&done, &value)])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Op<'a, K> {
    /// Which entry.
    pub key: &'a K,
    /// What must hold of it.
    pub when: When,
    /// What to do.
    pub act: Act<'a>,
}

/// What must hold of an entry for a commit to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    Always,
    /// There is no such entry.
    Absent,
    /// There is one.
    Exists,
    /// It was last put by the commit with this revision.
    ModifiedAt(Revision),
    /// This incarnation was created by the commit with this revision.
    CreatedAt(Revision),
}

/// What a commit does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Creates it or replaces value and lease.
    Put {
        /// The value.
        value: &'a [u8],
        /// The lease it is to live by, `None`: for ever.
        lease: Option<Lease>,
    },
    /// Deletes it; nothing if it is absent.
    Delete,
    /// Leaves it as it is.
    Check,
}

impl<'a, K> Op<'a, K> {
    /// Puts a value, without a lease.
    pub fn put(key: &'a K, value: &'a [u8]) -> Self {
        Self { key, when: When::Always, act: Act::Put { value, lease: None } }
    }

    /// Puts a value that lives by a lease.
    pub fn put_leased(key: &'a K, value: &'a [u8], lease: Lease) -> Self {
        Self { key, when: When::Always, act: Act::Put { value, lease: Some(lease) } }
    }

    /// Deletes.
    pub fn delete(key: &'a K) -> Self {
        Self { key, when: When::Always, act: Act::Delete }
    }

    /// Only checks.
    pub fn check(key: &'a K, when: When) -> Self {
        Self { key, when, act: Act::Check }
    }

    /// The same under a condition.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The same if there is no such entry.
    #[must_use]
    pub fn if_absent(self) -> Self {
        self.when(When::Absent)
    }

    /// The same if there is such an entry.
    #[must_use]
    pub fn if_exists(self) -> Self {
        self.when(When::Exists)
    }

    /// The same if it was last put at this revision.
    #[must_use]
    pub fn if_modified_at(self, revision: Revision) -> Self {
        self.when(When::ModifiedAt(revision))
    }

    /// The same if its incarnation was created at this revision.
    #[must_use]
    pub fn if_created_at(self, revision: Revision) -> Self {
        self.when(When::CreatedAt(revision))
    }
}

impl<K> Clone for Op<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Op<'_, K> {}

impl When {
    /// Whether it holds of an entry that is as `meta` says, or absent.
    pub fn holds(self, meta: Option<&Meta>) -> bool {
        match (self, meta) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Exists, Some(_)) => true,
            (Self::ModifiedAt(at), Some(meta)) => meta.modified == at,
            (Self::CreatedAt(at), Some(meta)) => meta.created == at,
            _ => false,
        }
    }
}

/// What a backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a name.
    pub name: usize,
    /// Most operations of a commit.
    pub ops: usize,
    /// Most bytes of a value, whatever the store was built with.
    pub value: usize,
    /// The shortest lease.
    pub shortest_lease: Duration,
    /// The longest lease.
    pub longest_lease: Duration,
    /// By how many parts in a thousand two of its clocks may differ in speed.
    pub clock_drift: u32,
}
