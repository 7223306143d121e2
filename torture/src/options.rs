//! The command line: what a run may be told, what it assumes otherwise, and the command that repeats it.

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

use crate::value;
use crate::workloads::{self, Workload, records};

/// What `--help` says.
pub const HELP: &str = "\
Kills, stops and counts: shows that slotguard loses nothing, beside controls that do.

Usage: torture [OPTIONS]

  --seed N        what the run is drawn from, decimal or 0x…     [default: from the clock]
  --seconds N     length of the sustained phase; the workloads after it take a quarter of it each, those on
                  recipes a fifth                                [default: 20]
  --processes N   processes that update once each; a tenth of them makes --updates each   [default: 1000]
  --threads N     threads that update once each                  [default: 1000]
  --updates N     updates of each of the many-times processes    [default: 1000]
  --payload N     longest value in bytes                         [default: 256]
  --mode MODE     all, naive, flock or ours                      [default: all]
  --workload W    records (with the controls), bank, churn, leases, watch, lock, election, guard, assignment,
                  delivery, or several with commas               [default: all]
  --json          the summary on stdout, words on stderr
  --help          this text

With --seconds under 20 the counts that are not given shrink in proportion.
Writes torture/summary.json and torture/report.html into the target directory.
Exit code: 0 verdict PASS, 1 verdict FAIL or the run could not be made, 2 usage.";

const USUAL_SECONDS: u64 = 20;

/// Which part of a run is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    All,
    Naive,
    Flock,
    Ours,
}

impl Mode {
    const NAMES: [(&str, Self); 4] =
        [("all", Self::All), ("naive", Self::Naive), ("flock", Self::Flock), ("ours", Self::Ours)];

    pub fn includes(self, part: Self) -> bool {
        self == Self::All || self == part
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, mode)| mode == self);
        f.write_str(name.map_or("all", |(name, _)| name))
    }
}

/// Everything a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub seconds: u64,
    pub processes: u32,
    pub threads: u32,
    pub updates: u32,
    pub payload: usize,
    pub mode: Mode,
    /// In the order in which they run.
    pub workloads: Vec<&'static Workload>,
    pub json: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Run(Options),
    Help,
}

/// A command line that cannot be meant: the value, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage(pub String);

const SECONDS: RangeInclusive<u64> = 1..=86_400;
const PROCESSES: RangeInclusive<u64> = 20..=10_000;
const THREADS: RangeInclusive<u64> = 8..=8_000;
const UPDATES: RangeInclusive<u64> = 1..=100_000;
const PAYLOAD: RangeInclusive<u64> = value::SHORTEST as u64 + 8..=16_384;

impl Options {
    /// What a run of so many seconds assumes.
    pub fn usual(seed: u64, seconds: u64) -> Self {
        let share = |count: u64, range: &RangeInclusive<u64>| {
            (count * seconds.min(USUAL_SECONDS) / USUAL_SECONDS).max(*range.start()) as u32
        };
        Self {
            seed,
            seconds,
            processes: share(1_000, &PROCESSES),
            threads: share(1_000, &THREADS),
            updates: share(1_000, &UPDATES),
            payload: 256,
            mode: Mode::All,
            workloads: workloads::ALL.iter().collect(),
            json: false,
        }
    }

    /// Reads a command line; `seed` is used when none is given.
    pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>, seed: u64) -> Result<Asked, Usage> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut given_seed, mut seconds) = (None, None);
        let (mut processes, mut threads, mut updates, mut payload) = (None, None, None, None);
        let (mut mode, mut picked, mut json) = (Mode::All, Vec::new(), false);
        while let Some(argument) = parser.next().map_err(usage)? {
            let Long(name) = argument else {
                return Err(usage(argument.unexpected()));
            };
            let name = name.to_owned();
            let number = |parser: &mut lexopt::Parser, range| number(parser, &name, range);
            match name.as_str() {
                "seed" => given_seed = Some(number(&mut parser, &(0..=u64::MAX))?),
                "seconds" => seconds = Some(number(&mut parser, &SECONDS)?),
                "processes" => processes = Some(number(&mut parser, &PROCESSES)?),
                "threads" => threads = Some(number(&mut parser, &THREADS)?),
                "updates" => updates = Some(number(&mut parser, &UPDATES)?),
                "payload" => payload = Some(number(&mut parser, &PAYLOAD)?),
                "mode" => mode = self::mode(&text(&mut parser)?)?,
                "workload" => picked.extend(self::workloads(&text(&mut parser)?)?),
                "json" => json = true,
                "help" => return Ok(Asked::Help),
                _ => return Err(usage(Long(&name).unexpected())),
            }
        }
        let is_picked = |workload: &&Workload| picked.is_empty() || picked.contains(workload);
        let workloads: Vec<_> = workloads::ALL.iter().filter(is_picked).collect();
        if matches!(mode, Mode::Naive | Mode::Flock) && !workloads.iter().any(|one| one.name == records::NAME) {
            return Err(Usage(format!("--mode {mode} is a control of --workload records, which is not picked")));
        }
        let usual = Self::usual(given_seed.unwrap_or(seed), seconds.unwrap_or(USUAL_SECONDS));
        Ok(Asked::Run(Self {
            processes: processes.map_or(usual.processes, |n| n as u32),
            threads: threads.map_or(usual.threads, |n| n as u32),
            updates: updates.map_or(usual.updates, |n| n as u32),
            payload: payload.map_or(usual.payload, |n| n as usize),
            mode,
            workloads,
            json,
            ..usual
        }))
    }

    /// The command that makes the same run again.
    pub fn replay(&self) -> String {
        let mut command = format!("cargo run --release -p torture -- --seed {}", self.seed);
        let usual = Self::usual(self.seed, self.seconds);
        let mut add = |name: &str, differs: bool, value: &dyn fmt::Display| {
            if differs {
                // Writing to a String cannot fail.
                let _ = write!(command, " --{name} {value}");
            }
        };
        add("seconds", self.seconds != USUAL_SECONDS, &self.seconds);
        add("processes", self.processes != usual.processes, &self.processes);
        add("threads", self.threads != usual.threads, &self.threads);
        add("updates", self.updates != usual.updates, &self.updates);
        add("payload", self.payload != usual.payload, &self.payload);
        add("mode", self.mode != usual.mode, &self.mode);
        let picked: Vec<&str> = self.workloads.iter().map(|workload| workload.name).collect();
        add("workload", self.workloads != usual.workloads, &picked.join(","));
        command
    }
}

