//! A job that must run once, however many workers there are: one of them leads, and a leader that was stopped past its
//! lease is refused when it wakes and wants to go on.
//!
//! `cargo run --example cron_leader` starts three workers on one segment, stops the leader (SIGSTOP), waits until another
//! leads, lets the first one go on, and has it try to run the job again. It prints what happens and a verdict, and ends
//! with 1 if a late run was written down.

use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, thread};

use harness::subprocess::{Subprocess, command, dispatch};
use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::recipe::{self, Election, election};
use slotguard::{Deadline, Segment};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long a stopped leader keeps the others waiting.
const LEASE: Duration = Duration::from_millis(500);
const WORKERS: usize = 3;
/// Longer than anything here takes: who is silent for so long has failed.
const SILENCE: Duration = Duration::from_secs(60);

fn main() -> Result<ExitCode> {
    let worker = |arguments: &[OsString]| match arguments {
        [path, name] => work(Path::new(path), &name.to_string_lossy()).map_err(io::Error::other),
        _ => Err(io::Error::other("a worker needs a path and a name")),
    };
    if let Some(ended) = dispatch(&[("worker", &worker)]) {
        return Ok(ended);
    }
    Ok(if supervise()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn attach(path: &Path) -> Result<Arc<SharedMemory>> {
    Ok(Arc::new(SharedMemory::new(Segment::builder().keys(100).payload(128).open_or_create(path)?)?))
}

// ---- a worker

/// Campaigns, and runs the job whenever it is told that it is time. The job's record is written in the leader's name.
fn work(path: &Path, name: &str) -> Result<()> {
    let store = attach(path)?;
    let session = recipe::join(&store, LEASE)?;
    let election = Election::new(&session, "cron/nightly-report")?;
    let lead = election.campaign(name.as_bytes(), &Deadline::never())?;
    println!("leads {}", lead.term());
    let last_run = store.key("cron/nightly-report/last-run")?;
    for tick in io::stdin().lines() {
        let run = format!("{} by {name}", tick?);
        match lead.commit(&[Op::put(&last_run, run.as_bytes())]) {
            Ok(_) => println!("ran"),
            // Somebody else leads. A real worker campaigns again, with a new session if this one is over.
            Err(election::Error::Lost(_)) => println!("refused"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

// ---- the one who stops and wakes them

/// Killed on drop: nobody has to clean up after it.
struct Worker {
    process: Subprocess,
    orders: ChildStdin,
    name: String,
}

impl Worker {
    /// Starts this program again as a worker; what it says goes to `said` with its number.
    fn start(path: &Path, number: usize, said: Sender<(usize, String)>) -> Result<Self> {
        let name = format!("worker-{number}");
        let mut command = command("worker")?;
        let mut process = Subprocess::spawn(command.arg(path).arg(&name).stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let output = process.child().stdout.take().ok_or("no output")?;
        let orders = process.child().stdin.take().ok_or("no input")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                println!("  worker-{number}: {line}");
                if said.send((number, line)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, orders, name })
    }

    fn run(&mut self, tick: &str) -> Result<()> {
        Ok(writeln!(self.orders, "{tick}")?)
    }
}

/// Waits until a worker says something that begins so; answers which.
fn heard(from: &Receiver<(usize, String)>, begins: &str) -> Result<usize> {
    let (number, line) = from.recv_timeout(SILENCE)?;
    if line.starts_with(begins) {
        Ok(number)
    } else {
        Err(format!("worker-{number} said {line:?}, not {begins}").into())
    }
}

fn supervise() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("cron");
    let store = attach(&path)?;
    let (said, hear) = channel();
    let start = |number| Worker::start(&path, number, said.clone());
    let mut workers = (0..WORKERS).map(start).collect::<Result<Vec<_>>>()?;

    let first = heard(&hear, "leads")?;
    workers[first].run("Monday")?;
    heard(&hear, "ran")?;

    println!("stop {} for longer than its lease of {LEASE:?}", workers[first].name);
    workers[first].process.stop()?;
    let second = heard(&hear, "leads")?;
    workers[second].run("Tuesday")?;
    heard(&hear, "ran")?;

    println!("let {} go on, which believes that it leads", workers[first].name);
    workers[first].run("Tuesday")?;
    workers[first].process.resume()?;
    let refused = heard(&hear, "refused").is_ok();

    let mut value = Vec::new();
    store.read(&store.key("cron/nightly-report/last-run")?, &mut value)?;
    let last = String::from_utf8_lossy(&value).into_owned();
    let right = refused && last == format!("Tuesday by {}", workers[second].name);
    println!("last run: {last}");
    println!("verdict: {}", if right { "PASS, the late run was refused" } else { "FAIL, a job ran twice" });
    drop(workers);
    Segment::remove(&path)?;
    Ok(right)
}
