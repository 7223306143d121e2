//! What one uses where one process is enough: an ordered map behind a mutex.

use std::{collections::BTreeMap, io, ops::Bound, path::Path};

use parking_lot::Mutex;

use super::system::{Client, Store, System, number};
use crate::support::workers::Kind;

/// The name of its rows.
pub const NAME: &str = "parking_lot";

/// `parking_lot::Mutex<BTreeMap>`.
pub struct Mutexed;

#[derive(Default)]
struct Map(Mutex<BTreeMap<String, Entry>>);

/// A value, and how often it has been put.
#[derive(Default)]
struct Entry {
    value: Vec<u8>,
    writes: u64,
}

impl Entry {
    fn put(&mut self, value: &[u8]) {
        self.value.clear();
        self.value.extend_from_slice(value);
        self.writes += 1;
    }
}

struct User<'s> {
    map: &'s Map,
    names: Vec<String>,
}

impl System for Mutexed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> Kind {
        Kind::Threads
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

    fn create(&self, _folder: &Path, _names: u32) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(Map::default()))
    }

    fn open(&self, _folder: &Path) -> io::Result<Box<dyn Store>> {
        Err(io::Error::other("a mutex of one process is for its threads"))
    }
}

impl Store for Map {
    fn client<'s>(&'s self, names: &[String]) -> io::Result<Box<dyn Client + 's>> {
        Ok(Box::new(User { map: self, names: names.to_vec() }))
    }

    fn fill(&self, names: &[String], value: &[u8]) -> io::Result<()> {
        let mut map = self.0.lock();
        names.iter().for_each(|name| map.entry(name.clone()).or_default().put(value));
        Ok(())
    }

    fn writes(&self, names: &[String]) -> io::Result<Option<u64>> {
        let map = self.0.lock();
        Ok(Some(names.iter().filter_map(|name| map.get(name)).map(|entry| entry.writes).sum()))
    }
}

fn absent() -> io::Error {
    io::Error::other("an entry that is to be changed is absent")
}

impl Client for User<'_> {
    fn put(&mut self, names: &[usize], value: &[u8]) -> io::Result<()> {
        let mut map = self.map.0.lock();
        for name in names {
            map.get_mut(&self.names[*name]).ok_or_else(absent)?.put(value);
        }
        Ok(())
    }

    fn raise(&mut self, names: &[usize]) -> io::Result<u64> {
        let mut map = self.map.0.lock();
        for name in names {
            let entry = map.get_mut(&self.names[*name]).ok_or_else(absent)?;
            let raised = number(&entry.value)? + 1;
            entry.put(&raised.to_le_bytes());
        }
        // Whoever has the mutex finds nothing changed.
        Ok(0)
    }

    fn get(&mut self, name: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        into.clear();
        let map = self.map.0.lock();
        let found = map.get(&self.names[name]);
        into.extend_from_slice(found.map_or(&[], |entry| &entry.value));
        Ok(found.is_some())
    }

    fn create(&mut self, name: usize, value: &[u8]) -> io::Result<bool> {
        let mut map = self.map.0.lock();
        let absent = !map.contains_key(&self.names[name]);
        if absent {
            map.entry(self.names[name].clone()).or_default().put(value);
        }
        Ok(absent)
    }

    fn delete(&mut self, name: usize) -> io::Result<bool> {
        Ok(self.map.0.lock().remove(&self.names[name]).is_some())
    }

    fn range(&mut self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let map = self.map.0.lock();
        let from = map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(prefix)).for_each(|(_, entry)| visit(&entry.value));
        Ok(())
    }
}
