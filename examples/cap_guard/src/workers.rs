//! Starts the processes of one run, lets them go at the same moment, and puts a new one in the place of each that is
//! killed, as a prefork server would.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use harness::subprocess::{Subprocess, dies_with_us};

use crate::Result;
use crate::customer::Call;
use crate::database::Address;
use crate::fault::{Effect, Fault, Point};
use crate::modes::Mode;
use crate::worker::{Assignment, Event};

/// A run in which nobody says anything for so long has failed.
pub const SILENCE: Duration = Duration::from_secs(90);

/// One run: one database, one mode.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The binary to start for each process.
    pub program: PathBuf,
    /// The database.
    pub database: Address,
    /// The mode.
    pub mode: Mode,
    /// The lock file or segment.
    pub shared: PathBuf,
    /// How many processes.
    pub processes: u32,
    /// How many calls each makes.
    pub updates: u32,
    /// How long each computes between read and write.
    pub work: Duration,
    /// How many are killed, every other one after its SQL write. Needs two calls a process at least.
    pub kills: u32,
    /// Kill them wherever they happen to be instead.
    pub anywhere: bool,
    /// How long a stopped holder is waited for.
    pub lease: Duration,
}

impl Plan {
    /// When each process is to be killed: spread over the run, and never in its last call, so that somebody comes
    /// after every victim.
    pub fn faults(&self) -> Vec<Vec<Fault>> {
        let mut faults = vec![Vec::new(); self.processes as usize];
        let rounds = self.kills.div_ceil(self.processes).max(1);
        let span = u64::from(self.updates.saturating_sub(1) / rounds);
        for kill in 0..self.kills {
            let (round, process) = (kill / self.processes, kill % self.processes);
            let within = span * u64::from(process) / u64::from(self.processes);
            // Anywhere: spread over the time a call takes when everybody has one turn before it.
            let after = self.work * self.processes * (kill * 7919 % 1000) / 1000;
            faults[process as usize].push(Fault {
                point: match kill % 2 {
                    _ if self.anywhere => Point::Anywhere(after),
                    0 => Point::BeforeSql,
                    _ => Point::AfterSql,
                },
                effect: Effect::Kill,
                call: (u64::from(round) * span + within) as u32,
            });
        }
        faults
    }

    fn assignment(&self, process: u32, first: u32, fault: Option<Fault>) -> Assignment {
        Assignment {
            database: self.database.clone(),
            mode: self.mode,
            shared: self.shared.clone(),
            process,
            first,
            end: self.updates,
            work: self.work,
            lease: self.lease,
            fault,
        }
    }
}

/// What the processes said.
#[derive(Debug, Default)]
pub struct Log {
    /// Calls that were answered `updated: true`.
    pub acknowledged: HashSet<Call>,
    /// How long each took, sorted.
    pub latencies: Vec<Duration>,
    /// Writes of acknowledged calls the fence refused, which were made again.
    pub retries: u64,
    /// Calls whose process was killed between intent and SQL write.
    pub killed_before_sql: HashSet<Call>,
    /// Calls whose process was killed between SQL write and commit.
    pub killed_after_sql: HashSet<Call>,
    /// Calls whose process was killed wherever it was.
    pub killed_anywhere: HashSet<Call>,
    /// Open changes somebody met and found done.
    pub found_done: u64,
    /// Open changes somebody met and found not done.
    pub found_not_done: u64,
    /// From the start signal to the last acknowledged call.
    pub elapsed: Duration,
}

/// A worker process. It is killed on drop, and with the thread that started it.
pub struct Worker(Subprocess);

impl Worker {
    /// Starts one; every line it says goes to `heard`, then nothing when it has ended.
    pub fn start(
        program: &Path,
        assignment: &Assignment,
        mut heard: impl FnMut(Option<Result<Event>>) + Send + 'static,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(assignment.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Subprocess::spawn(dies_with_us(&mut command))?;
        let output = process.child().stdout.take().ok_or("no pipe")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                heard(Some(match line {
                    Ok(line) => line.parse().map_err(Into::into),
                    Err(error) => Err(error.into()),
                }));
            }
            heard(None);
        });
        Ok(Worker(process))
    }

    /// Tells a ready worker to begin.
    pub fn begin(&mut self) -> Result<()> {
        let pipe = self.0.child().stdin.as_mut().ok_or("no pipe")?;
        Ok(pipe.write_all(b"go\n")?)
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.0.wait()?)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

