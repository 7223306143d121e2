//! Work that is done in order of urgency, after what it depends on, and undone when it fails: by threads of this process,
//! or, as [`jobs`], by any number of processes.
//!
//! ```
//! use slotguard::recipe::Error;
//! use slotguard::recipe::executor::{Executor, Operation, Priority};
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let executor = Executor::builder().workers(2).build()?;
//! let fetch = executor.submit(Operation::new("fetch", |_stop| Ok(20)))?;
//! let merge = executor.submit(
//!     Operation::new("merge", |_stop| Err::<(), _>("disk full".into()))
//!         .after("fetch")
//!         .priority(Priority::High)
//!         .timeout(Duration::from_secs(10))
//!         .rollback(|| Ok(())),
//! )?;
//! assert_eq!(fetch.join()?, 20);
//! assert!(matches!(merge.join(), Err(Error::OperationFailed { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to an operation
//! ```text
//!  submit ─▶ waits for others ─▶ ready, by priority ─▶ runs ─┬─ returned ─────────────────▶ done
//!     │             │                    │                   ├─ failed, panicked ─ rollback ▶ failed
//!   refused      one failed           cancelled              └─ timed out, cancelled ───────▶ ended
//!                                                                  └ told to stop; rollback; late result dropped
//! ```
//! * **Order.** Critical before high before medium before low; inside a priority first come, first served. An operation is
//!   not ready before everything it depends on is done, whatever the priorities. If one of these fails, it fails with
//!   [`Error::DependencyFailed`] without having run, and so do those that depend on it; nobody else notices.
//! * **Dependencies** are known when an operation is submitted, so there can be no circle but inside one [`Batch`], where
//!   it is refused with the way round named. A batch is taken whole or not at all.
//! * **Timeout.** It counts from the moment the operation runs. At that moment whoever waits is told
//!   [`Error::OperationTimedOut`], dependants fail, and the operation is told to stop through the
//!   [`Cancel`](crate::Cancel) it was given. No thread can be ended by force: one that ignores this goes on, next to
//!   what runs after it, and a thread is started in its place so that nobody waits for it ([`Builder::spare`] of them
//!   at most; with all of these stuck as well, the queue waits until one returns). Its result is dropped.
//! * **Rollback.** Once, by the pool: after a failure or a panic before the waiter is told, so that both are told
//!   together; after a timeout or cancellation at once, or if [`Operation::grace`] was given, when the operation has
//!   returned, at the latest after that time. Without it a rollback may run beside an operation that has not stopped yet.
//! * **Panics** of operations and rollbacks are failures that say what the panic said.
//!
//! # Waiting
//! Idle workers sleep on one word (a futex, by the crate `atomic-wait`), which every submission and every end changes
//! after it has stored what there is to do: a worker that looked before finds the word changed and looks again. An
//! operation may submit others. One that waits for another keeps its worker meanwhile; with as many such as workers
//! nothing moves.
//!
//! # When the process dies
//! Everything here is gone with it. What must survive belongs into [`jobs`].
//!
//! # In a forked child
//! The threads are the parent's. [`submit`](Executor::submit), [`cancel`](Executor::cancel) and
//! [`shut_down`](Executor::shut_down) answer [`Error::ForkedExecutor`], as does waiting for what had not ended;
//! dropping an executor does nothing. Ask it for nothing else, since its lock may be held for ever.

mod admit;
mod handle;
pub mod jobs;
mod operation;
mod pool;
mod stage;
mod table;

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use self::operation::Task;
use self::pool::Pool;
use crate::clock::Deadline;
use crate::recipe::{Error, Result};

pub use self::handle::Handle;
pub use self::operation::{Operation, Priority};
pub use self::stage::{Stage, Status, Undone};

/// Most bytes of an id.
pub const LONGEST_ID: usize = 64;

/// Threads that run operations.
///
/// Dropping it cancels what waits and tells what runs to stop, without waiting for it.
pub struct Executor {
    pool: Arc<Pool>,
}

/// How an [`Executor`] is to be.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    workers: usize,
    spare: usize,
    limit: usize,
    remembered: usize,
}

/// Operations that are submitted together, and may depend on one another in any order.
pub struct Batch<'a> {
    executor: &'a Executor,
    tasks: Vec<Task>,
}

impl Executor {
    /// As many workers as the machine runs threads at once, as many spare ones, 1,024 places, 1,024 ends remembered.
    pub fn builder() -> Builder {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        Builder { workers, spare: workers, limit: 1_024, remembered: 1_024 }
    }

