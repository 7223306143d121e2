//! The few calls to Linux that the standard library does not offer, and all `unsafe` of the harness.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Nanoseconds of CLOCK_MONOTONIC: one clock for all processes of the machine.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What the fault injector does to a process it started itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Kill,
    Stop,
    Continue,
}

/// Sends a signal to a child of ours that has not been waited for, so its pid cannot belong to anybody else.
pub fn signal(child: &std::process::Child, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(child.id() as libc::pid_t, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes this process die with the one that started it; `parent` is who that was, in case it is gone already.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory of ours.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the process that started this one is gone"));
    }
    Ok(())
}

/// Lets other threads run: the window in which a naive read-modify-write loses updates.
pub fn yield_now() {
    std::thread::yield_now();
}

/// Reserves `bytes` of a file now, so that writing through a mapping can never meet a full disk.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: posix_fallocate takes integers; the descriptor is open for as long as `file` is borrowed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A file of words mapped into this process and shared with all others that map it.
pub struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping belongs to no thread, lives until drop, and is reached through atomics only.
unsafe impl Send for Words {}
// SAFETY: as above: every access through `&Words` is an atomic one.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `count` words of a file that is at least as long.
    pub fn map(file: &File, count: usize) -> io::Result<Self> {
        let bytes = count * size_of::<AtomicU64>();
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::other(format!("the file to map holds fewer than {bytes} bytes")));
        }
        // SAFETY: a fresh mapping at an address the kernel chooses replaces nothing; the descriptor is open.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { start, count })
    }

    /// Word `index`; an index past the end is a bug of the caller and panics.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count, "word {index} of a mapping of {}", self.count);
        // SAFETY: `index` is inside the mapping, which is page-aligned and lives as long as `self`.
        let word = unsafe { self.start.add(index) };
        // SAFETY: the word is aligned, readable and writable, and everybody reaches it atomically.
        unsafe { word.as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our own mapping, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * 8) };
    }
}

/// The signals by which people end a run: blocked in every thread, so that one thread can wait for them.
pub struct EndSignals(libc::sigset_t);

impl EndSignals {
    /// Blocks SIGINT, SIGTERM and SIGHUP; call it before any other thread starts.
    pub fn block() -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: sigemptyset has initialised it.
        let mut set = unsafe { set.assume_init() };
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the set is initialised and the signal number is a valid one.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        // SAFETY: the set is initialised; the old mask is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
            0 => Ok(Self(set)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Blocks until one of them arrives and answers its number.
    pub fn wait(&self) -> i32 {
        let mut signal = 0;
        // SAFETY: the set is initialised and `signal` is writable; sigwait fails for an invalid set only.
        unsafe { libc::sigwait(&self.0, &mut signal) };
        signal
    }
}
