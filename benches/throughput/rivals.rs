//! What people use instead, doing the same work: one more in a counter and the fingerprint of all bytes, under a lock.
//!
//! Threads have `parking_lot` and `std`; processes have a robust process-shared pthread mutex and `flock`. All of them
//! change the value in place and hash it with the function slotguard itself uses.

use std::{
    cell::UnsafeCell,
    fs::File,
    io,
    mem::MaybeUninit,
    path::Path,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use crate::support::mapped::{Mapped, Shareable};

/// The largest payload any row uses.
pub const LARGEST: usize = 1024;

/// A value with what goes with it: what the mutexes guard. Aligned, or a rival's speed would hang on where it happens to
/// lie.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Value {
    bytes: [u8; LARGEST],
    version: u64,
    fingerprint: u64,
}

/// A fresh value, all zeros.
pub const ZEROS: Value = Value { bytes: [0; LARGEST], version: 0, fingerprint: 0 };

/// The change every row makes: one more in the number that the first eight bytes are.
#[inline]
pub fn one_more(bytes: &mut [u8]) {
    let (first, _) = bytes.split_first_chunk_mut::<8>().expect("every payload of this bench is at least eight bytes");
    *first = (u64::from_le_bytes(*first) + 1).to_le_bytes();
}

impl Value {
    /// The whole read-modify-write of the first `payload` bytes.
    #[inline]
    pub fn update(&mut self, payload: usize, hash: impl Fn(&[u8]) -> u64) {
        let bytes = &mut self.bytes[..payload];
        one_more(bytes);
        self.fingerprint = hash(bytes);
        self.version += 1;
    }

    /// What a reader takes away: the bytes, and the version as its answer.
    #[inline]
    pub fn read(&self, payload: usize, into: &mut Vec<u8>) -> u64 {
        into.clear();
        into.extend_from_slice(&self.bytes[..payload]);
        self.version
    }

    /// How many changes the value has seen, by its own count and by the number in it, which must agree.
    pub fn changes(&self) -> u64 {
        let (first, _) = self.bytes.split_first_chunk::<8>().expect("a value has a first number");
        assert_eq!(u64::from_le_bytes(*first), self.version, "a change was lost under a lock");
        self.version
    }
}

/// A value under a robust process-shared pthread mutex, in a mapping.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Robust {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    value: UnsafeCell<Value>,
}

// SAFETY: both parts are `UnsafeCell`s; zeros are a value of both, and they are only changed under the mutex or by pthread.
unsafe impl Shareable for Robust {}
// SAFETY: the value is reached only while the mutex is held, and a pthread mutex may be used from any thread.
unsafe impl Sync for Robust {}

impl Robust {
    /// Makes the mutex in a fresh mapping. To be called once, before anybody else has it.
    pub fn prepare(&self) {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: room for attributes that nobody else knows of.
        check(unsafe { libc::pthread_mutexattr_init(attributes) });
        // SAFETY: initialised above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: initialised above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) });
        // SAFETY: zeroed memory of the right size that nobody uses yet, and it does not move: it lies in a mapping.
        check(unsafe { libc::pthread_mutex_init(self.mutex.get(), attributes) });
        // SAFETY: initialised above and not used again.
        check(unsafe { libc::pthread_mutexattr_destroy(attributes) });
    }

    /// Runs `work` with the mutex held.
    #[inline]
    pub fn locked<R>(&self, work: impl FnOnce(&mut Value) -> R) -> R {
        // SAFETY: `prepare` has made the mutex.
        match unsafe { libc::pthread_mutex_lock(self.mutex.get()) } {
            0 => {}
            // The previous holder died; the mutex is ours and is made good.
            // SAFETY: we hold the mutex.
            libc::EOWNERDEAD => check(unsafe { libc::pthread_mutex_consistent(self.mutex.get()) }),
            other => check(other),
        }
        // SAFETY: the mutex is held, so this is the only reference to the value in any thread or process.
        let done = work(unsafe { &mut *self.value.get() });
        // SAFETY: we hold the mutex.
        check(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) });
        done
    }
}

/// A value in a mapping, changed by whoever holds the file's `flock`.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Flocked {
    value: UnsafeCell<Value>,
}

// SAFETY: one `UnsafeCell`; zeros are a value, and it is only changed under the file's lock.
unsafe impl Shareable for Flocked {}
// SAFETY: the value is reached only while the file's lock is held.
unsafe impl Sync for Flocked {}

/// One worker's own handle on a [`Flocked`] file: `flock` excludes open files, not threads.
#[derive(Debug)]
pub struct FlockedFile {
    file: File,
    mapped: Mapped<Flocked>,
}

impl FlockedFile {
    /// Opens the file anew and maps it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mapped = Mapped::open(path)?;
        Ok(Self { file: File::options().read(true).write(true).open(path)?, mapped })
    }

    /// Runs `work` with the file's lock held.
    #[inline]
    pub fn locked<R>(&self, work: impl FnOnce(&mut Value) -> R) -> R {
        self.file.lock().expect("flock of the run's own file");
        // SAFETY: the file's lock is held through our own open file, so no other worker has a reference to the value.
        let done = work(unsafe { &mut *self.mapped.get().value.get() });
        self.file.unlock().expect("flock of the run's own file");
        done
    }
}

/// A number that everybody raises with compare-and-swap, trying again when another was first.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Word(AtomicU64);

// SAFETY: one atomic; every pattern of bytes is a value.
unsafe impl Shareable for Word {}

impl Word {
    /// Raises it by one.
    #[inline]
    pub fn one_more(&self) {
        let mut seen = self.0.load(Relaxed);
        while let Err(now) = self.0.compare_exchange(seen, seen + 1, SeqCst, Relaxed) {
            seen = now;
        }
    }

    /// What it has come to.
    pub fn changes(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

fn check(code: libc::c_int) {
    assert_eq!(code, 0, "pthread: {}", io::Error::from_raw_os_error(code));
}
