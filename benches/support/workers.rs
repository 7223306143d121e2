//! Several workers on one thing at once: threads of this process, or processes started from this very program.
//!
//! All of them get ready, start together when the board says go, and stop when it says stop; the window between is what
//! their operations are divided by. A tool that times one thread knows neither tails nor shares.
//!
//! Every n-th operation is timed with the processor's counter, and n is chosen so that the clock stays a few percent of the
//! work.

use std::{
    ffi::OsString,
    fmt, io,
    path::Path,
    process::Stdio,
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use harness::subprocess::{Subprocess, command};
use rustix::thread::futex;

use super::{
    latency::Histogram,
    mapped::{Mapped, Shareable},
    pin, ticks,
};

/// The name of the role of a worker process.
pub const WORK: &str = "work";

/// Operations every worker does before it calls itself ready: as many as are needed until 16 would have been timed.
fn warm_up(every: u32) -> u64 {
    16 * u64::from(every)
}

/// One word on a line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
struct Line(AtomicU32);

/// Where a group of workers meets: who is ready, go, stop.
#[derive(Debug)]
#[repr(C)]
pub struct Board {
    ready: Line,
    go: Line,
    stop: Line,
}

// SAFETY: three atomics; zeros, and anything else, are values of them.
unsafe impl Shareable for Board {}

impl Board {
    /// Does `step` until told to stop, at least once, timing every `every`th.
    pub fn work(&self, every: u32, mut step: impl FnMut()) -> Tally {
        for _ in 0..warm_up(every) {
            step();
        }
        self.ready.0.fetch_add(1, Release);
        while self.go.0.load(Acquire) == 0 {
            let _ = futex::wait(&self.go.0, futex::Flags::empty(), 0, None);
        }
        let mut tally = Tally { timed: Histogram::new(), done: 0, retries: 0 };
        loop {
            for _ in 1..every {
                step();
            }
            let before = ticks::now();
            step();
            tally.timed.add(ticks::now() - before);
            tally.done += u64::from(every);
            if self.stop.0.load(Relaxed) != 0 {
                return tally;
            }
        }
    }

    /// Starts and stops whoever waits, for a group that will never be whole.
    fn dismiss(&self) {
        self.stop.0.store(1, Relaxed);
        self.go.0.store(1, Release);
        let _ = futex::wake(&self.go.0, futex::Flags::empty(), u32::MAX >> 1);
    }

    /// Waits for the whole group, lets it run for the window, and says how long that was. Gives up if `lives` says that
    /// somebody will never be ready.
    fn conduct(
        &self,
        workers: usize,
        window: Duration,
        mut lives: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Duration> {
        let mut looks = 0_u32;
        while self.ready.0.load(Acquire) < workers as u32 {
            looks += 1;
            // Seldom: asking costs the workers time to get ready.
            if looks.is_multiple_of(100) {
                lives()?;
            }
            thread::sleep(Duration::from_micros(100));
        }
        let start = Instant::now();
        self.go.0.store(1, Release);
        let _ = futex::wake(&self.go.0, futex::Flags::empty(), u32::MAX >> 1);
        thread::sleep(window);
        self.stop.0.store(1, Relaxed);
        Ok(start.elapsed())
    }
}

/// What one worker did.
#[derive(Debug)]
pub struct Tally {
    /// Operations after the start.
    pub done: u64,
    /// How long the timed ones took.
    pub timed: Histogram,
    /// Attempts that were in vain, those to warm up included, where the worker learns of them.
    pub retries: u64,
}

/// Threads of this process or processes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Threads of this process, which share its attachment.
    Threads,
    /// Processes, each with its own attachment by path.
    Processes,
}

impl Kind {
    /// The word for so many of them.
    pub fn of(self, workers: usize) -> &'static str {
        match (self, workers) {
            (Self::Threads, 1) => "thread",
            (Self::Threads, _) => "threads",
            (Self::Processes, 1) => "process",
            (Self::Processes, _) => "processes",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.of(2))
    }
}

/// A group of workers and for how long it works.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// How many of them.
    pub workers: usize,
    /// How long they are timed.
    pub window: Duration,
    /// Which operations are timed: one in so many.
    pub every: u32,
}

/// What a group of workers did.
#[derive(Debug)]
pub struct Outcome {
    /// Operations of all workers together, with those to warm up.
    pub acknowledged: u64,
    /// Operations a second.
    pub rate: f64,
    /// How long the timed operations took, all workers together.
    pub timed: Histogram,
    /// What the slowest worker did, as a part of what the fastest did.
    pub share: f64,
    /// Attempts in vain, of all workers together.
    #[allow(dead_code, reason = "where every attempt succeeds nobody asks")]
    pub retries: u64,
}

