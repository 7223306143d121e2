//! Where every operation is. One lock guards it; nothing of a program's runs under that, nor is any dropped there: what is
//! to be told or dropped is [`deferred`](Table::deferred) until the lock is released.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::handle::Teller;
use super::operation::{Rollback, Run, Task, Value};
use super::{Priority, Stage, Status, Undone};
use crate::clock::Cancel;
use crate::recipe::{Error, Failure, Result};

pub(super) struct Record {
    serial: u64,
    state: State,
    undone: Option<Undone>,
    /// Those that wait for it.
    dependants: Vec<String>,
}

enum State {
    Waiting { task: Task, missing: usize },
    Running(Running),
    Undoing,
    Ended(Stage),
}

struct Running {
    stop: Cancel,
    teller: Teller,
    rollback: Option<Rollback>,
    timeout: Option<Duration>,
    grace: Duration,
    /// When it times out.
    alarm: Option<Instant>,
}

/// An operation that was told to stop and runs still.
struct Stuck {
    /// Its rollback, until that is due.
    undo: Option<Undo>,
    /// When that is due at the latest.
    alarm: Option<Instant>,
}

/// What belongs to a program: to be told or dropped without the lock, which the program's code may need.
pub(super) enum Deferred {
    Told(Teller, Result<Value>),
    Unused(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Any + Send>),
}

impl Deferred {
    pub fn settle(self) {
        if let Self::Told(teller, how) = self {
            teller.tell(how);
        }
    }
}

/// A rollback that is due.
pub(super) struct Undo {
    pub id: String,
    pub serial: u64,
    pub rollback: Rollback,
}

/// What a worker is to do.
pub(super) enum Work {
    Run { id: String, serial: u64, run: Run, stop: Cancel },
    Undo(Undo),
}

/// Why an operation did not return a value.
pub(super) enum JobFailure {
    Failed(Failure),
    Panicked(String),
}

/// An operation that was ended while it runs. It is told to stop before anybody is told of its end, both without the lock:
/// what listens to the switch may need that.
#[must_use]
pub(super) struct Stopped {
    switch: Cancel,
    teller: Teller,
    why: Error,
}

impl Stopped {
    pub fn tell(self) {
        self.switch.cancel();
        self.teller.tell(Err(self.why));
    }
}

/// The next step after an operation returns.
pub(super) enum NextStep {
    Nothing,
    /// It was stopped before and has not been rolled back yet.
    Undo(Undo),
    /// Run this, then say [`Table::failed`].
    UndoThenTell(Rollback, Teller, JobFailure),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Timeout,
    Grace,
}

/// When, for which operation, and its id.
type Alarms = BTreeMap<(Instant, u64, Alarm), String>;

#[derive(Default)]
pub(super) struct Table {
    pub operations: HashMap<String, Record>,
    /// By priority; first come, first served.
    ready: BTreeMap<(Priority, u64), String>,
    due: VecDeque<Undo>,
    stuck: HashMap<u64, Stuck>,
    /// Of what runs or is stuck, no others.
    alarms: Alarms,
    pub deferred: Vec<Deferred>,
    /// How many are doing what was deferred.
    pub settling: usize,
    /// Oldest first.
    ended: VecDeque<(String, u64)>,
    serial: u64,
    pub status: Status,
    pub threads: usize,
    pub closed: bool,
    pub limit: usize,
    remembered: usize,
}

impl Table {
    pub fn new(limit: usize, remembered: usize) -> Self {
        Self { limit, remembered, ..Self::default() }
    }

    /// Takes all of these or none.
    pub fn submit(&mut self, tasks: Vec<Task>) -> Result<()> {
        if let Err(refused) = self.check(&tasks) {
            self.deferred.push(Deferred::Unused(Box::new(tasks)));
            return Err(refused);
        }
        let ids: Vec<String> = tasks.iter().map(|task| task.id.clone()).collect();
        for task in tasks {
            self.serial += 1;
            self.status.waiting += 1;
            let (id, state) = (task.id.clone(), State::Waiting { task, missing: 0 });
            self.operations.insert(id, Record { serial: self.serial, state, undone: None, dependants: Vec::new() });
        }
        for id in ids {
            self.link(&id);
        }
        // Some may have ended already, as what they depend on has failed.
        self.forget();
        Ok(())
    }

