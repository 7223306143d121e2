//! Starts this very program again in a role, and ends its children with it.
//!
//! `main` names the roles and asks [`dispatch`] first; elsewhere [`command`] gives the [`Command`] that starts one.
//!
//! ```no_run
//! use std::ffi::OsString;
//! use std::io;
//! use std::process::ExitCode;
//!
//! use harness::subprocess::{Subprocess, command, dispatch};
//!
//! fn work(arguments: &[OsString]) -> io::Result<()> {
//!     println!("worker {arguments:?}");
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     if let Some(ended) = dispatch(&[("worker", &work)]) {
//!         return ended;
//!     }
//!     let mut worker = Subprocess::spawn(command("worker").expect("this program").arg("7")).expect("a process");
//!     assert!(worker.wait().expect("its end").success());
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! # When a process dies
//!
//! The kernel kills a role with the *thread* that started it, so a thread that starts one outlives it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, set_parent_process_death_signal as set_death_signal,
};

use crate::scratch;

/// The first argument of a program that is started in a role: a word that no person would give.
const WORD: &str = "--in-the-role-of";

/// What a program does when it is started again: the role's name, and what runs with the arguments that follow it.
pub type Role<'a> = (&'a str, &'a dyn Fn(&[OsString]) -> io::Result<()>);

/// Runs the role this program was started in; `None` when it was started by a person.
///
/// A role that fails says why on the standard error and ends with exit code 1.
pub fn dispatch(roles: &[Role<'_>]) -> Option<ExitCode> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [word, name, parent, arguments @ ..] = &arguments[..] else {
        return None;
    };
    if word != WORD {
        return None;
    }
    let role = || {
        if name == scratch::KEEPER {
            return scratch::keep(arguments);
        }
        let known = roles.iter().find(|(known, _)| name == known);
        let (_, role) = known.ok_or_else(|| io::Error::other("this program has no such role"))?;
        die_with_parent()?;
        // Its end went unnoticed if it came before the line above.
        if parent.to_str() == Some(&parent_id().to_string()) { role(arguments) } else { Ok(()) }
    };
    Some(match role() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", name.display());
            ExitCode::FAILURE
        }
    })
}

/// This program, to be started in this role. Arguments that are added are the role's.
pub fn command(role: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args([WORD, role, &std::process::id().to_string()]);
    Ok(command)
}

/// Has the kernel kill this process when the thread that started it ends.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_death_signal(Some(Signal::KILL))?)
}

/// Has the kernel kill what this command starts when the thread that starts it ends: for programs that are not ours.
pub fn dies_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only one system call is made, and it is async-signal-safe.
    unsafe { command.pre_exec(die_with_parent) }
}

/// A child process that is killed and waited for on drop.
#[derive(Debug)]
pub struct Subprocess(Child);

impl Subprocess {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Stops it (SIGSTOP) until [`resume`](Self::resume).
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills it (SIGKILL) and waits until the kernel has taken it away.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for its end, but no longer than that; `None` if it goes on.
    pub fn wait_within(&mut self, most: Duration) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.0.try_wait()? {
            return Ok(Some(status));
        }
        ends_within(Pid::from_child(&self.0), most)?;
        self.0.try_wait()
    }

    /// Call it only for a child that has not been waited for: its process id may belong to another one since.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        // One that was waited for is not killed again, and nothing better is left to do with an error here.
        let _ = self.kill();
    }
}

/// Waits until a child of this process ends, but no longer than that; the child is still to be waited for.
pub(crate) fn ends_within(child: Pid, most: Duration) -> io::Result<bool> {
    let process = pidfd_open(child, PidfdFlags::empty())?;
    let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)], Some(&most)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_child_that_goes_on_is_told_from_one_that_has_ended() {
        let mut goes_on = Subprocess::spawn(Command::new("sleep").arg("1000")).expect("sleep");
        assert_eq!(goes_on.wait_within(Duration::ZERO).expect("a look"), None);
        assert_eq!(goes_on.kill().expect("its end").signal(), Some(9));
        let mut ends = Subprocess::spawn(&mut Command::new("true")).expect("true");
        let ended = ends.wait_within(Duration::from_secs(3_600)).expect("its end");
        assert!(ended.expect("an end").success());
    }
}
