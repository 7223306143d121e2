//! Makes BENCHMARKS.md: `notes.md`, with what stands there in double braces replaced by what the kept files say.
//!
//! | in the notes       | becomes                                                                                        |
//! |--------------------|------------------------------------------------------------------------------------------------|
//! | `{{run FILE}}`     | the commit and the machine of `FILE.json`                                                      |
//! | `{{goals FILE}}`   | a table of its goals that were measured, met and not met                                       |
//! | `{{FILE: FIGURE}}` | the figure of that name; if the name has a `*`, the least and the most of the figures that match |

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Results;
use crate::figures::Figure;

/// The folder of the notes and the kept files.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The page's place.
pub fn path() -> PathBuf {
    folder().join("../../BENCHMARKS.md")
}

/// The page that the notes and files of `folder` make.
pub fn page(folder: &Path) -> io::Result<String> {
    fill(&fs::read_to_string(folder.join("notes.md"))?, |file| Results::read(&folder.join(format!("{file}.json"))))
}

fn fill(notes: &str, results: impl Fn(&str) -> io::Result<Results>) -> io::Result<String> {
    let mut page = String::new();
    let mut rest = notes;
    while let Some((before, after)) = rest.split_once("{{") {
        let (asked, after) = after.split_once("}}").ok_or_else(|| wrong("braces are not closed", after))?;
        page += before;
        page += &match (asked.split_once(' '), asked.split_once(": ")) {
            (Some(("run", file)), _) => run(&results(file)?),
            (Some(("goals", file)), _) => goals(&results(file)?),
            (_, Some((file, figure))) => {
                figures(&results(file)?, figure).ok_or_else(|| wrong("no figure has this name", asked))?
            }
            _ => return Err(wrong("not understood", asked)),
        };
        rest = after;
    }
    Ok(page + rest)
}

fn wrong(what: &str, asked: &str) -> io::Error {
    io::Error::other(format!("notes.md: {what}: {asked}"))
}

fn run(results: &Results) -> String {
    let others =
        results.run.used_by_others.map(|part| format!("; other programs used {:.0} % of the cores", part * 100.0));
    format!("commit `{}`; {}{}", results.run.commit, results.machine.in_a_line(), others.unwrap_or_default())
}

fn goals(results: &Results) -> String {
    let mut table = "| | goal | measured | |\n|---|--:|--:|---|\n".to_owned();
    for goal in results.goals.iter().filter(|goal| goal.measured.is_some()) {
        let _ = writeln!(table, "| {} | {} | {} | {} |", goal.what, goal.goal(), goal.value(), goal.verdict());
    }
    let verdicts = |wanted| results.goals.iter().filter(|goal| goal.is_met() == wanted).count();
    let [met, not_met, unknown] = [Some(true), Some(false), None].map(verdicts);
    table + &format!("\n{met} met, {not_met} not met, {unknown} not measured.")
}

fn figures(results: &Results, name: &str) -> Option<String> {
    let matches = |figure: &&Figure| match name.split_once('*') {
        Some((start, end)) => figure.name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => figure.name == name,
    };
    let all: Vec<&Figure> = results.figures.all().iter().filter(matches).collect();
    let least = all.iter().min_by(|one, other| one.median().total_cmp(&other.median()))?.text();
    let most = all.iter().max_by(|one, other| one.median().total_cmp(&other.median()))?.text();
    Some(if least == most { least } else { format!("{least} to {most}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_the_kept_results() {
        let page = page(&folder()).expect("notes and results");
        let kept = fs::read_to_string(path()).expect("BENCHMARKS.md");
        let differs = page.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
        assert!(
            page == kept,
            "BENCHMARKS.md is generated; `cargo run -p results` makes it anew. First difference: {differs:?}"
        );
    }

    #[test]
    fn a_figure_that_was_not_measured_is_an_error() {
        let results = |file: &str| Results::read(&folder().join(format!("{file}.json")));
        let error = fill("a commit takes {{rivals: no such row}}", results).expect_err("no such figure");
        assert!(error.to_string().contains("no such row"), "{error}");
        fill("{{rivals: commit alone/8/slotguard: one CAS", results).expect_err("braces that are not closed");
    }

    #[test]
    fn a_file_keeps_what_was_measured() {
        let results = Results::read(&folder().join("rivals.json")).expect("a kept file");
        let copy: Results = serde_json::from_str(&serde_json::to_string(&results).expect("text")).expect("the same");
        assert_eq!(format!("{results:?}"), format!("{copy:?}"));
    }
}
