//! How much memory an operation asks for, and how long one takes at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes in use.
pub struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `place` came from the same allocator.
        unsafe { System.dealloc(place, layout) };
    }
}

/// Runs something that may have this many bytes more in use than before, at any moment.
pub fn within<T>(most: usize, what: &str, run: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let answer = run();
    let used = PEAK.load(Relaxed).saturating_sub(before);
    assert!(used <= most, "{what} had {used} bytes in use, at most {most} are due");
    answer
}

/// Ends the process if one operation does not end.
pub struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    operations: AtomicUsize,
    over: Mutex<bool>,
    changed: Condvar,
    what: Mutex<String>,
    idle: AtomicBool,
}

impl Watchdog {
    /// Watches from now on that each operation ends within that time.
    pub fn new(longest: Duration) -> Self {
        let shared = Arc::new(Shared {
            operations: AtomicUsize::new(0),
            over: Mutex::new(false),
            changed: Condvar::new(),
            what: Mutex::new(String::new()),
            idle: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut over = watched.over.lock().unwrap();
            while !*over {
                let seen = watched.operations.load(Relaxed);
                let (guard, wait) = watched.changed.wait_timeout(over, longest).unwrap();
                over = guard;
                if wait.timed_out() && !watched.idle.load(Relaxed) && watched.operations.load(Relaxed) == seen {
                    eprintln!("no operation ended in {longest:?}: {}", watched.what.lock().unwrap());
                    std::process::abort();
                }
            }
        });
        Self { shared }
    }

    /// Says what is being done.
    pub fn doing(&self, what: String) {
        *self.shared.what.lock().unwrap() = what;
        self.done();
    }

    /// One operation has ended.
    pub fn done(&self) {
        self.shared.operations.fetch_add(1, Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Also when the test panics: then it is the panic that is to be seen.
        self.shared.idle.store(true, Relaxed);
        if let Ok(mut over) = self.shared.over.lock() {
            *over = true;
        }
        self.shared.changed.notify_all();
    }
}
