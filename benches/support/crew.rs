//! Several workers on one thing at once: threads of this process, or processes started from this very program.
//!
//! All of them get ready, start together when the board says go, and stop when it says stop; the window between is what
//! their operations are divided by. Criterion cannot do this: it times one thread, and knows neither tails nor shares.
//!
//! Every n-th operation is timed with the processor's counter, and n is chosen so that the clock stays a few percent of the
//! work: 16 for 8 and 64 bytes, 8 for 256, 4 for 1024, and 1 (each of them) where an operation takes a system call.

use std::{
    ffi::OsString,
    fmt, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::futex;

use super::{
    errand::Errand,
    latency::Histogram,
    mapped::{Mapped, Shareable},
    pin,
    place::{Place, System, Task},
    ticks,
};

/// Operations every worker does before it calls itself ready.
const WARM_UP: u64 = 64;

/// One word on a line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
struct Line(AtomicU32);

/// Where a crew meets: who is ready, go, stop.
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
        for _ in 0..WARM_UP {
            step();
        }
        self.ready.0.fetch_add(1, Release);
        while self.go.0.load(Acquire) == 0 {
            let _ = futex::wait(&self.go.0, futex::Flags::empty(), 0, None);
        }
        let mut tally = Tally { timed: Histogram::new(), done: 0 };
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

    /// Waits for the whole crew, lets it run for the window, and says how long that was.
    fn conduct(&self, workers: usize, window: Duration) -> Duration {
        while self.ready.0.load(Acquire) < workers as u32 {
            thread::sleep(Duration::from_micros(100));
        }
        let start = Instant::now();
        self.go.0.store(1, Release);
        let _ = futex::wake(&self.go.0, futex::Flags::empty(), u32::MAX >> 1);
        thread::sleep(window);
        self.stop.0.store(1, Relaxed);
        start.elapsed()
    }
}

/// What one worker did.
#[derive(Debug)]
pub struct Tally {
    /// Operations after the start.
    pub done: u64,
    /// How long the timed ones took.
    pub timed: Histogram,
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

/// A crew and its work.
#[derive(Clone, Debug)]
pub struct Job {
    /// What they work on.
    pub system: System,
    /// What they do to it.
    pub task: Task,
    /// Bytes of the value.
    pub payload: usize,
    /// Threads or processes.
    pub kind: Kind,
    /// How many of them.
    pub workers: usize,
    /// Whether each has a record of its own.
    pub apart: bool,
    /// How long they are timed.
    pub window: Duration,
}

/// What a crew did.
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
}

impl Job {
    /// Which operations are timed: one in so many.
    pub fn every(&self) -> u32 {
        match (self.system, self.payload) {
            (System::Flock, _) => 1,
            (_, 0..=64) => 16,
            (_, 65..=256) => 8,
            _ => 4,
        }
    }

    /// Lets the crew work on `place`, which lies in `file` of the folder, and adds up.
    pub fn run(&self, place: &Place, folder: &Path, file: &Path) -> io::Result<Outcome> {
        let path = folder.join("board");
        let board: Mapped<Board> = Mapped::open(&path)?;
        let (window, tallies) = match self.kind {
            Kind::Threads => self.run_threads(place, board.get()),
            Kind::Processes => self.run_processes(board.get(), &path, file)?,
        };
        std::fs::remove_file(&path)?;
        let mut timed = Histogram::new();
        for tally in &tallies {
            timed.merge(&tally.timed);
        }
        let done: Vec<u64> = tallies.iter().map(|tally| tally.done).collect();
        let all: u64 = done.iter().sum();
        let (least, most) = (done.iter().min(), done.iter().max());
        Ok(Outcome {
            acknowledged: all + WARM_UP * self.workers as u64,
            rate: all as f64 / window.as_secs_f64(),
            timed,
            share: *least.unwrap_or(&0) as f64 / *most.unwrap_or(&1) as f64,
        })
    }

    fn record_of(&self, worker: usize) -> u32 {
        if self.apart { worker as u32 } else { 0 }
    }

    fn run_threads(&self, place: &Place, board: &Board) -> (Duration, Vec<Tally>) {
        thread::scope(|scope| {
            let crew: Vec<_> = (0..self.workers)
                .map(|worker| {
                    let core = pin::core_for(worker, self.workers);
                    scope.spawn(move || {
                        pin::to(core);
                        let record = self.record_of(worker);
                        place.work(self.task, record, self.payload, board, self.every())
                    })
                })
                .collect();
            let window = board.conduct(self.workers, self.window);
            let tallies = crew.into_iter().map(|worker| worker.join().expect("a worker thread"));
            (window, tallies.collect())
        })
    }

    fn run_processes(&self, board: &Board, path: &Path, file: &Path) -> io::Result<(Duration, Vec<Tally>)> {
        let crew = (0..self.workers)
            .map(|worker| self.start_process(worker, path, file))
            .collect::<io::Result<Vec<Child>>>()?;
        let window = board.conduct(self.workers, self.window);
        let tallies = crew.into_iter().map(|worker| {
            let output = worker.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let tally = text.split_once(' ').and_then(|(done, timed)| {
                Some(Tally { done: done.parse().ok()?, timed: Histogram::from_text(timed)? })
            });
            tally.ok_or_else(|| io::Error::other(format!("a worker process ended with {}", output.status)))
        });
        Ok((window, tallies.collect::<io::Result<Vec<Tally>>>()?))
    }

    fn start_process(&self, worker: usize, board: &Path, file: &Path) -> io::Result<Child> {
        let core = pin::core_for(worker, self.workers);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(Errand::Work.words())
            .args([board, file])
            .arg(self.system.to_string())
            .arg(if self.task == Task::Claim { "claim" } else { "update" })
            .arg(self.payload.to_string())
            .arg(self.record_of(worker).to_string())
            .arg(self.every().to_string())
            .arg(core.map_or_else(|| "any".to_owned(), |core| core.to_string()))
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // SAFETY: between fork and exec only one system call is made, and it is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                // A worker does not outlive the run, however the run ends.
                Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
            })
        };
        command.spawn()
    }
}

/// What a worker process does: open what the parent has made, work until told to stop, print the tally.
pub fn work_for_the_parent(words: &[OsString]) -> io::Result<()> {
    let wrong = || io::Error::other("a worker was started with other words than the parent gives");
    let [board, file, rest @ ..] = words else {
        return Err(wrong());
    };
    let rest: Vec<&str> = rest.iter().filter_map(|word| word.to_str()).collect();
    let [system, task, payload, record, every, core, parent] = rest[..] else {
        return Err(wrong());
    };
    let number = |word: &str| word.parse::<u32>().map_err(|_| wrong());
    let parent_now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
    if parent_now.as_deref() != Some(parent) {
        return Err(io::Error::other("the run was over before its worker began"));
    }
    pin::to(core.parse().ok());
    let place = Place::open(System::named(system).ok_or_else(wrong)?, &PathBuf::from(file))?;
    let task = if task == "claim" { Task::Claim } else { Task::Update };
    let board: Mapped<Board> = Mapped::open(Path::new(board))?;
    let tally = place.work(task, number(record)?, number(payload)? as usize, board.get(), number(every)?);
    println!("{} {}", tally.done, tally.timed.to_text());
    Ok(())
}
