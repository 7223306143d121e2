//! What is asked of a store in these rows, so that ours and the others' are asked the same.

use std::{io, path::Path, time::Duration};

use crate::support::workers::Kind;

/// A kind of store.
pub trait System: Sync {
    /// What rows call it.
    fn name(&self) -> &'static str;

    /// Why it cannot be measured on this machine; `None` if it can.
    fn absence(&self) -> Option<String> {
        None
    }

    /// Whether its users are threads of one process or processes of their own.
    fn kind(&self) -> Kind;

    /// Which operations of a group are timed, one in so many: each where an operation takes a system call.
    fn every(&self) -> u32;

    /// Whether transactions that read run at once and may be in vain; the others hold a lock from beginning to end.
    fn is_optimistic(&self) -> bool;

    /// Whether it tells others of a change, so that they need not ask again and again.
    fn tells(&self) -> bool;

    /// Whether entries can be put so that they end by themselves.
    fn has_leases(&self) -> bool;

    /// A fresh store in this folder, which is empty, with room for so many names.
    fn create(&self, folder: &Path, names: u32) -> io::Result<Box<dyn Store>>;

    /// The store that another process has made in this folder.
    fn open(&self, folder: &Path) -> io::Result<Box<dyn Store>>;
}

/// A store, as one process sees it. Dropping the one that was created ends it.
pub trait Store: Sync {
    /// One user of it, who will name these entries by their index.
    fn client<'s>(&'s self, names: &[String]) -> io::Result<Box<dyn Client + 's>>;

    /// Puts the same value under all names, in as few steps as it likes.
    fn fill(&self, names: &[String], value: &[u8]) -> io::Result<()>;

    /// Listens for [`Client::tell`] of this name.
    fn listen<'s>(&'s self, _name: &str) -> io::Result<Box<dyn Listener + 's>> {
        Err(io::Error::other("a store that tells nobody anything was listened to"))
    }

    /// Lets this entry, which is there, end by itself after this time; answers what puts its end off.
    fn lease<'s>(&'s self, _name: &str, _time_to_live: Duration) -> io::Result<Renewal<'s>> {
        Err(io::Error::other("a store whose entries do not end was asked for a lease"))
    }

    /// What has the lock of this name and gives it back, for at most so long; `None` if it has no locks like ours.
    fn lock<'s>(&'s self, _name: &str, _time_to_live: Duration) -> io::Result<Option<Renewal<'s>>> {
        Ok(None)
    }

    /// What sends a message, receives it and acknowledges it; `None` if it has no messages like ours.
    fn message<'s>(&'s self, _name: &str) -> io::Result<Option<Renewal<'s>>> {
        Ok(None)
    }

    /// How often these entries have been put, all together, by the store's own count; `None` if it keeps none.
    fn writes(&self, _names: &[String]) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Races lost inside the store so far, of which its users do not learn.
    fn retries(&self) -> u64 {
        0
    }
}

/// Puts off the end of an entry, or does another thing once.
pub type Renewal<'s> = Box<dyn FnMut() -> io::Result<()> + 's>;

/// One user of a store.
pub trait Client {
    /// Puts the same value under all these names, at one moment.
    fn put(&mut self, names: &[usize], value: &[u8]) -> io::Result<()>;

    /// Adds one to the number under each of these names, at one moment, reading them first and writing only if nobody has
    /// written meanwhile. Answers how many attempts were in vain.
    fn raise(&mut self, names: &[usize]) -> io::Result<u64>;

    /// Reads; whether there is such an entry.
    fn get(&mut self, name: usize, into: &mut Vec<u8>) -> io::Result<bool>;

    /// Creates; whether there was none.
    fn create(&mut self, name: usize, value: &[u8]) -> io::Result<bool>;

    /// Deletes; whether there was one.
    fn delete(&mut self, name: usize) -> io::Result<bool>;

    /// Visits the values of all names that begin with this, as of one moment.
    fn range(&mut self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> io::Result<()>;

    /// Puts, and lets those who listen for the name have it.
    fn tell(&mut self, name: usize, value: &[u8]) -> io::Result<()> {
        self.put(&[name], value)
    }
}

/// Somebody who is told.
pub trait Listener {
    /// Waits for the next value.
    fn next(&mut self) -> io::Result<Vec<u8>>;
}

/// The number that a value is.
pub fn number(value: &[u8]) -> io::Result<u64> {
    let bytes = value.first_chunk::<8>().ok_or_else(|| io::Error::other("a value that should be a number is short"))?;
    Ok(u64::from_le_bytes(*bytes))
}
