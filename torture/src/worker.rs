//! A worker process: this same program, started again with a job, that dies with the run that started it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;

use harness::gate::ready_and_wait;
use serde::{Deserialize, Serialize};
use slotguard::{Error, Segment, recipe};

use crate::client::{AHEAD, Client};
use crate::control;
use crate::history::{History, Kind, Layout, Outcome};
use crate::plan::{Records, Role};
use crate::workloads::Cast;
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
    /// Every thread has a role until the time is over.
    Sustained {
        roles: Vec<Role>,
        records: Records,
    },
    /// Every thread has a role in one of the workloads on several records or on names.
    Scenario(Cast),
    /// One update of every record, so that whoever waits for one comes to an end.
    Closing,
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
        Work::Sustained { roles, records } => {
            together(job, &history, roles.len(), |client, number| Ok(act(client, roles[number], records)?))?;
        }
        Work::Scenario(cast) => together(job, &history, cast.len(), |client, number| cast.act(client, number))?,
        Work::Closing => {
            let segment = Segment::open(&job.target)?;
            close(&mut client(job, &segment, &history, first))?;
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

/// Attaches once, and starts a thread for each role of the slot.
fn together(
    job: &Job,
    history: &History,
    roles: usize,
    act: impl Fn(&mut Client<'_>, usize) -> recipe::Result<()> + Sync,
) -> Result<(), Unable> {
    let first = job.layout.first_writer(job.slot);
    let Some(segment) = attach(job, history, first)? else {
        return Ok(());
    };
    let act = |number: usize| {
        let writer = first + number as u32;
        if let Err(error) = act(&mut client(job, &segment, history, writer), number) {
            note(&job.errors, &format!("slot {} thread {number}: {error}", job.slot));
        }
    };
    std::thread::scope(|scope| {
        for number in 1..roles {
            let act = &act;
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || act(number))?;
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

fn act(client: &mut Client<'_>, role: Role, records: &Records) -> Result<(), Error> {
    match role {
        Role::Updater => update_all_the_time(client, records),
        Role::Sprinter => sprint_when_hurried(client, records),
        Role::Reader => read_all_the_time(client, records),
        Role::Waiter => wait_all_the_time(client, records),
        Role::Claimer => claim_all_the_time(client, records),
    }
}

fn update_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = draw_record(client, records);
        if client.may_log() {
            change(client, index)?;
        } else {
            client.read(index)?;
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn sprint_when_hurried(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = draw_record(client, records);
        if client.log.is_hurried() && client.may_log_ahead(AHEAD) {
            change(client, index)?;
            continue;
        }
        client.read(index)?;
        if client.may_log() {
            change(client, index)?;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn draw_record(client: &mut Client<'_>, records: &Records) -> u32 {
    match client.random.below(128) {
        0..4 => records.draw_quiet(&mut client.random),
        // Mostly refused: somebody holds it.
        4 => records.draw_claimed(&mut client.random),
        _ => records.draw_hot(&mut client.random),
    }
}

fn change(client: &mut Client<'_>, index: u32) -> Result<(), Error> {
    match client.random.below(64) {
        0 => client.update(index, false)?,
        1..=8 => client.swap(index)?,
        _ => client.update(index, true)?,
    };
    Ok(())
}

fn read_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = client.random.below(u64::from(records.total())) as u32;
        match client.random.below(64) {
            0 => client.verify(index)?,
            1..=4 if client.may_log() => client.logged_read(index)?,
            // Two cores are not for readers alone.
            5 => std::thread::sleep(PAUSE),
            _ => {
                client.read(index)?;
            }
        }
    }
    Ok(())
}

fn wait_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    let quiet: Vec<u32> = (records.hot..records.hot + records.quiet).collect();
    // Not `is_over`: a waiter goes on until somebody tells it to stop, so that the last changes end its last wait.
    while !client.is_stopping() {
        if client.random.one_in(4) {
            client.wait(&quiet)?;
        } else {
            let index = records.draw_quiet(&mut client.random);
            client.wait(&[index])?;
        }
    }
    Ok(())
}

fn claim_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    let lease = Duration::from_millis(records.lease_ms);
    while !client.is_over() {
        let index = records.draw_claimed(&mut client.random);
        if client.may_log() {
            client.claim_turn(index, lease)?;
        } else {
            client.read(index)?;
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// One change of every record; a claimed one is tried again until its last claim has ended.
fn close(client: &mut Client<'_>) -> Result<(), Error> {
    for index in 0..client.segment.records() {
        while client.log.room() > 0 && client.update(index, true)? == Outcome::Held {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
