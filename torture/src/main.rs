//! Kills, stops and counts: shows that slotguard loses nothing, beside controls that do.
//!
//! A run is drawn from a seed, which is printed before anything else. [`plan`] turns it into phases; [`launcher`] starts
//! worker processes, this same program again, whose threads do what [`client`], [`claims`] and [`workloads`] say and write
//! every operation into a [`history`] that a kill cannot take back; [`nemesis`] kills and stops them meanwhile, as its
//! schedule has drawn it. When all have left, [`check`] compares the history with what is in the segment, promise by
//! promise, and [`report`] says what was found.
//!
//! ```text
//! seed → plan → workers × threads ──┐
//!            └→ faults (kill, stop) ─┴→ history → check (rayon) → report: words, summary.json, report.html
//! ```

mod anomaly;
mod check;
mod client;
mod control;
mod examine;
mod history;
mod launcher;
mod nemesis;
mod options;
mod plan;
mod progress;
mod report;
mod run;
mod system;
mod value;
mod worker;
mod workloads;

use std::io;
use std::process::ExitCode;

use harness::{random, subprocess};
use options::Options;
use progress::Progress;
use report::summary::Summary;
use run::Run;

const FAILED: u8 = 1;

fn main() -> ExitCode {
    if let Some(ended) = subprocess::dispatch(&[(worker::ROLE, &worker::main)]) {
        return ended;
    }
    let options = match Options::parse(std::env::args_os().skip(1), random::fresh_seed()) {
        Ok(options) => options,
        // Also asked for help: exit code 2 for what cannot be meant, 0 for help.
        Err(error) => error.exit(),
    };
    match torture(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("torture: {error}");
            say(&options, "verdict: FAIL");
            ExitCode::from(FAILED)
        }
    }
}

/// Words go to the standard output, unless the summary goes there.
fn say(options: &Options, words: &str) {
    match options.json {
        true => eprintln!("{words}"),
        false => println!("{words}"),
    }
}

/// The whole run; answers whether it passed.
fn torture(options: &Options) -> io::Result<bool> {
    say(options, &format!("seed: {}", options.seed));
    say(options, &format!("replay: {}\n", options.replay()));
    let begin = system::now();
    let planned = plan::phases(options);
    let lengths = planned.iter().map(|phase| (phase.name.clone(), phase.work.rough_seconds()));
    let mut progress = Progress::new(lengths.collect());
    let run = Run::new(options)?;
    let mut phases = Vec::new();
    for (number, phase) in planned.iter().enumerate() {
        progress.begin(number);
        let made = run.phase(number, phase, &progress);
        progress.clear();
        phases.push(made?);
    }
    drop(run);
    let seconds = (system::now() - begin) as f64 / 1e9;
    let summary = Summary::of(options, &planned, &phases, seconds);
    let (json, page) = report::write(&summary, &phases)?;
    say(options, &report::table::words(&summary));
    say(options, &format!("summary: {}", json.display()));
    say(options, &format!("report:  {}", page.display()));
    say(options, &format!("verdict: {}", summary.verdict));
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(summary.passed())
}