    /// Has it wait for what it depends on; ready, if there is nothing to wait for.
    fn link(&mut self, id: &str) {
        // A failure of another of the batch may have ended it already.
        let Some(Record { state: State::Waiting { task, .. }, .. }) = self.operations.get(id) else { return };
        let mut count = 0;
        for dependency in task.after.clone() {
            let Some(record) = self.operations.get_mut(&dependency) else { continue };
            match record.state {
                State::Ended(Stage::Done) => {}
                State::Ended(_) => return self.skip(vec![(id.to_owned(), dependency)]),
                _ => {
                    record.dependants.push(id.to_owned());
                    count += 1;
                }
            }
        }
        if let Some(Record { state: State::Waiting { missing, .. }, .. }) = self.operations.get_mut(id) {
            *missing = count;
        }
        if count == 0 {
            self.make_ready(id);
        }
    }

    fn make_ready(&mut self, id: &str) {
        if let Some(Record { state: State::Waiting { task, .. }, serial, .. }) = self.operations.get(id) {
            self.ready.insert(place(task, *serial), id.to_owned());
        }
    }

    /// The next thing to do.
    pub fn next(&mut self) -> Option<Work> {
        if let Some(undo) = self.due.pop_front() {
            return Some(Work::Undo(undo));
        }
        loop {
            let (_, id) = self.ready.pop_first()?;
            let Some(record) = self.operations.get_mut(&id) else { continue };
            // Replaced in a moment.
            let State::Waiting { task, .. } = std::mem::replace(&mut record.state, State::Undoing) else { continue };
            let Task { run, timeout, grace, rollback, teller, .. } = task;
            let (stop, serial) = (Cancel::new(), record.serial);
            let alarm = from_now(timeout);
            record.state = State::Running(Running { stop: stop.clone(), teller, rollback, timeout, grace, alarm });
            self.status.waiting -= 1;
            self.status.running += 1;
            self.alarms.extend(alarm.map(|at| ((at, serial, Alarm::Timeout), id.clone())));
            return Some(Work::Run { id, serial, run, stop });
        }
    }

