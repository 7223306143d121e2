//! Commits of one thread that nobody is in the way of: 1 to 32 records, named entries, and the others' transactions over
//! the same names.
//!
//! *If unchanged* reads every entry first and writes only if nobody has written meanwhile, as one must where others may.

use std::{cell::Cell, io};

use slotguard::{
    Outcome, RecordOp, Segment,
    backend::{Backend, Op},
};
use tempfile::TempDir;

use super::{
    folder,
    ours::{self, committed},
    system::{Store, System, number},
};
use crate::support::{
    Run,
    lineup::{CAS, Lineup},
};

/// How many entries a commit has.
pub const SIZES: [usize; 5] = [1, 2, 4, 8, 32];

/// The row of numbered records of ours.
pub const RECORDS: &str = "slotguard, records";

/// What the rows of commits of so many are called.
pub fn title(size: usize) -> String {
    format!("commit alone/{size}")
}

/// The row of a system that reads first.
pub fn unchanged(system: &str) -> String {
    format!("{system}, if unchanged")
}

/// Measures the rows that were asked for.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    commits_of::<{ SIZES[0] }>(run, systems)?;
    commits_of::<{ SIZES[1] }>(run, systems)?;
    commits_of::<{ SIZES[2] }>(run, systems)?;
    commits_of::<{ SIZES[3] }>(run, systems)?;
    commits_of::<{ SIZES[4] }>(run, systems)
}

/// A store whose rows are counted.
struct Counted {
    // First, so that it has let go of its folder when that is removed.
    store: Box<dyn Store>,
    _folder: TempDir,
    put: Cell<u64>,
    raised: Cell<u64>,
}

/// Names to put, and names to raise.
fn names_of(size: usize) -> [Vec<String>; 2] {
    ["put", "raise"].map(|folder| (0..size).map(|index| format!("{folder}/{index:02}")).collect())
}

fn commits_of<const N: usize>(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let rows = [CAS.to_owned(), RECORDS.to_owned()];
    let rows = rows.into_iter().chain(systems.iter().flat_map(|one| [one.name().to_owned(), unchanged(one.name())]));
    if rows.filter(|row| run.options.runs(&format!("{}/{row}", title(N)))).count() == 0 {
        return Ok(());
    }
    let segment = Segment::builder().records(N as u32).payload(8).anonymous().map_err(io::Error::other)?;
    let written = Cell::new(0);
    let names = names_of(N);
    let [to_put, to_raise] = &names;
    let mut stores = Vec::new();
    let here = folder(run)?;
    // Ours are put through their handles, without the few nanoseconds that asking like the others takes.
    let store = ours::create(here.path(), 2 * N as u32).map_err(io::Error::other)?;
    let keys =
        to_put.iter().map(|name| store.key(name)).collect::<slotguard::Result<Vec<_>>>().map_err(io::Error::other)?;
    let keys: [_; N] = std::array::from_fn(|index| keys[index].clone());
    let direct = store.clone();
    stores.push(Counted { store: Box::new(store), _folder: here, put: Cell::new(0), raised: Cell::new(0) });
    for system in &systems[1..] {
        let here = folder(run)?;
        let store = system.create(here.path(), 2 * N as u32)?;
        stores.push(Counted { store, _folder: here, put: Cell::new(0), raised: Cell::new(0) });
    }
    let every: Vec<usize> = (0..N).collect();
    let lineup = Lineup::new(title(N));
    lineup.one_cas();
    lineup.row(RECORDS, || {
        let value = one_more(&written);
        let ops: [RecordOp<'_>; N] = std::array::from_fn(|index| RecordOp::write(index as u32, &value));
        assert!(matches!(segment.commit(&ops), Ok(Outcome::Committed(_))), "nobody is in the way");
    });
    for (system, counted) in systems.iter().zip(&stores) {
        for names in &names {
            counted.store.fill(names, &0_u64.to_le_bytes())?;
        }
        if system.name() == ours::NAME {
            lineup.row(ours::NAME, || {
                let value = one_more(&counted.put);
                let ops: [Op<'_, _>; N] = std::array::from_fn(|index| Op::put(&keys[index], &value));
                committed(direct.commit(&ops)).expect("nobody is in the way")
            });
        } else {
            let mut client = counted.store.client(to_put)?;
            let every = &every;
            lineup.row(system.name(), move || {
                client.put(every, &one_more(&counted.put)).expect("nobody is in the way");
            });
        }
        let mut client = counted.store.client(to_raise)?;
        let every = &every;
        lineup.row(unchanged(system.name()), move || {
            one_more(&counted.raised);
            let retries = client.raise(every).expect("nobody is in the way");
            assert_eq!(retries, 0, "nobody is in the way");
        });
    }
    lineup.measure(run, |_, _| ());
    for index in 0..N as u32 {
        let stamp = segment.record(index).and_then(|record| record.verify()).map_err(io::Error::other)?;
        assert_eq!(stamp.version.0, written.get(), "record {index}: commits found and commits acknowledged differ");
    }
    for (system, counted) in systems.iter().zip(&stores) {
        check(system.name(), counted, &names)?;
    }
    Ok(())
}

/// The next number, as the bytes to write.
fn one_more(count: &Cell<u64>) -> [u8; 8] {
    count.set(count.get() + 1);
    count.get().to_le_bytes()
}

/// Whether every commit that was acknowledged is there, once.
fn check(system: &str, counted: &Counted, [to_put, to_raise]: &[Vec<String>; 2]) -> io::Result<()> {
    for (names, commits) in [(to_put, &counted.put), (to_raise, &counted.raised)] {
        let mut client = counted.store.client(names)?;
        let mut value = Vec::new();
        for (index, name) in names.iter().enumerate() {
            assert!(client.get(index, &mut value)?, "{system}: {name} is gone");
            assert_eq!(
                number(&value)?,
                commits.get(),
                "{system}: {name} has another number than commits were acknowledged"
            );
        }
        if let Some(writes) = counted.store.writes(names)? {
            // Each was put once to begin with.
            let expected = (commits.get() + 1) * names.len() as u64;
            assert_eq!(writes, expected, "{system}: versions found and commits acknowledged differ");
        }
    }
    Ok(())
}
