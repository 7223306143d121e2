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