    /// When there will be something to do for [`alarms`](Table::alarms).
    pub fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first_key_value().map(|((at, ..), _)| *at)
    }

    /// Does what its time has come for; answers what was stopped.
    pub fn alarms(&mut self, now: Instant) -> Vec<Stopped> {
        let mut stopped = Vec::new();
        while self.next_alarm().is_some_and(|at| at <= now) {
            let Some(((_, serial, alarm), id)) = self.alarms.pop_first() else { break };
            match alarm {
                Alarm::Grace => self.due.extend(self.stuck.get_mut(&serial).and_then(|stuck| stuck.undo.take())),
                Alarm::Timeout => stopped.extend(self.stop(&id, Stage::TimedOut)),
            }
        }
        stopped
    }

    /// Ends what runs, before it has returned.
    fn stop(&mut self, id: &str, stage: Stage) -> Option<Stopped> {
        let record = self.operations.get_mut(id).filter(|record| matches!(record.state, State::Running(_)))?;
        let serial = record.serial;
        let State::Running(running) = std::mem::replace(&mut record.state, State::Undoing) else { return None };
        let Running { stop, teller, rollback, timeout, grace, alarm } = running;
        unset(&mut self.alarms, alarm, serial, Alarm::Timeout);
        let undo = rollback.map(|rollback| Undo { id: id.to_owned(), serial, rollback });
        if undo.is_some() {
            record.undone = Some(Undone::Due);
            self.status.undoing += 1;
        }
        let stuck = if grace.is_zero() {
            self.due.extend(undo);
            Stuck { undo: None, alarm: None }
        } else {
            let alarm = from_now(undo.as_ref().map(|_| grace));
            self.alarms.extend(alarm.map(|at| ((at, serial, Alarm::Grace), id.to_owned())));
            Stuck { undo, alarm }
        };
        self.stuck.insert(serial, stuck);
        self.status.running -= 1;
        self.end(id, stage);
        let (id, after) = (id.to_owned(), timeout.unwrap_or_default());
        let why = match stage {
            Stage::TimedOut => Error::OperationTimedOut { id, after },
            _ => Error::OperationCancelled { id },
        };
        Some(Stopped { switch: stop, teller, why })
    }

    /// An operation has returned.
    pub fn returned(&mut self, id: &str, serial: u64, how: Result<Value, JobFailure>) -> NextStep {
        if let Some(Stuck { undo, alarm }) = self.stuck.remove(&serial) {
            unset(&mut self.alarms, alarm, serial, Alarm::Grace);
            // Too late: what it returned is dropped.
            self.deferred.push(Deferred::Unused(Box::new(how)));
            return undo.map_or(NextStep::Nothing, NextStep::Undo);
        }
        let Some(record) = self.operations.get_mut(id) else { return NextStep::Nothing };
        // It has not been stopped, so it runs.
        let State::Running(running) = std::mem::replace(&mut record.state, State::Undoing) else {
            return NextStep::Nothing;
        };
        unset(&mut self.alarms, running.alarm, serial, Alarm::Timeout);
        match (how, running.rollback) {
            (Ok(value), rollback) => {
                self.status.running -= 1;
                self.end(id, Stage::Done);
                self.deferred.push(Deferred::Told(running.teller, Ok(value)));
                self.deferred.push(Deferred::Unused(Box::new(rollback)));
                NextStep::Nothing
            }
            (Err(failure), Some(rollback)) => {
                record.undone = Some(Undone::Due);
                NextStep::UndoThenTell(rollback, running.teller, failure)
            }
            (Err(failure), None) => {
                self.failed(id, running.teller, failure, None);
                NextStep::Nothing
            }
        }
    }

    /// An operation has failed, and its rollback has run, if it has one.
    pub fn failed(&mut self, id: &str, teller: Teller, failure: JobFailure, undone: Option<Result<(), Failure>>) {
        let serial = self.operations.get(id).map_or(0, |record| record.serial);
        if let Some(undone) = &undone {
            self.note_undone(id, serial, undone);
        }
        let (id, rollback) = (id.to_owned(), undone.and_then(Result::err));
        let why = match failure {
            JobFailure::Failed(source) => Error::OperationFailed { id: id.clone(), source, rollback },
            JobFailure::Panicked(message) => Error::OperationPanicked { id: id.clone(), message, rollback },
        };
        self.status.running -= 1;
        self.end(&id, Stage::Failed);
        self.deferred.push(Deferred::Told(teller, Err(why)));
    }

    /// A rollback has run that was due.
    pub fn rolled_back(&mut self, id: &str, serial: u64, how: &Result<(), Failure>) {
        self.status.undoing -= 1;
        self.note_undone(id, serial, how);
    }

    fn note_undone(&mut self, id: &str, serial: u64, how: &Result<(), Failure>) {
        self.status.rolled_back += 1;
        self.status.rollbacks_failed += u64::from(how.is_err());
        if let Some(record) = self.operations.get_mut(id).filter(|record| record.serial == serial) {
            record.undone = Some(match how {
                Ok(()) => Undone::Done,
                Err(failure) => Undone::Failed(failure.to_string()),
            });
        }
    }

    /// It has ended; what depended on it is ready, or will never be.
    fn end(&mut self, id: &str, stage: Stage) {
        let dependants = self.end_one(id, stage);
        if stage == Stage::Done {
            for dependant in dependants {
                self.one_less(&dependant);
            }
        } else {
            self.skip(dependants.into_iter().map(|dependant| (dependant, id.to_owned())).collect());
        }
        self.forget();
    }

    fn end_one(&mut self, id: &str, stage: Stage) -> Vec<String> {
        let count = match stage {
            Stage::Waiting | Stage::Running | Stage::Done => &mut self.status.done,
            Stage::Failed => &mut self.status.failed,
            Stage::TimedOut => &mut self.status.timed_out,
            Stage::Cancelled => &mut self.status.cancelled,
            Stage::Skipped => &mut self.status.skipped,
        };
        *count += 1;
        let Some(record) = self.operations.get_mut(id) else { return Vec::new() };
        record.state = State::Ended(stage);
        self.ended.push_back((id.to_owned(), record.serial));
        std::mem::take(&mut record.dependants)
    }

    fn one_less(&mut self, id: &str) {
        let Some(Record { state: State::Waiting { missing, .. }, .. }) = self.operations.get_mut(id) else { return };
        *missing -= 1;
        if *missing == 0 {
            self.make_ready(id);
        }
    }

    /// These will not run, each for the failure of the other, nor will what depends on them.
    fn skip(&mut self, mut lost: Vec<(String, String)>) {
        while let Some((id, dependency)) = lost.pop() {
            let why = Error::DependencyFailed { id: id.clone(), dependency };
            if !self.take_waiting(&id, why) {
                continue;
            }
            let dependants = self.end_one(&id, Stage::Skipped);
            lost.extend(dependants.into_iter().map(|dependant| (dependant, id.clone())));
        }
    }

    /// Takes what waits out of the queue, for this reason; `false` if it does not wait.
    fn take_waiting(&mut self, id: &str, why: Error) -> bool {
        let waits = |record: &&mut Record| matches!(record.state, State::Waiting { .. });
        let Some(record) = self.operations.get_mut(id).filter(waits) else { return false };
        let State::Waiting { task, .. } = std::mem::replace(&mut record.state, State::Undoing) else { return false };
        self.ready.remove(&place(&task, record.serial));
        self.status.waiting -= 1;
        let Task { run, rollback, teller, .. } = task;
        self.deferred.push(Deferred::Told(teller, Err(why)));
        self.deferred.push(Deferred::Unused(Box::new((run, rollback))));
        true
    }

    /// Cancels it; answers what was stopped, if it runs. `None`: it has ended.
    pub fn cancel(&mut self, id: &str) -> Result<Option<Option<Stopped>>> {
        let unknown = || Error::UnknownId { id: id.to_owned() };
        match &self.operations.get(id).ok_or_else(unknown)?.state {
            State::Waiting { .. } => {
                if self.take_waiting(id, Error::OperationCancelled { id: id.to_owned() }) {
                    self.end(id, Stage::Cancelled);
                }
                Ok(Some(None))
            }
            State::Running(_) => Ok(Some(self.stop(id, Stage::Cancelled))),
            State::Undoing | State::Ended(_) => Ok(None),
        }
    }

    /// Cancels everything; answers what was stopped.
    pub fn cancel_all(&mut self) -> Vec<Stopped> {
        // First nobody is anybody's dependant: each is told that it was the shutdown.
        self.operations.values_mut().for_each(|record| record.dependants.clear());
        let ids: Vec<String> = self.operations.keys().cloned().collect();
        for id in &ids {
            if self.take_waiting(id, Error::ShutDown) {
                self.end(id, Stage::Cancelled);
            }
        }
        ids.iter().filter_map(|id| self.stop(id, Stage::Cancelled)).collect()
    }

    fn forget(&mut self) {
        while self.ended.len() > self.remembered {
            let Some((id, serial)) = self.ended.pop_front() else { break };
            if self.operations.get(&id).is_some_and(|record| record.serial == serial) {
                self.operations.remove(&id);
            }
        }
    }

    /// Nothing is left to be done.
    pub fn is_quiet(&self) -> bool {
        let Status { waiting, running, undoing, .. } = self.status;
        waiting + running + undoing + self.settling == 0
    }

    /// How many threads there should be.
    pub fn wanted(&self, workers: usize, spare: usize) -> usize {
        workers + self.stuck.len().min(spare)
    }

    pub fn stage(&self, id: &str) -> Option<Stage> {
        Some(match self.operations.get(id)?.state {
            State::Waiting { .. } => Stage::Waiting,
            State::Running(_) | State::Undoing => Stage::Running,
            State::Ended(stage) => stage,
        })
    }

    pub fn undone(&self, id: &str) -> Option<Undone> {
        self.operations.get(id)?.undone.clone()
    }

    pub fn status(&self) -> Status {
        Status { stuck: self.stuck.len(), workers: self.threads, ..self.status }
    }
}

/// Where an operation stands among those that are ready.
fn place(task: &Task, serial: u64) -> (Priority, u64) {
    (task.priority, serial)
}

/// So much later; past the end of the clock is never.
fn from_now(after: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(after?)
}

fn unset(alarms: &mut Alarms, at: Option<Instant>, serial: u64, alarm: Alarm) {
    if let Some(at) = at {
        alarms.remove(&(at, serial, alarm));
    }
}
