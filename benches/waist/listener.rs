//! Somebody who listens, in this process or one of its own, and when it heard what.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::Stdio,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use harness::subprocess::{Subprocess, command};
use rustix::{
    thread::{self as kernel, futex},
    time::{ClockId, clock_gettime},
};

use super::system::{Listener, Store, System, number};
use crate::support::{
    mapped::{Mapped, Shareable},
    pin, workers,
};

/// The name of the role of a process that listens.
pub const LISTEN: &str = "listen";
/// The entry that is put, and its value's number for "that was all".
pub const ENTRY: &str = "told/1";
const END: u64 = u64::MAX;

/// Nanoseconds of the monotonic clock, which all processes of one machine share.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A value that says that it is all.
pub fn end() -> [u8; 8] {
    END.to_le_bytes()
}

/// Whether it is.
pub fn is_end(value: &[u8]) -> io::Result<bool> {
    Ok(number(value)? == END)
}

/// What a listener says of itself, in a mapping of the file `listener`.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct ListenerWords {
    process: AtomicU32,
    thread: AtomicU32,
    heard: AtomicU64,
    at: AtomicU64,
}

// SAFETY: four atomics; zeros, and anything else, are values of them.
unsafe impl Shareable for ListenerWords {}

impl ListenerWords {
    /// Maps it.
    pub fn open(folder: &Path) -> io::Result<Mapped<Self>> {
        Mapped::open(&folder.join("listener"))
    }

    /// Process and thread of the listener, once it listens.
    pub fn listener(&self) -> Option<(u32, u32)> {
        // Acquire: with the process the thread is there.
        let process = self.process.load(Acquire);
        (process != 0).then(|| (process, self.thread.load(Relaxed)))
    }

    /// When the value with this number was heard, once it was.
    pub fn heard(&self, number: u64) -> Option<u64> {
        // Acquire: with the number its time is there.
        (self.heard.load(Acquire) == number).then(|| self.at.load(Relaxed))
    }

    /// Notes everything there is to hear, until its end.
    pub fn listen(&self, listener: &mut dyn Listener) -> io::Result<()> {
        self.thread.store(kernel::gettid().as_raw_nonzero().get() as u32, Relaxed);
        // Release: whoever sees the process sees its thread.
        self.process.store(std::process::id(), Release);
        loop {
            let value = listener.next()?;
            let at = now();
            if is_end(&value)? {
                return Ok(());
            }
            self.at.store(at, Relaxed);
            // Release: whoever sees the number sees its time.
            self.heard.store(number(&value)?, Release);
        }
    }
}

/// The limit: a number in a mapping and a futex beside it. A store for one entry and one listener.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Bell {
    rung: AtomicU32,
    number: AtomicU64,
}

// SAFETY: two atomics; zeros, and anything else, are values of them.
unsafe impl Shareable for Bell {}

/// The name of its rows.
pub const BELL: &str = "futex (limit)";

impl Bell {
    /// Maps it.
    pub fn open(folder: &Path) -> io::Result<Mapped<Self>> {
        Mapped::open(&folder.join("bell"))
    }

    /// Puts the number and wakes the listener.
    pub fn ring(&self, number: u64) {
        self.number.store(number, Relaxed);
        // Release: whoever sees the count sees the number.
        self.rung.fetch_add(1, Release);
        let _ = futex::wake(&self.rung, futex::Flags::empty(), 1);
    }
}

/// Who listens to a bell, from now on.
pub struct Ringing<'b> {
    bell: &'b Bell,
    seen: u32,
}

impl<'b> Ringing<'b> {
    /// Begins to listen.
    pub fn new(bell: &'b Bell) -> Self {
        Self { bell, seen: bell.rung.load(Acquire) }
    }
}

impl Listener for Ringing<'_> {
    fn next(&mut self) -> io::Result<Vec<u8>> {
        while self.bell.rung.load(Acquire) == self.seen {
            let _ = futex::wait(&self.bell.rung, futex::Flags::empty(), self.seen, None);
        }
        self.seen = self.bell.rung.load(Acquire);
        Ok(self.bell.number.load(Relaxed).to_le_bytes().to_vec())
    }
}

/// Starts a process that listens to the system's store in this folder.
pub fn start(system: &str, folder: &Path) -> io::Result<Subprocess> {
    Subprocess::spawn(command(LISTEN)?.arg(folder).arg(system).stdin(Stdio::null()))
}

/// What that process does.
pub fn listen_for_the_parent(words: &[OsString], systems: &[&dyn System]) -> io::Result<()> {
    let [folder, system] = words else {
        return Err(workers::unknown());
    };
    pin::to(pin::core_for(1, 2));
    let folder = Path::new(folder);
    let words = ListenerWords::open(folder)?;
    if system.to_str() == Some(BELL) {
        let bell = Bell::open(folder)?;
        return words.get().listen(&mut Ringing::new(bell.get()));
    }
    let system = systems.iter().find(|known| system.to_str() == Some(known.name())).ok_or_else(workers::unknown)?;
    let store: Box<dyn Store> = system.open(folder)?;
    let mut listener = store.listen(ENTRY)?;
    words.get().listen(&mut *listener)
}
