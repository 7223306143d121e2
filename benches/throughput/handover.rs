//! How long it takes from a change to the waiter that was waiting for it, asleep and awake.
//!
//! *Asleep*: the turn is passed only when the kernel says that the other side sleeps, and a little later still, so that its
//! core is idle; the time is from just before the pass to the return of the wait, on the same monotonic clock.
//! *Awake*: both sides pass the turn on at once, so nobody need sleep; the time is a round trip by two,
//! the middle of many short stretches, so that a stretch in which another program took a core away does not decide.

use std::{
    io,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::Instant,
};

use super::handoff::{Futexes, Handoff, ParkingLotCondvars, Records, StdCondvars, Words};
use crate::support::{
    self, Run,
    figures::{median, time},
    pin,
    sleeper::{Sleeper, until_asleep},
};

const ASLEEP: &str = "hand-over, asleep";
const AWAKE: &str = "hand-over, awake";
/// How often a bare waiter looks before it sleeps, in the row that says so.
const LOOKS: u32 = 2_000;

/// The name of a row of sleepers.
pub fn asleep(system: &str) -> String {
    format!("{ASLEEP}/{system}")
}

/// The name of a row of those awake.
pub fn awake(system: &str) -> String {
    format!("{AWAKE}/{system}")
}

fn handoffs(title: &str) -> io::Result<Vec<(&'static str, Box<dyn Handoff>)>> {
    let ours: Box<dyn Handoff> = Box::new(Records::new().map_err(io::Error::other)?);
    Ok(if title == ASLEEP {
        vec![
            ("futex (limit)", Box::new(Futexes::default()) as Box<dyn Handoff>),
            ("slotguard", ours),
            ("parking_lot", Box::new(ParkingLotCondvars::default())),
            ("std mutex", Box::new(StdCondvars::default())),
        ]
    } else {
        let mut looking = Futexes::default();
        looking.looks = LOOKS;
        vec![
            ("line (limit)", Box::new(Words::default())),
            ("futex after 2,000 looks", Box::new(looking)),
            ("slotguard", ours),
        ]
    })
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run) -> io::Result<()> {
    for title in [ASLEEP, AWAKE] {
        let mut rows = handoffs(title)?;
        rows.retain(|(system, _)| run.options.runs(&format!("{title}/{system}")));
        let passes = match (run.options.measures(), title) {
            (false, _) => 1,
            (true, ASLEEP) => run.options.window.as_micros() as u32 / 500,
            (true, _) => run.options.window.as_micros() as u32 / 2,
        };
        let mut turn = 0;
        for _ in 0..run.options.rounds_of(2) {
            for (system, handoff) in &rows {
                let row = format!("{title}/{system}");
                let first = turn + 1;
                let nanoseconds = support::watched(&row, || match title {
                    ASLEEP => wake(handoff.as_ref(), first, passes.max(1)),
                    _ => bounce(handoff.as_ref(), first, passes.max(1)),
                })?;
                if run.options.measures() {
                    run.figures.add(&row, "ns", nanoseconds);
                } else {
                    println!("Testing {row}\nSuccess");
                }
            }
            turn += passes.max(1);
        }
        if run.options.measures() && !rows.is_empty() {
            println!("\n{title}, one way");
            for (system, _) in &rows {
                let row = format!("{title}/{system}");
                println!("{system:<24} {:>10}", time(run.figures.median(&row).unwrap_or(f64::NAN)));
            }
        }
    }
    Ok(())
}

/// The middle of the times from pass to awake, both directions, each side asleep before it is woken.
fn wake(handoff: &dyn Handoff, first: u32, passes: u32) -> io::Result<f64> {
    let zero = Instant::now();
    let threads = [AtomicU32::new(0), AtomicU32::new(0)];
    let passed = [AtomicU64::new(0), AtomicU64::new(0)];
    let side = |me: usize| -> io::Result<Vec<f64>> {
        let other = 1 - me;
        pin::to(pin::core_for(me, 2));
        // Release: whoever has this number may look at the thread it belongs to.
        threads[me].store(rustix::thread::gettid().as_raw_nonzero().get() as u32, Release);
        let other_thread = loop {
            match threads[other].load(Acquire) {
                0 => thread::yield_now(),
                number => break Sleeper::of(std::process::id(), number)?,
            }
        };
        let mut took = Vec::with_capacity(passes as usize);
        for turn in first..first + passes {
            for step in 0..2 {
                if step == me {
                    until_asleep([&other_thread])?;
                    passed[other].store(zero.elapsed().as_nanos() as u64, Relaxed);
                    handoff.pass(other, turn);
                } else {
                    handoff.wait(me, turn);
                    let now = zero.elapsed().as_nanos() as u64;
                    took.push((now - passed[me].load(Relaxed)) as f64);
                }
            }
        }
        Ok(took)
    };
    let (mut mine, theirs) = thread::scope(|scope| {
        // Two threads beside this one: being bound to a core must not outlast the row.
        let (zeroth, first) = (scope.spawn(|| side(0)), scope.spawn(|| side(1)));
        (zeroth.join().expect("side 0"), first.join().expect("side 1"))
    });
    let all = mine.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
    all.extend(theirs?);
    Ok(median(all))
}

/// Round trips that are timed together.
const STRETCH: usize = 64;

/// A round trip by two, with both sides awake: the middle of all stretches. Each begins with both sides looking for the
/// other; otherwise two waiters that once slept would be measured asleep ever after, each waking too late for the other.
fn bounce(handoff: &dyn Handoff, first: u32, passes: u32) -> io::Result<f64> {
    let turns: Vec<u32> = (first..first + passes).collect();
    let arrived = [AtomicU64::new(0), AtomicU64::new(0)];
    let meet = |me: usize| {
        let met = arrived[me].fetch_add(1, Release) + 1;
        while arrived[1 - me].load(Acquire) < met {}
    };
    thread::scope(|scope| {
        let answering = scope.spawn(|| {
            pin::to(pin::core_for(1, 2));
            for stretch in turns.chunks(STRETCH) {
                meet(1);
                for turn in stretch {
                    handoff.wait(1, *turn);
                    handoff.pass(0, *turn);
                }
            }
        });
        let asking = scope.spawn(|| {
            pin::to(pin::core_for(0, 2));
            let stretches = turns.chunks(STRETCH).map(|stretch| {
                meet(0);
                let start = Instant::now();
                for turn in stretch {
                    handoff.pass(1, *turn);
                    handoff.wait(0, *turn);
                }
                start.elapsed().as_nanos() as f64 / stretch.len() as f64 / 2.0
            });
            median(&stretches.collect::<Vec<_>>())
        });
        let middle = asking.join().expect("the asking side");
        answering.join().expect("the answering side");
        Ok(middle)
    })
}
