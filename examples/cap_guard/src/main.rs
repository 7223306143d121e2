//! Shows what becomes of concurrent updates of one SQL row, with and without a guard. `--help` says what can be asked.

use std::env;
use std::process::ExitCode;

use cap_guard::keeper::{self, Keeper, Needs};
use cap_guard::modes::Mode;
use cap_guard::options::{HELP, Options};
use cap_guard::workers::Plan;
use cap_guard::{Result, report, run, worker};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(worker::COMMAND) => worker::serve(&arguments[1..]).map(|()| true),
        Some(keeper::COMMAND) => keeper::serve(&arguments[1..]).map(|()| true),
        _ => match Options::parse(&arguments) {
            Ok(options) if options.help => {
                println!("{HELP}");
                Ok(true)
            }
            Ok(options) => compare(&options),
            Err(error) => {
                eprintln!("cap_guard: {error}; --help says what there is");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cap_guard: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every mode asked for on every database asked for; true when each did what it must.
fn compare(options: &Options) -> Result<bool> {
    let program = env::current_exe()?;
    let keeper = Keeper::start(
        &program,
        &Needs {
            sqlite: options.sqlite,
            postgres: options.postgres,
            postgres_programs: options.postgres_programs.clone(),
            connections: options.processes + 10,
        },
    )?;
    if !options.json {
        println!(
            "{} processes x {} updates of one row, {} us between read and write\n{}",
            options.processes,
            options.updates,
            options.work.as_micros(),
            report::heading()
        );
    }
    let mut lines = Vec::new();
    for database in &keeper.databases {
        for &mode in &options.modes {
            let line = run::run(&Plan {
                program: program.clone(),
                database: database.clone(),
                mode,
                shared: keeper.shared.join(format!("{}-{mode}", database.product())),
                processes: options.processes,
                updates: options.updates,
                work: options.work,
                kills: if mode == Mode::Guard { options.kills } else { 0 },
                anywhere: options.anywhere,
                lease: options.lease,
            })
            .map_err(|error| format!("{} {mode}: {error}", database.product()))?;
            if !options.json {
                println!("{}", report::table_line(&line));
            }
            lines.push(line);
        }
    }
    if options.json {
        let work = options.work;
        println!("{}", report::json(&lines, options.processes, options.updates, work));
    } else {
        print!("{}", report::closing(&lines));
    }
    Ok(report::passed(&lines))
}
