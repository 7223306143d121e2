//! Ways to hand a turn from one thread to another and to wait for it: the bare words that are the limit, ours, and condition
//! variables.
//!
//! A turn is a number that only grows, one for each of two sides. `pass` raises the other side's number, `wait` returns when
//! one's own has been reached. All words that are waited on are shared futexes, as between processes.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
};

use rustix::thread::futex;
use slotguard::{Deadline, Segment, Version};

/// One way of handing over.
pub trait Handoff: Sync {
    /// Tells `side` that this turn has come.
    fn pass(&self, side: usize, turn: u32);
    /// Returns when this turn of `side` has come.
    fn wait(&self, side: usize, turn: u32);
}

/// A word on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU32);

/// Bare words, looked at without a pause: how fast a cache line goes from core to core.
#[derive(Debug, Default)]
pub struct Words([Line; 2]);

impl Handoff for Words {
    fn pass(&self, side: usize, turn: u32) {
        self.0[side].0.store(turn, Release);
    }

    fn wait(&self, side: usize, turn: u32) {
        while self.0[side].0.load(Acquire) != turn {}
    }
}

/// Bare futex words: `turn << 1 | somebody sleeps`. The waker enters the kernel only for a sleeper.
#[derive(Debug, Default)]
pub struct Futexes {
    words: [Line; 2],
    /// How often a waiter looks before it sleeps.
    pub looks: u32,
}

const SLEEPS: u32 = 1;

impl Handoff for Futexes {
    fn pass(&self, side: usize, turn: u32) {
        let word = &self.words[side].0;
        if word.swap(turn << 1, SeqCst) & SLEEPS != 0 {
            let _ = futex::wake(word, futex::Flags::empty(), 1);
        }
    }

    fn wait(&self, side: usize, turn: u32) {
        let word = &self.words[side].0;
        for _ in 0..self.looks {
            if word.load(Acquire) >> 1 == turn {
                return;
            }
        }
        loop {
            let seen = word.fetch_or(SLEEPS, SeqCst) | SLEEPS;
            if seen >> 1 == turn {
                word.fetch_and(!SLEEPS, Relaxed);
                return;
            }
            let _ = futex::wait(word, futex::Flags::empty(), seen, None);
        }
    }
}

/// Two records of a segment: a turn is the version.
#[derive(Debug)]
pub struct Records(Segment);

impl Records {
    /// Two records that nobody has written yet.
    pub fn new() -> slotguard::Result<Self> {
        Ok(Self(Segment::builder().records(2).payload(8).anonymous()?))
    }
}

impl Handoff for Records {
    fn pass(&self, side: usize, turn: u32) {
        let record = self.0.record(side as u32).expect("a record of the bench's own segment");
        record
            .update(|_, draft| draft.write(&u64::from(turn).to_le_bytes()))
            .expect("an update of the bench's own record");
    }

    fn wait(&self, side: usize, turn: u32) {
        let record = self.0.record(side as u32).expect("a record of the bench's own segment");
        let seen = Version(u64::from(turn) - 1);
        let newer = record.wait_newer(seen, Deadline::never()).expect("a wait on the bench's own record");
        assert_eq!(newer, Some(Version(u64::from(turn))), "a wait returned before or after its turn");
    }
}

/// The standard library's mutex and condition variable.
#[derive(Debug, Default)]
pub struct StdCondvars([(Mutex<u32>, Condvar); 2]);

impl Handoff for StdCondvars {
    fn pass(&self, side: usize, turn: u32) {
        let (turns, changed) = &self.0[side];
        *turns.lock().unwrap_or_else(PoisonError::into_inner) = turn;
        changed.notify_one();
    }

    fn wait(&self, side: usize, turn: u32) {
        let (turns, changed) = &self.0[side];
        let mut now = turns.lock().unwrap_or_else(PoisonError::into_inner);
        while *now != turn {
            now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// parking_lot's mutex and condition variable.
#[derive(Debug, Default)]
pub struct ParkingLotCondvars([(parking_lot::Mutex<u32>, parking_lot::Condvar); 2]);

impl Handoff for ParkingLotCondvars {
    fn pass(&self, side: usize, turn: u32) {
        let (turns, changed) = &self.0[side];
        *turns.lock() = turn;
        changed.notify_one();
    }

    fn wait(&self, side: usize, turn: u32) {
        let (turns, changed) = &self.0[side];
        let mut now = turns.lock();
        while *now != turn {
            changed.wait(&mut now);
        }
    }
}
