//! A put and the batch that tells of it, in one thread and without a sleep: what a watch of few and of many entries does for
//! one change.

use std::io;

use slotguard::{
    Deadline, Revision,
    backend::{Backend, Event, Op, Watch},
};

use super::{folder, ours, scaled, system::Store};
use crate::support::{
    Run,
    lineup::{CAS, Lineup},
};

const TITLE: &str = "put and its batch, watched prefix";
/// Entries of the smaller prefixes.
const SIZES: [u32; 2] = [10, 1_000];
/// Of the largest, unless the run was shortened.
const LARGEST: u32 = 100_000;
/// Of each prefix so many entries are changed in turn, far from each other.
const CHANGED: u32 = 10;

fn row(entries: u32) -> String {
    format!("slotguard, {entries} entries")
}

fn name(entries: u32, index: u32) -> String {
    format!("of-{entries}/{index:06}")
}

/// Measures the rows that were asked for.
pub fn run(run: &mut Run) -> io::Result<()> {
    let sizes = [SIZES[0], SIZES[1], scaled(run, LARGEST).max(CHANGED)];
    let rows = sizes.map(row);
    if !rows.iter().map(String::as_str).chain([CAS]).any(|row| run.options.runs(&format!("{TITLE}/{row}"))) {
        return Ok(());
    }
    let here = folder(run)?;
    let store = ours::create(here.path(), sizes.iter().sum()).map_err(io::Error::other)?;
    let store = &store;
    let lineup = Lineup::new(TITLE);
    lineup.one_cas();
    for (entries, row) in sizes.into_iter().zip(rows) {
        let names: Vec<String> = (0..entries).map(|index| name(entries, index)).collect();
        for some in names.chunks(1_000) {
            store.fill(some, &0_u64.to_le_bytes())?;
        }
        let changed = (0..CHANGED).map(|nth| store.key(&name(entries, nth * (entries / CHANGED))));
        let changed = changed.collect::<slotguard::Result<Vec<_>>>().map_err(io::Error::other)?;
        let mut watch = store.watch(&format!("of-{entries}/"), Revision(0)).map_err(io::Error::other)?;
        watch.next(&Deadline::now(), &mut |_| ()).map_err(io::Error::other)?;
        let mut number = 0_u64;
        lineup.row(row, move || {
            number += 1;
            let key = &changed[number as usize % changed.len()];
            let value = number.to_le_bytes();
            store.commit(&[Op::put(key, &value)]).expect("a put");
            let mut told = false;
            let mut hear =
                |event: Event<'_, _>| told |= matches!(event, Event::Put { value: new, .. } if *new == value);
            watch.next(&Deadline::now(), &mut hear).expect("a look");
            assert!(told, "the batch tells of the put before it");
        });
    }
    lineup.measure(run, |_, _| ());
    Ok(())
}
