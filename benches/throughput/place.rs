//! Something that workers change together: a record of a segment, or a rival's value of the same size.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::Duration,
};

use slotguard::{Deadline, Segment, fnv1a64};

use super::rivals::{FlockedFile, LARGEST, Robust, Value, Word, ZEROS, one_more};
use crate::support::{
    mapped::Mapped,
    workers::{Board, Tally},
};

/// How long a claim of this bench would live if its worker died; no row comes near it.
const LEASE: Duration = Duration::from_secs(60);

/// What is measured: ours, or what people would use instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// A record of a segment.
    Slotguard,
    /// `parking_lot::Mutex`, for threads.
    ParkingLot,
    /// `std::sync::Mutex`, for threads.
    Std,
    /// A robust process-shared pthread mutex.
    Robust,
    /// `flock` around a mapping.
    Flock,
    /// One word and a loop around a compare-and-swap: the limit of what several can do to one place.
    Word,
}

/// Every system by the name it has in rows and in arguments.
const NAMES: [(System, &str); 6] = [
    (System::Slotguard, "slotguard"),
    (System::ParkingLot, "parking_lot"),
    (System::Std, "std mutex"),
    (System::Robust, "robust mutex"),
    (System::Flock, "flock"),
    (System::Word, "CAS loop (limit)"),
];

impl fmt::Display for System {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(system, _)| system == self);
        out.pad(name.map_or("", |(_, name)| name))
    }
}

impl System {
    /// The system with this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(system, _)| *system)
    }
}

/// What a worker does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One more in the number at the start of the value, and the fingerprint of all of it.
    Update,
    /// Take it and give it back, without a change.
    Claim,
}

/// The thing itself, as this process sees it.
pub enum Place {
    /// A segment; the record is chosen by the worker.
    Slotguard(Segment),
    /// A value in this process.
    ParkingLot(Box<parking_lot::Mutex<Value>>),
    /// A value in this process.
    Std(Box<std::sync::Mutex<Value>>),
    /// A value in a mapping.
    Robust(Mapped<Robust>),
    /// Where the file is; every worker opens it for itself.
    Flock(PathBuf),
    /// A word in a mapping.
    Word(Mapped<Word>),
}

impl Place {
    /// Makes a fresh one of `payload` bytes, all zeros, in a file of this name if it needs one. Segments get two records, so
    /// that two workers can also keep out of each other's way.
    pub fn create(system: System, payload: usize, file: &Path) -> io::Result<Self> {
        Ok(match system {
            System::Slotguard => {
                let segment = Segment::builder()
                    .records(2)
                    .payload(payload)
                    .participants(128)
                    .lanes(256)
                    .create(file)
                    .map_err(io::Error::other)?;
                for index in 0..segment.records() {
                    let record = segment.record(index).map_err(io::Error::other)?;
                    record.update(|_, draft| draft.write(&[0; LARGEST][..payload])).map_err(io::Error::other)?;
                }
                Self::Slotguard(segment)
            }
            System::ParkingLot => Self::ParkingLot(Box::new(parking_lot::Mutex::new(ZEROS))),
            System::Std => Self::Std(Box::new(std::sync::Mutex::new(ZEROS))),
            System::Robust => {
                let mapped: Mapped<Robust> = Mapped::open(file)?;
                mapped.get().prepare();
                Self::Robust(mapped)
            }
            System::Flock => {
                FlockedFile::open(file)?;
                Self::Flock(file.to_owned())
            }
            System::Word => Self::Word(Mapped::open(file)?),
        })
    }

    /// Opens one that another process has made.
    pub fn open(system: System, file: &Path) -> io::Result<Self> {
        match system {
            System::Slotguard => Ok(Self::Slotguard(Segment::open(file).map_err(io::Error::other)?)),
            System::Robust => Ok(Self::Robust(Mapped::open(file)?)),
            System::Flock => Ok(Self::Flock(file.to_owned())),
            System::Word => Ok(Self::Word(Mapped::open(file)?)),
            System::ParkingLot | System::Std => {
                Err(io::Error::other(format!("{system} is for threads of one process")))
            }
        }
    }

    /// Works as one of the group until the board says stop. Every `every`th operation is timed.
    pub fn work(&self, task: Task, record: u32, payload: usize, board: &Board, every: u32) -> Tally {
        match (self, task) {
            (Self::Slotguard(segment), Task::Update) => {
                let record = segment.record(record).expect("a record of the bench's own segment");
                board.work(every, || {
                    record.update(|_, draft| one_more(draft.edit())).expect("an update of the bench's own record");
                })
            }
            (Self::Slotguard(segment), Task::Claim) => {
                let record = segment.record(record).expect("a record of the bench's own segment");
                board.work(every, || {
                    let claim = record.claim(Deadline::never(), LEASE).expect("a claim of the bench's own record");
                    claim.release().expect("the claim is ours");
                })
            }
            (Self::ParkingLot(mutex), Task::Update) => board.work(every, || mutex.lock().update(payload, fnv1a64)),
            (Self::ParkingLot(mutex), Task::Claim) => board.work(every, || drop(mutex.lock())),
            (Self::Std(mutex), Task::Update) => board.work(every, || {
                let mut value = mutex.lock().unwrap_or_else(PoisonError::into_inner);
                value.update(payload, fnv1a64);
            }),
            (Self::Std(mutex), Task::Claim) => board.work(every, || drop(mutex.lock())),
            (Self::Robust(mapped), Task::Update) => {
                let robust = mapped.get();
                board.work(every, || robust.locked(|value| value.update(payload, fnv1a64)))
            }
            (Self::Robust(mapped), Task::Claim) => {
                let robust = mapped.get();
                board.work(every, || robust.locked(|_| ()))
            }
            (Self::Word(mapped), _) => {
                let word = mapped.get();
                board.work(every, || word.one_more())
            }
            (Self::Flock(path), _) => {
                let file = FlockedFile::open(path).expect("the run's own file opens");
                board.work(every, || {
                    file.locked(|value| {
                        if task == Task::Update {
                            value.update(payload, fnv1a64);
                        }
                    });
                })
            }
        }
    }

    /// How many updates it has seen in all, by what is stored in it. To be called while nobody works on it.
    pub fn changes(&self) -> u64 {
        match self {
            Self::Slotguard(segment) => (0..segment.records()).map(|index| changes_of(segment, index)).sum(),
            Self::ParkingLot(mutex) => mutex.lock().changes(),
            Self::Std(mutex) => mutex.lock().unwrap_or_else(PoisonError::into_inner).changes(),
            Self::Robust(mapped) => mapped.get().locked(|value| value.changes()),
            Self::Word(mapped) => mapped.get().changes(),
            Self::Flock(path) => {
                let file = FlockedFile::open(path).expect("the run's own file opens");
                file.locked(|value| value.changes())
            }
        }
    }
}

/// The number in a record, which must be one less than its version: the first write put the zeros there.
fn changes_of(segment: &Segment, index: u32) -> u64 {
    let record = segment.record(index).expect("a record of the bench's own segment");
    let mut bytes = Vec::new();
    let stamp = record.read(&mut bytes).expect("a quiet record reads");
    let first = bytes.first_chunk::<8>().expect("every payload is at least eight bytes");
    let changes = u64::from_le_bytes(*first);
    assert_eq!(stamp.version.0, changes + 1, "record {index} lost a change or has one too many");
    assert_eq!(stamp.fingerprint, fnv1a64(&bytes), "record {index}: the fingerprint is of other bytes");
    changes
}
