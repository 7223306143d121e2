//! Whether an update that nobody waits for is free of system calls: it is made where any system call is death.
//!
//! A process of its own warms up, gives up all system calls but read, write and exit (strict seccomp), and goes on updating
//! and reading. A second one does the same and then wakes a futex, as an update with a waiter would: it must be killed,
//! or the first one's survival shows nothing.

use std::{io, os::unix::process::ExitStatusExt, process::Stdio, sync::atomic::AtomicU32};

use harness::subprocess::command;
use rustix::thread::futex;
use slotguard::Segment;

use super::rivals::one_more;

/// Updates and reads made in silence.
pub const OPERATIONS: u32 = 10_000;

/// The role that makes an update without a waiter where any system call is death.
pub const QUIET: &str = "quiet";
/// The role that makes one with one system call more, which must be noticed.
pub const QUIET_CONTROL: &str = "quiet-control";

/// `Some(true)` when they made no system call, `Some(false)` when they did, `None` where the kernel cannot say.
pub fn is_silent() -> io::Result<Option<bool>> {
    let killed = |role: &str| -> io::Result<Option<bool>> {
        let status = command(role)?.stdin(Stdio::null()).status()?;
        Ok(match (status.code(), status.signal()) {
            (Some(0), _) => Some(false),
            (_, Some(libc::SIGKILL)) => Some(true),
            _ => None,
        })
    };
    let talker = killed(QUIET_CONTROL)?;
    let quiet = killed(QUIET)?;
    Ok((talker == Some(true)).then_some(quiet == Some(false)))
}

/// What that process does; it ends itself unless something goes wrong before the silence.
pub fn update_in_silence(and_talk: bool) -> io::Result<()> {
    let segment = Segment::builder().records(1).payload(64).anonymous().map_err(io::Error::other)?;
    let record = segment.record(0).map_err(io::Error::other)?;
    record.update(|_, draft| draft.write(&[0; 64])).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    let mut again = || {
        for _ in 0..OPERATIONS {
            let updated = record.update(|_, draft| one_more(draft.edit()));
            if updated.is_err() || record.read(&mut bytes).is_err() {
                std::process::abort();
            }
        }
    };
    again();
    // SAFETY: takes numbers only; from here on this thread may only read, write and exit.
    let code = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT, 0, 0, 0) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    again();
    if and_talk {
        let _ = futex::wake(&AtomicU32::new(0), futex::Flags::empty(), 1);
    }
    // SAFETY: ends this only thread, and with it the process; `exit_group`, which Rust would use, is not allowed any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the process has ended")
}
