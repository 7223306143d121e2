//! What one operation costs, alone and with others in the way, beside its limit and what people would use instead.
//!
//! `cargo bench --bench throughput` measures everything and prints the goals with what they came to; a word after `--`
//! chooses rows by name, `--list` names them, `--test` runs each of them once. How long it takes is set by the
//! environment, see [`support::options`]. Every number is left in `bench/throughput.json` of the target folder, and
//! criterion's own estimates in its folder beside it.
//!
//! Only ratios inside one run mean anything: all rows that are compared take turns.

mod support;
#[path = "throughput/mod.rs"]
mod throughput;

use std::{io, process::ExitCode, time::Duration};

use criterion::Criterion;
use harness::subprocess::{Role, dispatch};
use support::{Run, options::Options, report, workers};
use throughput::{alone, contended, goals, handover, job, quiet, reading};

const SILENCE: &str = "update without a waiter/system calls";

fn main() -> ExitCode {
    let roles: [Role<'_>; 3] = [
        (workers::WORK, &job::work_for_the_parent),
        (quiet::QUIET, &|_| quiet::update_in_silence(false)),
        (quiet::QUIET_CONTROL, &|_| quiet::update_in_silence(true)),
    ];
    if let Some(ended) = dispatch(&roles) {
        return ended;
    }
    // Criterion reads the command line first: it explains what it does not understand.
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .nresamples(5_000)
        .configure_from_args();
    match everything(criterion, Options::from_environment()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

fn everything(mut criterion: Criterion, options: Options) -> io::Result<()> {
    let mut run = Run::begin(options)?;
    alone::run(&mut criterion, &mut run)?;
    contended::ONE_RECORD.run(&mut run)?;
    contended::DISTINCT_RECORDS.run(&mut run)?;
    contended::CLAIM.run(&mut run)?;
    reading::run(&mut run)?;
    handover::run(&mut run)?;
    let mut silent = None;
    if run.options.runs(SILENCE) {
        silent = support::watched(SILENCE, quiet::is_silent)?;
        println!(
            "\n{SILENCE}: {}",
            match silent {
                Some(true) => format!("none in {} updates and as many reads", quiet::OPERATIONS),
                Some(false) => "some".to_owned(),
                None => "this kernel cannot forbid them, so it is not known".to_owned(),
            }
        );
    }
    if run.options.measures() {
        let goals = goals::all(&run, silent);
        report::finish(run, "throughput", goals, goals::ELSEWHERE)?;
    }
    criterion.final_summary();
    Ok(())
}
