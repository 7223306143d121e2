//! Names that are created and deleted: by one thread alone, and by two workers side by side in one directory.

use std::{cell::Cell, io};

use super::{
    contended::{Contender, Matrix},
    folder,
    system::System,
    task::Task,
};
use crate::support::{
    Run,
    lineup::{CAS, Lineup},
};

/// What the rows of one thread are called.
pub const ALONE: &str = "create + delete alone";
/// What the rows of several workers are called.
pub const TOGETHER: &str = "create + delete";

/// How many workers.
pub const WORKERS: [usize; 2] = [1, 2];

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    alone(run, systems)?;
    let contender = |system: &&'_ dyn System| system.name().to_owned();
    let contenders = systems
        .iter()
        .map(|system| Contender { name: contender(system), system: *system, task: Task::Recreate })
        .collect();
    Matrix { title: TOGETHER.to_owned(), workers: &WORKERS, contenders }.run(run)
}

fn alone(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let rows = [CAS].into_iter().chain(systems.iter().map(|system| system.name()));
    if rows.filter(|row| run.options.runs(&format!("{ALONE}/{row}"))).count() == 0 {
        return Ok(());
    }
    let names: Vec<String> = (0..100).map(|index| format!("jobs/{index:03}")).collect();
    let mut stores = Vec::new();
    for system in systems {
        let here = folder(run)?;
        let store = system.create(here.path(), names.len() as u32)?;
        // Half of the names stay, so that it is not an empty directory that one more goes into.
        store.fill(&names[..50], &[7; 8])?;
        stores.push((store, here, Cell::new(0_usize)));
    }
    let lineup = Lineup::new(ALONE);
    lineup.one_cas();
    for (system, (store, _, done)) in systems.iter().zip(&stores) {
        let mut client = store.client(&names)?;
        lineup.row(system.name(), move || {
            let name = 50 + done.get() % 50;
            done.set(done.get() + 1);
            let created = client.create(name, &[7; 8]).expect("room for a name");
            assert!(created && client.delete(name).expect("it was just created"), "nobody else is here");
        });
    }
    lineup.measure(run, |_, _| ());
    for (store, _, _) in &stores {
        let mut left = 0;
        store.client(&[])?.range("jobs/", &mut |_| left += 1)?;
        assert_eq!(left, 50, "names that were created and deleted are there, or others are gone");
    }
    Ok(())
}
