//! Reads of one entry among ten, a thousand and a million: by handle, by name, and of names that are not there.
//!
//! *By handle* reads the same ten entries in turn, however many there are, so that only the store's size differs and not
//! what the processor's caches can hold; *by handle, spread* and all rows by name go over up to 4,096 entries, which at a
//! million lie far apart, so those do pay for caches.

use std::{
    io,
    time::{Duration, Instant},
};

use slotguard::{
    Error,
    backend::{Backend, SharedMemory},
};
use tempfile::TempDir;

use super::{
    folder,
    ours::{self, create},
    scaled,
    system::{Client, Store, System},
};
use crate::support::{
    self, Run,
    lineup::{CAS, Lineup},
    options::Mode,
};

/// The smaller numbers of entries.
const SIZES: [u32; 2] = [10, 1_000];
/// The largest, unless the run was shortened, it takes too long to build or there is no room for it.
const LARGEST: u32 = 1_000_000;
/// The figure that says how many entries the largest store had.
const LARGEST_BUILT: &str = "lookup: entries of the largest store";
/// Longer than this nobody waits for a store to be built.
const PATIENCE: Duration = Duration::from_secs(20);

const VALUE: [u8; 64] = [7; 64];
/// Most entries that a row reads in turn.
const SPREAD: u32 = 4_096;

/// Our rows.
pub const BY_HANDLE: &str = "slotguard, by handle";
const SPREAD_HANDLES: &str = "slotguard, by handle, spread";
const ABSENT: &str = "slotguard, absent";

/// How many entries the rows of this run are among, the fewest first and the most last.
pub fn sizes(run: &Run) -> [u32; 3] {
    let largest = run.figures.median(LARGEST_BUILT).map_or(LARGEST, |entries| entries as u32);
    [SIZES[0], SIZES[1], largest]
}

/// What the rows among so many entries are called.
pub fn title(entries: u32) -> String {
    format!("lookup among {entries}")
}

/// The row of another system for a name that is not there.
fn absent(system: &str) -> String {
    format!("{system}, absent")
}

/// Measures the rows that were asked for.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    for entries in SIZES {
        if asked(run, entries, systems) {
            among(run, entries, build(run, entries)?, systems)?;
        }
    }
    let mut entries = scaled(run, LARGEST);
    if !asked(run, entries, systems) {
        return Ok(());
    }
    let row = title(entries);
    let built = support::watched(&row, || {
        loop {
            match build(run, entries) {
                Ok(built) if built.complete => return Ok(built),
                Ok(_) => println!("{entries} entries are not built within {PATIENCE:?}: a tenth of them instead"),
                Err(error) if is_too_large(&error) && entries > 1_000 => {
                    println!("no room for {entries} entries ({error}): a tenth of them instead");
                }
                Err(error) => return Err(error),
            }
            entries /= 10;
        }
    })?;
    if run.options.measures() {
        run.figures.add(LARGEST_BUILT, "entries", entries.into());
        println!("{entries} entries were built in {:.1} s", built.took.as_secs_f64());
    }
    among(run, entries, built, systems)
}

fn asked(run: &Run, entries: u32, systems: &[&dyn System]) -> bool {
    let rivals = systems.iter().skip(1).flat_map(|system| [system.name().to_owned(), absent(system.name())]);
    let ours = [CAS, BY_HANDLE, SPREAD_HANDLES, ours::NAME, ABSENT].map(str::to_owned);
    ours.into_iter().chain(rivals).filter(|row| run.options.runs(&format!("{}/{row}", title(entries)))).count() > 0
}

fn is_too_large(error: &io::Error) -> bool {
    let ours = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(ours, Some(Error::NoSpace { .. }))
}

fn name(index: u32) -> String {
    format!("entries/{index:07}")
}

struct Built {
    store: SharedMemory,
    took: Duration,
    /// All of them were put before patience ended.
    complete: bool,
    // Last, so that the store has let go of it when it is removed.
    _folder: TempDir,
}

