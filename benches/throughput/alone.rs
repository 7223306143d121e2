//! Rows of one thread: what an operation costs when nobody is in the way, beside its limit and its rivals.
//!
//! Criterion measures each row by itself. Ratios need the rows side by side, so the very same closures then take turns;
//! the goals are judged by the middle of those.

use std::{
    hint::black_box,
    io,
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use criterion::Criterion;
use slotguard::{Deadline, Segment, Version, fnv1a64};

use super::rivals::{LARGEST, Robust, ZEROS, one_more};
use crate::support::{
    Run,
    lineup::{Lineup, Row},
    mapped::Mapped,
};

/// Bytes of the values measured.
const PAYLOADS: [usize; 4] = [8, 64, 256, 1024];

fn measure(lineup: Lineup<'_>, criterion: &mut Criterion, run: &mut Run) {
    lineup.measure(run, |title: &str, rows: &mut [Row<'_>]| {
        let mut group = criterion.benchmark_group(title);
        for (name, many) in rows {
            group.bench_function(&**name, |bencher| bencher.iter_custom(&mut *many));
        }
        group.finish();
    });
}

/// Measures every row that was asked for.
pub fn run(criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    limits(criterion, run);
    for payload in PAYLOADS {
        update(payload, criterion, run)?;
        read(payload, criterion, run)?;
    }
    compare_and_swap(criterion, run)?;
    claim(criterion, run)
}

fn limits(criterion: &mut Criterion, run: &mut Run) {
    let lineup = Lineup::new("limits");
    lineup.one_cas();
    let counter = AtomicU64::new(0);
    lineup.row("fetch_add", move || counter.fetch_add(1, SeqCst));
    copy(&lineup, "copy 64 B", 64);
    copy(&lineup, "copy 1024 B", 1024);
    lineup.row("monotonic clock", Instant::now);
    measure(lineup, criterion, run);
    for payload in PAYLOADS {
        let lineup = Lineup::new(format!("fingerprint/{payload} B"));
        let bytes = vec![7; payload];
        let same = bytes.clone();
        lineup.row("slotguard", move || fnv1a64(black_box(&bytes)));
        lineup.row("fnv crate", move || fnv_crate(black_box(&same)));
        measure(lineup, criterion, run);
    }
}

/// A copy of as many bytes, of which the compiler does not know how many they are: a reader does not either.
fn copy(lineup: &Lineup<'_>, name: &'static str, payload: usize) {
    let (from, mut to) = (vec![1_u8; payload], vec![0_u8; payload]);
    lineup.row(name, move || {
        to.copy_from_slice(black_box(&from[..]));
        black_box(&mut to);
    });
}

/// The byte by byte hash that a user of a mutex would take.
fn fnv_crate(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// A segment with one record of so many bytes, all zeros.
fn one_record(payload: usize) -> io::Result<Segment> {
    let segment = Segment::builder().records(1).payload(payload).anonymous().map_err(io::Error::other)?;
    let record = segment.record(0).map_err(io::Error::other)?;
    record.update(|_, draft| draft.write(&[0; LARGEST][..payload])).map_err(io::Error::other)?;
    Ok(segment)
}

fn update(payload: usize, criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    let segment = one_record(payload)?;
    let typed = Segment::builder().records(1).payload(payload).anonymous().map_err(io::Error::other)?;
    let record = segment.record(0).map_err(io::Error::other)?;
    let (locked, plain, serial) =
        (parking_lot::Mutex::new(ZEROS), std::sync::Mutex::new(ZEROS), parking_lot::Mutex::new(ZEROS));
    let robust = robust(run)?;
    let lineup = Lineup::new(format!("update alone/{payload} B"));
    lineup.one_cas();
    lineup.row("slotguard", || record.update(|_, draft| one_more(draft.edit())).expect("nobody is in the way"));
    if payload == size_of::<u64>() {
        let number = typed.typed::<u64>(0).map_err(io::Error::other)?;
        lineup.row("slotguard, typed u64", move || number.update(|number| *number += 1).expect("nobody is in the way"));
    }
    lineup.row("parking_lot", || locked.lock().update(payload, fnv1a64));
    lineup.row("std mutex", || {
        let mut value = plain.lock().unwrap_or_else(PoisonError::into_inner);
        value.update(payload, fnv1a64);
    });
    if let Some(mapped) = &robust {
        lineup.row("robust mutex", || mapped.get().locked(|value| value.update(payload, fnv1a64)));
    }
    lineup.row("parking_lot, fnv crate", || serial.lock().update(payload, fnv_crate));
    measure(lineup, criterion, run);
    Ok(())
}

fn read(payload: usize, criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    let segment = one_record(payload)?;
    let record = segment.record(0).map_err(io::Error::other)?;
    let (locked, plain) = (parking_lot::Mutex::new(ZEROS), std::sync::Mutex::new(ZEROS));
    let [mut mine, mut theirs, mut others] = [const { Vec::new() }; 3];
    let lineup = Lineup::new(format!("read alone/{payload} B"));
    copy(&lineup, "copy (limit)", payload);
    lineup.row("slotguard", || record.read(&mut mine).expect("nobody is in the way"));
    lineup.row("parking_lot", || locked.lock().read(payload, &mut theirs));
    lineup.row("std mutex", || {
        let value = plain.lock().unwrap_or_else(PoisonError::into_inner);
        value.read(payload, &mut others)
    });
    measure(lineup, criterion, run);
    Ok(())
}

fn compare_and_swap(criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    for payload in [8, 64] {
        let segment = one_record(payload)?;
        let record = segment.record(0).map_err(io::Error::other)?;
        let (mut value, mut version) = (vec![0; payload], 1);
        let lineup = Lineup::new(format!("compare_and_swap alone/{payload} B"));
        lineup.one_cas();
        lineup.row("slotguard", move || {
            one_more(&mut value);
            let outcome = record.compare_and_swap(Version(version), &value);
            version += 1;
            assert!(matches!(outcome, Ok(slotguard::Outcome::Committed(_))), "nobody else swaps here: {outcome:?}");
        });
        measure(lineup, criterion, run);
    }
    Ok(())
}

fn claim(criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    let segment = one_record(64)?;
    let record = segment.record(0).map_err(io::Error::other)?;
    let (locked, plain) = (parking_lot::Mutex::new(ZEROS), std::sync::Mutex::new(ZEROS));
    let robust = robust(run)?;
    let lineup = Lineup::new("claim + release alone");
    if let Some(mapped) = &robust {
        lineup.row("robust mutex", || mapped.get().locked(|_| ()));
    }
    lineup.row("slotguard", || {
        let claim = record.claim(Deadline::never(), Duration::from_secs(60)).expect("nobody else claims");
        claim.release().expect("the claim is ours");
    });
    lineup.row("parking_lot", || drop(locked.lock()));
    lineup.row("std mutex", || drop(plain.lock()));
    measure(lineup, criterion, run);
    Ok(())
}

/// A robust mutex in a mapping whose file is gone already; none when rows are only listed.
fn robust(run: &Run) -> io::Result<Option<Mapped<Robust>>> {
    let Some(scratch) = &run.scratch else {
        return Ok(None);
    };
    let path = scratch.path().join("robust alone");
    let mapped: Mapped<Robust> = Mapped::open(&path)?;
    mapped.get().prepare();
    std::fs::remove_file(&path)?;
    Ok(Some(mapped))
}
