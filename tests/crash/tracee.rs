//! A child process that stops right before its operation and then moves one instruction at a time, until it ends or is
//! killed.

use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use slotguard::Stamp;

use super::shared_page::SharedPage;
use harness::subprocess::die_with_parent;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("stepping through a child needs to know how this processor names its instruction counter");

const NOWHERE: *mut libc::c_void = std::ptr::null_mut();
/// Where the kernel keeps a child's instruction counter.
const COUNTER: *mut libc::c_void =
    (offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip)) as *mut libc::c_void;
/// `int3`
const BREAKPOINT: i64 = 0xcc;

/// A stopped child. Dropping it kills it.
pub struct Tracee {
    pid: libc::pid_t,
    /// Not waited for yet.
    here: bool,
}

/// What the child body is given.
pub struct SyncPoint<'a> {
    traced: bool,
    pub page: &'a SharedPage,
}

impl SyncPoint<'_> {
    /// Stops here: what follows is the operation.
    pub fn ready(&self) {
        if !self.traced {
            return;
        }
        trace_me();
        // SAFETY: `raise` takes any signal number; the tracer, our parent, is told of the stop and lets us go on.
        unsafe { libc::raise(libc::SIGSTOP) };
    }

    /// The operation is acknowledged: its author has been told that it is done.
    pub fn done(&self) {
        self.page.acknowledge(0);
    }

    /// The operation is acknowledged as the change with this stamp.
    pub fn done_as(&self, stamp: Stamp) {
        self.page.acknowledge(stamp.revision.0);
    }
}

impl Tracee {
    /// Forks a child that runs `body` up to its sync point.
    pub fn new(page: &SharedPage, body: impl FnOnce(&SyncPoint<'_>)) -> Self {
        let tracee = Self::fork(page, true, body);
        assert_eq!(tracee.wait(), State::Stopped(libc::SIGSTOP), "the child reaches its sync point");
        tracee
    }

    /// Forks a child that runs `body` on its own.
    pub fn free(page: &SharedPage, body: impl FnOnce(&SyncPoint<'_>)) -> Self {
        Self::fork(page, false, body)
    }

    fn fork(page: &SharedPage, traced: bool, body: impl FnOnce(&SyncPoint<'_>)) -> Self {
        // SAFETY: this process has one thread that runs tests, this one; the harness' main thread waits for it and holds
        // no lock that the child needs. The child leaves through `_exit` and returns to no frame of the parent.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    die_with_parent().expect("prctl");
                    body(&SyncPoint { traced, page });
                }));
                // SAFETY: `_exit` takes any number. The parent's destructors must not run here.
                unsafe { libc::_exit(if ended.is_ok() { 0 } else { 101 }) }
            }
            pid => Self { pid, here: true },
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub fn has_ended(&self) -> bool {
        !self.here
    }

    /// One instruction on; `false` if the child has ended with it.
    pub fn step(&mut self) -> bool {
        self.ptrace(libc::PTRACE_SINGLESTEP, NOWHERE, NOWHERE);
        self.is_here()
    }

    /// Waits for the next stop of the child; `false` if it has ended instead.
    fn is_here(&mut self) -> bool {
        match self.wait() {
            State::Stopped(libc::SIGTRAP) => {}
            State::Ended(0) => self.here = false,
            other => panic!("a child that only moves when told to: {other:?}"),
        }
        self.here
    }

    /// That many instructions on; `false` if the child has ended before.
    pub fn steps(&mut self, count: usize) -> bool {
        (0..count).all(|_| self.step())
    }

    /// On to the instruction at `address` and to its `visit`th execution; `false` if the child has ended before.
    ///
    /// A breakpoint: some hundred times faster than stepping there.
    pub fn run_to(&mut self, address: u64, visit: usize) -> bool {
        let place = address as *mut libc::c_void;
        let text = self.peek(libc::PTRACE_PEEKTEXT, place);
        let mut visits = usize::from(self.instruction() == address);
        while visits < visit {
            if self.instruction() == address && !self.step() {
                return false;
            }
            // An instruction that repeats itself is where it was.
            if self.instruction() != address {
                self.ptrace(libc::PTRACE_POKETEXT, place, (text & !0xff | BREAKPOINT) as *mut libc::c_void);
                self.ptrace(libc::PTRACE_CONT, NOWHERE, NOWHERE);
                if !self.is_here() {
                    return false;
                }
                self.ptrace(libc::PTRACE_POKETEXT, place, text as *mut libc::c_void);
                assert_eq!(self.instruction(), address + 1, "the child stops behind the breakpoint");
                self.ptrace(libc::PTRACE_POKEUSER, COUNTER, place);
            }
            visits += 1;
        }
        true
    }

