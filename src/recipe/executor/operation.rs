//! What is to be done, and how it is taken apart for the pool.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::Handle;
use super::handle::{Teller, pair};
use crate::clock::Cancel;
use crate::recipe::{Failure, Result};

/// How urgent an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    Critical,
    /// Before medium.
    High,
    /// Unless said otherwise.
    #[default]
    Medium,
    /// When there is nothing else.
    Low,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];
}

/// What an operation returned, whatever its type.
pub(super) type Value = Box<dyn Any + Send>;
pub(super) type Run = Box<dyn FnOnce(&Cancel) -> Result<Value, Failure> + Send>;
pub(super) type Rollback = Box<dyn FnMut() -> Result<(), Failure> + Send>;

/// Something to be done once.
pub struct Operation<T> {
    id: String,
    run: Run,
    priority: Priority,
    after: Vec<String>,
    timeout: Option<Duration>,
    grace: Duration,
    rollback: Option<Rollback>,
    returns: PhantomData<fn() -> T>,
}

/// An operation without its type.
pub(super) struct Task {
    pub id: String,
    pub run: Run,
    pub priority: Priority,
    pub after: Vec<String>,
    pub timeout: Option<Duration>,
    pub grace: Duration,
    pub rollback: Option<Rollback>,
    pub teller: Teller,
}

impl<T: Send + 'static> Operation<T> {
    /// An operation of this id: 1 to 64 bytes, without spaces, commas, slashes and control characters. It is given a
    /// switch that is thrown when it should stop, at its timeout or by [`Executor::cancel`](super::Executor::cancel).
    pub fn new(id: impl Into<String>, run: impl FnOnce(&Cancel) -> Result<T, Failure> + Send + 'static) -> Self {
        let run: Run = Box::new(|stop| run(stop).map(|value| Box::new(value) as Value));
        let (priority, grace) = (Priority::default(), Duration::ZERO);
        let id = id.into();
        Self { id, run, priority, after: Vec::new(), timeout: None, grace, rollback: None, returns: PhantomData }
    }

    /// How urgent it is; medium unless said.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Runs only after that one is done. May be said several times.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        let id = id.into();
        if !self.after.contains(&id) {
            self.after.push(id);
        }
        self
    }

    /// How long it may run; for ever unless said.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// How long an operation that timed out or was cancelled is given to return before its rollback runs beside it; none
    /// unless said. With [`Duration::MAX`] the rollback never runs beside it, and not at all if it never returns.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// What undoes it if it fails, panics, times out or is cancelled while it runs. Run at most once.
    #[must_use]
    pub fn rollback(self, rollback: impl FnMut() -> Result<(), Failure> + Send + 'static) -> Self {
        Self { rollback: Some(Box::new(rollback)), ..self }
    }

    pub(super) fn split(self) -> (Task, Handle<T>) {
        let Self { id, run, priority, after, timeout, grace, rollback, .. } = self;
        let (teller, handle) = pair(&id);
        (Task { id, run, priority, after, timeout, grace, rollback, teller }, handle)
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("id", &self.id)
            .field("priority", &self.priority)
            .field("after", &self.after)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
