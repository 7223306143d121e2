//! All entries of a prefix as of one moment: 10, 1,000 and 10,000 of them alone, and 10,000 while two writers change them
//! without a rest.

use std::{
    io,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::Instant,
};

use tempfile::TempDir;

use super::{
    folder, limit,
    system::{Store, System},
};
use crate::support::{
    self, Run,
    figures::{median, rate, time},
    lineup::{CAS, Lineup},
};

/// How many entries there are to visit.
pub const SIZES: [u32; 3] = [10, 1_000, 10_000];
/// What the rows beside writers are called.
pub const BESIDE: &str = "range of 10000 beside 2 writers";

const VALUE: [u8; 64] = [7; 64];
const WRITERS: usize = 2;

/// What the rows of one thread are called.
pub fn title(entries: u32) -> String {
    format!("range of {entries}")
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    for entries in SIZES {
        alone(run, entries, systems)?;
    }
    beside_writers(run, systems)
}

fn name(index: u32) -> String {
    format!("range/{index:05}")
}

fn filled(run: &Run, system: &dyn System, entries: u32) -> io::Result<(Box<dyn Store>, TempDir)> {
    let here = folder(run)?;
    let store = system.create(here.path(), entries)?;
    store.fill(&(0..entries).map(name).collect::<Vec<_>>(), &VALUE)?;
    Ok((store, here))
}

fn alone(run: &mut Run, entries: u32, systems: &[&dyn System]) -> io::Result<()> {
    let title = title(entries);
    let rows = [CAS].into_iter().chain(systems.iter().map(|system| system.name()));
    if rows.filter(|row| run.options.runs(&format!("{title}/{row}"))).count() == 0 {
        return Ok(());
    }
    let stores = systems.iter().map(|system| filled(run, *system, entries)).collect::<io::Result<Vec<_>>>()?;
    let lineup = Lineup::new(title);
    lineup.one_cas();
    for (system, (store, _)) in systems.iter().zip(&stores) {
        let mut client = store.client(&[])?;
        lineup.row(system.name(), move || {
            let (mut visited, mut bytes) = (0, 0);
            let mut visit = |value: &[u8]| {
                visited += 1;
                bytes += value.len();
            };
            client.range("range/", &mut visit).expect("a range");
            assert_eq!((visited, bytes), (entries, entries as usize * VALUE.len()), "each entry once, and whole");
        });
    }
    lineup.measure(run, |_, _| ());
    Ok(())
}

/// What a reader beside the writers saw.
struct Seen {
    /// Nanoseconds of each range.
    took: Vec<f64>,
    /// What the writers did during each of them, on average.
    meanwhile: f64,
    writes_a_second: f64,
}

fn beside_writers(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let entries = SIZES[2];
    let row = |system: &dyn System| format!("{BESIDE}/{}", system.name());
    let systems: Vec<&dyn System> = systems.iter().copied().filter(|system| run.options.runs(&row(*system))).collect();
    let stores = systems.iter().map(|system| filled(run, *system, entries)).collect::<io::Result<Vec<_>>>()?;
    for _ in 0..run.options.rounds_of(1 + WRITERS) {
        let cas = limit::one_cas();
        for (system, (store, _)) in systems.iter().zip(&stores) {
            let row = row(*system);
            let seen = support::watched(&row, || measure(run, &**store, entries))?;
            if !run.options.measures() {
                println!("Testing {row}\nSuccess");
                continue;
            }
            limit::add(run, &row, median(&seen.took), cas);
            let longest = seen.took.iter().copied().fold(0.0, f64::max);
            run.figures.add(&format!("{row}: longest"), "ns", longest);
            run.figures.add(&format!("{row}: writes"), "operations a second", seen.writes_a_second);
            run.figures.add(&format!("{row}: writes meanwhile"), "operations a range", seen.meanwhile);
        }
    }
    if run.options.measures() && !systems.is_empty() {
        println!("\n{BESIDE}");
        println!("{:<24} {:>10} {:>10} {:>16} {:>12}", "", "range", "longest", "writes meanwhile", "writers");
        for system in &systems {
            let of = |what: &str| run.figures.median(&format!("{}{what}", row(*system))).unwrap_or(f64::NAN);
            println!(
                "{:<24} {:>10} {:>10} {:>16.0} {:>12}",
                system.name(),
                time(of("")),
                time(of(": longest")),
                of(": writes meanwhile"),
                rate(of(": writes"))
            );
        }
    }
    Ok(())
}

/// Tells the writers to stop, also when the reader fails: they would go on for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn measure(run: &Run, store: &dyn Store, entries: u32) -> io::Result<Seen> {
    let window = run.options.window_of(1 + WRITERS);
    let (stop, written) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; WRITERS]);
    let writes = || written.iter().map(|count| count.load(Relaxed)).sum::<u64>();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let writers = written.iter().enumerate().map(|(writer, count)| {
            let stop = &stop;
            scope.spawn(move || write(store, entries, writer, count, stop))
        });
        let writers: Vec<_> = writers.collect();
        while written.iter().any(|count| count.load(Acquire) == 0) {
            if writers.iter().any(thread::ScopedJoinHandle::is_finished) {
                return Err(io::Error::other("a writer ended before it had written"));
            }
            thread::yield_now();
        }
        let mut client = store.client(&[])?;
        let (mut took, mut meanwhile) = (Vec::new(), 0);
        let (start, first) = (Instant::now(), writes());
        while took.is_empty() || start.elapsed() < window {
            let (before, began, mut visited) = (writes(), Instant::now(), 0);
            client.range("range/", &mut |value| visited += u32::from(value.len() == VALUE.len()))?;
            took.push(began.elapsed().as_nanos() as f64);
            meanwhile += writes() - before;
            assert_eq!(visited, entries, "each entry once, and whole");
        }
        let writes_a_second = (writes() - first) as f64 / start.elapsed().as_secs_f64();
        let meanwhile = meanwhile as f64 / took.len() as f64;
        Ok(Seen { took, meanwhile, writes_a_second })
    })
}

/// Puts without a rest: every second entry is this writer's, and it takes them in an order of its own.
fn write(store: &dyn Store, entries: u32, writer: usize, count: &AtomicU64, stop: &AtomicBool) {
    let names: Vec<String> = (0..entries).filter(|index| *index as usize % WRITERS == writer).map(name).collect();
    let mut client = store.client(&names).expect("a writer of the bench's own entries");
    let (mut done, mut next) = (0, 0);
    while !stop.load(Relaxed) {
        next = (next + 2_731) % names.len();
        client.put(&[next], &[done as u8; VALUE.len()]).expect("a put of the bench's own entry");
        done += 1;
        // Release: the reader begins when it sees that writing has begun.
        count.store(done, Release);
    }
}