    /// The address of the instruction that the stopped child executes next.
    pub fn instruction(&self) -> u64 {
        self.peek(libc::PTRACE_PEEKUSER, COUNTER) as u64
    }

    /// Lets a stopped child go on to its end.
    pub fn finish(mut self) {
        if self.here {
            self.ptrace(libc::PTRACE_CONT, NOWHERE, NOWHERE);
            self.join();
        }
    }

    /// Waits for the end of a child that was free to go.
    pub fn join(&mut self) {
        let state = self.wait();
        self.here = false;
        assert_eq!(state, State::Ended(0), "the child comes to a good end");
    }

    /// Waits until a free child has brought about what `done` looks for.
    pub fn until(&self, done: impl Fn() -> bool) {
        while !done() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let pid = Pid::from_raw(self.pid).expect("a child's number");
            let ended = waitid(WaitId::Pid(pid), options).expect("waitid");
            assert!(ended.is_none() || done(), "the child ended too soon: {ended:?}");
            std::thread::yield_now();
        }
    }

    /// SIGKILL, and nothing is left of it but what it stored.
    pub fn kill(mut self) {
        self.kill_and_wait();
    }

    /// Sends SIGKILL and does not wait for the death.
    pub fn send_kill(&self) {
        // SAFETY: `kill` takes any numbers; the child has not been waited for, so the number is still its own.
        let sent = unsafe { libc::kill(self.pid, libc::SIGKILL) };
        assert_eq!(sent, 0, "kill: {}", std::io::Error::last_os_error());
    }

    /// Waits for the death of a child that was sent SIGKILL.
    pub fn join_killed(mut self) {
        self.here = false;
        let state = self.wait();
        assert_eq!(state, State::Killed(libc::SIGKILL), "the child died of what it was to die of");
    }

    fn kill_and_wait(&mut self) {
        if std::mem::take(&mut self.here) {
            self.send_kill();
            while !matches!(self.wait(), State::Ended(_) | State::Killed(_)) {}
        }
    }

    fn ptrace(&self, request: libc::c_uint, place: *mut libc::c_void, data: *mut libc::c_void) {
        // SAFETY: the requests made here take a traced child that is stopped, a place in the *child* and a word for it;
        // of ours they touch nothing, and a place that is not there is answered with an error.
        let result = unsafe { libc::ptrace(request, self.pid, place, data) };
        assert_eq!(result, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
    }

    fn peek(&self, request: libc::c_uint, place: *mut libc::c_void) -> i64 {
        // SAFETY: takes nothing and answers where this thread's own `errno` is, for as long as the thread lives.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: aligned, valid, and nobody else's.
        unsafe { errno.write(0) };
        // SAFETY: as for the other requests; the C library's function answers the word.
        let word = unsafe { libc::ptrace(request, self.pid, place, NOWHERE) };
        // -1 may be the word or an error.
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(0), "ptrace {request}: {error}");
        word
    }

    fn wait(&self) -> State {
        let mut status = 0;
        loop {
            // SAFETY: `waitpid` takes a child's number and a place for its status that lives across the call.
            let found = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if found == self.pid {
                break;
            }
            let error = std::io::Error::last_os_error();
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "waitpid: {error}");
        }
        if libc::WIFSTOPPED(status) {
            State::Stopped(libc::WSTOPSIG(status))
        } else if libc::WIFEXITED(status) {
            State::Ended(libc::WEXITSTATUS(status))
        } else {
            State::Killed(libc::WTERMSIG(status))
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.kill_and_wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Stopped(i32),
    Ended(i32),
    Killed(i32),
}

fn trace_me() {
    // SAFETY: the request looks at no other argument; it makes our parent our tracer.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, NOWHERE, NOWHERE) };
    assert_eq!(result, 0, "ptrace: {}", std::io::Error::last_os_error());
}

/// Keeps this process and its later children on one processor: a child that is stepped through is woken half a million
/// times, and waking a process is several times dearer on another processor.
pub fn stay_on_one_processor() {
    let all = rustix::thread::sched_getaffinity(None).expect("the processors we may use");
    let mut one = rustix::thread::CpuSet::new();
    // Not all tests on the first.
    let usable: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    one.set(usable[std::process::id() as usize % usable.len()]);
    rustix::thread::sched_setaffinity(None, &one).expect("one of them");
}
