//! What one operation costs, alone and with others in the way, beside its limit and what people would use instead.
//!
//! `cargo bench --bench throughput` measures everything and prints the goals with what they came to; a word after `--`
//! chooses rows by name, `--list` names them, `--test` runs each of them once. How long it takes is set by the
//! environment, see [`support::options`]. Every number is left in `bench/throughput.json` of the target folder, and
//! criterion's own estimates in its folder beside it.
//!
//! Only ratios inside one run mean anything: all rows that are compared take turns.

mod support;

use std::{io, process::ExitCode, time::Duration};

use criterion::Criterion;
use support::{
    Run, alone, contended, errand, figures, handover, machine,
    options::{Mode, Options},
    quiet, reading, report, scratch, ticks,
};

const SILENCE: &str = "update without a waiter/system calls";

fn main() -> ExitCode {
    if let Some(ended) = errand::run() {
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
    let mut run = Run {
        machine: machine::Machine::here(),
        usage: machine::Usage::now(),
        scratch: match options.mode {
            Mode::List => None,
            _ => Some(scratch::Scratch::new()?),
        },
        ticks: ticks::Rate::measured(),
        figures: figures::Figures::default(),
        silent: None,
        options,
    };
    if run.options.measures() {
        println!("{}", run.machine.in_a_line());
        let (cost, step) = (figures::time(run.ticks.cost()), figures::time(run.ticks.step()));
        println!("single operations are timed in steps of {step}; the clock's own {cost} are taken off\n");
    }
    alone::run(&mut criterion, &mut run)?;
    contended::ONE_RECORD.run(&mut run)?;
    contended::DISTINCT_RECORDS.run(&mut run)?;
    contended::CLAIM.run(&mut run)?;
    reading::run(&mut run)?;
    handover::run(&mut run)?;
    if run.options.runs(SILENCE) {
        run.silent = support::watched(SILENCE, quiet::is_silent)?;
        println!(
            "\n{SILENCE}: {}",
            match run.silent {
                Some(true) => format!("none in {} updates and as many reads", quiet::OPERATIONS),
                Some(false) => "some".to_owned(),
                None => "this kernel cannot forbid them, so it is not known".to_owned(),
            }
        );
    }
    if run.options.measures() {
        report::finish(&run)?;
    }
    criterion.final_summary();
    Ok(())
}
