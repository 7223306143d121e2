//! Rows with several workers on one store, each beside the others', round by round.
//!
//! After every row the entries are counted: one that lost a commit, or has one too many, is a failure and not a figure.

use std::io;

use slotguard::Segment;
use tempfile::TempDir;

use super::{
    folder, limit,
    system::{Store, System, number},
    task::{self, SET, Task},
};
use crate::support::{
    self, Run,
    figures::{rate, time},
    workers::{Kind, Outcome, Workers},
};

/// One system at one task.
pub struct Contender<'a> {
    /// What the row calls it.
    pub name: String,
    /// Whose store it is.
    pub system: &'a dyn System,
    /// What each worker does.
    pub task: Task,
}

/// Rows that belong together.
pub struct Matrix<'a> {
    /// What the rows' names begin with.
    pub title: String,
    /// How many workers.
    pub workers: &'static [usize],
    /// Who is measured at what.
    pub contenders: Vec<Contender<'a>>,
}

/// The name of a row.
pub fn row(title: &str, workers: usize, kind: Kind, name: &str) -> String {
    format!("{title}/{workers} {}/{name}", kind.of(workers))
}

/// What the workers of one contender work on, and what should be in it by now.
struct Site {
    ground: Ground,
    // Last, so that whoever uses it has let go of it when it is removed.
    folder: TempDir,
    acknowledged: u64,
    lost: u64,
}

enum Ground {
    Records(Segment),
    Entries(Box<dyn Store>),
}

/// One row: its name, whose it is, how many do it, and on which site.
struct Row {
    name: String,
    contender: usize,
    workers: usize,
    site: usize,
}

