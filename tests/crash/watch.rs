//! What of a segment others can see: its bytes, and which of its rows the kernel says are held.
//!
//! Between two instructions that change neither, a kill at one is a kill at any other. So a sweep that kills after each
//! of the instructions that do has killed at every state there is.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The last state seen.
pub struct Watch {
    file: File,
    bytes: Vec<u8>,
    held: Vec<(i64, i64)>,
}

impl Watch {
    pub fn new(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
        let length = file.metadata().expect("its length").len();
        let mut watch = Self { bytes: vec![0; length as usize], held: Vec::new(), file };
        watch.has_changed();
        watch
    }

    /// Whether anything is different from the last time.
    pub fn has_changed(&mut self) -> bool {
        let mut bytes = vec![0; self.bytes.len()];
        self.file.read_exact_at(&mut bytes, 0).expect("all of the segment");
        let mut held = Vec::new();
        self.held_between(0, i64::MAX, &mut held);
        let changed = bytes != self.bytes || held != self.held;
        (self.bytes, self.held) = (bytes, held);
        changed
    }

    /// The byte ranges from `start` to before `end` that somebody has locked.
    fn held_between(&self, start: i64, end: i64, into: &mut Vec<(i64, i64)>) {
        if start >= end {
            return;
        }
        // SAFETY: `flock` is a plain C struct of integers for which all zeros is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        (lock.l_start, lock.l_len) = (start, end - start);
        // SAFETY: the command takes an open descriptor and a `flock` that lives across the call.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(result, 0, "fcntl: {}", std::io::Error::last_os_error());
        if i32::from(lock.l_type) == libc::F_UNLCK {
            return;
        }
        // Any one of the locks in the range is found, not the first.
        let (from, to) = (lock.l_start.max(start), (lock.l_start + lock.l_len).min(end));
        self.held_between(start, from, into);
        into.push((from, to));
        self.held_between(to, end, into);
    }
}
