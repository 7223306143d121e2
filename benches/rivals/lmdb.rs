//! LMDB: a B+ tree in a file that every process maps, one writer at a time, readers on snapshots.

use std::{io, path::Path};

use heed::{
    Database, Env, EnvFlags, EnvOpenOptions, MdbError, PutFlags,
    types::{Bytes, Str},
};

use crate::{
    support::workers::Kind,
    waist::system::{Client, Store, System, number},
};

/// Room for a million entries and the pages that readers still hold; no more of it is used than is written.
const MAP: u64 = 1 << 30;

/// LMDB through heed, with a writable map and no flushing.
pub struct Lmdb;

struct Environment {
    env: Env,
    entries: Database<Str, Bytes>,
}

struct User<'s> {
    store: &'s Environment,
    names: Vec<String>,
}

impl System for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn kind(&self) -> Kind {
        Kind::Processes
    }

    fn every(&self) -> u32 {
        4
    }

    fn is_optimistic(&self) -> bool {
        false
    }

    fn tells(&self) -> bool {
        false
    }

    fn has_leases(&self) -> bool {
        false
    }

    fn create(&self, folder: &Path, _names: u32) -> io::Result<Box<dyn Store>> {
        open(folder).map(|store| Box::new(store) as Box<dyn Store>).map_err(io::Error::other)
    }

    fn open(&self, folder: &Path) -> io::Result<Box<dyn Store>> {
        self.create(folder, 0)
    }
}

fn open(folder: &Path) -> heed::Result<Environment> {
    // A map larger than the file system ends in SIGBUS when it is full; a smaller one ends in an error.
    let space = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
    let map = MAP.min(space.f_bavail * space.f_frsize / 2);
    let mut options = EnvOpenOptions::new();
    options.map_size(map as usize & !0xffff);
    // SAFETY: the flags give up what a crash of the machine would leave; the file does not outlive the run.
    unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
    // SAFETY: the folder is the run's own, and nobody writes its files but LMDB.
    let env = unsafe { options.open(folder) }?;
    let mut writing = env.write_txn()?;
    let entries = env.create_database(&mut writing, None)?;
    writing.commit()?;
    Ok(Environment { env, entries })
}

fn absent() -> heed::Error {
    io::Error::other("an entry that is to be changed is absent").into()
}

impl Environment {
    fn put_all<'n>(&self, names: impl Iterator<Item = &'n String>, value: &[u8]) -> heed::Result<()> {
        let mut writing = self.env.write_txn()?;
        for name in names {
            self.entries.put(&mut writing, name, value)?;
        }
        writing.commit()
    }

    fn raise_all<'n>(&self, names: impl Iterator<Item = &'n String>) -> heed::Result<()> {
        let mut writing = self.env.write_txn()?;
        for name in names {
            let raised = number(self.entries.get(&writing, name)?.ok_or_else(absent)?)? + 1;
            self.entries.put(&mut writing, name, &raised.to_le_bytes())?;
        }
        writing.commit()
    }

    fn get(&self, name: &str, into: &mut Vec<u8>) -> heed::Result<bool> {
        let reading = self.env.read_txn()?;
        let found = self.entries.get(&reading, name)?;
        into.extend_from_slice(found.unwrap_or_default());
        Ok(found.is_some())
    }

    fn create(&self, name: &str, value: &[u8]) -> heed::Result<bool> {
        let mut writing = self.env.write_txn()?;
        match self.entries.put_with_flags(&mut writing, PutFlags::NO_OVERWRITE, name, value) {
            Ok(()) => writing.commit().map(|()| true),
            Err(heed::Error::Mdb(MdbError::KeyExist)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn delete(&self, name: &str) -> heed::Result<bool> {
        let mut writing = self.env.write_txn()?;
        let found = self.entries.delete(&mut writing, name)?;
        writing.commit()?;
        Ok(found)
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> heed::Result<()> {
        let reading = self.env.read_txn()?;
        self.entries.prefix_iter(&reading, prefix)?.try_for_each(|entry| entry.map(|(_, value)| visit(value)))
    }
}

impl Store for Environment {
    fn client<'s>(&'s self, names: &[String]) -> io::Result<Box<dyn Client + 's>> {
        Ok(Box::new(User { store: self, names: names.to_vec() }))
    }

    fn fill(&self, names: &[String], value: &[u8]) -> io::Result<()> {
        self.put_all(names.iter(), value).map_err(io::Error::other)
    }
}

impl Client for User<'_> {
    fn put(&mut self, names: &[usize], value: &[u8]) -> io::Result<()> {
        self.store.put_all(names.iter().map(|name| &self.names[*name]), value).map_err(io::Error::other)
    }

    fn raise(&mut self, names: &[usize]) -> io::Result<u64> {
        // Nobody else writes during a transaction that writes.
        let names = names.iter().map(|name| &self.names[*name]);
        self.store.raise_all(names).map(|()| 0).map_err(io::Error::other)
    }

    fn get(&mut self, name: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        into.clear();
        self.store.get(&self.names[name], into).map_err(io::Error::other)
    }

    fn create(&mut self, name: usize, value: &[u8]) -> io::Result<bool> {
        self.store.create(&self.names[name], value).map_err(io::Error::other)
    }

    fn delete(&mut self, name: usize) -> io::Result<bool> {
        self.store.delete(&self.names[name]).map_err(io::Error::other)
    }

    fn range(&mut self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.store.range(prefix, visit).map_err(io::Error::other)
    }
}
