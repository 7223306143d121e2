//! A worker process: this same program, started again with a job, that dies with the run that started it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;

use harness::gate::ready_and_wait;
use serde::{Deserialize, Serialize};
use slotguard::{Error, Segment};

use crate::client::Client;
use crate::control;
use crate::history::{History, Kind, Layout, Outcome};
use crate::workloads::{Round, Scenario, Workload};
use harness::random::Random;

/// The role in which this program is started again.
pub const ROLE: &str = "worker";

/// Threads have little to keep; a thousand of them should not need a gigabyte of address space.
const STACK: usize = 256 << 10;

/// How long a thread rests that is ahead of what its log has room for.
pub const PAUSE: Duration = Duration::from_micros(50);

/// What a worker process is to do; travels as one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub history: PathBuf,
    pub layout: Layout,
    /// Where the words of unexpected errors go.
    pub errors: PathBuf,
    /// The segment, or the controls' plain file.
    pub target: PathBuf,
    pub slot: u32,
    pub life: u32,
    pub seed: u64,
    pub payload: usize,
    pub work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    Naive {
        updates: u32,
    },
    Flock {
        updates: u32,
    },
    /// Every thread makes so many updates of record 0.
    Updates {
        updates: u32,
    },
    /// One slot of a round of a workload, whose plan is made again from its seed.
    Workload {
        name: String,
        round: Round,
        part: Part,
    },
}

/// What a process does in a round of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// What the plan has for its slot.
    Slot,
    /// The last operations, so that those who wait for something come to an end.
    Close,
}

/// Why a worker could not do its job.
#[derive(Debug)]
pub struct Unable(String);

impl From<io::Error> for Unable {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Error> for Unable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// The whole life of a worker process.
pub fn main(arguments: &[OsString]) -> io::Result<()> {
    let job = arguments.first().map(|job| job.to_string_lossy()).unwrap_or_default();
    let job: Job = serde_json::from_str(&job)?;
    work(&job).map_err(|Unable(why)| {
        note(&job.errors, &format!("slot {} life {}: {why}", job.slot, job.life));
        io::Error::other(why)
    })
}

/// Appends a line to the file of unexpected errors; one write, so that lines do not mix.
pub fn note(errors: &Path, words: &str) {
    // Whoever ends a run removes its directories first and its workers next: nobody is left to read a note.
    if errors.parent().is_some_and(|folder| !folder.exists()) {
        return;
    }
    let file = File::options().append(true).create(true).open(errors);
    if let Err(error) = file.and_then(|mut file| file.write_all(format!("{words}\n").as_bytes())) {
        eprintln!("torture {ROLE}: {words} (and no place to note it: {error})");
    }
}

fn work(job: &Job) -> Result<(), Unable> {
    let history = History::open(&job.history, &job.layout)?;
    let first = job.layout.first_writer(job.slot);
    match &job.work {
        Work::Naive { updates } => {
            ready_and_wait()?;
            control::naive(&job.target, *updates, &history.log(first, job.life))?;
        }
        Work::Flock { updates } => {
            ready_and_wait()?;
            control::flock(&job.target, *updates, &history.log(first, job.life))?;
        }
        Work::Updates { updates } => {
            let segment = Segment::open(&job.target)?;
            all_threads(job, &segment, &history, |mut client| {
                for _ in 0..*updates {
                    // No room: the entries went to values that were broken.
                    if client.log.room() > 0 {
                        client.update(0, true)?;
                    }
                }
                Ok(())
            })?;
        }
        Work::Workload { name, round, part } => {
            let workload = Workload::named(name).ok_or_else(|| Unable(format!("there is no workload {name:?}")))?;
            let plan = workload.plan(*round);
            match part {
                Part::Slot => together(job, &history, plan.as_ref())?,
                Part::Close => {
                    let segment = Segment::open(&job.target)?;
                    plan.close(&mut client(job, &segment, &history, first))
                        .map_err(|error| Unable(error.to_string()))?;
                }
            }
        }
    }
    Ok(())
}

fn client<'a>(job: &'a Job, segment: &'a Segment, history: &'a History, writer: u32) -> Client<'a> {
    let parts = [u64::from(writer), u64::from(job.life)];
    let random = Random::of(job.seed, &parts);
    let log = history.log(writer, job.life);
    Client::new(segment, history, log, random, job.payload, &job.errors)
}

/// Starts all threads of the slot, then lets them go at once together with those of the other processes.
fn all_threads(
    job: &Job,
    segment: &Segment,
    history: &History,
    body: impl Fn(Client<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Unable> {
    let count = job.layout.threads[job.slot as usize];
    let first = job.layout.first_writer(job.slot);
    if count == 1 {
        let client = client(job, segment, history, first);
        ready_and_wait()?;
        return Ok(body(client)?);
    }
    let gate = Barrier::new(count as usize + 1);
    std::thread::scope(|scope| {
        for writer in first..first + count {
            let (gate, body) = (&gate, &body);
            let run = move || {
                let client = client(job, segment, history, writer);
                gate.wait();
                gate.wait();
                if let Err(error) = body(client) {
                    note(&job.errors, &format!("writer {writer}: {error}"));
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run)?;
        }
        gate.wait();
        let told = ready_and_wait();
        gate.wait();
        told
    })?;
    Ok(())
}

/// Attaches once, and starts every thread of the slot.
fn together(job: &Job, history: &History, plan: &dyn Scenario) -> Result<(), Unable> {
    let first = job.layout.first_writer(job.slot);
    let Some(segment) = attach(job, history, first)? else {
        return Ok(());
    };
    let act = |thread: u32| {
        let client = &mut client(job, &segment, history, first + thread);
        if let Err(error) = plan.act(job.slot, thread as usize, client) {
            note(&job.errors, &format!("slot {} thread {thread}: {error}", job.slot));
        }
    };
    std::thread::scope(|scope| {
        for thread in 1..job.layout.threads[job.slot as usize] {
            let act = &act;
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || act(thread))?;
        }
        act(0);
        io::Result::Ok(())
    })?;
    Ok(())
}

/// Attaches, with an entry that says when; nothing to do if the history has no room.
fn attach(job: &Job, history: &History, writer: u32) -> Result<Option<Segment>, Unable> {
    let mut log = history.log(writer, job.life);
    if log.room() == 0 {
        return Ok(None);
    }
    let open = log.begin(Kind::Attach, 0).with_extra(u64::from(std::process::id()));
    let segment = Segment::open(&job.target)?;
    open.finish(Outcome::Done, 0, 0);
    Ok(Some(segment))
}
