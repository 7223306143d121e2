//! A clock cheap enough to time a single operation of a few nanoseconds: the processor's own counter.
//!
//! On x86-64 the counter is read between two fences, so that the operation timed is neither begun before nor ended after.
//! What the two readings themselves cost is measured once and taken off. A counter may move in steps of several
//! nanoseconds, so the percentiles of very short operations do too. Elsewhere the system's monotonic clock does it.

use std::time::{Duration, Instant};

/// The counter now. Ticks of two threads, or two processes, of one machine compare.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn now() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: SSE2, which the fence needs, is part of every x86-64 processor.
    unsafe { _mm_lfence() };
    // SAFETY: the counter may be read from user space on every Linux this runs on; it touches no memory.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: as the first fence.
    unsafe { _mm_lfence() };
    ticks
}

/// The counter now: nanoseconds of the monotonic clock, where the processor's counter is not known to be steady.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn now() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How long a tick is, and what reading the clock twice costs.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    ticks_per_nanosecond: f64,
    cost_of_a_pair: u64,
    step: u64,
}

impl Rate {
    /// Compares the counter with the system's clock for 20 ms.
    pub fn measured() -> Self {
        let (ticks, start) = (now(), Instant::now());
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let ticks_per_nanosecond = (now() - ticks) as f64 / start.elapsed().as_nanos() as f64;
        let mut pairs: Vec<u64> = (0..10_001)
            .map(|_| {
                let before = now();
                now() - before
            })
            .collect();
        pairs.sort_unstable();
        Self {
            ticks_per_nanosecond,
            cost_of_a_pair: pairs[pairs.len() / 2],
            step: pairs.iter().copied().find(|pair| *pair > 0).unwrap_or(1),
        }
    }

    /// Nanoseconds of an interval that was read with two calls of [`now`], without the cost of the two calls.
    pub fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks.saturating_sub(self.cost_of_a_pair) as f64 / self.ticks_per_nanosecond
    }

    /// What two readings cost, in nanoseconds.
    pub fn cost(&self) -> f64 {
        self.cost_of_a_pair as f64 / self.ticks_per_nanosecond
    }

    /// The smallest interval that could be told from none, in nanoseconds: some processors count in steps.
    pub fn step(&self) -> f64 {
        self.step as f64 / self.ticks_per_nanosecond
    }
}
