//! What lies under a prefix, as a map in memory that follows the store and tells listeners what changed, in order.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op, View};
//! use slotguard::{Deadline, Outcome};
//! use std::sync::Arc;
//!
//! # fn main() -> slotguard::Result<()> {
//! let store = Arc::new(Model::new());
//! let view = View::spawn(&store, "nodes/")?;
//! let routing = view.listen(0, |batch| {
//!     for change in &batch.changes {
//!         println!("{}: {:?} -> {:?}", change.key.as_ref(), change.before, change.after);
//!     }
//! });
//!
//! let outcome = store.commit(&[Op::put(&store.key("nodes/a")?, b"10.0.0.1")])?;
//! let Outcome::Committed(revision) = outcome else { panic!("it has no condition") };
//! assert!(view.wait_fresh(revision, &Deadline::never())?); // Read your own write.
//! assert_eq!(&*view.get("nodes/a").unwrap().value, b"10.0.0.1");
//! routing.remove();
//! # Ok(())
//! # }
//! ```
//!
//! # How
//! ```text
//!             follower                            told by whom                  who waits for it
//!  watch ──▶  map, whole batches, one writer ──▶  get · snapshot                nobody
//!                    │
//!                    ├─ a backlog each ─────────▶ listeners, by priority        lower priorities of the same batch
//!                    └─ a backlog each ─────────▶ subscriptions, by any thread  nobody
//! ```
//! One `range` fills the map and a `watch` from one past it goes on from there; after that only what the watch reports
//! changes the map, never a program's own writes. So it moves forward only: what was deleted at revision 11 cannot come
//! back by a late write of revision 10. A batch is shown whole and under one revision. Where the watch has lost the
//! history, the difference between the old map and the new one is told, and flagged.
//!
//! # Who is told what, and in which order
//! * *Each listener and subscription* gets a chain of batches: the `before` of a name is the `after` it was told last
//!   (or what it was when it was registered), revisions grow, and nothing that differs is left out. This holds because
//!   registration and showing a batch exclude each other, every batch goes into every backlog in the order shown, and
//!   batches that meet in a backlog are merged by keeping the older `before` and the newer `after`. Being slow costs detail,
//!   never order and never the last state.
//! * *Listeners among each other*: of a batch that several have yet to be told, the one of higher priority has returned
//!   before the next is called; equal priorities go in the order of registration. That is a promise because one thread
//!   calls them all, and the price is that a slow one delays those after it, and everybody's next batch. It does not delay
//!   the map or a subscription if the view has its own threads ([`View::spawn`]): listeners have one of their own. Where
//!   the caller's thread follows ([`View::new`]), it runs the listeners before [`Follower::follow`] returns, after the map
//!   shows the batch.
//! * *Subscriptions* have no priority: an order between threads would be none, or a wait. What may take long, or may wait,
//!   belongs here.
//!
//! A listener added during a notification is told from the next batch on. A listener that panics is removed and counted
//! ([`Health`]); the others go on.
//!
//! # Memory
//! The map, and in each backlog at most two states of each name that differs. Nothing grows with time or with the number of
//! batches.

mod batch;
mod follower;
mod handles;
mod listeners;
mod snapshot;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use self::listeners::Core;
use super::Backend;
use super::process::OwnerProcess;
use crate::clock::{Deadline, Revision};
use crate::error::{Error, Result};

pub use self::batch::{Batch, Change, Entry};
pub use self::follower::Follower;
pub use self::handles::{Listening, Subscription};
pub use self::listeners::Health;
pub use self::snapshot::Snapshot;

/// The entries under a prefix, in memory.
///
/// Reading never touches the store and waits for nobody. A view may lag behind the store; [`fresh_at`](View::fresh_at)
/// says how far it has come, and [`wait_fresh`](View::wait_fresh) waits for more.
///
/// Dropping a view with its own threads ends them, and waits for a listener that runs at that moment. A forked
/// child has no use for a view: nothing follows there.
pub struct View<B: Backend> {
    core: Arc<Core<B::Key>>,
    threads: Vec<JoinHandle<()>>,
}

