//! Describes a group of workers and their work, in words where the workers are processes of their own.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::place::{Place, System, Task};
use crate::support::workers::{self, Kind, Outcome, Workers};

/// A group of workers and its work.
#[derive(Clone, Debug)]
pub struct Job {
    /// What they work on.
    pub system: System,
    /// What they do to it.
    pub task: Task,
    /// Bytes of the value.
    pub payload: usize,
    /// Threads or processes.
    pub kind: Kind,
    /// How many of them.
    pub workers: usize,
    /// Whether each has a record of its own.
    pub apart: bool,
    /// How long they are timed.
    pub window: Duration,
}

impl Job {
    /// Which operations are timed: one in so many, each of them where an operation takes a system call.
    pub fn every(&self) -> u32 {
        match (self.system, self.payload) {
            (System::Flock, _) => 1,
            (_, 0..=64) => 16,
            (_, 65..=256) => 8,
            _ => 4,
        }
    }

    /// Lets the group work on `place`, which lies in `file` of the folder, and adds up.
    pub fn run(&self, place: &Place, folder: &Path, file: &Path) -> io::Result<Outcome> {
        let group = Workers { workers: self.workers, window: self.window, every: self.every() };
        match self.kind {
            Kind::Threads => group.threads(folder, |worker, board| {
                place.work(self.task, self.record_of(worker), self.payload, board, group.every)
            }),
            Kind::Processes => group.processes(folder, |worker| self.words(worker, file)),
        }
    }

    fn record_of(&self, worker: usize) -> u32 {
        if self.apart { worker as u32 } else { 0 }
    }

    fn words(&self, worker: usize, file: &Path) -> Vec<OsString> {
        let task = if self.task == Task::Claim { "claim" } else { "update" };
        vec![
            file.into(),
            self.system.to_string().into(),
            task.into(),
            self.payload.to_string().into(),
            self.record_of(worker).to_string().into(),
        ]
    }
}

/// What a worker process does with the words of its job.
pub fn work_for_the_parent(words: &[OsString]) -> io::Result<()> {
    workers::work_for_the_parent(words, |job, board, every| {
        let [file, system, task, payload, record] = job[..] else {
            return Err(workers::unknown());
        };
        let number = |word: &str| word.parse::<u32>().map_err(|_| workers::unknown());
        let place = Place::open(System::named(system).ok_or_else(workers::unknown)?, &PathBuf::from(file))?;
        let task = if task == "claim" { Task::Claim } else { Task::Update };
        Ok(place.work(task, number(record)?, number(payload)? as usize, board, every))
    })
}
