//! Futexes in shared memory: sleep while a word has a value, wake the sleepers of a word.
//!
//! The futexes are shared ones: the kernel finds sleepers by page and offset, whatever address each process mapped the
//! segment at. (`FUTEX_PRIVATE_FLAG`, which the `atomic-wait` crate always sets, finds only sleepers of one process.)
//! Deadlines are absolute times of the monotonic clock, so an interrupted sleep does not begin anew.

use crate::memory::sync::atomics::AtomicU32;

#[cfg(not(loom))]
pub(crate) use system::{now, sleep, wake};

#[cfg(not(loom))]
mod system {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags};
    use rustix::time::{ClockId, Timespec, clock_gettime};

    use super::AtomicU32;

    /// The monotonic clock of this process's time namespace.
    #[inline]
    pub(crate) fn now() -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    /// Sleeps while `word` holds `expected`, until `deadline` on the clock of [`now`] at most.
    ///
    /// May return at any time: the caller looks again.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, deadline: Duration) {
        let until = Timespec { tv_sec: deadline.as_secs() as i64, tv_nsec: deadline.subsec_nanos().into() };
        match futex::wait_bitset(word, Flags::empty(), expected, Some(&until), NonZeroU32::MAX) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // Nothing else can come of a valid word and time; if it does, the caller's loop must not spin hot.
            Err(_) => std::thread::yield_now(),
        }
    }

    /// Wakes `most` of those that sleep on `word`, those first that have slept longest.
    pub(crate) fn wake(word: &AtomicU32, most: u32) {
        // The only failure is a word outside the address space, and this one is borrowed.
        let _ = futex::wake(word, Flags::empty(), most.min(i32::MAX as u32));
    }
}

/// A stand-in for the kernel's queue: the word is compared under the lock a waker takes, as the kernel does, and those
/// are woken first that have slept longest.
#[cfg(loom)]
pub(crate) mod model {
    use loom::sync::Mutex;
    use loom::thread::{self, Thread};

    use super::AtomicU32;
    use crate::memory::sync::atomics::Ordering::Relaxed;

    loom::lazy_static! {
        /// The sleepers, each with its word.
        static ref QUEUE: Mutex<Vec<(usize, Thread)>> = Mutex::new(Vec::new());
    }

    /// What no model's word ever holds.
    const NEVER: u32 = u32::MAX;

    /// Sleeps until somebody wakes: a wake-up that is lost is a deadlock of the model.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32) {
        let mut queue = QUEUE.lock().unwrap();
        // A read-modify-write reads the newest value, as the kernel's load under its bucket lock does; one that fails
        // stores nothing, as the kernel does not either.
        if word.compare_exchange(NEVER, NEVER, Relaxed, Relaxed) == Err(expected) {
            queue.push((place(word), thread::current()));
            drop(queue);
            thread::park();
        }
    }

    pub(crate) fn wake(word: &AtomicU32, most: u32) {
        let mut queue = QUEUE.lock().unwrap();
        let mut woken = Vec::new();
        queue.retain(|(at, sleeper)| {
            let wakes = *at == place(word) && woken.len() < most as usize;
            if wakes {
                woken.push(sleeper.clone());
            }
            !wakes
        });
        drop(queue);
        woken.iter().for_each(Thread::unpark);
    }

    fn place(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }
}

#[cfg(loom)]
pub(crate) use model::{sleep as sleep_forever, wake};
