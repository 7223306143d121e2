//! Children made by `fork` alone, which go on in the midst of a test.
#![allow(dead_code, reason = "each test file uses a part")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

/// A child made by `fork` alone.
pub struct Forked {
    pub pid: Pid,
}

/// Forks a child that runs `body` and ends without running anything else of ours. In this process the body is forgotten,
/// and what it owns with it.
pub fn fork(body: impl FnOnce()) -> Forked {
    // SAFETY: the child runs the body, which uses only what it inherited or makes, and leaves by `_exit`; the C library
    // keeps its allocator usable in a forked child.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let done = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: ends the process at once; nothing of the parent's is run or flushed.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    std::mem::forget(body);
    Forked { pid: Pid::from_raw(pid).expect("a child") }
}

impl Forked {
    /// Waits for its end.
    pub fn wait(self) -> WaitStatus {
        waitpid(Some(self.pid), WaitOptions::empty()).expect("a child of ours").expect("it has ended").1
    }

    /// Waits for the child, whose body must not have panicked.
    #[track_caller]
    pub fn join(self) {
        assert_eq!(self.wait().exit_status(), Some(0), "the child's own report is above");
    }

    /// Kills it.
    pub fn kill(self) {
        kill_process(self.pid, Signal::KILL).expect("a child of ours");
        assert_eq!(self.wait().terminating_signal(), Some(Signal::KILL.as_raw()));
    }
}
