//! Rows of one thread: what an operation costs when nobody is in the way, beside its limit and its rivals.
//!
//! Criterion measures each row by itself. Ratios need the rows side by side, so the very same closures are then run in
//! turn, a fraction of a millisecond each, again and again; the goals are judged by the middle of those.

use std::{
    cell::RefCell,
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

use super::{
    Run,
    figures::{median, time},
    mapped::Mapped,
    rivals::{LARGEST, Robust, ZEROS, one_more},
};

/// Bytes of the values measured.
const PAYLOADS: [usize; 4] = [8, 64, 256, 1024];
/// How long one row is run before it is the next one's turn: so short that few turns meet a timer or another program.
const TURN: Duration = Duration::from_micros(200);
/// Turns of every row in a round; their middle is what the round says.
const TURNS: usize = 60;

/// Rows to be compared with each other.
struct Lineup<'a> {
    title: String,
    rows: RefCell<Vec<Row<'a>>>,
}

/// A row's name, and what runs its operation so many times.
type Row<'a> = (&'static str, Box<dyn FnMut(u64) -> Duration + 'a>);

impl<'a> Lineup<'a> {
    fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: RefCell::default() }
    }

    fn row<R>(&self, name: &'static str, mut operation: impl FnMut() -> R + 'a) {
        let many = move |times: u64| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(operation());
            }
            start.elapsed()
        };
        self.rows.borrow_mut().push((name, Box::new(many)));
    }

    fn measure(self, criterion: &mut Criterion, run: &mut Run) {
        let mut rows = self.rows.into_inner();
        let mut group = criterion.benchmark_group(&self.title);
        for (name, many) in &mut rows {
            group.bench_function(*name, |bencher| bencher.iter_custom(&mut *many));
        }
        group.finish();
        rows.retain(|(name, _)| run.options.wants(&format!("{}/{name}", self.title)));
        if !run.options.measures() || rows.is_empty() {
            return;
        }
        let times: Vec<u64> = rows.iter_mut().map(|(_, many)| times_in_a_turn(many)).collect();
        for _ in 0..run.options.rounds_of(1) {
            let mut turns = vec![Vec::with_capacity(TURNS); rows.len()];
            for _ in 0..TURNS {
                for (((_, many), times), turns) in rows.iter_mut().zip(&times).zip(&mut turns) {
                    turns.push(many(*times).as_nanos() as f64 / *times as f64);
                }
            }
            for ((name, _), turns) in rows.iter().zip(&turns) {
                run.figures.add(&format!("{}/{name}", self.title), "ns", median(turns));
            }
        }
        println!("{}, in turns", self.title);
        for (name, _) in &rows {
            let each = run.figures.median(&format!("{}/{name}", self.title));
            println!("    {name:<26} {:>10}", time(each.unwrap_or(f64::NAN)));
        }
        println!();
    }
}

fn times_in_a_turn(many: &mut dyn FnMut(u64) -> Duration) -> u64 {
    let mut times = 64;
    loop {
        // The shortest of three: one of them may have met another program.
        let took = (0..3).map(|_| many(times)).min().unwrap_or_default();
        if took >= TURN / 4 {
            return (times as f64 * TURN.as_secs_f64() / took.as_secs_f64()) as u64 + 1;
        }
        times *= 2;
    }
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
    one_cas(&lineup);
    let counter = AtomicU64::new(0);
    lineup.row("fetch_add", move || counter.fetch_add(1, SeqCst));
    copy(&lineup, "copy 64 B", 64);
    copy(&lineup, "copy 1024 B", 1024);
    lineup.row("monotonic clock", Instant::now);
    lineup.measure(criterion, run);
    for payload in PAYLOADS {
        let lineup = Lineup::new(format!("fingerprint/{payload} B"));
        let bytes = vec![7; payload];
        let same = bytes.clone();
        lineup.row("slotguard", move || fnv1a64(black_box(&bytes)));
        lineup.row("fnv crate", move || fnv_crate(black_box(&same)));
        lineup.measure(criterion, run);
    }
}

/// One compare-and-swap that succeeds, on a line nobody else wants.
fn one_cas(lineup: &Lineup<'_>) {
    let (word, mut expected) = (AtomicU64::new(0), 0);
    lineup.row("CAS (limit)", move || {
        let swapped = word.compare_exchange(expected, expected + 1, SeqCst, SeqCst);
        expected += 1;
        swapped
    });
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
    one_cas(&lineup);
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
    lineup.measure(criterion, run);
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
    lineup.measure(criterion, run);
    Ok(())
}

fn compare_and_swap(criterion: &mut Criterion, run: &mut Run) -> io::Result<()> {
    for payload in [8, 64] {
        let segment = one_record(payload)?;
        let record = segment.record(0).map_err(io::Error::other)?;
        let (mut value, mut version) = (vec![0; payload], 1);
        let lineup = Lineup::new(format!("compare_and_swap alone/{payload} B"));
        one_cas(&lineup);
        lineup.row("slotguard", move || {
            one_more(&mut value);
            let outcome = record.compare_and_swap(Version(version), &value);
            version += 1;
            assert!(matches!(outcome, Ok(slotguard::Outcome::Committed(_))), "nobody else swaps here: {outcome:?}");
        });
        lineup.measure(criterion, run);
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
    lineup.measure(criterion, run);
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
