//! Tells live participants from dead ones by file locks: each holds the lock of its row until the kernel drops it.
//!
//! Row *i* is an open-file-description write lock on byte [`BASE`]` + i` of the segment's file. Taking the lock is
//! taking the row. The kernel drops it when the process is gone and only then: across PID namespaces, zombies and PID
//! reuse; and since it does so after the address space is gone, a free lock proves that no store of the owner can
//! follow.
//!
//! A second byte a row is the row's *recovery lock*: it is held while a dead owner's lanes are recovered and while the row
//! is taken, so recovery is exclusive, and if a recoverer is killed, another can start over. The row's own lock would not
//! do: a recoverer stopped while it holds that lock would make the dead owner look alive and keep its claims. For the same
//! reason a newcomer locks the row only after it has changed the epoch.
//!
//! Pid, command and time are stored for people to read and decide nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::os::fork::LockDescriptor;
use crate::memory::sync::atomics::Ordering::Acquire;

/// Where the lock bytes begin: past any byte a segment can have, so that no lock of other software is in the way.
const BASE: i64 = 1 << 46;
/// Where the bytes of the recovery locks begin, counted from [`BASE`].
const RECOVERY: u32 = 1 << 16;
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

    /// Takes the recovery lock of `row` if the row's owner is gone; `None` if it lives or another recovers the row.
    pub(crate) fn try_recover(&self, row: u32) -> Result<Option<RecoveryLock<'_>>> {
        if !self.try_lock(recovery_byte(row))? {
            return Ok(None);
        }
        let lock = RecoveryLock { locks: self, row };
        // Only now: a newcomer keeps the recovery lock until it holds the row's own.
        Ok((!self.is_held_by_another(row)).then_some(lock))
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

/// The recovery lock of a row, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct RecoveryLock<'a> {
    locks: &'a Locks,
    row: u32,
}

impl Drop for RecoveryLock<'_> {
    fn drop(&mut self) {
        self.locks.unlock(recovery_byte(self.row));
    }
}

/// The byte whose lock is the recovery lock of `row`.
fn recovery_byte(row: u32) -> u32 {
    RECOVERY + row
}

impl Arena {
    /// Whether `owner` may still store into the segment. The caller is `me` and holds `locks`.
    pub(crate) fn is_alive(&self, owner: OwnerWord, me: OwnerWord, locks: &Locks) -> bool {
        if owner == me {
            return true;
        }
        if owner.row() >= self.rows() {
            return false;
        }
        let word = RowWord(self.row(owner.row()).word.load(Acquire));
        if !word.is_attached() || word.epoch() != owner.epoch() {
            return false;
        }
        // Our own locks do not show, but a row of ours in this epoch would be `me`.
        locks.is_held_by_another(owner.row())
    }
}
