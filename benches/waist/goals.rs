//! The goals this bench can judge, each as a ratio to something measured in the same run.

use super::{
    churn,
    commits::{self, RECORDS},
    fanout, lookup, memory, ours, session,
    system::System,
};
use crate::support::{
    Run,
    goals::{Bound, Goal, Unit, at_least, at_most},
};

/// Goals that other programs judge.
pub const ELSEWHERE: &str = "Not judged here: updates, reads, waits and claims of one record, which the throughput bench \
                             judges; instructions a commit with and without watchers.";

/// How much two rows may differ that are meant to cost the same: what one machine differs by from run to run.
const SAME: f64 = 1.15;
/// Flat, as the goals have it.
const FLAT: f64 = 2.0;
/// Servers in the list of systems, and by how much an update is to be faster.
const SERVERS: [(&str, f64); 1] = [("Redis", 100.0)];

/// Every goal, with what this run has to say about it.
pub fn all(run: &Run, systems: &[&dyn System]) -> Vec<Goal> {
    let mut goals = commits_alone(run);
    goals.extend(growth(run));
    goals.extend(watchers(run));
    let [alive, clock] = [ours::NAME, session::CLOCK].map(|row| format!("{}/{row}", session::ALIVE));
    goals.push(at_most("session, alive : clock_gettime", 1.5, run.figures.ratio(&alive, &clock)));
    for (what, row) in [("a key, names of 32 bytes", memory::KEYS), ("a numbered record", memory::RECORDS)] {
        goals.push(Goal {
            what: format!("{what}, 64-byte values, {} of them", memory::MANY),
            bound: Bound::AtMost(memory::ALLOWED),
            measured: run.figures.median(&memory::row(row, memory::MANY)),
            unit: Unit::Bytes,
        });
    }
    for (server, times) in SERVERS {
        if systems.iter().any(|system| system.name() == server) {
            for size in [1, 8] {
                let row = |system: &str| format!("{}/{system}", commits::title(size));
                let measured = run.figures.ratio(&row(server), &row(ours::NAME));
                goals.push(at_least(format!("commit of {size}, alone, {server} : ours"), times, measured));
            }
        }
    }
    goals
}

fn commits_alone(run: &Run) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (row, what) in [(RECORDS, "records"), (ours::NAME, "named entries")] {
        for (size, most) in [(2, 12.0), (8, 50.0)] {
            let measured = run.figures.median(&format!("{}/{row}: one CAS", commits::title(size)));
            goals.push(at_most(format!("commit of {size} {what} of 8 B, alone : one CAS"), most, measured));
        }
    }
    goals
}

fn growth(run: &Run) -> Vec<Goal> {
    let names = run.figures.median(&format!("{}: names", churn::ROW)).map_or(churn::NAMES, |names| names as u32);
    let measured = run.figures.ratio(&churn::part(10), &churn::part(1));
    let mut goals = vec![at_most(format!("create + delete of {names} names: last tenth : first"), FLAT, measured)];
    let row = |entries: u32| format!("{}/{}", lookup::title(entries), lookup::BY_HANDLE);
    let [fewest, more @ ..] = lookup::sizes(run);
    for entries in more {
        let measured = run.figures.ratio(&row(entries), &row(fewest));
        goals.push(at_most(format!("read by handle among {entries} : among {fewest}"), FLAT, measured));
    }
    goals
}

fn watchers(run: &Run) -> Vec<Goal> {
    let row = |watchers: usize| format!("{}/{}", fanout::title(ours::NAME), fanout::beside(watchers));
    let several = fanout::WATCHERS.into_iter().filter(|watchers| *watchers > 0);
    several
        .map(|watchers| {
            let measured = run.figures.ratio(&row(watchers), &row(0));
            at_most(format!("put beside {watchers} watchers of other prefixes : none"), SAME, measured)
        })
        .collect()
}
