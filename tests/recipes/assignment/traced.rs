//! A child that moves from one system call to the next, so that a test sees what it does to files, and in which order, and
//! holds it up or kills it wherever it likes.

use std::ffi::OsStr;
use std::fs::{File, read_link};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr::{null_mut, without_provenance_mut};

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use crate::forked::{Forked, fork};

/// What a system call does to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes to it, cuts it, or changes its mode.
    Change(PathBuf),
    /// Waits until it is on the disk.
    Sync(PathBuf),
    /// Renames the first to the second.
    Rename(PathBuf, PathBuf),
    /// Takes its lock.
    Lock(PathBuf),
    /// Something else.
    Other,
}

/// Where the child is stopped.
#[derive(Debug)]
pub enum Stop {
    /// Right before it does this.
    Before(Act),
    /// Right after it has done this.
    After(Act),
    /// Right after it could not do what it was about to do.
    Failed,
}

/// A child that is stopped at a system call. It goes when its parent does.
pub struct Traced {
    child: Forked,
    /// What the call does that it is in.
    act: Act,
}

impl Traced {
    /// Forks a child that stops before it does anything of this.
    pub fn new(body: impl FnOnce()) -> Self {
        let child = fork(|| {
            ask(libc::PTRACE_TRACEME, 0, 0, null_mut()).expect("a parent that traces");
            // SAFETY: `raise` takes any signal; the parent is told of the stop and lets us go on.
            unsafe { libc::raise(libc::SIGSTOP) };
            body();
        });
        let traced = Self { child, act: Act::Other };
        assert_eq!(traced.wait().stopping_signal(), Some(libc::SIGSTOP));
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        traced.ask(libc::PTRACE_SETOPTIONS, 0, without_provenance_mut(options as usize));
        traced
    }

    /// On to the next beginning or end of a system call; `None` if the child has come to a good end instead.
    pub fn next(&mut self) -> Option<Stop> {
        self.ask(libc::PTRACE_SYSCALL, 0, null_mut());
        let status = self.wait();
        if status.exited() {
            assert_eq!(status.exit_status(), Some(0), "the child's own report is above");
            return None;
        }
        assert_eq!(status.stopping_signal(), Some(libc::SIGTRAP | 0x80), "{status:?}");
        // `op:u8 … | ip | sp | number, six arguments`, or `… | answer, is_error:u8`
        let mut info = [0_u64; 11];
        self.ask(libc::PTRACE_GET_SYSCALL_INFO, size_of_val(&info), info.as_mut_ptr().cast());
        let [op, _, _, first, second, ..] = info;
        Some(match op.to_ne_bytes()[0] {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                self.act = self.act_of(first as libc::c_long, &info[4..10]);
                Stop::Before(self.act.clone())
            }
            libc::PTRACE_SYSCALL_INFO_EXIT if second.to_ne_bytes()[0] == 0 => Stop::After(self.act.clone()),
            libc::PTRACE_SYSCALL_INFO_EXIT => Stop::Failed,
            other => panic!("a stop of kind {other}"),
        })
    }

    /// On to where it is about to do what `is_it` looks for.
    pub fn before(&mut self, is_it: impl Fn(&Act) -> bool) {
        while !matches!(self.next().expect("it does that"), Stop::Before(act) if is_it(&act)) {}
    }

    /// On to its end; answers all it did to files.
    pub fn finish(mut self) -> Vec<Act> {
        let mut done = Vec::new();
        while let Some(stop) = self.next() {
            if let Stop::After(act @ (Act::Change(_) | Act::Sync(_) | Act::Rename(..))) = stop {
                done.push(act);
            }
        }
        done
    }

    /// Kills it where it is.
    pub fn kill(self) {
        self.child.kill();
    }

    fn act_of(&self, call: libc::c_long, words: &[u64]) -> Act {
        match call {
            libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_ftruncate | libc::SYS_fchmod => {
                Act::Change(self.file(words[0]))
            }
            libc::SYS_fsync | libc::SYS_fdatasync => Act::Sync(self.file(words[0])),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename => Act::Rename(self.path(words[0]), self.path(words[1])),
            libc::SYS_renameat | libc::SYS_renameat2 => Act::Rename(self.path(words[1]), self.path(words[3])),
            libc::SYS_flock if words[1] as i32 != libc::LOCK_UN => Act::Lock(self.file(words[0])),
            _ => Act::Other,
        }
    }

    /// The file that the child knows by this descriptor.
    fn file(&self, descriptor: u64) -> PathBuf {
        let link = format!("/proc/{}/fd/{descriptor}", self.child.pid);
        read_link(link).expect("an open file of a child of ours")
    }

    /// The path at this address of the child.
    fn path(&self, address: u64) -> PathBuf {
        let memory = File::open(format!("/proc/{}/mem", self.child.pid)).expect("a child that we trace");
        let mut bytes = [0; 4096];
        let length = memory.read_at(&mut bytes, address).expect("a path");
        let length = bytes[..length].iter().position(|byte| *byte == 0).expect("a path that ends");
        let path = PathBuf::from(OsStr::from_bytes(&bytes[..length]));
        assert!(path.is_absolute(), "{path:?} says nothing without its folder");
        path
    }

    fn wait(&self) -> WaitStatus {
        waitpid(Some(self.child.pid), WaitOptions::UNTRACED).expect("a child of ours").expect("a change").1
    }

    #[track_caller]
    fn ask(&self, request: libc::c_uint, size: usize, data: *mut libc::c_void) {
        ask(request, Pid::as_raw(Some(self.child.pid)), size, data).unwrap();
    }
}

/// `ptrace`, of what a child or its tracer may ask.
fn ask(request: libc::c_uint, pid: libc::pid_t, size: usize, data: *mut libc::c_void) -> io::Result<()> {
    let size: *mut libc::c_void = without_provenance_mut(size);
    // SAFETY: the one request made here that writes to our memory is PTRACE_GET_SYSCALL_INFO: at most `size` bytes, to
    // `data`, which is a place of that many. The others take numbers for both.
    let answer = unsafe { libc::ptrace(request, pid, size, data) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
