//! What one worker of a group does, and the words that tell a worker process so.

use std::{ffi::OsString, fmt, io, path::Path};

use slotguard::{Outcome, RecordOp, Segment};

use super::{
    ours::{LANES, SPARE},
    system::{Client, Store, System},
};
use crate::support::workers::{self, Board, Tally};

/// Entries of one commit, of the set all have in common, and of each worker's own.
pub const SET: usize = 8;
/// Names that each worker creates and deletes in turn.
const OWN_NAMES: usize = 16;
/// The name of the segment whose numbered records stand for entries.
const RECORDS: &str = "records";

/// What a worker does again and again. The number is how many of a hundred entries are of the common set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Commits numbered records.
    Records(u32),
    /// Commits named entries.
    Put(u32),
    /// Reads named entries and commits them one higher, if they have not changed meanwhile.
    Raise(u32),
    /// Creates a name and deletes it.
    Recreate,
}

impl fmt::Display for Task {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(overlap) => write!(out, "records {overlap}"),
            Self::Put(overlap) => write!(out, "put {overlap}"),
            Self::Raise(overlap) => write!(out, "raise {overlap}"),
            Self::Recreate => write!(out, "recreate 0"),
        }
    }
}

impl Task {
    fn from_words(what: &str, overlap: &str) -> Option<Self> {
        let overlap = overlap.parse().ok()?;
        Some(match what {
            "records" => Self::Records(overlap),
            "put" => Self::Put(overlap),
            "raise" => Self::Raise(overlap),
            "recreate" => Self::Recreate,
            _ => return None,
        })
    }

    /// The names a worker with this number works on.
    pub fn names(self, worker: usize) -> Vec<String> {
        match self {
            Self::Recreate => (0..OWN_NAMES).map(|index| format!("worker {worker:02}/{index:02}")).collect(),
            _ => common().chain((0..SET).map(|index| format!("worker {worker:02}/{index}"))).collect(),
        }
    }

    /// Lets a thread work on a store that this process has open.
    pub fn work_on(self, store: &dyn Store, worker: usize, board: &Board, every: u32) -> io::Result<Tally> {
        let client = store.client(&self.names(worker))?;
        Ok(self.work(client, worker, board, every))
    }

    fn work(self, mut client: Box<dyn Client + '_>, worker: usize, board: &Board, every: u32) -> Tally {
        let (mut retries, mut done) = (0, 0_u64);
        let mut tally = match self {
            Self::Put(overlap) => {
                let mut sets = Sets::new(overlap, worker);
                board.work(every, || {
                    done += 1;
                    client.put(&sets.next(), &done.to_le_bytes()).expect("a commit of the bench's own entries");
                })
            }
            Self::Raise(overlap) => {
                let mut sets = Sets::new(overlap, worker);
                board
                    .work(every, || retries += client.raise(&sets.next()).expect("a commit of the bench's own entries"))
            }
            Self::Recreate => board.work(every, || {
                let name = done as usize % OWN_NAMES;
                done += 1;
                let created = client.create(name, &done.to_le_bytes()).expect("room for a few names");
                let deleted = client.delete(name).expect("a name of one's own");
                assert!(created && deleted, "somebody else took or deleted a name that is only ours");
            }),
            Self::Records(_) => unreachable!("numbered records have no names"),
        };
        tally.retries = retries;
        tally
    }
}

/// The names all have in common.
pub fn common() -> impl Iterator<Item = String> {
    (0..SET).map(|index| format!("common/{index}"))
}

/// The sets a worker commits one after another: of each hundred entries, `overlap` are common ones, spread evenly.
struct Sets {
    overlap: u32,
    sum: u32,
    next_common: usize,
}

impl Sets {
    /// Workers begin at different places, so that they do not go in step.
    fn new(overlap: u32, worker: usize) -> Self {
        Self { overlap, sum: (worker as u32 * 37) % 100, next_common: worker }
    }

    /// Indices into [`Task::names`]: the common ones first, then one's own.
    fn next(&mut self) -> [usize; SET] {
        std::array::from_fn(|index| {
            self.sum += self.overlap;
            if self.sum < 100 {
                return SET + index;
            }
            self.sum -= 100;
            self.next_common += 1;
            self.next_common % SET
        })
    }
}

/// A segment of numbered records: the common set's, then each worker's.
pub fn create_records(folder: &Path, workers: usize) -> slotguard::Result<Segment> {
    let records = ((1 + workers) * SET) as u32;
    let segment =
        Segment::builder().records(records).payloads(&[(8, records + SPARE)]).participants(LANES).lanes(LANES);
    segment.create(folder.join(RECORDS))
}

fn work_on_records(overlap: u32, folder: &Path, worker: usize, board: &Board, every: u32) -> slotguard::Result<Tally> {
    let segment = Segment::open(folder.join(RECORDS))?;
    let (mut sets, mut done) = (Sets::new(overlap, worker), 0_u64);
    Ok(board.work(every, || {
        done += 1;
        let value = done.to_le_bytes();
        let ops = sets.next().map(|index| {
            let own = if index < SET { 0 } else { worker * SET };
            RecordOp::write((own + index) as u32, &value)
        });
        let outcome = segment.commit(&ops).expect("a commit of the bench's own records");
        assert!(matches!(outcome, Outcome::Committed(_)), "a commit without a condition was refused");
    }))
}

/// What tells a worker process its task.
pub fn words(system: &str, folder: &Path, task: Task, worker: usize) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![system.into(), folder.into()];
    words.extend(task.to_string().split(' ').map(OsString::from));
    words.push(worker.to_string().into());
    words
}

/// What a worker process does with them.
pub fn work_for_the_parent(words: &[OsString], systems: &[&dyn System]) -> io::Result<()> {
    workers::work_for_the_parent(words, |job, board, every| {
        let [system, folder, what, overlap, worker] = job[..] else {
            return Err(workers::unknown());
        };
        let system = systems.iter().find(|known| known.name() == system).ok_or_else(workers::unknown)?;
        let task = Task::from_words(what, overlap).ok_or_else(workers::unknown)?;
        let worker = worker.parse().map_err(|_| workers::unknown())?;
        let folder = Path::new(folder);
        if let Task::Records(overlap) = task {
            return work_on_records(overlap, folder, worker, board, every).map_err(io::Error::other);
        }
        task.work_on(&*system.open(folder)?, worker, board, every)
    })
}
