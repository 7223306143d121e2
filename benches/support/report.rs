//! What remains of a run: the goal table for people and a file in `bench` of the target folder for programs.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Run,
    goals::Goal,
    machine::{Usage, load},
};

/// Prints the goals and writes every number to a file of this name. `elsewhere` says what is judged by other programs.
pub fn finish(run: &Run, name: &str, goals: &[Goal], elsewhere: &str) -> io::Result<()> {
    println!("\ngoals, as ratios to rows of this run; {}, after {}", run.machine.in_a_line(), load());
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
    let others = others(run);
    if let Some(others) = others {
        let much =
            if others > QUIET { ", too much for the rows with several workers: they need every core" } else { "" };
        println!("other programs used {:.0} % of the cores meanwhile{much}", others * 100.0);
    }
    let path = folder()?.join(format!("{name}.json"));
    fs::write(&path, json(run, goals, others))?;
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

fn json(run: &Run, goals: &[Goal], others: Option<f64>) -> String {
    let machine = &run.machine;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut out = String::new();
    out.push_str("{\n  \"machine\": {");
    let _ = write!(out, "\"cores\": {}", machine.cores);
    for (name, value) in [
        ("model", machine.model.as_str()),
        ("architecture", machine.architecture),
        ("kernel", &machine.kernel),
        ("load_before", &machine.load),
        ("load_after", &load()),
    ] {
        let _ = write!(out, ", \"{name}\": {}", quoted(value));
    }
    let _ = write!(
        out,
        "}},\n  \"run\": {{\"finished_unix_s\": {}, \"window_ms\": {}, \"rounds\": {}, \"clock_cost_ns\": {}, \"clock_step_ns\": {}, \
         \"used_by_others\": {}}},\n",
        now.as_secs(),
        run.options.window.as_millis(),
        run.options.rounds,
        number(run.ticks.cost()),
        number(run.ticks.step()),
        others.map_or_else(|| "null".to_owned(), number)
    );
    let lines: Vec<String> = run
        .figures
        .all()
        .iter()
        .map(|figure| {
            let rounds: Vec<String> = figure.rounds.iter().map(|value| number(*value)).collect();
            format!(
                "    {{\"name\": {}, \"unit\": {}, \"median\": {}, \"rounds\": [{}]}}",
                quoted(&figure.name),
                quoted(figure.unit),
                number(figure.median()),
                rounds.join(", ")
            )
        })
        .collect();
    let _ = write!(out, "  \"figures\": [\n{}\n  ],\n", lines.join(",\n"));
    let lines: Vec<String> = goals
        .iter()
        .map(|goal| {
            format!(
                "    {{\"what\": {}, \"goal\": {}, \"measured\": {}, \"verdict\": {}}}",
                quoted(&goal.what),
                quoted(&goal.goal()),
                goal.measured.map_or_else(|| "null".to_owned(), number),
                quoted(goal.verdict())
            )
        })
        .collect();
    let _ = write!(out, "  \"goals\": [\n{}\n  ]\n}}\n", lines.join(",\n"));
    out
}

/// A number as JSON has it, which knows no infinities.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