    /// Has an operation run.
    ///
    /// # Errors
    /// Nothing has been submitted after any of them: [`Error::BadId`], [`Error::IdTwice`], [`Error::UnknownDependency`],
    /// [`Error::DependencyCycle`] (of an operation with itself), [`Error::QueueFull`], [`Error::ShutDown`],
    /// [`Error::ForkedExecutor`].
    pub fn submit<T: Send + 'static>(&self, operation: Operation<T>) -> Result<Handle<T>> {
        let (task, handle) = operation.split();
        self.pool.submit(vec![task])?;
        Ok(handle)
    }

    /// Begins a batch.
    ///
    /// ```
    /// use slotguard::recipe::Error;
    /// use slotguard::recipe::executor::{Executor, Operation};
    ///
    /// # fn main() -> slotguard::recipe::Result<()> {
    /// let executor = Executor::builder().build()?;
    /// let mut batch = executor.batch();
    /// batch.add(Operation::new("a", |_| Ok(())).after("b"));
    /// batch.add(Operation::new("b", |_| Ok(())).after("a"));
    /// let error = batch.submit().unwrap_err();
    /// assert!(error.to_string().contains("a -> b -> a"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch(&self) -> Batch<'_> {
        Batch { executor: self, tasks: Vec::new() }
    }

    /// Cancels an operation: one that waits will not run, one that runs is told to stop and rolled back as after a
    /// timeout. `false` if it has ended before.
    ///
    /// # Errors
    /// [`Error::UnknownId`], [`Error::ForkedExecutor`].
    pub fn cancel(&self, id: &str) -> Result<bool> {
        self.pool.cancel(id)
    }

    /// What has become of an operation; `None` if it was never submitted or has been forgotten.
    pub fn stage(&self, id: &str) -> Option<Stage> {
        self.pool.lock().stage(id)
    }

    /// What has become of the rollback of an operation; `None` if none was due.
    pub fn undone(&self, id: &str) -> Option<Undone> {
        self.pool.lock().undone(id)
    }

    /// How many are where.
    pub fn status(&self) -> Status {
        self.pool.lock().status()
    }

    /// Takes nothing more, and waits until all that was submitted has ended and been rolled back. At the deadline it
    /// cancels the rest and answers `false`; operations that do not stop may still run then.
    ///
    /// An operation or rollback that waits for another thread's call of this waits for itself.
    ///
    /// # Errors
    /// [`Error::ShutDownInside`], whatever the deadline, from inside one of its operations or rollbacks, or from the
    /// drop of what these leave; dropping the executor is allowed there. Nothing is shut down then.
    /// [`Cancelled`](crate::Error::Cancelled) if the deadline's switch was thrown; nothing is cancelled then.
    /// [`Error::ForkedExecutor`].
    pub fn shut_down(&self, deadline: &Deadline) -> Result<bool> {
        self.pool.shut_down(deadline)
    }
}

impl Builder {
    /// How many operations run at once, at least 1.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers: workers.max(1), ..self }
    }

    /// How many threads may be started in place of such as are stuck in operations that timed out or were cancelled.
    #[must_use]
    pub fn spare(self, spare: usize) -> Self {
        Self { spare, ..self }
    }

    /// How many operations may wait.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// How many ends are remembered: so long an id cannot be used again, and can be depended on.
    #[must_use]
    pub fn remembered(self, remembered: usize) -> Self {
        Self { remembered, ..self }
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// [`Io`](crate::Error::Io) if there can be none.
    pub fn build(self) -> Result<Executor> {
        Ok(Executor { pool: Pool::start(self)? })
    }
}

impl Batch<'_> {
    /// Adds an operation. If the batch is never submitted, its handle answers [`Error::OperationCancelled`].
    pub fn add<T: Send + 'static>(&mut self, operation: Operation<T>) -> Handle<T> {
        let (task, handle) = operation.split();
        self.tasks.push(task);
        handle
    }

    /// Submits all of it, or nothing.
    ///
    /// # Errors
    /// As [`Executor::submit`].
    pub fn submit(self) -> Result<()> {
        self.executor.pool.submit(self.tasks)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if self.pool.is_here() {
            self.pool.close();
            self.pool.cancel_all();
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("operations", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Refuses what could not be told apart in a list, or be part of a name.
fn check_id(id: &str) -> Result<()> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ',' | '/');
    if (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(plain) {
        return Ok(());
    }
    Err(Error::BadId { id: id.chars().take(64).collect(), limit: LONGEST_ID })
}
