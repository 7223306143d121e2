//! Who is alive, decided by the kernel: a participant's row is a lock it holds for as long as it lives.
//!
//! Row *i* is an open-file-description write lock on byte [`BASE`]` + i` of the segment's file. Taking the lock is
//! taking the row. The kernel drops it when the process is gone and only then: across PID namespaces, zombies and PID
//! reuse; and since it does so after the address space is gone, a free lock proves that no store of the owner can
//! follow.
//!
//! A second byte a row is the *right* to the row: to recover what a dead owner left, and to take the row. It is held for
//! as long as that takes, so recovery is exclusive, and whoever is killed while recovering is followed by the next. It is
//! not the row's own lock, because a recoverer that is stopped with that in its hands would make the dead look alive and
//! keep their claims; and a newcomer locks the row only after it has changed the epoch, for the same reason.
//!
//! Pid, command and time are stored for people to read and decide nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::os::fork::LockDescriptor;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};
use crate::mutant::planted;

/// Where the lock bytes begin: past any byte a segment can have, so that no lock of other software is in the way.
const BASE: i64 = 1 << 46;
/// Where the bytes of the rights begin, counted from [`BASE`].
const RIGHTS: u32 = 1 << 16;
/// The byte a region is locked by while a segment is being placed into it.
#[cfg(feature = "shared_memory")]
pub(crate) const PLACING: u32 = 1 << 20;

/// The locks of one attachment.
#[derive(Debug)]
pub(crate) struct Locks {
    descriptor: LockDescriptor,
}

impl Locks {
    /// Takes a descriptor of its own through `open`: locks belong to an open file description.
    pub(crate) fn open(open: impl FnOnce() -> Result<OwnedFd>) -> Result<Self> {
        Ok(Self { descriptor: LockDescriptor::open(open)? })
    }

    /// Takes the lock of `row`; `false` if another attachment holds it.
    pub(crate) fn try_lock(&self, row: u32) -> Result<bool> {
        match self.control(libc::F_OFD_SETLK, libc::F_WRLCK, row) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(cause) => Err(Error::Io { action: "lock a participant's row", path: None, cause }),
        }
    }

    pub(crate) fn unlock(&self, row: u32) {
        // An unlock of a byte we hold can only fail for want of memory to split a range; the lock then goes with the
        // descriptor.
        let _ = self.control(libc::F_OFD_SETLK, libc::F_UNLCK, row);
    }

    /// Takes the right to `row` if its owner is gone; `false` if it lives or another has the right.
    pub(crate) fn try_take_over(&self, row: u32) -> Result<bool> {
        if !self.try_lock(right_to(row))? {
            return Ok(false);
        }
        // Only now: who takes a row has the right to it until it holds the lock.
        let free = !self.is_held_by_another(row);
        if !free {
            self.give_up(row);
        }
        Ok(free)
    }

    /// Gives back the right to `row`.
    pub(crate) fn give_up(&self, row: u32) {
        if right_to(row) != row {
            self.unlock(right_to(row));
        }
    }

    /// Whether another attachment holds the lock of `row`. Our own locks do not show.
    pub(crate) fn is_held_by_another(&self, row: u32) -> bool {
        match self.control(libc::F_OFD_GETLK, libc::F_WRLCK, row) {
            Ok(found) => found != libc::F_UNLCK,
            // Unknown counts as alive: presuming a death would let two act as one.
            Err(_) => true,
        }
    }

    fn control(&self, command: i32, kind: i32, row: u32) -> io::Result<i32> {
        // SAFETY: `flock` is a plain C struct of integers for which all zeros is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = BASE + i64::from(row);
        lock.l_len = 1;
        let command = match command {
            libc::F_OFD_SETLK if planted("locks of the process") => libc::F_SETLK,
            libc::F_OFD_GETLK if planted("locks of the process") => libc::F_GETLK,
            command => command,
        };
        loop {
            // SAFETY: `fcntl` with an OFD lock command takes a descriptor (a stale or -1 one is answered with EBADF) and a
            // pointer to a `flock` that lives across the call, with `l_pid` zero as these commands demand.
            let result = unsafe { libc::fcntl(self.descriptor.as_raw_fd(), command, &raw mut lock) };
            if result == 0 {
                return Ok(i32::from(lock.l_type));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// The byte that stands for the right to `row`.
fn right_to(row: u32) -> u32 {
    if planted("recover under the lock of the row") { row } else { RIGHTS + row }
}

impl Arena {
    /// Whether `owner` may still store into the segment, as `me`, which holds `locks`, can tell.
    pub(crate) fn is_alive(&self, owner: OwnerWord, me: OwnerWord, locks: &Locks) -> bool {
        if owner == me || planted("nobody ever dies") {
            return true;
        }
        if owner.row() >= self.rows() {
            return false;
        }
        let word = RowWord(self.row(owner.row()).word.load(Acquire));
        if !word.is_attached() || word.epoch() != owner.epoch() {
            return false;
        }
        if planted("liveness by pid") {
            let pid = rustix::process::Pid::from_raw(self.row(owner.row()).pid.load(Relaxed) as i32);
            return pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
        }
        // Our own locks do not show, but a row of ours in this epoch would be `me`.
        locks.is_held_by_another(owner.row())
    }
}
