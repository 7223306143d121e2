//! A circuit breaker that all workers of a server share: what one learns of a service that is down spares the others the
//! same failures, and only one of them probes whether it is back.
//!
//! `cargo run --example circuit_breaker` starts six workers that call a service which is down, brings it back after the
//! third failed probe, and counts the calls that reached it meanwhile. It prints a verdict, and ends with 1 if the workers
//! called more often than one breaker for all allows.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use harness::subprocess::{Subprocess, command, dispatch};
use slotguard::backend::{Backend, Op, Session, SharedMemory};
use slotguard::recipe::state_machine::{self, Machine, Rules, Transition};
use slotguard::recipe::{self, Counter};
use slotguard::{Deadline, Segment};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

slotguard::states! {
    /// Whether the service is called.
    enum Breaker {
        /// It is.
        Closed = "CLOSED",
        /// It is not: it failed too often.
        Open = "OPEN",
        /// One worker tries whether it is back.
        HalfOpen = "HALF_OPEN",
    }
}

const WORKERS: i64 = 6;
/// So many failures in a row open the breaker.
const THRESHOLD: i64 = 5;
/// How long it stays open before somebody probes.
const COOL_DOWN: Duration = Duration::from_millis(100);
/// Failed probes before the service is back.
const PROBES: i64 = 3;
/// Longer than anything here takes.
const SILENCE: Duration = Duration::from_secs(60);

/// What everybody shares.
struct Shared {
    store: Arc<SharedMemory>,
    breaker: Machine<SharedMemory, Breaker>,
    failures: Counter<SharedMemory>,
    /// Calls that reached the service, while it was down and while it was up.
    calls: [Counter<SharedMemory>; 2],
    _session: Arc<Session<SharedMemory>>,
}

impl Shared {
    fn attach(path: &Path) -> Result<Self> {
        let segment = Segment::builder().keys(1_000).payload(512).open_or_create(path)?;
        let store = Arc::new(SharedMemory::new(segment)?);
        let session = recipe::join(&store, Duration::from_secs(5))?;
        let rules = Rules::new(Breaker::Closed)
            .allow(Breaker::Closed, Breaker::Open)
            .allow(Breaker::Open, Breaker::HalfOpen)
            .allow(Breaker::HalfOpen, Breaker::Open)
            .allow(Breaker::HalfOpen, Breaker::Closed);
        Ok(Self {
            breaker: Machine::new(&session, "payments/breaker", rules)?,
            failures: Counter::new(&store, "payments/failures")?,
            calls: [Counter::new(&store, "payments/calls-down")?, Counter::new(&store, "payments/calls-up")?],
            store,
            _session: session,
        })
    }

    /// The service: answers whether it is up, and counts who asks.
    fn call(&self) -> Result<bool> {
        let up = self.is_set("service/up")?;
        self.calls[usize::from(up)].add(1)?;
        Ok(up)
    }

    fn is_set(&self, name: &str) -> Result<bool> {
        Ok(self.store.read(&self.store.key(name)?, &mut Vec::new())?.0.is_some())
    }

    /// Goes to another state; answers whether it was this call. Whoever was faster may have gone anywhere, also where no
    /// rule leads on from.
    fn go(&self, to: Breaker, reason: &str) -> Result<bool> {
        match self.breaker.transition_because(to, reason) {
            Ok(Transition::Done(_)) => Ok(true),
            Ok(_) | Err(state_machine::Error::NoTransition { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn set(&self, name: &str) -> Result<()> {
        self.store.commit(&[Op::put(&self.store.key(name)?, b"yes")])?;
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let worker = |arguments: &[OsString]| match arguments {
        [path] => work(Path::new(path)).map_err(io::Error::other),
        _ => Err(io::Error::other("a worker needs a path")),
    };
    if let Some(ended) = dispatch(&[("worker", &worker)]) {
        return Ok(ended);
    }
    Ok(if supervise()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A worker: has a request to serve all the time, and calls the service for each while the breaker lets it.
fn work(path: &Path) -> Result<()> {
    let shared = Shared::attach(path)?;
    let mut changes = shared.breaker.changes()?;
    while !shared.is_set("stop")? {
        match shared.breaker.state()? {
            Breaker::Closed => {
                if shared.call()? {
                    continue;
                }
                if shared.failures.add(1)? >= THRESHOLD {
                    // Of those who count the last failures one opens it; the others find it open.
                    shared.go(Breaker::Open, "too many failures")?;
                }
            }
            Breaker::Open => {
                // Woken by a change; if nothing happens, it is time to try.
                if changes.next(&Deadline::after(COOL_DOWN))?.is_none() && shared.go(Breaker::HalfOpen, "")? {
                    let back = shared.call()?;
                    if back {
                        shared.failures.add(-shared.failures.get()?)?;
                    }
                    shared.go(if back { Breaker::Closed } else { Breaker::Open }, "")?;
                }
            }
            Breaker::HalfOpen => {
                // Somebody probes. Should it have died, the probe has failed.
                if changes.next(&Deadline::after(COOL_DOWN * 20))?.is_none() {
                    shared.go(Breaker::Open, "the probe never came back")?;
                }
            }
        }
    }
    Ok(())
}

fn supervise() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("breaker");
    let shared = Shared::attach(&path)?;
    let mut changes = shared.breaker.changes()?;
    let start = |_| Subprocess::spawn(command("worker")?.arg(&path));
    let mut workers = (0..WORKERS).map(start).collect::<io::Result<Vec<Subprocess>>>()?;

    let mut failed_probes = 0;
    loop {
        let change = changes.next(&Deadline::after(SILENCE))?.ok_or("nobody changes anything")?;
        println!("  {:?} -> {:?} {}", change.from, change.to, change.reason);
        match (change.from, change.to) {
            (Breaker::HalfOpen, Breaker::Open) => {
                failed_probes += 1;
                if failed_probes == PROBES {
                    println!("the service is back");
                    shared.set("service/up")?;
                }
            }
            (_, Breaker::Closed) => break,
            _ => {}
        }
    }
    shared.set("stop")?;
    for worker in &mut workers {
        if !worker.wait()?.success() {
            return Err("a worker failed".into());
        }
    }
    let down = shared.calls[0].get()?;
    // Each worker may have been in the midst of a call when the last failure was counted; then one call a probe.
    let most = THRESHOLD - 1 + WORKERS + failed_probes;
    println!("{down} calls reached the service while it was down; one breaker for all allows {most}");
    println!("a breaker in each worker would have taken at least {}", WORKERS * (THRESHOLD + PROBES));
    let right = down >= THRESHOLD && down <= most;
    println!("verdict: {}", if right { "PASS, they share what they learn" } else { "FAIL, they learn alone" });
    drop((changes, shared));
    Segment::remove(&path)?;
    Ok(right)
}
