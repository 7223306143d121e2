//! The summary in words: a table of phases, a line for every promise, and what was done to the workers.

use std::fmt::Write as _;

use super::summary::{Summary, WorkloadSummary};
use super::thousands;
use crate::check::Promise;

/// Everything between the seed and the verdict.
pub fn words(summary: &Summary) -> String {
    let mut text = phases(summary);
    // Writing to a String cannot fail, here and below.
    if !summary.promises.is_empty() {
        let _ = writeln!(text);
    }
    for (promise, found) in &summary.promises {
        let _ = writeln!(
            text,
            "{promise:?}  {:<66} checked {:>12}   violations {}",
            promise.words(),
            thousands(found.checked),
            thousands(found.violations)
        );
        for example in &found.examples {
            let _ = writeln!(text, "      {example}");
        }
    }
    for one in &summary.workloads {
        workload(one, &mut text);
    }
    if summary.promises.contains_key(&Promise::P4) {
        let _ = writeln!(text);
        faults(summary, &mut text);
        counts(summary, &mut text);
    }
    for reason in &summary.reasons {
        let _ = writeln!(text, "\nnot as it must be: {reason}");
    }
    text
}

/// The section of one workload: its promises, then its figures.
fn workload(one: &WorkloadSummary, text: &mut String) {
    let name = one.workload.name;
    let (kills, stops) = (thousands(one.kills), thousands(one.stops));
    let _ = writeln!(text, "\n{name}: {:.1} s, {kills} kills, {stops} stops", one.seconds);
    for (promise, meant) in &one.promises {
        let _ = writeln!(
            text,
            "  {promise:?}  {:<88} checked {:>10}   violations {}",
            meant.words,
            thousands(meant.found.checked),
            thousands(meant.found.violations)
        );
    }
    for figure in &one.figures {
        let _ = writeln!(text, "  {:>14}  {}", figure.number.to_string(), figure.words);
    }
}

fn phases(summary: &Summary) -> String {
    let head = ["phase", "workers", "acknowledged", "found", "lost", "ms", "updates/s"];
    let rows = summary.phases.iter().map(|phase| {
        [
            phase.name.clone(),
            thousands(phase.workers),
            thousands(phase.acknowledged),
            thousands(phase.found),
            thousands(phase.lost),
            thousands(phase.milliseconds.round() as u64),
            thousands(phase.updates_per_second.round() as u64),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &rows {
        let _ = write!(text, "{:<1$}", row[0], width(0));
        for (column, cell) in row.iter().enumerate().skip(1) {
            let _ = write!(text, "  {cell:>0$}", width(column));
        }
        text.push('\n');
    }
    text
}

/// What was counted in each segment that somebody was killed in.
fn counts(summary: &Summary, text: &mut String) {
    for phase in summary.phases.iter().filter(|phase| phase.kills > 0) {
        if let Some(counted) = &phase.counted {
            let _ = writeln!(
                text,
                "{}: after {} kills {} of {} blocks in their place, {} missing, {} doubled; {} lanes, {} rows, {} files left",
                phase.name,
                thousands(phase.kills),
                counted.placed,
                counted.blocks,
                counted.missing,
                counted.doubled,
                counted.lanes_taken,
                counted.rows_taken,
                counted.files_left
            );
        }
        if let Some(engine) = &phase.engine {
            let _ = writeln!(
                text,
                "  its segment says: {} dead recovered, {} changes finished for others, {} races lost, {} late writes fenced",
                thousands(engine.recoveries),
                thousands(engine.helped),
                thousands(engine.conflicts),
                thousands(engine.fenced)
            );
        }
    }
}

fn faults(summary: &Summary, text: &mut String) {
    let operations = &summary.operations;
    let _ = writeln!(
        text,
        "{} kills, {} stops; {} changes were in doubt after a kill, {} of them had taken effect; {} late writes were refused",
        thousands(summary.kills),
        thousands(summary.stops),
        thousands(operations.in_doubt),
        thousands(operations.in_doubt_that_took_effect),
        thousands(summary.late_writes_refused)
    );
    let bound = summary.recovery.bound_ms;
    for (next, times) in &summary.recovery.by_kind {
        let _ = writeln!(
            text,
            "{:<60} within {bound:.0} ms: {} of {}; median {:.3} ms, p99 {:.1} ms, slowest {:.1} ms",
            next.words(),
            thousands(times.within_bound),
            thousands(times.measured),
            times.p50_ms,
            times.p99_ms,
            times.max_ms
        );
    }
}