fn usage(error: lexopt::Error) -> Usage {
    Usage(format!("{error}; --help lists the options"))
}

fn text(parser: &mut lexopt::Parser) -> Result<String, Usage> {
    let value = parser.value().map_err(usage)?;
    Ok(value.to_string_lossy().into_owned())
}

fn number(parser: &mut lexopt::Parser, name: &str, range: &RangeInclusive<u64>) -> Result<u64, Usage> {
    let text = text(parser)?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    match parsed.filter(|number| range.contains(number)) {
        Some(number) => Ok(number),
        None => Err(Usage(format!("--{name} {text:?}: give a whole number from {} to {}", range.start(), range.end()))),
    }
}

fn mode(text: &str) -> Result<Mode, Usage> {
    let found = Mode::NAMES.iter().find(|(name, _)| *name == text);
    match found {
        Some((_, mode)) => Ok(*mode),
        None => Err(Usage(format!("--mode {text:?}: give all, naive, flock or ours"))),
    }
}

/// One name or several with commas.
fn workloads(text: &str) -> Result<Vec<&'static Workload>, Usage> {
    let mut picked = Vec::new();
    for name in text.split(',') {
        match Workload::named(name) {
            Some(workload) => picked.push(workload),
            None if name == "all" => picked.extend(&workloads::ALL),
            None => {
                let names = workloads::ALL.each_ref().map(|workload| workload.name).join(", ");
                return Err(Usage(format!("--workload {text:?}: give all, or some of {names}")));
            }
        }
    }
    Ok(picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Usage> {
        let words = line.split_whitespace().map(Into::into);
        match Options::parse(words, 42)? {
            Asked::Run(options) => Ok(options),
            Asked::Help => Err(Usage("help".into())),
        }
    }

    #[test]
    fn the_command_that_is_printed_makes_the_same_run_again() {
        for line in [
            "",
            "--seed 7",
            "--seconds 3",
            "--seconds 3 --threads 9 --mode ours --payload 1000 --updates 5 --processes 30",
            "--workload churn --workload watch,bank",
        ] {
            let options = parse(line).expect("a good command line");
            let replay = options.replay();
            let (_, arguments) = replay.split_once("-- ").expect("arguments");
            assert_eq!(parse(arguments), Ok(options), "{line}");
        }
    }

    #[test]
    fn a_bad_value_is_named_together_with_the_way_out() {
        for (line, value, way_out) in [
            ("--seconds soon", "\"soon\"", "whole number from 1 to 86400"),
            ("--threads 9000", "\"9000\"", "from 8 to 8000"),
            ("--payload 10", "\"10\"", "from 64 to 16384"),
            ("--mode fast", "\"fast\"", "all, naive, flock or ours"),
            ("--workload bank,chrun", "\"bank,chrun\"", "records, bank, churn, leases, watch"),
            ("--mode naive --workload bank", "naive", "--workload records"),
            ("--seed", "--seed", "--help"),
            ("--sed 5", "--sed", "--help"),
            ("extra", "extra", "--help"),
        ] {
            let Usage(words) = parse(line).expect_err(line);
            assert!(words.contains(value), "{line}: {words}");
            assert!(words.contains(way_out), "{line}: {words}");
        }
    }

    #[test]
    fn a_workload_can_be_picked_once_or_often() {
        let picked = |line| parse(line).expect("options").workloads.iter().map(|one| one.name).collect::<Vec<_>>();
        let all: Vec<_> = workloads::ALL.iter().map(|one| one.name).collect();
        assert_eq!(picked(""), all);
        assert_eq!(picked("--workload bank"), ["bank"]);
        assert_eq!(picked("--workload watch,bank --workload churn"), ["bank", "churn", "watch"]);
        assert_eq!(picked("--workload all"), all);
    }

    #[test]
    fn a_short_run_shrinks_the_counts_that_are_not_given() {
        let short = parse("--seconds 2 --updates 1000").expect("options");
        assert_eq!((short.threads, short.processes), (100, 100));
        assert_eq!(short.updates, 1_000);
        let long = parse("--seconds 600").expect("options");
        assert_eq!((long.threads, long.processes, long.updates), (1_000, 1_000, 1_000));
    }
}
