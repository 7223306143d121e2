//! The controls: the same work on a plain file, without and with `flock`.
//!
//! A harness that finds no loss in the naive one could not find any, so a run whose naive control loses nothing fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::history::Log;
use crate::system;

/// Makes the file with the number 0 in it.
pub fn create(path: &Path) -> io::Result<()> {
    std::fs::write(path, 0u64.to_le_bytes())
}

/// The number in the file.
pub fn value(path: &Path) -> io::Result<u64> {
    read(&File::open(path)?)
}

/// Adds one, so many times, with the window of every unguarded read-modify-write wide open.
pub fn naive(path: &Path, updates: u32, log: &Log<'_>) -> io::Result<()> {
    let file = open(path)?;
    for _ in 0..updates {
        add_one(&file)?;
        log.count_acknowledged();
    }
    Ok(())
}

/// Adds one, so many times, under the file's lock.
pub fn flock(path: &Path, updates: u32, log: &Log<'_>) -> io::Result<()> {
    let file = open(path)?;
    for _ in 0..updates {
        file.lock()?;
        let added = add_one(&file);
        file.unlock()?;
        added?;
        log.count_acknowledged();
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn read(file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

fn add_one(file: &File) -> io::Result<()> {
    let number = read(file)?;
    system::yield_now();
    file.write_all_at(&(number + 1).to_le_bytes(), 0)
}
