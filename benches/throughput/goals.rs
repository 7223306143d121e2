//! The goals this bench can judge, each as a ratio to something measured in the same run.

use super::{
    contended::{CLAIM, DISTINCT_RECORDS, Matrix, ONE_RECORD},
    handover,
    place::System,
    reading,
};
use crate::support::{
    Run,
    goals::{Bound, Goal, Unit, at_least, at_most},
    workers::Kind,
};

/// Goals of the engine that other programs judge, by name.
pub const ELSEWHERE: &str = "Not judged here: commits of several records, sessions, servers and growth, which the waist \
                             bench judges; that readers store nothing shared.";

/// Every goal, with what this run has to say about it, and whether updates made no system call, if that was tried.
pub fn all(run: &Run, silent: Option<bool>) -> Vec<Goal> {
    let mut goals = one_thread(run);
    for kind in [Kind::Threads, Kind::Processes] {
        for payload in ONE_RECORD.payloads {
            goals.extend(several_workers(run, *payload, kind));
        }
    }
    for kind in [Kind::Threads, Kind::Processes] {
        for payload in DISTINCT_RECORDS.payloads {
            let rate = |workers| rate(&DISTINCT_RECORDS, *payload, workers, kind, System::Slotguard);
            let what = format!("updates of {payload} B on distinct records, 2 {kind} : 1");
            goals.push(at_least(what, 1.7, run.figures.ratio(&rate(2), &rate(1))));
        }
    }
    goals.extend(reads(run));
    goals.extend(waits(run, silent));
    goals.extend(claims(run));
    goals
}

fn one_thread(run: &Run) -> Vec<Goal> {
    let ratio = |payload: usize, above: &str, below: &str| {
        let row = |system: &str| format!("update alone/{payload} B/{system}");
        run.figures.ratio(&row(above), &row(below))
    };
    let mut goals = vec![
        at_most("update alone, 8 B : one CAS", 4.0, ratio(8, "slotguard", "CAS (limit)")),
        at_most("typed update alone, u64 : one CAS", 4.0, ratio(8, "slotguard, typed u64", "CAS (limit)")),
    ];
    for (payload, most) in [(64, 1.0), (1024, 0.4)] {
        for (rival, words) in
            [("parking_lot", "parking_lot, same hash"), ("parking_lot, fnv crate", "parking_lot, byte-serial hash")]
        {
            let what = format!("update alone, {payload} B : {words}");
            goals.push(at_most(what, most, ratio(payload, "slotguard", rival)));
        }
    }
    goals
}

fn rate(matrix: &Matrix, payload: usize, workers: usize, kind: Kind, system: System) -> String {
    format!("{}: rate", matrix.row(payload, workers, kind, system))
}

fn several_workers(run: &Run, payload: usize, kind: Kind) -> Vec<Goal> {
    let figure = |workers: usize, system: System, what: &str| {
        format!("{}: {what}", ONE_RECORD.row(payload, workers, kind, system))
    };
    let several = || ONE_RECORD.workers.iter().copied().filter(|workers| *workers > 1);
    // The worst of them, if all were measured.
    let worst = |of: &dyn Fn(usize) -> Option<f64>| {
        let all: Option<Vec<f64>> = several().map(of).collect();
        all.map(|all| all.into_iter().fold(f64::INFINITY, f64::min))
    };
    let alone = figure(1, System::Slotguard, "rate");
    let kept = worst(&|workers| run.figures.ratio(&figure(workers, System::Slotguard, "rate"), &alone));
    let share = worst(&|workers| run.figures.median(&figure(workers, System::Slotguard, "share")));
    let tail = figure(2, System::Slotguard, "p99.9");
    let robust = figure(2, System::Robust, "p99.9");
    let of = format!("update of one record, {payload} B, {kind}");
    vec![
        at_least(format!("{of}: worst of 2, 8, 64 : 1"), 0.85, kept),
        Goal {
            what: format!("{of}: p99.9 with 2"),
            bound: Bound::AtMost(5.0),
            measured: run.figures.median(&tail).map(|nanoseconds| nanoseconds / 1e3),
            unit: Unit::Microseconds,
        },
        at_most(format!("{of}: p99.9 with 2 : robust mutex"), 3.0, run.figures.ratio(&tail, &robust)),
        at_least(format!("{of}: worst min/max share"), 0.5, share),
    ]
}

fn reads(run: &Run) -> Vec<Goal> {
    let hop = handover::awake("line (limit)");
    [64, 1024]
        .into_iter()
        .flat_map(|payload| {
            let (ours, copy) = (reading::row_of_ours(payload), reading::row_of_copy(payload));
            let mean = run.figures.ratio(&format!("{ours}: mean"), &format!("{copy}: mean"));
            let tail = run.figures.ratio(&format!("{ours}: p99"), &hop);
            [
                at_most(format!("read of {payload} B beside a writer, mean : copy"), 4.0, mean),
                at_most(format!("read of {payload} B beside a writer, p99 : line hop"), 4.0, tail),
            ]
        })
        .collect()
}

fn waits(run: &Run, silent: Option<bool>) -> Vec<Goal> {
    let asleep = run.figures.ratio(&handover::asleep("slotguard"), &handover::asleep("futex (limit)"));
    let awake = run.figures.ratio(&handover::awake("slotguard"), &handover::awake("line (limit)"));
    vec![
        at_most("hand-over to a sleeper : futex", 1.15, asleep),
        at_most("hand-over to one awake : line hop", 5.0, awake),
        Goal {
            what: "system calls of updates without a waiter".to_owned(),
            bound: Bound::AtMost(0.0),
            // What is known is only whether there was one.
            measured: silent.map(|silent| if silent { 0.0 } else { 1.0 }),
            unit: Unit::Count,
        },
    ]
}

fn claims(run: &Run) -> Vec<Goal> {
    let row = |system: &str| format!("claim + release alone/{system}");
    let mut goals = vec![at_most(
        "claim + release alone : robust mutex",
        2.0,
        run.figures.ratio(&row("slotguard"), &row("robust mutex")),
    )];
    for kind in [Kind::Threads, Kind::Processes] {
        let rate = |system| rate(&CLAIM, 64, 2, kind, system);
        let ratio = run.figures.ratio(&rate(System::Slotguard), &rate(System::Robust));
        goals.push(at_least(format!("claims a second, 2 {kind} : robust mutex"), 1.0, ratio));
    }
    goals
}
