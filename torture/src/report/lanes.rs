//! The pictures of one sustained phase: lanes of processes, hand-overs of a claim, latency, recovery, versions.

use super::chart::{Chart, Scale};
use super::picture::{BINS, HoldEnd, Picture};
use crate::check::recovery::{BOUND, Next, Recovery};
use crate::nemesis::FaultKind;

const SECOND: f64 = 1e9;
/// Stops shorter than this, in nanoseconds, would cover the overview.
const BRIEF: u64 = 10_000_000;

fn seconds(picture: &Picture) -> Scale {
    Scale::Linear { low: 0.0, high: picture.length as f64 / SECOND }
}

/// Colour class of a process slot.
fn colour(slot: u32) -> String {
    format!("c{}", slot % 8)
}

fn names(picture: &Picture) -> Vec<String> {
    (0..picture.slots.len()).map(|slot| format!("process {slot}")).collect()
}

/// One lane a process: how much it did, when it was killed, when it stood still.
pub fn overview(picture: &Picture) -> String {
    let rows = names(picture);
    let scale = Scale::Linear { low: 0.0, high: 1.0 };
    let height = 60.0 + 34.0 * rows.len() as f64;
    let mut chart = Chart::new(height, (seconds(picture), "time since the phase began (s)"), (scale, "process"), &rows);
    let width = picture.length as f64 / BINS as f64 / SECOND;
    for (slot, lane) in picture.slots.iter().enumerate() {
        let (top, height) = chart.row(slot, rows.len());
        let most = lane.operations.iter().copied().max().unwrap_or(0).max(1);
        for (bin, count) in lane.operations.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (from, until) = (bin as f64 * width, (bin + 1) as f64 * width);
            let left = chart.place_x(from);
            let size = (chart.place_x(until) - left, height - 12.0);
            let share = 0.15 + 0.75 * *count as f64 / most as f64;
            let title = format!("{}: {count} operations from {from:.2} to {until:.2} s", lane.name);
            chart.bar(&colour(slot as u32), (left, top + 8.0), size, share, &title);
        }
    }
    for fault in picture.faults.iter().filter(|fault| (fault.slot as usize) < rows.len()) {
        let (top, height) = chart.row(fault.slot as usize, rows.len());
        let x = chart.place_x(fault.at as f64 / SECOND);
        if fault.kind == FaultKind::Stop {
            if fault.until - fault.at < BRIEF {
                continue;
            }
            let until = chart.place_x(fault.until as f64 / SECOND);
            chart.bar("stop", (x, top + 8.0), (until - x, height - 12.0), 0.8, "stopped");
        } else {
            chart.line("kill faint", (x, top + 2.0), (x, top + 9.0));
        }
    }
    chart.svg("One lane a process: operations, kills and stops")
}

/// Every hold of one claimed record in a short stretch, labelled with its token.
pub fn hand_overs(picture: &Picture) -> Option<String> {
    let window = picture.window.as_ref()?;
    let rows = names(picture);
    let scale = Scale::Linear { low: 0.0, high: 1.0 };
    let time = Scale::Linear { low: window.from as f64 / 1e6, high: window.until as f64 / 1e6 };
    let height = 60.0 + 40.0 * rows.len() as f64;
    let title = format!("time since the phase began (ms), record {}", window.record);
    let mut chart = Chart::new(height, (time, &title), (scale, "process"), &rows);
    let in_window = |from: u64, until: u64| from <= window.until && until >= window.from;
    for fault in picture.faults.iter().filter(|fault| in_window(fault.at, fault.until)) {
        let (top, height) = chart.row(fault.slot as usize % rows.len(), rows.len());
        let x = chart.place_x(fault.at as f64 / 1e6);
        if fault.kind == FaultKind::Stop {
            let until = chart.place_x(fault.until as f64 / 1e6);
            chart.bar("stop", (x, top + 4.0), (until - x, height - 6.0), 0.5, "stopped");
        } else {
            chart.line("kill", (x, top + 4.0), (x, top + height - 2.0));
        }
    }
    // Where two labels would lie on each other, the later one is left out; its token is in the title of its bar.
    let mut free_from = vec![0.0; rows.len()];
    for hold in &window.holds {
        let row = hold.slot as usize % rows.len();
        let (top, height) = chart.row(row, rows.len());
        let (from, until) = (hold.from as f64 / 1e6, hold.until as f64 / 1e6);
        let (left, right) = (chart.place_x(from), chart.place_x(until));
        let (class, words) = match hold.end {
            HoldEnd::Wrote => ("wrote", "wrote"),
            HoldEnd::GaveBack => ("gave", "gave it back"),
            HoldEnd::Refused => ("refused", "came too late and was refused"),
            HoldEnd::Killed => ("killed", "was killed"),
        };
        let title = format!("token {} from {from:.3} to {until:.3} ms: {words}", hold.token);
        chart.bar(class, (left, top + height * 0.5), (right - left, height * 0.35), 0.9, &title);
        let label = hold.token.to_string();
        if left >= free_from[row] {
            chart.text("token", (left, top + height * 0.42), &label);
            free_from[row] = left + 6.5 * label.len() as f64 + 4.0;
        }
    }
    Some(chart.svg("Hand-overs of a claim, labelled with their tokens"))
}

