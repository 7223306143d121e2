//! Commits of one thread that nobody is in the way of: 1 to 32 records, named entries, and the others' transactions over
//! the same names.
//!
//! Ours have as many blocks as they can use, so that a lane keeps what its next commit needs; *default room* has those that
//! a segment is given if nothing is said, of which a lane keeps few: larger commits take the rest from the pool each time.
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
    ours::{self, LANES, SPARE, committed},
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

/// The same with as many blocks as a segment has if nothing is said.
pub const DEFAULT_ROOM: &str = "slotguard, records, default room";

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

/// Numbered records whose commits are counted.
struct Records {
    row: &'static str,
    segment: Segment,
    written: Cell<u64>,
}

impl Records {
    fn create(row: &'static str, records: u32) -> io::Result<Self> {
        let builder = Segment::builder().records(records).lanes(LANES);
        let builder =
            if row == RECORDS { builder.payloads(&[(8, records + SPARE)]) } else { builder.payload(size_of::<u64>()) };
        Ok(Self { row, segment: builder.anonymous().map_err(io::Error::other)?, written: Cell::new(0) })
    }

    fn commit<const N: usize>(&self) {
        let value = one_more(&self.written);
        let ops: [RecordOp<'_>; N] = std::array::from_fn(|index| RecordOp::write(index as u32, &value));
        assert!(matches!(self.segment.commit(&ops), Ok(Outcome::Committed(_))), "nobody is in the way");
    }

    /// Whether every commit that was acknowledged is there, once.
    fn check(&self) -> io::Result<()> {
        for index in 0..self.segment.records() {
            let stamp = self.segment.record(index).and_then(|record| record.verify()).map_err(io::Error::other)?;
            assert_eq!(
                stamp.version.0,
                self.written.get(),
                "{}: versions found and commits acknowledged differ",
                self.row
            );
        }
        Ok(())
    }
}

/// A store whose commits are counted.
struct Counted {
    // First, so that it has let go of its folder when that is removed.
    store: Box<dyn Store>,
    _folder: TempDir,
    names: [Vec<String>; 2],
    put: Cell<u64>,
    raised: Cell<u64>,
}

impl Counted {
    /// With names to put, and names to raise.
    fn new(store: Box<dyn Store>, folder: TempDir, size: usize) -> io::Result<Self> {
        let names: [Vec<String>; 2] =
            ["put", "raise"].map(|folder| (0..size).map(|index| format!("{folder}/{index:02}")).collect());
        for names in &names {
            store.fill(names, &0_u64.to_le_bytes())?;
        }
        Ok(Self { store, _folder: folder, names, put: Cell::new(0), raised: Cell::new(0) })
    }

    /// Whether every commit that was acknowledged is there, once.
    fn check(&self, system: &str) -> io::Result<()> {
        for (names, commits) in self.names.iter().zip([&self.put, &self.raised]) {
            let (mut client, mut value) = (self.store.client(names)?, Vec::new());
            for (index, name) in names.iter().enumerate() {
                assert!(client.get(index, &mut value)?, "{system}: {name} is gone");
                assert_eq!(number(&value)?, commits.get(), "{system}: {name} and the commits acknowledged differ");
            }
            if let Some(writes) = self.store.writes(names)? {
                // Each was put once to begin with.
                let expected = (commits.get() + 1) * names.len() as u64;
                assert_eq!(writes, expected, "{system}: versions found and commits acknowledged differ");
            }
        }
        Ok(())
    }
}

fn commits_of<const N: usize>(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let rows = [CAS, RECORDS, DEFAULT_ROOM].map(str::to_owned);
    let rows = rows.into_iter().chain(systems.iter().flat_map(|one| [one.name().to_owned(), unchanged(one.name())]));
    if rows.filter(|row| run.options.runs(&format!("{}/{row}", title(N)))).count() == 0 {
        return Ok(());
    }
    let records = [Records::create(RECORDS, N as u32)?, Records::create(DEFAULT_ROOM, N as u32)?];
    let here = folder(run)?;
    let ours = ours::create(here.path(), 2 * N as u32).map_err(io::Error::other)?;
    let mut stores = vec![Counted::new(Box::new(ours.clone()), here, N)?];
    for system in &systems[1..] {
        let here = folder(run)?;
        stores.push(Counted::new(system.create(here.path(), 2 * N as u32)?, here, N)?);
    }
    let keys = stores[0].names[0].iter().map(|name| ours.key(name)).collect::<slotguard::Result<Vec<_>>>();
    let keys = keys.map_err(io::Error::other)?;
    let every: Vec<usize> = (0..N).collect();
    let (keys, every) = (&keys, &every);
    let lineup = Lineup::new(title(N));
    lineup.one_cas();
    for records in &records {
        lineup.row(records.row, || records.commit::<N>());
    }
    for (system, counted) in systems.iter().zip(&stores) {
        if system.name() == ours::NAME {
            // Through the handles, without the few nanoseconds that asking like the others takes.
            lineup.row(ours::NAME, || {
                let value = one_more(&counted.put);
                let ops: [Op<'_, _>; N] = std::array::from_fn(|index| Op::put(&keys[index], &value));
                committed(ours.commit(&ops)).expect("nobody is in the way")
            });
        } else {
            let mut client = counted.store.client(&counted.names[0])?;
            lineup.row(system.name(), move || {
                client.put(every, &one_more(&counted.put)).expect("nobody is in the way");
            });
        }
        let mut client = counted.store.client(&counted.names[1])?;
        lineup.row(unchanged(system.name()), move || {
            one_more(&counted.raised);
            let retries = client.raise(every).expect("nobody is in the way");
            assert_eq!(retries, 0, "nobody is in the way");
        });
    }
    lineup.measure(run, |_, _| ());
    records.iter().try_for_each(Records::check)?;
    systems.iter().zip(&stores).try_for_each(|(system, counted)| counted.check(system.name()))
}

/// The next number, as the bytes to write.
fn one_more(count: &Cell<u64>) -> [u8; 8] {
    count.set(count.get() + 1);
    count.get().to_le_bytes()
}