/// Runs a plan to its end.
///
/// # Errors
/// When a worker fails, or nobody says anything for [`SILENCE`].
pub fn run(plan: &Plan) -> Result<Log> {
    let (tell, heard) = mpsc::channel();
    let start = |process: u32, first: u32, fault: Option<Fault>| {
        let tell = tell.clone();
        Worker::start(
            &plan.program,
            &plan.assignment(process, first, fault),
            // Nobody listens any more only when the run has failed already.
            move |event| drop(tell.send((process, event))),
        )
    };
    let mut faults: Vec<_> = plan.faults().into_iter().map(Vec::into_iter).collect();
    let mut faulted = Vec::new();
    let mut workers = Vec::new();
    for process in 0..plan.processes {
        let fault = faults[process as usize].next();
        faulted.push(fault);
        workers.push(start(process, 0, fault)?);
    }

    let mut log = Log::default();
    let mut next = vec![0; plan.processes as usize];
    let mut ready = 0;
    let mut working = plan.processes;
    let mut begun = Instant::now();
    while working > 0 {
        let (process, event) = heard.recv_timeout(SILENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("nobody said anything for {SILENCE:?}"),
            RecvTimeoutError::Disconnected => "the workers are gone".to_owned(),
        })?;
        let at = process as usize;
        match event.transpose()? {
            Some(Event::Ready) => {
                ready += 1;
                if ready == plan.processes {
                    begun = Instant::now();
                    for worker in &mut workers {
                        worker.begin()?;
                    }
                } else if ready > plan.processes {
                    workers[at].begin()?;
                }
            }
            Some(Event::Acknowledged { call: number, latency, refused }) => {
                log.acknowledged.insert(Call { process, number });
                next[at] = number + 1;
                log.latencies.push(latency);
                log.retries += refused;
                log.elapsed = begun.elapsed();
            }
            Some(Event::Resolved(true)) => log.found_done += 1,
            Some(Event::Resolved(false)) => log.found_not_done += 1,
            None => {
                let status = workers[at].ended()?;
                match faulted[at] {
                    Some(fault) if status.signal() == Some(9) => {
                        let call = Call { process, number: next[at] };
                        match fault.point {
                            Point::BeforeSql => log.killed_before_sql.insert(call),
                            Point::AfterSql => log.killed_after_sql.insert(call),
                            Point::Anywhere(_) => log.killed_anywhere.insert(call),
                        };
                        // Nobody repeats the call: whether it took place is for the database to say.
                        next[at] += 1;
                        faulted[at] = faults[at].find(|fault| fault.call >= next[at]);
                        workers[at] = start(process, next[at], faulted[at])?;
                    }
                    None if status.success() => working -= 1,
                    _ => return Err(format!("process {process} ended with {status}").into()),
                }
            }
        }
    }
    log.latencies.sort_unstable();
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(processes: u32, updates: u32, kills: u32) -> Plan {
        Plan {
            program: PathBuf::new(),
            database: Address::Sqlite(PathBuf::new()),
            mode: Mode::Guard,
            shared: PathBuf::new(),
            processes,
            updates,
            work: Duration::ZERO,
            kills,
            anywhere: false,
            lease: Duration::from_secs(1),
        }
    }

    #[test]
    fn every_kill_is_followed_by_another_call_and_half_come_after_the_sql_write() {
        for (processes, updates, kills) in [(16, 60, 16), (3, 2, 3), (4, 9, 16), (2, 5, 1), (5, 7, 0)] {
            let faults = plan(processes, updates, kills).faults();
            let all: Vec<_> = faults.iter().flatten().collect();
            assert_eq!(all.len(), kills as usize);
            assert!(all.iter().all(|fault| fault.call + 1 < updates));
            let after = all.iter().filter(|fault| fault.point == Point::AfterSql).count();
            assert_eq!(after, kills as usize / 2);
            for one in faults {
                assert!(one.is_sorted_by(|a, b| a.call < b.call), "{one:?}");
            }
        }
    }
}