/// Median, 99th percentile and slowest change, over time.
pub fn latency(picture: &Picture) -> String {
    let high = picture.latencies.iter().map(|bin| bin.slowest).max().unwrap_or(1) as f64 / 1e3;
    let scale = Scale::Log { low: 0.1, high: high.max(10.0) * 1.5 };
    let axis = (seconds(picture), "time since the phase began (s)");
    let mut chart = Chart::new(280.0, axis, (scale, "time of one change (µs)"), &[]);
    let at = |ns: u64| ns as f64 / 1e3;
    let bins = || picture.latencies.iter().map(|bin| (bin.at as f64 / SECOND, bin));
    chart.curve("line c0", bins().map(|(time, bin)| (time, at(bin.median))));
    chart.curve("line c1", bins().map(|(time, bin)| (time, at(bin.p99))));
    chart.curve("line c3", bins().map(|(time, bin)| (time, at(bin.slowest))));
    chart.svg("Latency of changes over time")
}

/// Time from each kill to the next success of somebody else.
pub fn recovery(picture: &Picture, recoveries: &[Recovery], begin: u64) -> String {
    let bound = BOUND as f64 / 1e6;
    let after_kills = || recoveries.iter().filter(|one| one.next.follows_a_kill());
    let slowest = after_kills().map(|one| one.took).max().unwrap_or(0) as f64 / 1e6;
    let scale = Scale::Log { low: 0.0005, high: slowest.max(bound) * 2.0 };
    let axis = (seconds(picture), "time of the kill since the phase began (s)");
    let mut chart = Chart::new(300.0, axis, (scale, "until the next success (ms)"), &[]);
    for one in after_kills() {
        let class = match one.next {
            Next::SameRecord => "dot c1",
            Next::Grant => "dot c3",
            _ => "dot c0",
        };
        let time = one.at.saturating_sub(begin) as f64 / SECOND;
        chart.dot(class, (time, one.took as f64 / 1e6));
    }
    chart.level("bound", bound, &format!("promised: {bound:.0} ms"));
    chart.svg("Time from a kill to the next success")
}

/// The versions of record 0: each in the row of the process that made it, in the stretch with the most switches between processes.
pub fn versions(picture: &Picture) -> String {
    let versions = &picture.versions;
    let total = versions.made.iter().sum::<u64>().max(1);
    let name = |(slot, made): (usize, &u64)| format!("{slot}: {:.1} %", 100.0 * *made as f64 / total as f64);
    let rows: Vec<String> = versions.made.iter().enumerate().map(name).collect();
    let last = versions.first + versions.by.len() as u64;
    let x = Scale::Linear { low: versions.first as f64, high: last as f64 };
    let scale = Scale::Linear { low: 0.0, high: 1.0 };
    let height = 60.0 + 26.0 * rows.len() as f64;
    let mut chart = Chart::new(height, (x, "version of record 0"), (scale, "process: its share"), &rows);
    for (slot, version) in versions.by.iter().zip(versions.first..) {
        let Some(slot) = slot.filter(|slot| (*slot as usize) < rows.len()) else {
            continue;
        };
        let (top, height) = chart.row(slot as usize, rows.len());
        let left = chart.place_x(version as f64);
        let size = (chart.place_x(version as f64 + 1.0) - left - 0.3, height - 6.0);
        chart.bar(&colour(slot), (left, top + 3.0), size, 0.9, &format!("version {version} by process {slot}"));
    }
    chart.svg("Versions of record 0 by the process that made them")
}
