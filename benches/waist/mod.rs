//! The rows of the waist: what named entries cost, ours beside whatever stores this run was given.
//!
//! ```text
//!  system ─ what is asked of a store        ours · mutexed (a map in one process)        others come with their own bench
//!     │
//!     ├─ commits    1 to 32 entries at one moment, alone
//!     ├─ contended  several workers ── task (what one does) ── crossing (sets that overlap) · keys (create, delete)
//!     ├─ churn      names that come and go for ever
//!     ├─ lookup     among few and many
//!     ├─ range      alone, and beside writers
//!     ├─ watch      from a put to the batch ── listener (a process that watches)
//!     ├─ event      a put and its batch, few entries watched and many
//!     ├─ fanout     what watchers cost those who write
//!     ├─ session    is it alive; renewal
//!     └─ memory     bytes a key
//!     │
//!  goals ─ what they should come to        beside ─ the others' ratios to ours
//! ```
//! Rows that are compared are measured in turns or round by round, and every count that can be checked is: a row that lost
//! a commit is a failure, not a figure.

mod beside;
mod churn;
mod commits;
mod contended;
mod crossing;
mod event;
mod fanout;
mod goals;
mod keys;
mod limit;
mod listener;
mod lookup;
mod memory;
mod mutexed;
mod ours;
mod range;
mod recipes;
mod session;
pub mod system;
mod task;
mod watch;

use std::{env, ffi::OsString, io, process::ExitCode};

use harness::subprocess::{Role, dispatch};
use system::System;

use crate::support::{
    Run,
    options::{Mode, Options},
    report, workers,
};

/// Runs the role it was started for, or measures what was asked for: ours, and these rivals as far as they are here. The
/// name is that of the bench and of its file of numbers.
pub fn main(name: &str, rivals: &[&dyn System]) -> ExitCode {
    let mut systems: Vec<&dyn System> = vec![&ours::Ours, &mutexed::Mutexed];
    systems.extend(rivals);
    let roles: [Role<'_>; 2] = [
        (workers::WORK, &|words: &[OsString]| task::work_for_the_parent(words, &systems)),
        (listener::LISTEN, &|words: &[OsString]| listener::listen_for_the_parent(words, &systems)),
    ];
    if let Some(ended) = dispatch(&roles) {
        return ended;
    }
    let notes: Vec<String> = systems.iter().filter_map(|system| system.absence()).collect();
    systems.retain(|system| system.absence().is_none());
    match understood().and_then(|options| everything(name, &notes, &systems, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, without criterion to explain what it does not understand: rows are compared in turns here, and its
/// estimates of each by itself would only double the time.
fn understood() -> io::Result<Options> {
    let known = ["--bench", "--test", "--list", "--exact"];
    match env::args().skip(1).find(|word| word.starts_with('-') && !known.contains(&word.as_str())) {
        Some(word) => {
            Err(io::Error::other(format!("{word} is not known here; {known:?} and a word to choose rows are")))
        }
        None => Ok(Options::from_environment()),
    }
}

fn everything(name: &str, notes: &[String], systems: &[&dyn System], options: Options) -> io::Result<()> {
    let say_notes = || notes.iter().for_each(|note| println!("note: {note}"));
    let mut run = Run::begin(options)?;
    if run.options.mode != Mode::List {
        say_notes();
    }
    commits::run(&mut run, systems)?;
    crossing::run(&mut run, systems)?;
    keys::run(&mut run, systems)?;
    churn::run(&mut run)?;
    lookup::run(&mut run, systems)?;
    range::run(&mut run, systems)?;
    watch::run(&mut run, systems)?;
    event::run(&mut run)?;
    fanout::run(&mut run, systems)?;
    session::run(&mut run, systems)?;
    recipes::run(&mut run, systems)?;
    memory::run(&mut run)?;
    if run.options.measures() {
        beside::finish(&mut run, systems);
        let goals = goals::all(&run, systems);
        report::finish(run, name, goals, goals::ELSEWHERE)?;
        say_notes();
    }
    Ok(())
}

/// A folder of this run's own for one store.
fn folder(run: &Run) -> io::Result<tempfile::TempDir> {
    let scratch = run.scratch.as_ref().expect("rows that run have a folder");
    tempfile::Builder::new().prefix("s").tempdir_in(scratch.path())
}

/// `full` if the run measures at its usual length, a tenth of it if it was shortened, and a five-hundredth if it only sees
/// that every row runs: for rows whose length is a count and not a time.
fn scaled(run: &Run, full: u32) -> u32 {
    match run.options.mode {
        Mode::List => full,
        Mode::Measure if run.options.window.as_millis() >= 100 => full,
        Mode::Measure => full / 10,
        _ => full / 500,
    }
}
