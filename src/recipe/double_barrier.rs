//! Lets a number of processes begin a piece of work together and end it together.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, DoubleBarrier};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let worker = || -> slotguard::recipe::double_barrier::Result<()> {
//!     let session = recipe::join(&store, Duration::from_secs(10))?;
//!     let step = DoubleBarrier::new(&session, "step", 2)?;
//!     let inside = step.enter(&Deadline::never())?; // Both have come.
//!     inside.leave(&Deadline::never()) // Both are done.
//! };
//! std::thread::scope(|scope| {
//!     let other = scope.spawn(worker);
//!     worker().unwrap();
//!     other.join().unwrap().unwrap();
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Layout and how
//! Those of a [`barrier`] with `d` in place of `b`, with its limit on parties. A process keeps its ticket
//! while it is inside; to leave is to delete it and to wait until no ticket of that generation is left. Others may enter
//! for the next generation meanwhile.
//!
//! # When a process dies
//! Dead while it waits to enter, it is not counted any more; dead inside, it has left. A process that was stopped past its
//! lease gets an error, of entering or of leaving.

use std::fmt;
use std::sync::Arc;

use super::barrier;
use super::gathering::{Gathering, Met};
use super::queue::{Lost, Ticket, from_queue};
use crate::backend::{Backend, Session};
use crate::clock::{Deadline, Token};
use crate::error::{Kind, next_moves};

/// The result of a double barrier's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong at a double barrier. [`DoubleBarrier::enter`] and [`Inside::leave`] say whether this process is counted
/// then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// Entering failed, as at a barrier.
    #[error(transparent)]
    Barrier(#[from] barrier::Error),
    /// The others believe that this process left before: its session ended, or its ticket was taken away.
    #[error(transparent)]
    Lost(Lost),
    /// Not all left before the deadline. This process has.
    #[error("double barrier {name:?}: {inside} are inside, among them {of}; wait for them, or look what keeps them")]
    NotAllGone {
        /// Its name.
        name: String,
        /// How many are inside.
        inside: u64,
        /// The ticket of one of them.
        of: Box<Ticket>,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Barrier(error) => error.kind(),
            Self::Lost(_) => Kind::Lost,
            Self::NotAllGone { .. } => Kind::TimedOut,
        }
    }
}

next_moves!(Error);
from_queue!(Error);

/// A double barrier of one name, shared by all processes that use the store.
pub struct DoubleBarrier<B: Backend>(Gathering<B>);

/// The stay between entering and leaving. Dropped, it leaves without waiting for the others.
pub struct Inside<'a, B: Backend> {
    gathering: &'a Gathering<B>,
    met: Met<B>,
}

impl<B: Backend> DoubleBarrier<B> {
    /// Opens the double barrier of this name, for this many parties.
    ///
    /// # Errors
    /// Those of [`Barrier::new`](super::Barrier::new).
    pub fn new(session: &Arc<Session<B>>, name: &str, parties: u32) -> Result<Self> {
        Ok(Self(Gathering::new(session, "double barrier", name, "d", parties)?))
    }

    /// Waits until all parties are there, this process included.
    ///
    /// # Errors
    /// Those of [`Barrier::wait`](super::Barrier::wait).
    pub fn enter(&self, deadline: &Deadline) -> Result<Inside<'_, B>> {
        Ok(Inside { gathering: &self.0, met: self.0.meet(deadline)? })
    }

    /// Removes the double barrier for all: its name is free for a new one, for any number of parties, that begins with
    /// generation 1 when the first one comes.
    ///
    /// Processes that wait to enter get [`barrier::Error::Removed`]. Those inside stay inside, and leave together.
    ///
    /// # Errors
    /// Those of [`Backend::commit`].
    pub fn remove(self) -> crate::Result<()> {
        self.0.remove()
    }
}

impl<B: Backend> Inside<'_, B> {
    /// The number of times all have entered together, this time included.
    pub fn generation(&self) -> u64 {
        self.met.round.generation
    }

    /// The token of this process's ticket.
    pub fn token(&self) -> Token {
        self.met.held.token()
    }

    /// Leaves, and waits until all have left.
    ///
    /// # Errors
    /// [`Error::NotAllGone`] once the deadline has passed, naming one that is inside; [`Error::Lost`] if the others
    /// believe that we left before, because the session ended. We have left after any of them; should the store refuse to
    /// delete our ticket, with the session's next renewal, at most when its lease ends.
    pub fn leave(mut self, deadline: &Deadline) -> Result<()> {
        self.met.held.give_back(&[], &[])?;
        let mut looked_last = false;
        loop {
            let inside = self.gathering.there(self.met.round)?;
            let Some(one) = inside.first() else { return Ok(()) };
            if looked_last {
                let (name, of) = (self.gathering.queue.name().to_owned(), Box::new(one.ticket.clone()));
                return Err(Error::NotAllGone { name, inside: inside.len() as u64, of });
            }
            looked_last = !self.gathering.queue.wait_for(one, deadline)?;
        }
    }
}

impl<B: Backend> fmt::Debug for DoubleBarrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<B: Backend> fmt::Debug for Inside<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.gathering;
        f.debug_struct("Inside").field("of", of).field("generation", &self.generation()).finish_non_exhaustive()
    }
}
