//! Lets a number of processes wait for each other: the last one to come lets all of them go on, generation by generation.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Barrier};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let worker = || -> slotguard::recipe::Result<bool> {
//!     let session = recipe::join(&store, Duration::from_secs(10))?;
//!     let phase = Barrier::new(&session, "phase", 2)?;
//!     Ok(phase.wait(&Deadline::never())?.last)
//! };
//! std::thread::scope(|scope| {
//!     let other = scope.spawn(worker);
//!     assert_ne!(worker().unwrap(), other.join().unwrap().unwrap(), "one of them was the last");
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/b/…` | a ticket: the generation it came for, its process; at most 38 bytes and the digits | from coming to going on, at most by the session's lease |
//! | `NAME/b-arrivals` | `GENERATION PARTIES`: the generation that tickets are drawn for now; at most 31 bytes | until [`remove`](Barrier::remove) |
//! | `NAME/b-passed` | the last generation that went on, 0 before the first; at most 20 bytes | until [`remove`](Barrier::remove) |
//!
//! # How
//! A process that comes reads `arrivals`, counts the tickets of its generation, and commits a ticket provided that
//! `arrivals` is unchanged, writing it again in the same commit. So arrivals are ordered, and each has counted all before
//! it. The one that completes the number begins the next generation and writes `passed` in that commit; the others wait
//! for `passed`. Exactly the number goes on in every generation: that commit also checks that each ticket it counts is
//! still there. A process that gives up deletes its ticket provided that its generation has not passed, so none goes on
//! counting one that has been told of a failure.
//!
//! The first to come creates `arrivals` and `passed` in one commit, whose revision tells this barrier from others of
//! its name, before and after: a ticket of an earlier one is older, and a waiter at one that was removed finds another
//! `passed`.
//!
//! # More than a commit can check
//! The commit that completes the number has four operations of its own, so it can check four tickets fewer than
//! [`Limits::ops`](crate::backend::Limits::ops): barriers for up to three fewer than that keep the promise above. Of more
//! parties, the last to come only reads some of the tickets before its commit. A peer whose lease ends between that read
//! and the commit (or that gives up just then in a store that is too full to write `arrivals` again) is counted as if it
//! had come and then died.
//!
//! # When a process dies
//! Dead while it waits, it is not counted any more: its ticket goes with the session's lease, and another process can
//! come in its place. The one that completes the number has the store look for the dead before it commits. After that
//! commit all go on, the dead ones excepted. A process that was stopped past its lease and wakes when its generation has
//! passed, perhaps with another in its place, is told that its session is over.

use std::fmt;
use std::sync::Arc;

use super::gathering::Gathering;
use crate::backend::{Backend, Session};
use crate::clock::Deadline;

pub use super::gathering::{Error, Result};

/// A barrier of one name, shared by all processes that use the store.
pub struct Barrier<B: Backend>(Gathering<B>);

/// The generation in which a barrier was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The number of times the barrier has been passed, this time included.
    pub generation: u64,
    /// Whether this process was the last to come: true for one of all, which can do what only one is to do.
    pub last: bool,
}

impl<B: Backend> Barrier<B> {
    /// Opens the barrier of this name, for this many parties.
    ///
    /// # Errors
    /// [`Error::BadCount`] for no parties. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty,
    /// contains a NUL, or is longer than the store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, parties: u32) -> Result<Self> {
        Gathering::new(session, "barrier", name, "b", parties).map(Self)
    }

    /// Waits until all parties are there, this process included.
    ///
    /// # Errors
    /// [`Error::NotAllThere`] once the deadline has passed; [`Error::Removed`] if it was removed meanwhile;
    /// [`Error::OtherCount`] if the barrier is used for another number; [`Error::Damaged`]; the store's.
    ///
    /// This process is not counted after any of them, with two exceptions: after
    /// [`LeaseExpired`](crate::Error::LeaseExpired) or `Removed` it may have been counted before; and a ticket that the
    /// store refuses to delete counts until the session's next renewal, which deletes it, at most until its lease ends.
    pub fn wait(&self, deadline: &Deadline) -> Result<Passed> {
        let met = self.0.meet(deadline)?;
        Ok(Passed { generation: met.round.generation, last: met.last })
    }

    /// Removes the barrier for all: its name is free for a new one, for any number of parties, that begins with generation
    /// 1 when the first one comes.
    ///
    /// Waiters get [`Error::Removed`] and are not counted by the new one. So may a process that has not yet returned from
    /// a generation that has just passed.
    ///
    /// # Errors
    /// Those of [`Backend::commit`].
    pub fn remove(self) -> crate::Result<()> {
        self.0.remove()
    }
}

impl<B: Backend> fmt::Debug for Barrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
