//! Rows with several workers: on one record, on a record each, and on one claim, each beside its rivals.
//!
//! The order is round by round, and inside a round all systems one after the other, so that whatever else the machine does
//! meets all of them. After every row the value is counted: a row that lost an update is a failure, not a figure.

use std::{io, path::PathBuf};

use super::{
    job::Job,
    place::{Place, System, Task},
};
use crate::support::{
    self, Run,
    figures::{rate, time},
    workers::Kind,
};

/// Which rows belong together and how they differ.
pub struct Matrix {
    /// What the rows' names begin with.
    pub title: &'static str,
    /// What a worker does.
    pub task: Task,
    /// Whether each worker has a record of its own.
    pub apart: bool,
    /// Bytes of the value.
    pub payloads: &'static [usize],
    /// How many workers.
    pub workers: &'static [usize],
    /// Who is measured, by whom.
    pub systems: &'static [(System, Kind)],
}

/// Updates of one record.
pub const ONE_RECORD: Matrix = Matrix {
    title: "update, one record",
    task: Task::Update,
    apart: false,
    payloads: &[8, 64, 256, 1024],
    workers: &[1, 2, 8, 64],
    systems: &[
        (System::Word, Kind::Threads),
        (System::Slotguard, Kind::Threads),
        (System::ParkingLot, Kind::Threads),
        (System::Std, Kind::Threads),
        (System::Robust, Kind::Threads),
        (System::Slotguard, Kind::Processes),
        (System::Robust, Kind::Processes),
        (System::Flock, Kind::Processes),
    ],
};

/// Updates of records of one's own, in one segment.
pub const DISTINCT_RECORDS: Matrix = Matrix {
    title: "update, a record each",
    task: Task::Update,
    apart: true,
    payloads: &[8, 64, 1024],
    workers: &[1, 2],
    systems: &[(System::Slotguard, Kind::Threads), (System::Slotguard, Kind::Processes)],
};

/// Claim and release of one record.
pub const CLAIM: Matrix = Matrix {
    title: "claim + release",
    task: Task::Claim,
    apart: false,
    payloads: &[64],
    workers: &[1, 2],
    systems: &[
        (System::Slotguard, Kind::Threads),
        (System::ParkingLot, Kind::Threads),
        (System::Std, Kind::Threads),
        (System::Robust, Kind::Threads),
        (System::Slotguard, Kind::Processes),
        (System::Robust, Kind::Processes),
    ],
};

/// One system's place of one size, with what it should hold by now.
struct Site {
    place: Place,
    file: PathBuf,
    acknowledged: u64,
}

impl Matrix {
    /// The name of a row.
    pub fn row(&self, payload: usize, workers: usize, kind: Kind, system: System) -> String {
        let kind = kind.of(workers);
        format!("{}/{payload} B/{workers} {kind}/{system}", self.title)
    }

    /// Measures the rows that were asked for and prints them.
    pub fn run(&self, run: &mut Run) -> io::Result<()> {
        for payload in self.payloads {
            let mut rows: Vec<(String, Job, usize)> = Vec::new();
            let mut sites: Vec<Site> = Vec::new();
            // The limit is a word and knows no payload: one size of it is enough.
            let systems = self.systems.iter().filter(|(system, _)| *system != System::Word || *payload == 8);
            for (system, kind) in systems {
                let wanted: Vec<_> = self
                    .workers
                    .iter()
                    .map(|workers| (self.row(*payload, *workers, *kind, *system), *workers))
                    .filter(|(row, _)| run.options.runs(row))
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let folder = run.scratch.as_ref().expect("rows that run have a folder").path();
                let file = folder.join(format!("{} {payload} {kind} {system}", self.title));
                sites.push(Site { place: Place::create(*system, *payload, &file)?, file, acknowledged: 0 });
                rows.extend(wanted.into_iter().map(|(row, workers)| {
                    let job = Job {
                        system: *system,
                        task: self.task,
                        payload: *payload,
                        kind: *kind,
                        workers,
                        apart: self.apart,
                        window: run.options.window_of(workers),
                    };
                    (row, job, sites.len() - 1)
                }));
            }
            rows.sort_by_key(|(_, job, _)| job.workers);
            let rounds = rows.iter().map(|(_, job, _)| run.options.rounds_of(job.workers));
            for round in 0..rounds.max().unwrap_or(0) {
                for (row, job, site) in &rows {
                    if round < run.options.rounds_of(job.workers) {
                        measure(run, row, job, &mut sites[*site])?;
                    }
                }
            }
            for site in sites {
                drop(site.place);
                // The in-process rivals have no file.
                let _ = std::fs::remove_file(&site.file);
            }
            if run.options.measures() {
                self.print(run, &rows);
            }
        }
        Ok(())
    }

    fn print(&self, run: &Run, rows: &[(String, Job, usize)]) {
        let Some((_, first, _)) = rows.first() else {
            return;
        };
        println!("\n{}, {} B (1 operation in {} timed)", self.title, first.payload, first.every());
        println!("{:<38} {:>10} {:>10} {:>10} {:>10} {:>7}", "", "rate", "p50", "p99", "p99.9", "share");
        for (row, job, _) in rows {
            let of = |what: &str| run.figures.median(&format!("{row}: {what}")).unwrap_or(f64::NAN);
            println!(
                "{:>3} {:<9} {:<24} {:>10} {:>10} {:>10} {:>10} {:>7.2}",
                job.workers,
                job.kind.of(job.workers),
                job.system,
                rate(of("rate")),
                time(of("p50")),
                time(of("p99")),
                time(of("p99.9")),
                of("share")
            );
        }
    }
}

fn measure(run: &mut Run, row: &str, job: &Job, site: &mut Site) -> io::Result<()> {
    let folder = run.scratch.as_ref().expect("rows that run have a folder").path();
    let outcome = support::watched(row, || job.run(&site.place, folder, &site.file))?;
    if job.task == Task::Update {
        site.acknowledged += outcome.acknowledged;
        let found = site.place.changes();
        assert_eq!(found, site.acknowledged, "{row}: updates found and updates acknowledged differ");
    }
    if !run.options.measures() {
        println!("Testing {row}\nSuccess");
        return Ok(());
    }
    let mut add = |what: &str, unit, value| run.figures.add(&format!("{row}: {what}"), unit, value);
    add("rate", "operations a second", outcome.rate);
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let nanoseconds = run.ticks.nanoseconds(outcome.timed.within(share));
        add(name, "ns", nanoseconds);
    }
    add("share", "least by most", outcome.share);
    add("timed", "operations", outcome.timed.samples() as f64);
    Ok(())
}
