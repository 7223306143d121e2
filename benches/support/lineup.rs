//! Rows of one thread, to be compared with each other: their closures are run in turn, a fraction of a millisecond each,
//! again and again, so that whatever else the machine does meets all of them. The middle of its turns is what a row says.

use std::{
    cell::RefCell,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use super::{
    Run,
    figures::{median, time},
    options::Mode,
};

/// How long one row is run before it is the next one's turn: so short that few turns meet a timer or another program.
const TURN: Duration = Duration::from_micros(200);
/// Turns of every row in a round; their middle is what the round says.
const TURNS: usize = 60;
/// Turns of a round whatever they take, where one operation is longer than a turn should be.
const LEAST_TURNS: usize = 3;

/// The name of the row that every other one is divided by where it stands: one compare-and-swap.
pub const CAS: &str = "CAS (limit)";

/// Rows to be compared with each other.
pub struct Lineup<'a> {
    title: String,
    rows: RefCell<Vec<Row<'a>>>,
}

/// A row's name, and what runs its operation so many times.
pub type Row<'a> = (String, Box<dyn FnMut(u64) -> Duration + 'a>);

impl<'a> Lineup<'a> {
    /// One without rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: RefCell::default() }
    }

    /// Adds a row.
    pub fn row<R>(&self, name: impl Into<String>, mut operation: impl FnMut() -> R + 'a) {
        let many = move |times: u64| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(operation());
            }
            start.elapsed()
        };
        self.rows.borrow_mut().push((name.into(), Box::new(many)));
    }

    /// Adds the limit: one compare-and-swap that succeeds, on a line nobody else wants.
    pub fn one_cas(&self) {
        let (word, mut expected) = (AtomicU64::new(0), 0);
        self.row(CAS, move || {
            let swapped = word.compare_exchange(expected, expected + 1, SeqCst, SeqCst);
            expected += 1;
            swapped
        });
    }

    /// Does with the rows that were asked for what was asked for: lists them, runs each once, or measures and prints them.
    /// Before they take turns, `first` may do something of its own with them.
    pub fn measure(self, run: &mut Run, first: impl FnOnce(&str, &mut [Row<'a>])) {
        let Self { title, rows } = self;
        let full = |name: &str| format!("{title}/{name}");
        let mut rows = rows.into_inner();
        rows.retain(|(name, _)| run.options.wants(&full(name)));
        match run.options.mode {
            Mode::List => rows.iter().for_each(|(name, _)| println!("{}: benchmark", full(name))),
            Mode::Once => rows.iter_mut().for_each(|(name, many)| {
                many(1);
                println!("Testing {}\nSuccess", full(name));
            }),
            Mode::CriterionOnly => first(&title, &mut rows),
            Mode::Measure if rows.is_empty() => {}
            Mode::Measure => {
                first(&title, &mut rows);
                take_turns(&title, &mut rows, run);
                print(&title, &rows, run);
            }
        }
    }
}

fn take_turns(title: &str, rows: &mut [Row<'_>], run: &mut Run) {
    let times: Vec<u64> = rows.iter_mut().map(|(_, many)| times_in_a_turn(many)).collect();
    let limit = rows.iter().position(|(name, _)| name == CAS);
    for _ in 0..run.options.rounds_of(1) {
        let mut turns = vec![Vec::with_capacity(TURNS); rows.len()];
        let start = Instant::now();
        // Rows whose single operation is longer than a turn get fewer of them.
        let most = run.options.window.max(2 * TURN * TURNS as u32) * rows.len() as u32;
        for turn in 0..TURNS {
            if turn >= LEAST_TURNS && start.elapsed() > most {
                break;
            }
            for (((_, many), times), turns) in rows.iter_mut().zip(&times).zip(&mut turns) {
                turns.push(many(*times).as_nanos() as f64 / *times as f64);
            }
        }
        let limit = limit.map(|at| median(&turns[at]));
        for ((name, _), turns) in rows.iter().zip(&turns) {
            let nanoseconds = median(turns);
            run.figures.add(&format!("{title}/{name}"), "ns", nanoseconds);
            if let Some(limit) = limit.filter(|_| name != CAS) {
                run.figures.add(&format!("{title}/{name}: one CAS"), "times", nanoseconds / limit);
            }
        }
    }
}

fn print(title: &str, rows: &[Row<'_>], run: &Run) {
    println!("{title}, in turns");
    let widest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(26);
    for (name, _) in rows {
        let each = run.figures.median(&format!("{title}/{name}")).unwrap_or(f64::NAN);
        let limits = run.figures.median(&format!("{title}/{name}: one CAS"));
        let limits = limits.map_or_else(String::new, |limits| format!("{limits:>12.1} CAS"));
        println!("    {name:<widest$} {:>10}{limits}", time(each));
    }
    println!();
}

fn times_in_a_turn(many: &mut dyn FnMut(u64) -> Duration) -> u64 {
    let mut times = 1;
    loop {
        // The shortest of three: one of them may have met another program.
        let took = (0..3).map(|_| many(times)).min().unwrap_or_default();
        if took >= TURN / 4 {
            return (times as f64 * TURN.as_secs_f64() / took.as_secs_f64()) as u64 + 1;
        }
        times *= 2;
    }
}