impl<B: Backend> View<B> {
    /// Reads what is under the prefix; the follower keeps the view up to date when it is called.
    ///
    /// ```
    /// use slotguard::backend::{Backend, Model, Op, View};
    /// use slotguard::Deadline;
    ///
    /// # fn main() -> slotguard::Result<()> {
    /// let store = Model::new();
    /// let (view, mut follower) = View::new(&store, "nodes/")?;
    /// store.commit(&[Op::put(&store.key("nodes/a")?, b"up")])?;
    /// assert!(view.is_empty());
    /// follower.follow(&Deadline::never())?;
    /// assert_eq!(view.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Backend::range`] and [`Backend::watch`].
    pub fn new<'s>(store: &'s B, prefix: &str) -> Result<(Self, Follower<'s, B>)> {
        let core = Core::read(store, prefix)?;
        let follower = Follower::start(&core, store)?;
        Ok((Self { core, threads: Vec::new() }, follower))
    }

    /// Reads what is under the prefix and keeps it up to date with threads of its own: one follows, one runs the listeners.
    ///
    /// Errors after the first `range` end nothing: they are kept ([`health`](View::health)) and the thread tries again.
    ///
    /// # Errors
    /// Those of [`Backend::range`]; [`Error::Io`] if there can be no thread.
    pub fn spawn(store: &Arc<B>, prefix: &str) -> Result<Self>
    where
        B: 'static,
    {
        let core = Core::read(&**store, prefix)?;
        let mut view = Self { core: Arc::clone(&core), threads: Vec::new() };
        let (store, followed) = (Arc::clone(store), Arc::clone(&core));
        view.start("slotguard-view", move || follower::keep_following(&followed, &*store))?;
        view.start("slotguard-notify", move || follower::keep_notifying::<B>(&core))?;
        Ok(view)
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let failed = |cause| Error::Io { action: "start the threads of a view", path: None, cause };
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)?);
        Ok(())
    }

    /// What every name in it begins with.
    pub fn prefix(&self) -> &str {
        &self.core.prefix
    }

    /// The entry of this name (the whole name, prefix included).
    pub fn get(&self, name: &str) -> Option<Entry> {
        self.core.get(name)
    }

    /// All of it as of one moment.
    pub fn snapshot(&self) -> Snapshot<B::Key> {
        self.core.snapshot()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The view equals the store at this revision.
    pub fn fresh_at(&self) -> Revision {
        self.core.fresh_at()
    }

    /// Waits until the view equals the store at this revision or a later one; `false` once the deadline has passed.
    ///
    /// Any revision will do that a call to the store has returned, also one of a commit outside the prefix. Somebody must
    /// follow meanwhile: not a thread that is waiting here, nor a listener that the same thread runs.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] if the store has not come that far; [`Error::Cancelled`] if the deadline's switch was
    /// thrown or nobody follows any more.
    pub fn wait_fresh(&self, revision: Revision, deadline: &Deadline) -> Result<bool> {
        self.core.wait_fresh(revision, deadline)
    }

    /// Has `listener` called for every batch after [`Listening::since`], until the handle is dropped: those of higher
    /// priority first. For work that is short; see [the order](self#who-is-told-what-and-in-which-order).
    ///
    /// For the state to begin with, take a [`snapshot`](View::snapshot) after this: what batches up to its revision say is
    /// in it already, and the first one after it may repeat some of it.
    pub fn listen(&self, priority: i32, listener: impl FnMut(&Batch<B::Key>) + Send + 'static) -> Listening<B::Key> {
        let (place, since) = self.core.add_listener(priority, Box::new(listener));
        Listening { listeners: Arc::downgrade(&self.core.listeners), place, since, owner: OwnerProcess::current() }
    }

    /// A place of one's own where every batch after [`Subscription::since`] is left. For work that takes its time.
    pub fn subscribe(&self) -> Subscription<B::Key> {
        let (number, since) = self.core.add_subscriber();
        Subscription { listeners: Arc::clone(&self.core.listeners), number, since, owner: OwnerProcess::current() }
    }

    /// How many listeners there are, subscriptions not counted.
    pub fn listeners(&self) -> usize {
        self.core.listeners()
    }

    /// Errors met and listeners lost.
    pub fn health(&self) -> Health {
        self.core.health()
    }
}

impl<B: Backend> Drop for View<B> {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        if !self.core.owner.is_current() {
            // The threads are the parent's; nobody would ever answer a join.
            return std::mem::forget(threads);
        }
        if threads.is_empty() {
            return;
        }
        self.core.end();
        for each in threads {
            // A listener may own the view.
            if each.thread().id() != thread::current().id() {
                let _ = each.join();
            }
        }
    }
}

impl<B: Backend> fmt::Debug for View<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("prefix", &self.core.prefix)
            .field("fresh_at", &self.fresh_at())
            .field("entries", &self.len())
            .field("listeners", &self.listeners())
            .finish_non_exhaustive()
    }
}
