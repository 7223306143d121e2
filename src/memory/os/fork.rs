//! Closes lock descriptors in forked children: a child must not inherit the locks that say its parent is alive.
//!
//! A child shares its parent's open file descriptions, so a lock would outlive the parent for as long as the child runs.
//! A handler that runs in every forked child therefore closes the lock descriptors and moves the process to another
//! *generation*; every handle remembers the generation it was made in and refuses to work in another.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static FIRST: AtomicPtr<DescriptorSlot> = AtomicPtr::new(std::ptr::null_mut());
static OPENING: AtomicBool = AtomicBool::new(false);

/// A place in the list of descriptors to close in a child; places are reused, never freed.
struct DescriptorSlot {
    descriptor: AtomicI32,
    next: *const DescriptorSlot,
}

const NONE: RawFd = -1;

/// The process generation: how many forks lie between the first handle and this process.
#[inline(always)]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// A descriptor that holds locks for this process and is closed in every forked child.
#[derive(Debug)]
pub(crate) struct LockDescriptor {
    slot: &'static DescriptorSlot,
    generation: u32,
}

impl DescriptorSlot {
    /// Closes the descriptor, if there is one, and leaves the slot empty.
    fn close(&self) {
        let descriptor = self.descriptor.swap(NONE, Ordering::AcqRel);
        if descriptor != NONE {
            // SAFETY: the slot owned the descriptor, open in this process, and has just given it up to us alone.
            unsafe { libc::close(descriptor) };
        }
    }
}

// A slot is reached by shared reference only; its `next` never changes once the slot is in the list.
impl std::fmt::Debug for DescriptorSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DescriptorSlot").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}
// SAFETY: `descriptor` is an atomic, and `next` is written before the slot is published and never again; it points to a
// slot that is never freed.
unsafe impl Sync for DescriptorSlot {}
// SAFETY: as for `Sync`; a slot has no ties to the thread that made it.
unsafe impl Send for DescriptorSlot {}

impl LockDescriptor {
    /// Opens the descriptor and puts it on the list, with no fork in between.
    pub(crate) fn open<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<Self, E> {
        install();
        let _opening = Opening::enter();
        let descriptor = open()?.into_raw_fd();
        let slot = slots()
            .find(|slot| {
                slot.descriptor.compare_exchange(NONE, descriptor, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            })
            .unwrap_or_else(|| push(descriptor));
        Ok(Self { slot, generation: generation() })
    }
}

impl AsRawFd for LockDescriptor {
    /// The descriptor, or -1 in a forked child.
    fn as_raw_fd(&self) -> RawFd {
        self.slot.descriptor.load(Ordering::Acquire)
    }
}

impl Drop for LockDescriptor {
    fn drop(&mut self) {
        // In a child the handler has closed it, and the slot may be another's by now.
        if self.generation == generation() {
            self.slot.close();
        }
    }
}

/// The lock between opening a descriptor and forking; the child's handler gives it back.
struct Opening;

impl Opening {
    fn enter() -> Self {
        let backoff = crossbeam_utils::Backoff::new();
        while OPENING.swap(true, Ordering::Acquire) {
            backoff.snooze();
        }
        Self
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.store(false, Ordering::Release);
    }
}

fn slots() -> impl Iterator<Item = &'static DescriptorSlot> {
    let mut at: *const DescriptorSlot = FIRST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: `at` is null or came from `push`, which leaks a `Box`: aligned, initialised, never freed, never written
        // through but for its atomic.
        let slot = unsafe { at.as_ref() }?;
        at = slot.next;
        Some(slot)
    })
}

fn push(descriptor: RawFd) -> &'static DescriptorSlot {
    // Pushes are serialised by `Opening`.
    let slot = Box::leak(Box::new(DescriptorSlot {
        descriptor: AtomicI32::new(descriptor),
        next: FIRST.load(Ordering::Acquire),
    }));
    let slot: &'static DescriptorSlot = slot;
    FIRST.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Release);
    slot
}

/// Installs the handlers, once a process image; forked children inherit them.
fn install() {
    static INSTALLED: Once = Once::new();
    static RESULT: OnceLock<i32> = OnceLock::new();
    INSTALLED.call_once(|| {
        // SAFETY: the three handlers are `extern "C"` functions that live as long as the program; all they do is
        // async-signal-safe: loads and stores of atomics, `sched_yield` and `close`.
        let result = unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
        let _ = RESULT.set(result);
    });
    // The only failure is ENOMEM for three pointers.
    assert_eq!(RESULT.get(), Some(&0), "pthread_atfork");
}

extern "C" fn before() {
    std::mem::forget(Opening::enter());
}

extern "C" fn after() {
    OPENING.store(false, Ordering::Release);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Nothing else in the child uses them: every handle of the parent's generation refuses to work.
    slots().for_each(DescriptorSlot::close);
    OPENING.store(false, Ordering::Release);
}
