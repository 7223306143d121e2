//! Commits of eight entries each by several workers, whose sets have none, a tenth, half or all of their entries in common.

use std::io;

use super::{
    commits::{RECORDS, unchanged},
    contended::{Contender, Matrix},
    system::System,
    task::Task,
};
use crate::support::Run;

/// How many of a hundred entries are common to all.
pub const OVERLAPS: [u32; 4] = [0, 10, 50, 100];
/// How many workers.
pub const WORKERS: [usize; 4] = [1, 2, 8, 64];

/// What the rows with so many in common are called.
pub fn title(overlap: u32) -> String {
    format!("commit of 8, {overlap} % in common")
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    for overlap in OVERLAPS {
        let ours = systems[0];
        let mut contenders = vec![Contender { name: RECORDS.to_owned(), system: ours, task: Task::Records(overlap) }];
        for system in systems {
            contenders.push(Contender { name: system.name().to_owned(), system: *system, task: Task::Put(overlap) });
            // Where every transaction holds a lock, reading first changes nothing.
            if system.is_optimistic() {
                let (name, task) = (unchanged(system.name()), Task::Raise(overlap));
                contenders.push(Contender { name, system: *system, task });
            }
        }
        Matrix { title: title(overlap), workers: &WORKERS, contenders }.run(run)?;
    }
    Ok(())
}
