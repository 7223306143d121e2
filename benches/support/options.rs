//! What this run measures and for how long: criterion's command line, read for the parts criterion cannot measure.
//!
//! A bench that uses criterion leaves the command line to it, which refuses what it does not know; the others take the
//! words of it that they understand. So length is set by environment variables:
//!
//! | variable                  | default | meaning                                                        |
//! |---------------------------|---------|----------------------------------------------------------------|
//! | `SLOTGUARD_BENCH_MILLIS`  | 100     | one timed window with up to two workers; 8 take 2×, 64 take 8× |
//! | `SLOTGUARD_BENCH_ROUNDS`  | 3       | times every row is repeated, its rivals in between             |

use std::{env, time::Duration};

/// The command line and the environment, understood.
#[derive(Debug)]
pub struct Options {
    /// What is done with a row that the filter accepts.
    pub mode: Mode,
    /// One timed window with up to two workers.
    pub window: Duration,
    /// How often every row is repeated, its rivals in between.
    pub rounds: usize,
    filter: Filter,
}

/// What is done with a row that the filter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Measure it.
    Measure,
    /// Run it once, to see that it runs (`--test`, or `cargo test --benches`).
    Once,
    /// Print its name (`--list`).
    List,
    /// Leave it to criterion alone (`--profile-time`, `--load-baseline`).
    CriterionOnly,
}

#[derive(Debug)]
enum Filter {
    All,
    Nothing,
    Exact(String),
    Pattern(String),
}

/// Criterion's flags that take the next word with them.
const FLAGS_WITH_A_VALUE: [&str; 18] = [
    "-c",
    "--color",
    "-s",
    "--save-baseline",
    "-b",
    "--baseline",
    "--baseline-lenient",
    "--format",
    "--profile-time",
    "--load-baseline",
    "--sample-size",
    "--warm-up-time",
    "--measurement-time",
    "--nresamples",
    "--noise-threshold",
    "--confidence-level",
    "--significance-level",
    "--plotting-backend",
];

impl Options {
    /// Reads the command line, which somebody has already checked, and the environment.
    pub fn from_environment() -> Self {
        let words: Vec<String> = env::args().skip(1).collect();
        let has = |flag: &str| words.iter().any(|word| word == flag || word.starts_with(&format!("{flag}=")));
        let mode = if has("--list") {
            Mode::List
        } else if has("--test") || !has("--bench") {
            Mode::Once
        } else if has("--profile-time") || has("--load-baseline") {
            Mode::CriterionOnly
        } else {
            Mode::Measure
        };
        let filter = match first_plain_word(&words) {
            _ if has("--ignored") => Filter::Nothing,
            None => Filter::All,
            Some(word) if has("--exact") => Filter::Exact(word),
            Some(word) => Filter::Pattern(word),
        };
        Self {
            mode,
            window: Duration::from_millis(number("SLOTGUARD_BENCH_MILLIS", 100)),
            rounds: number("SLOTGUARD_BENCH_ROUNDS", 3) as usize,
            filter,
        }
    }

    /// Whether rows are to be measured at all.
    pub fn measures(&self) -> bool {
        self.mode == Mode::Measure
    }

    /// Whether `row` was asked for. Criterion's filter is a regular expression; of those, `|`, `.*`, `^` and `$` are
    /// understood here too, and everything else is plain text.
    pub fn wants(&self, row: &str) -> bool {
        match &self.filter {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Exact(name) => name == row,
            Filter::Pattern(pattern) => pattern.split('|').any(|one| matches(one, row)),
        }
    }

    /// Whether `row` is to be run here and now; one that is only listed is printed.
    pub fn runs(&self, row: &str) -> bool {
        if !self.wants(row) {
            return false;
        }
        if self.mode == Mode::List {
            println!("{row}: benchmark");
        }
        matches!(self.mode, Mode::Measure | Mode::Once)
    }

    /// How often a row is repeated; those that fit on the cores swing most, are cheap, and get two more.
    pub fn rounds_of(&self, workers: usize) -> usize {
        match self.mode {
            Mode::Measure if workers <= 2 => self.rounds + 2,
            Mode::Measure => self.rounds,
            _ => 1,
        }
    }

    /// How long `workers` are timed: the more share a core, the longer until each has had a turn.
    pub fn window_of(&self, workers: usize) -> Duration {
        match (self.mode, workers) {
            (Mode::Measure, 0..=2) => self.window,
            (Mode::Measure, 3..=8) => self.window * 2,
            (Mode::Measure, _) => self.window * 8,
            _ => Duration::ZERO,
        }
    }
}

fn first_plain_word(words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if FLAGS_WITH_A_VALUE.contains(&word.as_str()) || word == "--output-format" {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word.clone());
        }
    }
    None
}

fn matches(pattern: &str, row: &str) -> bool {
    let (from_start, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (to_end, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let pieces: Vec<&str> = pattern.split(".*").collect();
    let mut rest = row;
    for (nth, piece) in pieces.iter().enumerate() {
        let last = nth + 1 == pieces.len();
        let found = match (nth == 0 && from_start, last && to_end) {
            (true, true) => (rest == *piece).then_some(0),
            (true, false) => rest.starts_with(piece).then_some(0),
            (false, true) => rest.ends_with(piece).then(|| rest.len().saturating_sub(piece.len())),
            (false, false) => rest.find(piece),
        };
        match found {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .unwrap_or_else(|| panic!("{variable}={text}: a whole number above zero is expected")),
        Err(_) => otherwise,
    }
}
