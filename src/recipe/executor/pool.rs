//! The threads: workers, asleep on one word while there is nothing to do, and one that looks at the clock.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{process, thread};

use super::Builder;
use super::operation::{Rollback, Task};
use super::table::{JobFailure, NextStep, Stopped, Table, Undo, Work};
use crate::clock::{Cancel, Deadline};
use crate::error::Error as StoreError;
use crate::recipe::failure::said;
use crate::recipe::{Error, Failure, Result};

thread_local! {
    /// Whose code of a program's runs on this thread: pools, by their address, and what it belongs to.
    static INSIDE: RefCell<Vec<(usize, String)>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Pool {
    table: Mutex<Table>,
    /// What idle workers sleep on: another number whenever there may be something to do. Relaxed, since what there is to
    /// do is read under the lock: a worker loads the number before it looks, and whoever stores something to do changes
    /// the number after it. So either the look sees it or the sleep does not begin.
    signal: AtomicU32,
    /// For the thread that looks at the clock.
    clock: Condvar,
    /// For who waits until nothing is left.
    quiet: Condvar,
    built: Builder,
    /// The process the threads are in.
    home: u32,
}

impl Pool {
    pub fn start(built: Builder) -> Result<Arc<Self>> {
        let (signal, table) = (AtomicU32::new(0), Mutex::new(Table::new(built.limit, built.remembered)));
        let (clock, quiet, home) = (Condvar::new(), Condvar::new(), process::id());
        let pool = Arc::new(Self { table, signal, clock, quiet, built, home });
        let watching = Arc::clone(&pool);
        let failed = |cause| StoreError::Io { action: "start the threads of an executor", path: None, cause };
        let started = thread::Builder::new().name("slotguard-clock".to_owned()).spawn(move || watching.watch_clock());
        let started = started.map(drop).and_then(|()| (0..built.workers).try_for_each(|_| pool.start_worker()));
        if let Err(cause) = started {
            pool.close();
            return Err(failed(cause).into());
        }
        Ok(pool)
    }

    pub fn lock(&self) -> MutexGuard<'_, Table> {
        // No caller's code runs under the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something under the lock, and then settles without it what that has deferred.
    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.lock();
        let answer = change(&mut table);
        let deferred = std::mem::take(&mut table.deferred);
        if deferred.is_empty() {
            return answer;
        }
        table.settling += 1;
        drop(table);
        for one in deferred {
            // A program's value that panics when it is dropped has reported that, and takes no thread with it.
            let _ = self.contained("the drop of what an operation left", || one.settle());
        }
        self.lock().settling -= 1;
        self.ring();
        answer
    }

    /// Whether this is the process with the threads, and not a child that was forked from it.
    pub fn is_here(&self) -> bool {
        self.home == process::id()
    }

    /// Runs what is the program's, which cannot wait for the pool's end.
    fn contained<R>(&self, what: impl Into<String>, run: impl FnOnce() -> R) -> thread::Result<R> {
        INSIDE.with_borrow_mut(|inside| inside.push((self.address(), what.into())));
        let how = catch_unwind(AssertUnwindSafe(run));
        INSIDE.with_borrow_mut(Vec::pop);
        how
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn check_outside(&self) -> Result<()> {
        let inside = INSIDE.with_borrow(|inside| inside.iter().find(|(pool, _)| *pool == self.address()).cloned());
        match inside {
            Some((_, what)) => Err(Error::ShutDownInside { what }),
            None => Ok(()),
        }
    }

    fn check_here(&self) -> Result<()> {
        if self.is_here() { Ok(()) } else { Err(Error::ForkedExecutor) }
    }

    fn start_worker(self: &Arc<Self>) -> std::io::Result<()> {
        self.lock().threads += 1;
        let pool = Arc::clone(self);
        let started = thread::Builder::new().name("slotguard-work".to_owned()).spawn(move || pool.work());
        if started.is_err() {
            self.lock().threads -= 1;
        }
        started.map(drop)
    }

    pub fn submit(&self, tasks: Vec<Task>) -> Result<()> {
        self.check_here()?;
        self.change(|table| table.submit(tasks))?;
        self.ring();
        Ok(())
    }

    pub fn cancel(self: &Arc<Self>, id: &str) -> Result<bool> {
        self.check_here()?;
        let cancelled = self.change(|table| table.cancel(id))?;
        let found = cancelled.is_some();
        self.stopped(cancelled.flatten());
        Ok(found)
    }

    pub fn cancel_all(self: &Arc<Self>) {
        let stopped = self.change(Table::cancel_all);
        self.stopped(stopped);
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.ring();
    }

    pub fn shut_down(self: &Arc<Self>, deadline: &Deadline) -> Result<bool> {
        self.check_here()?;
        self.check_outside()?;
        self.close();
        let _registration = deadline.cancel().map(|cancel| {
            let pool = Arc::clone(self);
            cancel.register(Box::new(move || pool.ring()))
        });
        let mut table = self.lock();
        while !table.is_quiet() {
            if deadline.cancel().is_some_and(Cancel::is_cancelled) {
                return Err(StoreError::Cancelled.into());
            }
            table = match deadline.remaining() {
                None => self.quiet.wait(table).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    drop(table);
                    self.cancel_all();
                    return Ok(false);
                }
                Some(left) => self.quiet.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        Ok(true)
    }

    /// Tells operations to stop, and has others do what their threads would do next.
    fn stopped(self: &Arc<Self>, stopped: impl IntoIterator<Item = Stopped>) {
        stopped.into_iter().for_each(Stopped::tell);
        while self.has_too_few() {
            if self.start_worker().is_err() {
                // Those who are there do the work.
                break;
            }
        }
        self.ring();
    }

    fn has_too_few(&self) -> bool {
        let table = self.lock();
        table.threads < table.wanted(self.built.workers, self.built.spare)
    }

    /// Has everybody look again. What they are to see has been stored before.
    fn ring(&self) {
        self.signal.fetch_add(1, Relaxed);
        atomic_wait::wake_all(&self.signal);
        // Not between somebody's last look and its sleep.
        drop(self.lock());
        self.clock.notify_all();
        self.quiet.notify_all();
    }

    /// A worker's life.
    fn work(self: Arc<Self>) {
        loop {
            let seen = self.signal.load(Relaxed);
            let mut table = self.lock();
            let is_one_too_many = table.threads > table.wanted(self.built.workers, self.built.spare);
            if is_one_too_many || (table.closed && table.is_quiet()) {
                table.threads -= 1;
                drop(table);
                // It may have been woken for something that others can do.
                return self.ring();
            }
            let work = table.next();
            let has_alarm = table.next_alarm().is_some();
            drop(table);
            match work {
                None => atomic_wait::wait(&self.signal, seen),
                Some(Work::Undo(undo)) => self.undo(undo),
                Some(Work::Run { id, serial, run, stop }) => {
                    if has_alarm {
                        self.clock.notify_all();
                    }
                    let how = match self.contained(format!("operation {id:?}"), || run(&stop)) {
                        Ok(Ok(value)) => Ok(value),
                        Ok(Err(failure)) => Err(JobFailure::Failed(failure)),
                        Err(panic) => Err(JobFailure::Panicked(said(&*panic))),
                    };
                    let next = self.change(|table| table.returned(&id, serial, how));
                    match next {
                        NextStep::Nothing => {}
                        NextStep::Undo(undo) => self.undo(undo),
                        NextStep::UndoThenTell(rollback, teller, failure) => {
                            let undone = self.roll_back(&id, rollback);
                            self.change(|table| table.failed(&id, teller, failure, Some(undone)));
                        }
                    }
                    self.ring();
                }
            }
        }
    }

    fn undo(&self, undo: Undo) {
        let how = self.roll_back(&undo.id, undo.rollback);
        self.lock().rolled_back(&undo.id, undo.serial, &how);
        self.ring();
    }

    /// Runs a rollback; a panic is a failure that says what the panic said.
    fn roll_back(&self, id: &str, rollback: Rollback) -> Result<(), Failure> {
        // Dropped in there as well: what it holds is the program's.
        let how = self.contained(format!("the rollback of {id:?}"), rollback);
        how.unwrap_or_else(|panic| Err(said(&*panic).into()))
    }

    /// The life of the thread that looks at the clock.
    fn watch_clock(self: Arc<Self>) {
        let mut table = self.lock();
        while !(table.closed && table.is_quiet()) {
            let now = Instant::now();
            table = match table.next_alarm() {
                Some(at) if at <= now => {
                    drop(table);
                    let stopped = self.change(|table| table.alarms(now));
                    self.stopped(stopped);
                    self.lock()
                }
                Some(at) => self.clock.wait_timeout(table, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.clock.wait(table).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
