//! Prints the goals of a run, and writes every number to a file in `bench` of the target folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use results::{Conditions, Results};

use super::{
    Run,
    goals::Goal,
    machine::{Usage, load},
};

/// Prints the goals and writes every number to a file of this name. `elsewhere` says what is judged by other programs.
pub fn finish(run: Run, name: &str, goals: Vec<Goal>, elsewhere: &str) -> io::Result<()> {
    let after = load();
    println!(
        "\ngoals, as ratios to rows of this run; {}, load {} before and {after} after",
        run.machine.in_a_line(),
        run.load
    );
    println!("{:<64} {:>10} {:>10}  verdict", "", "goal", "measured");
    for goal in goals.iter().filter(|goal| goal.measured.is_some()) {
        println!("{:<64} {:>10} {:>10}  {}", goal.what, goal.goal(), goal.value(), goal.verdict());
    }
    let verdicts = |wanted| goals.iter().filter(|goal| goal.is_met() == wanted).count();
    println!(
        "{} met, {} NOT met, {} not measured. {elsewhere}",
        verdicts(Some(true)),
        verdicts(Some(false)),
        verdicts(None)
    );
    let others = others(&run);
    if let Some(others) = others {
        let much =
            if others > QUIET { ", too much for the rows with several workers: they need every core" } else { "" };
        println!("other programs used {:.0} % of the cores meanwhile{much}", others * 100.0);
    }
    let path = folder()?.join(format!("{name}.json"));
    let conditions = Conditions {
        commit: commit(),
        window_ms: run.options.window.as_millis() as u64,
        rounds: run.options.rounds,
        used_by_others: others,
        load: Some([run.load, after]),
        clock_cost_ns: Some(run.ticks.cost()),
        clock_step_ns: Some(run.ticks.step()),
    };
    Results { machine: run.machine, run: conditions, figures: run.figures, goals }.write(&path)?;
    println!("every number: {}", path.display());
    Ok(())
}

/// Up to this part of the cores used by others, rows with several workers say what they seem to say. Beyond, workers that
/// should race are seldom on a core together, so rates, tails and shares are those of another experiment.
const QUIET: f64 = 0.1;

/// The part of the cores that other programs used since the run began.
fn others(run: &Run) -> Option<f64> {
    Some(Usage::now()?.others_since(run.usage.as_ref()?))
}

/// `bench` in the build's own target folder, which cargo marks with a file.
fn folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap_or(Path::new("target"));
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The commit that is measured, with `-dirty` if files differ from it.
fn commit() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let described = described.ok().filter(|output| output.status.success());
    described.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