impl Matrix<'_> {
    /// Measures the rows that were asked for and prints them.
    pub fn run(&self, run: &mut Run) -> io::Result<()> {
        let (mut rows, mut sites) = (Vec::new(), Vec::new());
        for (contender, this) in self.contenders.iter().enumerate() {
            let name = |workers: usize| row(&self.title, workers, this.system.kind(), &this.name);
            let wanted = self.workers.iter().filter(|workers| run.options.runs(&name(**workers)));
            let wanted =
                wanted.map(|workers| Row { name: name(*workers), contender, workers: *workers, site: sites.len() });
            let wanted: Vec<Row> = wanted.collect();
            if !wanted.is_empty() {
                sites.push(self.site_for(run, this)?);
                rows.extend(wanted);
            }
        }
        rows.sort_by_key(|row| row.workers);
        let rounds = rows.iter().map(|row| run.options.rounds_of(row.workers)).max().unwrap_or(0);
        for round in 0..rounds {
            let cas = limit::one_cas();
            for row in &rows {
                if round < run.options.rounds_of(row.workers) {
                    self.measure(run, row, &mut sites[row.site], cas)?;
                }
            }
        }
        if run.options.measures() && !rows.is_empty() {
            self.print(run, &rows);
        }
        Ok(())
    }

    fn most_workers(&self) -> usize {
        self.workers.iter().copied().max().unwrap_or(1)
    }

    /// Names of all entries that any number of workers change.
    fn names(&self, task: Task) -> Vec<String> {
        let mut names: Vec<String> = (0..self.most_workers()).flat_map(|worker| task.names(worker)).collect();
        names.sort();
        names.dedup();
        names
    }

    fn site_for(&self, run: &Run, contender: &Contender<'_>) -> io::Result<Site> {
        let folder = folder(run)?;
        let ground = if let Task::Records(_) = contender.task {
            Ground::Records(task::create_records(folder.path(), self.most_workers()).map_err(io::Error::other)?)
        } else {
            let names = self.names(contender.task);
            let store = contender.system.create(folder.path(), names.len() as u32)?;
            if contender.task != Task::Recreate {
                store.fill(&names, &0_u64.to_le_bytes())?;
            }
            Ground::Entries(store)
        };
        Ok(Site { lost: ground.lost(), ground, folder, acknowledged: 0 })
    }

    fn measure(&self, run: &mut Run, row: &Row, site: &mut Site, cas: f64) -> io::Result<()> {
        let Contender { system, task, .. } = &self.contenders[row.contender];
        let window = run.options.window_of(row.workers);
        let group = Workers { workers: row.workers, window, every: system.every() };
        let folder = site.folder.path();
        let outcome = support::watched(&row.name, || match (&site.ground, system.kind()) {
            (Ground::Entries(store), Kind::Threads) => group.threads(folder, |worker, board| {
                task.work_on(&**store, worker, board, group.every).expect("a user of a store of this process")
            }),
            _ => group.processes(folder, |worker| task::words(system.name(), folder, *task, worker)),
        })?;
        site.acknowledged += outcome.acknowledged;
        self.check(row, *task, site)?;
        let lost = site.ground.lost();
        let retries = outcome.retries + (lost - site.lost);
        site.lost = lost;
        if !run.options.measures() {
            println!("Testing {}\nSuccess", row.name);
            return Ok(());
        }
        add(run, &row.name, &outcome, retries, cas);
        Ok(())
    }

    /// Whether every commit that was acknowledged is there, once.
    fn check(&self, row: &Row, task: Task, site: &Site) -> io::Result<()> {
        let expected = site.acknowledged * SET as u64;
        let names = self.names(task);
        let found = match (&site.ground, task) {
            (Ground::Records(segment), _) => {
                let versions = (0..segment.records()).map(|index| segment.record(index)?.verify());
                let versions = versions.map(|stamp| stamp.map(|stamp| stamp.version.0));
                Some(versions.sum::<slotguard::Result<u64>>().map_err(io::Error::other)?)
            }
            (Ground::Entries(store), Task::Raise(_)) => {
                let (mut client, mut value) = (store.client(&names)?, Vec::new());
                let mut sum = 0;
                for (index, name) in names.iter().enumerate() {
                    assert!(client.get(index, &mut value)?, "{}: {name} is gone", row.name);
                    sum += number(&value)?;
                }
                Some(sum)
            }
            (Ground::Entries(store), Task::Recreate) => {
                let (mut client, mut value) = (store.client(&names)?, Vec::new());
                for (index, name) in names.iter().enumerate() {
                    assert!(!client.get(index, &mut value)?, "{}: {name} was deleted and is there", row.name);
                }
                None
            }
            // Each was put once to begin with.
            (Ground::Entries(store), _) => store.writes(&names)?.map(|writes| writes - names.len() as u64),
        };
        if let Some(found) = found {
            assert_eq!(found, expected, "{}: changes found and changes acknowledged differ", row.name);
        }
        Ok(())
    }

    fn print(&self, run: &Run, rows: &[Row]) {
        println!("\n{}", self.title);
        let head = ["rate", "one each", "p50", "p99", "p99.9"].map(|word| format!("{word:>10}")).concat();
        println!("{:<40}{head}{:>14} {:>7} {:>8}", "", "", "share", "retries");
        for row in rows {
            let of = |what: &str| run.figures.median(&format!("{}{what}", row.name)).unwrap_or(f64::NAN);
            let contender = &self.contenders[row.contender];
            let times = ["", ": p50", ": p99", ": p99.9"].map(|what| format!("{:>10}", time(of(what)))).concat();
            println!(
                "{:>3} {:<9} {:<26}{:>10}{times}{:>10.1} CAS {:>7.2} {:>8.3}",
                row.workers,
                contender.system.kind().of(row.workers),
                contender.name,
                rate(of(": rate")),
                of(": one CAS"),
                of(": share"),
                of(": retries")
            );
        }
    }
}

impl Ground {
    fn lost(&self) -> u64 {
        match self {
            Self::Records(segment) => segment.stats().conflicts,
            Self::Entries(store) => store.retries(),
        }
    }
}

fn add(run: &mut Run, row: &str, outcome: &Outcome, retries: u64, cas: f64) {
    limit::add(run, row, 1e9 / outcome.rate, cas);
    let mut add = |what: &str, unit, value| run.figures.add(&format!("{row}: {what}"), unit, value);
    add("rate", "operations a second", outcome.rate);
    add("share", "least by most", outcome.share);
    add("retries", "an operation", retries as f64 / outcome.acknowledged as f64);
    add("timed", "operations", outcome.timed.samples() as f64);
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let nanoseconds = run.ticks.nanoseconds(outcome.timed.within(share));
        run.figures.add(&format!("{row}: {name}"), "ns", nanoseconds);
    }
}
