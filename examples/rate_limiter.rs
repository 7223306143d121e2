//! One rate limit for all workers of a prefork server, instead of one each.
//!
//! `cargo run --example rate_limiter` starts eight workers that answer requests as fast as the limit lets them, for a
//! second: once with a bucket in each worker's own memory, as a library without a server does it, and once with one bucket
//! in a segment. It prints how many requests each let through and a verdict, and ends with 1 if the shared limit was
//! exceeded.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::subprocess::{Subprocess, command, dispatch};
use slotguard::backend::{Backend, Model, SharedMemory};
use slotguard::recipe::RateLimiter;
use slotguard::recipe::rate_limiter::Decision;
use slotguard::{Deadline, Segment};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WORKERS: u64 = 8;
/// Requests a second, and the most of them at once.
const RATE: u32 = 500;
const BURST: u32 = 50;
/// How long each worker has requests to answer.
const BUSY: Duration = Duration::from_secs(1);

fn main() -> Result<ExitCode> {
    let worker = |arguments: &[OsString]| match arguments {
        [] => work(Arc::new(Model::new())).map_err(io::Error::other),
        [path, ..] => attach(Path::new(path)).and_then(work).map_err(io::Error::other),
    };
    if let Some(ended) = dispatch(&[("worker", &worker)]) {
        return Ok(ended);
    }
    Ok(if supervise()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn attach(path: &Path) -> Result<Arc<SharedMemory>> {
    Ok(Arc::new(SharedMemory::new(Segment::builder().keys(100).payload(64).open_or_create(path)?)?))
}

/// A worker: takes a token for each request, and waits for one when there is none. Says how many it let through.
fn work(store: Arc<impl Backend + 'static>) -> Result<()> {
    let limit = RateLimiter::new(&store, "requests", RATE, Duration::from_secs(1), BURST)?;
    let mut through = 0;
    // Everybody begins at once, when there is nothing more to read.
    io::stdin().read_to_end(&mut Vec::new())?;
    let end = Deadline::after(BUSY);
    while let Decision::Allowed { .. } = limit.take(1, &end)? {
        through += 1;
    }
    println!("{through}");
    Ok(())
}

/// Runs the workers; answers how many requests they let through, and how many that may be at most.
fn let_through(path: Option<&Path>) -> Result<(u64, u64)> {
    let start = |_| {
        let mut command = command("worker")?;
        Subprocess::spawn(command.args(path).stdin(Stdio::piped()).stdout(Stdio::piped()))
    };
    let mut workers = (0..WORKERS).map(start).collect::<io::Result<Vec<Subprocess>>>()?;
    let begun = Instant::now();
    workers.iter_mut().for_each(|worker| drop(worker.child().stdin.take()));
    let mut through = 0;
    for worker in &mut workers {
        let output = worker.child().stdout.take().ok_or("no output")?;
        through += io::read_to_string(output)?.trim().parse::<u64>()?;
    }
    let most = u64::from(BURST) + (begun.elapsed().as_secs_f64() * f64::from(RATE)).ceil() as u64;
    Ok((through, most))
}

fn supervise() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("limits");
    let store = attach(&path)?;
    println!("{WORKERS} workers, {RATE} requests a second, {BURST} at once");
    let (alone, most) = let_through(None)?;
    println!("a bucket in each worker:  {alone:5} requests, {most} allowed");
    let (shared, most) = let_through(Some(&path))?;
    println!("one bucket in a segment:  {shared:5} requests, {most} allowed");
    // Half of what is allowed: workers that got nothing would prove nothing.
    let right = shared <= most && shared >= most / 2;
    println!("verdict: {}", if right { "PASS, one limit for all" } else { "FAIL, the limit was not kept" });
    drop(store);
    Segment::remove(&path)?;
    Ok(right)
}
