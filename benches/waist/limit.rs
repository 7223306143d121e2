//! The limit that rows outside a line-up are divided by: one compare-and-swap, measured there and then.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Instant,
};

use crate::support::{Run, figures::median};

/// Stretches measured, of which the middle is taken, and swaps in each: some 30 microseconds together, so that few stretches
/// meet a timer.
const STRETCHES: usize = 41;
const SWAPS: u64 = 6_000;

/// Nanoseconds of one compare-and-swap that succeeds, now.
pub fn one_cas() -> f64 {
    let word = AtomicU64::new(0);
    let stretch = |_| {
        let (from, start) = (word.load(SeqCst), Instant::now());
        for expected in from..from + SWAPS {
            let _ = black_box(word.compare_exchange(expected, expected + 1, SeqCst, SeqCst));
        }
        start.elapsed().as_nanos() as f64 / SWAPS as f64
    };
    median(&(0..STRETCHES).map(stretch).collect::<Vec<_>>())
}

/// Adds a row's nanoseconds of this round, and how many compare-and-swaps they are.
pub fn add(run: &mut Run, row: &str, nanoseconds: f64, cas: f64) {
    run.figures.add(row, "ns", nanoseconds);
    run.figures.add(&format!("{row}: one CAS"), "times", nanoseconds / cas);
}
