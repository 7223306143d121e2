//! Worker processes: started from this same program, let go together, killed, and waited for.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::fault::{Fault, FaultKind};
use crate::system::{self, Signal};
use crate::worker::{self, Job};

/// One worker process; killed and waited for on drop if nobody did before.
pub struct Process {
    child: Child,
    pub slot: u32,
    pub life: u32,
    pub started: u64,
    ended: bool,
}

/// Where processes wait until all are ready: each says so on one pipe, and all are let go when the other one ends.
pub struct Gate {
    ready: PipeReader,
    say_ready: PipeWriter,
    go: PipeReader,
    let_go: PipeWriter,
}

impl Gate {
    pub fn new() -> io::Result<Self> {
        let (ready, say_ready) = io::pipe()?;
        let (go, let_go) = io::pipe()?;
        Ok(Self { ready, say_ready, go, let_go })
    }

    /// Waits until `count` processes are ready, but not for ever, then lets all go; answers the moment.
    pub fn open(self, count: u32, patience: Duration) -> io::Result<u64> {
        let Self { mut ready, say_ready, go, let_go } = self;
        // Only the workers hold these ends now, so a worker that dies early ends the wait with an error.
        drop((say_ready, go));
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new().name("gate".into()).spawn(move || {
            // Nobody listens any more if the patience was over; the thread ends with the last worker then.
            let _ = tell.send(ready.read_exact(&mut vec![0; count as usize]));
        })?;
        let answer = told.recv_timeout(patience);
        answer
            .map_err(|_| io::Error::other(format!("the workers were not ready within {patience:?}")))?
            .map_err(|error| io::Error::other(format!("a worker ended before it was ready: {error}")))?;
        let moment = system::now();
        drop(let_go);
        Ok(moment)
    }
}

/// Starts worker processes.
pub struct Stage {
    program: PathBuf,
}

impl Stage {
    pub fn new() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self { program })
    }

    /// Starts a worker. The kernel ends it with the *thread* that calls this, so the caller is the thread of the run.
    pub fn start(&self, job: &Job, gate: Option<&Gate>) -> io::Result<Process> {
        let (stdin, stdout) = match gate {
            Some(gate) => (Stdio::from(gate.go.try_clone()?), Stdio::from(gate.say_ready.try_clone()?)),
            None => (Stdio::null(), Stdio::null()),
        };
        let child = Command::new(&self.program)
            .arg(worker::SUBCOMMAND)
            .arg(serde_json::to_string(job)?)
            .stdin(stdin)
            .stdout(stdout)
            .spawn()?;
        Ok(Process { child, slot: job.slot, life: job.life, started: system::now(), ended: false })
    }
}

impl Process {
    /// SIGKILL, and waits until the kernel has taken the process away; answers the moment before the signal.
    pub fn kill(&mut self) -> io::Result<u64> {
        let moment = system::now();
        system::signal(&self.child, Signal::Kill)?;
        self.wait()?;
        Ok(moment)
    }

    pub fn stop(&self) -> io::Result<()> {
        system::signal(&self.child, Signal::Stop)
    }

    pub fn resume(&self) -> io::Result<()> {
        system::signal(&self.child, Signal::Continue)
    }

    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended = true;
        Ok(status)
    }

    /// Waits for its end, but not for ever; answers what was wrong with it, if anything.
    pub fn end_within(&mut self, patience: Duration) -> io::Result<Option<Fault>> {
        let end = system::now() + patience.as_nanos() as u64;
        let (slot, life) = (self.slot, self.life);
        let fault = |kind| {
            let at = system::now();
            Some(Fault { kind, slot, life, at, until: at })
        };
        loop {
            match self.has_ended()? {
                Some(status) if status.success() => return Ok(None),
                Some(_) => return Ok(fault(FaultKind::Died)),
                None if system::now() >= end => {
                    self.kill()?;
                    return Ok(fault(FaultKind::Stuck));
                }
                None => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // Nothing better is left to do with an error here; the process dies with us in any case.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
