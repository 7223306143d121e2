//! The atomics the protocol is written with: the standard ones, or loom's when the protocol is model-checked.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
use super::modelled;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub(crate) use modelled::{AtomicU32, AtomicU64};

/// One turn of a loop that waits for another thread.
#[inline(always)]
pub(crate) fn pause() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Stands between the two halves of a store-then-look pair in models that treat `SeqCst` accesses as `AcqRel`; see
/// `modelled::Sequential`.
///
/// Outside loom the accesses themselves are `SeqCst` and this is nothing.
#[inline(always)]
pub(crate) fn loom_fence(_edge: &str) {
    #[cfg(loom)]
    if crate::edge::edge(_edge, Ordering::SeqCst) == Ordering::SeqCst {
        modelled::fence_between();
    }
}
