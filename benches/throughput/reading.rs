//! Reads beside a writer that never rests, and the copy of the same bytes that a read can at best be.
//!
//! Reader and writer have a core each. Stretches of reads take turns: in one they are timed together, which gives the mean;
//! in the next one read in eight is timed alone, which gives the tail. A stretch during which the writer wrote nothing, as
//! when another program has its core, is left out. The mean of a row is the middle of the means of its stretches.

use std::{
    hint::black_box,
    io,
    sync::{
        PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use slotguard::{Segment, fnv1a64};

use super::rivals::{LARGEST, ZEROS, one_more};
use crate::support::{
    self, Run,
    figures::{median, rate, time},
    latency::Histogram,
    pin, ticks,
};

const TITLE: &str = "read beside a writer";
const PAYLOADS: [usize; 2] = [64, 1024];
const SYSTEMS: [&str; 4] = [COPY, OURS, "parking_lot", "std mutex"];
const COPY: &str = "copy (limit)";
const OURS: &str = "slotguard";

/// What one stretch of reads showed.
struct Seen {
    mean: f64,
    timed: Histogram,
    writes_a_second: f64,
}

/// The name of the row of ours.
pub fn row_of_ours(payload: usize) -> String {
    format!("{TITLE}/{payload} B/{OURS}")
}

/// The name of the row it is compared with.
pub fn row_of_copy(payload: usize) -> String {
    format!("{TITLE}/{payload} B/{COPY}")
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run) -> io::Result<()> {
    for payload in PAYLOADS {
        let rows: Vec<(String, &str)> = SYSTEMS
            .iter()
            .map(|system| (format!("{TITLE}/{payload} B/{system}"), *system))
            .filter(|(row, _)| run.options.runs(row))
            .collect();
        for _ in 0..run.options.rounds_of(2) {
            for (row, system) in &rows {
                let window = run.options.window_of(2);
                let seen = support::watched(row, || measure(system, payload, window))?;
                if !run.options.measures() {
                    println!("Testing {row}\nSuccess");
                    continue;
                }
                run.figures.add(&format!("{row}: mean"), "ns", seen.mean);
                for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                    let nanoseconds = run.ticks.nanoseconds(seen.timed.within(share));
                    run.figures.add(&format!("{row}: {name}"), "ns", nanoseconds);
                }
                run.figures.add(&format!("{row}: writes"), "operations a second", seen.writes_a_second);
            }
        }
        if run.options.measures() && !rows.is_empty() {
            println!("\n{TITLE}, {payload} B (1 read in {EVERY} timed)");
            println!("{:<24} {:>10} {:>10} {:>10} {:>10} {:>12}", "", "mean", "p50", "p99", "p99.9", "writer");
            for (row, system) in &rows {
                let of = |what: &str| run.figures.median(&format!("{row}: {what}")).unwrap_or(f64::NAN);
                println!(
                    "{system:<24} {:>10} {:>10} {:>10} {:>10} {:>12}",
                    time(of("mean")),
                    time(of("p50")),
                    time(of("p99")),
                    time(of("p99.9")),
                    rate(of("writes"))
                );
            }
        }
    }
    Ok(())
}

fn measure(system: &str, payload: usize, window: Duration) -> io::Result<Seen> {
    let mut into = Vec::with_capacity(LARGEST);
    Ok(match system {
        OURS => {
            let segment = Segment::builder().records(1).payload(payload).anonymous().map_err(io::Error::other)?;
            let record = segment.record(0).map_err(io::Error::other)?;
            record.update(|_, draft| draft.write(&[0; LARGEST][..payload])).map_err(io::Error::other)?;
            let write = || {
                record.update(|_, draft| one_more(draft.edit())).expect("the writer is alone");
            };
            beside(window, write, || record.read(&mut into).expect("a read of a sound record").version.0)
        }
        "parking_lot" => {
            let value = parking_lot::Mutex::new(ZEROS);
            let write = || value.lock().update(payload, fnv1a64);
            beside(window, write, || value.lock().read(payload, &mut into))
        }
        "std mutex" => {
            let value = std::sync::Mutex::new(ZEROS);
            let lock = || value.lock().unwrap_or_else(PoisonError::into_inner);
            beside(window, || lock().update(payload, fnv1a64), || lock().read(payload, &mut into))
        }
        _ => {
            // Nobody writes what is copied: this is what a read would cost if it could do without everything else.
            let value = vec![1; payload];
            beside(window, std::hint::spin_loop, || {
                into.clear();
                into.extend_from_slice(black_box(&value));
                u64::from(black_box(&into)[0])
            })
        }
    })
}

/// Reads in a stretch: some ten microseconds, so that few stretches meet another program.
const STRETCH: u32 = 2_048;
/// One read in so many is timed in every other stretch.
const EVERY: u32 = 8;

fn beside(window: Duration, write: impl Fn() + Sync, mut read: impl FnMut() -> u64 + Send) -> Seen {
    let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            pin::to(pin::core_for(1, 2));
            let mut writes = 0;
            while !stop.load(Relaxed) {
                write();
                writes += 1;
                // Release: the reader starts when it sees that writing has begun.
                written.store(writes, Release);
            }
        });
        let reader = scope.spawn(|| {
            pin::to(pin::core_for(0, 2));
            while written.load(Acquire) == 0 {
                thread::yield_now();
            }
            let start = Instant::now();
            let (mut means, mut rates, mut all) = (Vec::new(), Vec::new(), Histogram::new());
            let mut stretch = Vec::with_capacity((STRETCH / EVERY) as usize);
            while means.is_empty() || start.elapsed() < window {
                let (before, began) = (written.load(Relaxed), Instant::now());
                for _ in 0..STRETCH {
                    black_box(read());
                }
                let (took, writes) = (began.elapsed(), written.load(Relaxed) - before);
                if writes > 0 {
                    means.push(took.as_nanos() as f64 / f64::from(STRETCH));
                    rates.push(writes as f64 / took.as_secs_f64());
                }
                let before = written.load(Relaxed);
                stretch.clear();
                for _ in 0..STRETCH / EVERY {
                    for _ in 1..EVERY {
                        black_box(read());
                    }
                    let before = ticks::now();
                    black_box(read());
                    stretch.push(ticks::now() - before);
                }
                if written.load(Relaxed) > before {
                    stretch.iter().for_each(|ticks| all.add(*ticks));
                }
            }
            stop.store(true, Relaxed);
            Seen { mean: median(&means), timed: all, writes_a_second: median(&rates) }
        });
        reader.join().expect("the reader")
    })
}