impl Workers {
    /// Lets threads of this process do `work`, each with its number, and adds up. The board lies in `folder`.
    pub fn threads(&self, folder: &Path, work: impl Fn(usize, &Board) -> Tally + Sync) -> io::Result<Outcome> {
        let path = folder.join("board");
        let board: Mapped<Board> = Mapped::open(&path)?;
        let (board, work) = (board.get(), &work);
        let (window, tallies) = thread::scope(|scope| {
            let group: Vec<_> = (0..self.workers)
                .map(|worker| {
                    let core = pin::core_for(worker, self.workers);
                    scope.spawn(move || {
                        pin::to(core);
                        work(worker, board)
                    })
                })
                .collect();
            let lives = || match group.iter().any(thread::ScopedJoinHandle::is_finished) {
                true => Err(io::Error::other("a worker thread ended before the start")),
                false => Ok(()),
            };
            let window = board.conduct(self.workers, self.window, lives);
            if window.is_err() {
                // The others wait for the start: they get it, and the end with it.
                board.dismiss();
            }
            let tallies = group.into_iter().map(|worker| worker.join().expect("a worker thread"));
            let tallies = tallies.collect::<Vec<Tally>>();
            window.map(|window| (window, tallies))
        })?;
        std::fs::remove_file(&path)?;
        Ok(self.add_up(window, &tallies))
    }

    /// Lets processes of their own do the work that `words` tells each by its number, and adds up. The board lies in
    /// `folder`.
    pub fn processes(&self, folder: &Path, words: impl Fn(usize) -> Vec<OsString>) -> io::Result<Outcome> {
        let path = folder.join("board");
        let board: Mapped<Board> = Mapped::open(&path)?;
        let mut group = Vec::with_capacity(self.workers);
        for worker in 0..self.workers {
            group.push(self.start_process(worker, &path, &words(worker))?);
        }
        let window = board.get().conduct(self.workers, self.window, || all_run(&mut group))?;
        let tallies = group.into_iter().map(|mut worker| {
            let text = io::read_to_string(worker.child().stdout.take().expect("a pipe"))?;
            let ended = worker.wait()?;
            let mut words = text.splitn(3, ' ');
            let mut number = || words.next()?.parse().ok();
            let (done, retries) = (number(), number());
            let timed = words.next().and_then(Histogram::from_text);
            match (done, retries, timed) {
                (Some(done), Some(retries), Some(timed)) => Ok(Tally { done, retries, timed }),
                _ => Err(io::Error::other(format!("a worker process ended with {ended}"))),
            }
        });
        let tallies = tallies.collect::<io::Result<Vec<Tally>>>()?;
        std::fs::remove_file(&path)?;
        Ok(self.add_up(window, &tallies))
    }

    fn start_process(&self, worker: usize, board: &Path, words: &[OsString]) -> io::Result<Subprocess> {
        let core = pin::core_for(worker, self.workers);
        let mut command = command(WORK)?;
        command
            .arg(board)
            .arg(self.every.to_string())
            .arg(core.map_or_else(|| "any".to_owned(), |core| core.to_string()))
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Subprocess::spawn(&mut command)
    }

    fn add_up(&self, window: Duration, tallies: &[Tally]) -> Outcome {
        let mut timed = Histogram::new();
        for tally in tallies {
            timed.merge(&tally.timed);
        }
        let done = || tallies.iter().map(|tally| tally.done);
        Outcome {
            acknowledged: done().sum::<u64>() + warm_up(self.every) * self.workers as u64,
            rate: done().sum::<u64>() as f64 / window.as_secs_f64(),
            timed,
            share: done().min().unwrap_or(0) as f64 / done().max().unwrap_or(1) as f64,
            retries: tallies.iter().map(|tally| tally.retries).sum(),
        }
    }
}

/// None of these worker processes has ended yet.
fn all_run(workers: &mut [Subprocess]) -> io::Result<()> {
    for worker in workers {
        if let Some(status) = worker.try_wait()? {
            return Err(io::Error::other(format!("a worker process ended with {status} before the start")));
        }
    }
    Ok(())
}

/// What a worker process does: open what the parent has made, work until told to stop, print the tally. `work` is given the
/// words of the job, the board, and which operations to time.
pub fn work_for_the_parent(
    words: &[OsString],
    work: impl FnOnce(&[&str], &Board, u32) -> io::Result<Tally>,
) -> io::Result<()> {
    let [board, rest @ ..] = words else {
        return Err(unknown());
    };
    let rest: Vec<&str> = rest.iter().map(|word| word.to_str().ok_or_else(unknown)).collect::<io::Result<_>>()?;
    let [every, core, job @ ..] = &rest[..] else {
        return Err(unknown());
    };
    pin::to(core.parse().ok());
    let board: Mapped<Board> = Mapped::open(Path::new(board))?;
    let tally = work(job, board.get(), every.parse().map_err(|_| unknown())?)?;
    println!("{} {} {}", tally.done, tally.retries, tally.timed.to_text());
    Ok(())
}

/// What a worker says to words no parent gives.
pub fn unknown() -> io::Error {
    io::Error::other("a worker was started with other words than the parent gives")
}