fn build(run: &Run, entries: u32) -> io::Result<Built> {
    let folder = folder(run)?;
    let store = create(folder.path(), entries).map_err(io::Error::other)?;
    let start = Instant::now();
    let complete = fill(&store, entries, start + PATIENCE)?;
    Ok(Built { store, took: start.elapsed(), complete, _folder: folder })
}

/// Puts so many entries; `false` if it was not done by then.
fn fill(store: &dyn Store, entries: u32, by: Instant) -> io::Result<bool> {
    for first in (0..entries).step_by(1_000) {
        let names: Vec<String> = (first..entries.min(first + 1_000)).map(name).collect();
        store.fill(&names, &VALUE)?;
        if Instant::now() > by {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As many names, spread over all entries, in an order that no prefetcher foresees.
fn spread(entries: u32, names: u32) -> Vec<String> {
    let names = names.min(entries);
    // A step prime to every power of ten visits each place once.
    (0..names).map(|nth| name((nth * 2_731 % names) * (entries / names))).collect()
}

/// Goes round and round.
fn turning(length: usize) -> impl FnMut() -> usize {
    let mut next = 0;
    move || {
        next = if next + 1 == length { 0 } else { next + 1 };
        next
    }
}

fn among(run: &mut Run, entries: u32, built: Built, systems: &[&dyn System]) -> io::Result<()> {
    let store = &built.store;
    let (few, many) = (spread(entries, 10), spread(entries, SPREAD));
    let missing: Vec<String> = many.iter().map(|name| format!("{name}-")).collect();
    let keys = |names: &[String]| names.iter().map(|name| store.key(name)).collect::<slotguard::Result<Vec<_>>>();
    let (few, handles) = (keys(&few).map_err(io::Error::other)?, keys(&many).map_err(io::Error::other)?);
    let mut others = Vec::new();
    for system in &systems[1..] {
        let here = folder(run)?;
        let store = system.create(here.path(), entries)?;
        let row = format!("{}/{}", title(entries), system.name());
        // Whatever it takes: a rival is measured at our size or not at all.
        support::watched(&row, || fill(&*store, entries, Instant::now() + Duration::from_secs(3_600)))?;
        others.push((store, here));
    }
    let lineup = Lineup::new(title(entries));
    lineup.one_cas();
    let [mut bytes, mut more, mut named, mut none] = [const { Vec::new() }; 4];
    let mut next = turning(few.len());
    lineup.row(BY_HANDLE, move || read(store, &few[next()], &mut bytes, true));
    let mut next = turning(handles.len());
    lineup.row(SPREAD_HANDLES, move || read(store, &handles[next()], &mut more, true));
    let (many, missing) = (&many, &missing);
    let mut next = turning(many.len());
    lineup.row(ours::NAME, move || read(store, &store.key(&many[next()]).expect("a name"), &mut named, true));
    let mut next = turning(missing.len());
    lineup.row(ABSENT, move || read(store, &store.key(&missing[next()]).expect("a name"), &mut none, false));
    for (system, (store, _)) in systems[1..].iter().zip(&others) {
        for (row, names, there) in [(system.name().to_owned(), many, true), (absent(system.name()), missing, false)] {
            let mut client: Box<dyn Client + '_> = store.client(names)?;
            let (mut next, mut value) = (turning(names.len()), Vec::new());
            lineup.row(row, move || {
                assert_eq!(client.get(next(), &mut value).expect("a read"), there, "an entry is there or is not");
            });
        }
    }
    lineup.measure(run, |_, _| ());
    if run.options.mode == Mode::Measure {
        println!(
            "rows by name and spread read {} entries in turn, the row by handle {}\n",
            many.len(),
            10.min(entries)
        );
    }
    let mut left = 0;
    store.range("", &mut |_, _, _| left += 1).map_err(io::Error::other)?;
    assert_eq!(left, entries, "lookups have added or removed entries");
    Ok(())
}

fn read(store: &SharedMemory, key: &<SharedMemory as Backend>::Key, into: &mut Vec<u8>, there: bool) {
    let (meta, _) = store.read(key, into).expect("a read");
    assert_eq!(meta.is_some(), there, "an entry is there or is not");
}
