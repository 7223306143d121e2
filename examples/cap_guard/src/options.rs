//! What one may ask for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::modes::Mode;

/// Printed for `--help`.
pub const HELP: &str = "\
Changes one hot row of a real SQLite and a real PostgreSQL from many processes, in five ways, kills some of the
writers, and counts what the database holds against what the callers were told.

Usage: cap_guard [OPTIONS]

      --database NAME      both, sqlite or postgres            [both]
      --mode NAME          all, naive, for-update (SQLite: BEGIN IMMEDIATE),
                           optimistic, flock or guard          [all]
      --processes N        2 to 128                            [16]
      --updates N          calls a process, 2 to 100000        [60]
      --work-us N          microseconds between read and write [1000]
      --kills N            writers killed in mode guard        [one a process]
      --anywhere           kill them wherever they are, not half of them just
                           before and half just after their SQL write
      --lease-ms N         how long a stopped holder may keep
                           the others waiting (guard)          [10000]
      --postgres-bin DIR   where initdb and postgres are       [PATH, then /usr/lib/postgresql/*/bin]
      --json               the result as JSON
      --help               this text

Exit code: 0 when nobody but naive lost an update and naive did, 1 when not or something failed, 2 for a wrong option.";

/// A whole invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Run on SQLite.
    pub sqlite: bool,
    /// Run on PostgreSQL.
    pub postgres: bool,
    /// Where its programs are.
    pub postgres_programs: Option<PathBuf>,
    /// Which modes.
    pub modes: Vec<Mode>,
    /// How many processes.
    pub processes: u32,
    /// How many calls each.
    pub updates: u32,
    /// How long each computes.
    pub work: Duration,
    /// How many are killed in mode guard.
    pub kills: u32,
    /// Wherever they are.
    pub anywhere: bool,
    /// How long a stopped holder is waited for.
    pub lease: Duration,
    /// JSON instead of the table.
    pub json: bool,
    /// Only the help text is wanted.
    pub help: bool,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub fn parse(arguments: &[String]) -> Result<Self, lexopt::Error> {
        let mut options = Options {
            sqlite: true,
            postgres: true,
            postgres_programs: None,
            modes: Mode::ALL.to_vec(),
            processes: 16,
            updates: 60,
            work: Duration::from_millis(1),
            kills: 0,
            anywhere: false,
            lease: Duration::from_secs(10),
            json: false,
            help: false,
        };
        let mut kills = None;
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("database") => {
                    let name = parser.value()?.string()?;
                    (options.sqlite, options.postgres) = match name.as_str() {
                        "both" => (true, true),
                        "sqlite" => (true, false),
                        "postgres" => (false, true),
                        _ => {
                            return Err(format!("no database {name:?}: both, sqlite, postgres").into());
                        }
                    };
                }
                Long("mode") => {
                    let name = parser.value()?.string()?;
                    if name != "all" {
                        options.modes = vec![name.parse::<Mode>()?];
                    }
                }
                Long("processes") => options.processes = number(&mut parser, 2, 128)?,
                Long("updates") => options.updates = number(&mut parser, 2, 100_000)?,
                Long("work-us") => {
                    options.work = Duration::from_micros(number(&mut parser, 0, 1_000_000)?.into());
                }
                Long("kills") => kills = Some(number(&mut parser, 0, 10_000)?),
                Long("lease-ms") => {
                    options.lease = Duration::from_millis(number(&mut parser, 1, 600_000)?.into());
                }
                Long("postgres-bin") => options.postgres_programs = Some(parser.value()?.into()),
                Long("anywhere") => options.anywhere = true,
                Long("json") => options.json = true,
                Long("help") | Short('h') => options.help = true,
                other => return Err(other.unexpected()),
            }
        }
        options.kills = kills.unwrap_or(options.processes);
        let most = options.processes * (options.updates - 1);
        if options.kills > most {
            return Err(format!("at most {most} of these calls can be killed").into());
        }
        Ok(options)
    }
}

fn number(parser: &mut lexopt::Parser, least: u32, most: u32) -> Result<u32, lexopt::Error> {
    let number: u32 = parser.value()?.parse()?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is not between {least} and {most}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, lexopt::Error> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn without_arguments_everything_runs() {
        let options = parse("").unwrap();
        assert!(options.sqlite && options.postgres);
        assert_eq!(options.modes, Mode::ALL);
        assert_eq!(options.kills, options.processes);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "--processes 1",
            "--processes 129",
            "--updates many",
            "--mode best",
            "--database oracle",
            "--kills 1000 --processes 2 --updates 2",
            "extra",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn one_mode_on_one_database_can_be_chosen() {
        let options = parse("--database postgres --mode for-update --kills 0").unwrap();
        assert!(!options.sqlite && options.postgres);
        assert_eq!((options.modes, options.kills), (vec![Mode::ForUpdate], 0));
    }
}
