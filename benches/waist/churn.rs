//! A million names that come and go in a segment with room for ten thousand: whether the last ones cost what the first did.

use std::{io, time::Instant};

use slotguard::{
    Segment,
    backend::{Backend, Op, SharedMemory},
};

use super::{limit, ours::committed, scaled};
use crate::support::{self, Run, figures::time};

/// The name of the row.
pub const ROW: &str = "create + delete, one name after another";
/// How many names come and go, unless the run was shortened.
pub const NAMES: u32 = 1_000_000;
/// For how many there is room, and how many are there at any time.
const ROOM: u32 = 10_000;
const ALIVE: u32 = 1_000;
/// Parts that are timed by themselves.
const PARTS: u32 = 10;

/// The name of the figure of one tenth of the names, counted from 1.
pub fn part(number: u32) -> String {
    format!("{ROW}: tenth {number}")
}

/// Measures the row if it was asked for.
pub fn run(run: &mut Run) -> io::Result<()> {
    if !run.options.runs(ROW) {
        return Ok(());
    }
    let names = scaled(run, NAMES);
    let segment = Segment::builder().keys(ROOM).payload(64).anonymous().map_err(io::Error::other)?;
    let store = SharedMemory::new(segment).map_err(io::Error::other)?;
    for index in 0..ALIVE {
        create(&store, index)?;
    }
    let parts = || (0..PARTS).map(|part| one_part(&store, part, names / PARTS)).collect::<io::Result<Vec<f64>>>();
    let each = support::watched(ROW, parts)?;
    let mut left = 0;
    store.range("", &mut |_, _, _| left += 1).map_err(io::Error::other)?;
    assert_eq!(left, ALIVE, "after {names} names came and went another number is there than should be");
    let audit = store.segment().audit().map_err(io::Error::other)?;
    assert_eq!((audit.missing, audit.doubled), (0, 0), "blocks were lost on the way: {audit:?}");
    if !run.options.measures() {
        println!("Testing {ROW}\nSuccess");
        return Ok(());
    }
    run.figures.add(&format!("{ROW}: names"), "names", names.into());
    let cas = limit::one_cas();
    println!("\n{ROW}: {names} of them, {ALIVE} at a time, room for {ROOM}");
    for (number, nanoseconds) in (1..).zip(&each) {
        limit::add(run, &part(number), *nanoseconds, cas);
        println!("    tenth {number:<3} {:>10}{:>12.1} CAS", time(*nanoseconds), nanoseconds / cas);
    }
    println!();
    Ok(())
}

fn name(index: u32) -> String {
    format!("job/{index:07}")
}

fn create(store: &SharedMemory, index: u32) -> io::Result<()> {
    let key = store.key(&name(index)).map_err(io::Error::other)?;
    committed(store.commit(&[Op::put(&key, &index.to_le_bytes()).if_absent()])).map(drop)
}

/// Nanoseconds of one creation and one deletion, the handle included: nobody meets a name twice.
fn one_part(store: &SharedMemory, part: u32, names: u32) -> io::Result<f64> {
    let first = ALIVE + part * names;
    let start = Instant::now();
    for index in first..first + names {
        create(store, index)?;
        let oldest = store.key(&name(index - ALIVE)).map_err(io::Error::other)?;
        committed(store.commit(&[Op::delete(&oldest).if_exists()]))?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(names))
}
