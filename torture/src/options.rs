//! The command line: what a run may be told, what it assumes otherwise, and the command that repeats it.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::value;
use crate::workloads::{self, Workload, records};

const USUAL_SECONDS: u64 = 20;

const SECONDS: RangeInclusive<u64> = 1..=86_400;
const PROCESSES: RangeInclusive<u64> = 20..=10_000;
const THREADS: RangeInclusive<u64> = 8..=8_000;
const UPDATES: RangeInclusive<u64> = 1..=100_000;
const PAYLOAD: RangeInclusive<u64> = value::SHORTEST as u64 + 8..=16_384;

const AFTER_HELP: &str = "\
With --seconds under 20 the counts that are not given shrink in proportion.
Writes torture/summary.json and torture/report.html into the target directory.
Exit code: 0 verdict PASS, 1 verdict FAIL or the run could not be made, 2 usage.";

/// Kills and stops processes that share a segment, and checks that nothing acknowledged is lost. Two controls run beside
/// it: a naive one, which must lose, and flock.
#[derive(Parser)]
#[command(name = "torture", no_binary_name = true, args_override_self = true)]
#[command(allow_negative_numbers = true, after_help = AFTER_HELP)]
struct Arguments {
    /// Draws the run from this number, decimal or 0x… [default: a new one]
    #[arg(long, value_name = "N", value_parser = number::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
    /// Length of the workload `records`; each of the others takes a quarter of it, those on recipes a fifth
    #[arg(long, value_name = "N", default_value_t = USUAL_SECONDS, value_parser = number::<u64>(SECONDS))]
    seconds: u64,
    /// Processes that update once each; a tenth of them makes --updates each [default: 1000]
    #[arg(long, value_name = "N", value_parser = number::<u32>(PROCESSES))]
    processes: Option<u32>,
    /// Threads that update once each [default: 1000]
    #[arg(long, value_name = "N", value_parser = number::<u32>(THREADS))]
    threads: Option<u32>,
    /// Updates of each of the processes that make many [default: 1000]
    #[arg(long, value_name = "N", value_parser = number::<u32>(UPDATES))]
    updates: Option<u32>,
    /// Longest value in bytes
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = number::<usize>(PAYLOAD))]
    payload: usize,
    /// What is updated: a number in a file (naive, flock), a segment (ours), or one after the other
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,
    /// One workload, or several with commas; the two controls belong to `records`
    #[arg(long, value_name = "NAME", default_value = "all", value_delimiter = ',', value_parser = workload_names())]
    workload: Vec<String>,
    /// Prints the summary as JSON on stdout, everything else on stderr
    #[arg(long)]
    json: bool,
}

/// Which part of a run is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    All,
    Naive,
    Flock,
    Ours,
}

impl Mode {
    pub fn includes(self, part: Self) -> bool {
        self == Self::All || self == part
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Naive => "naive",
            Self::Flock => "flock",
            Self::Ours => "ours",
        })
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
    pub fn parse(arguments: impl IntoIterator<Item = OsString>, seed: u64) -> Result<Self, clap::Error> {
        let given = Arguments::try_parse_from(arguments)?;
        let is_picked = |workload: &&Workload| given.workload.iter().any(|name| name == "all" || name == workload.name);
        let workloads: Vec<_> = workloads::ALL.iter().filter(is_picked).collect();
        let mode = given.mode;
        if matches!(mode, Mode::Naive | Mode::Flock) && !workloads.iter().any(|one| one.name == records::NAME) {
            let words = format!("--mode {mode} is a control of --workload records: pick that too, or another mode");
            return Err(Arguments::command().error(ErrorKind::ArgumentConflict, words));
        }
        let usual = Self::usual(given.seed.unwrap_or(seed), given.seconds);
        Ok(Self {
            processes: given.processes.unwrap_or(usual.processes),
            threads: given.threads.unwrap_or(usual.threads),
            updates: given.updates.unwrap_or(usual.updates),
            payload: given.payload,
            mode,
            workloads,
            json: given.json,
            ..usual
        })
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

/// Reads whole numbers of a range, decimal or hexadecimal.
fn number<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        let number = parsed.filter(|number| range.contains(number)).and_then(|number| number.try_into().ok());
        number.ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
    }
}

fn workload_names() -> PossibleValuesParser {
    PossibleValuesParser::new(["all"].into_iter().chain(workloads::ALL.iter().map(|workload| workload.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::parse(line.split_whitespace().map(Into::into), 42)
    }

    #[test]
    fn the_options_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_command_that_is_printed_makes_the_same_run_again() {
        for line in [
            "",
            "--seed 7",
            "--seed 0xffffffffffffffff",
            "--seconds 3",
            "--seconds 3 --threads 9 --mode ours --payload 1000 --updates 5 --processes 30",
            "--workload churn --workload watch,bank",
        ] {
            let options = parse(line).expect("a good command line");
            let replay = options.replay();
            let (_, arguments) = replay.split_once("-- ").expect("arguments");
            assert_eq!(parse(arguments).expect("the printed command line"), options, "{line}");
        }
    }

    #[test]
    fn a_bad_value_is_named_together_with_the_way_out() {
        for (line, value, way_out) in [
            ("--seconds soon", "'soon' for '--seconds <N>'", "give a whole number from 1 to 86400"),
            ("--seed -1", "'-1' for '--seed <N>'", "from 0 to 18446744073709551615"),
            ("--threads 9000", "'9000' for '--threads <N>'", "from 8 to 8000"),
            ("--payload 10", "'10' for '--payload <N>'", "from 64 to 16384"),
            ("--mode fast", "'fast' for '--mode <MODE>'", "all, naive, flock, ours"),
            ("--workload bank,chrun", "'chrun' for '--workload <NAME>'", "'churn'"),
            ("--workload nothing", "'nothing'", "all, records, bank, churn, leases, watch, lock"),
            ("--mode naive --workload bank", "--mode naive", "--workload records"),
            ("--seed", "--seed", "--help"),
            ("--sed 5", "--sed", "--seed"),
            ("extra", "extra", "--help"),
        ] {
            let words = parse(line).expect_err(line).to_string();
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

    /// `ci/torture --seed 5` adds to a command line that has a seed.
    #[test]
    fn of_an_option_given_twice_the_last_counts() {
        assert_eq!(
            parse("--seed 3 --seconds 9 --seed 5").expect("options"),
            parse("--seconds 9 --seed 5").expect("options")
        );
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
