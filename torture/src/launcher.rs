//! Starts worker processes from this same program, and judges how they end.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use harness::gate::Gate;
use harness::subprocess::{Subprocess, command};

use crate::nemesis::{Fault, FaultKind};
use crate::system;
use crate::worker::{self, Job};

/// One worker process; killed and waited for on drop.
pub struct Process {
    process: Subprocess,
    pub slot: u32,
    pub life: u32,
    pub started: u64,
}

/// Starts a worker. The kernel ends it with the *thread* that calls this, so the caller is the thread of the run.
pub fn launch(job: &Job, gate: Option<&Gate>) -> io::Result<Process> {
    let mut command = command(worker::ROLE)?;
    command.arg(serde_json::to_string(job)?);
    match gate {
        Some(gate) => gate.before(&mut command)?,
        None => command.stdin(Stdio::null()).stdout(Stdio::null()),
    };
    let process = Subprocess::spawn(&mut command)?;
    Ok(Process { process, slot: job.slot, life: job.life, started: system::now() })
}

impl Process {
    /// SIGKILL, and waits until the kernel has taken the process away; answers the moment before the signal.
    pub fn kill(&mut self) -> io::Result<u64> {
        let moment = system::now();
        self.process.kill()?;
        Ok(moment)
    }

    pub fn stop(&self) -> io::Result<()> {
        self.process.stop()
    }

    pub fn resume(&self) -> io::Result<()> {
        self.process.resume()
    }

    /// Waits for its end, but not for ever; answers what was wrong with it, if anything.
    pub fn end_within(&mut self, patience: Duration) -> io::Result<Option<Fault>> {
        let kind = match self.process.wait_within(patience)? {
            Some(status) if status.success() => return Ok(None),
            Some(_) => FaultKind::Died,
            None => {
                self.kill()?;
                FaultKind::Stuck
            }
        };
        let at = system::now();
        Ok(Some(Fault { kind, slot: self.slot, life: self.life, at, until: at }))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }
}
