//! Ours: named entries of a segment, each process with its own attachment.

use std::{io, path::Path, time::Duration};

use slotguard::{
    Deadline, Outcome, Revision, Segment,
    backend::{Backend, Event, Op, SharedMemory, Watch},
};

use super::system::{Client, Listener, Renewal, Store, System, number};
use crate::support::workers::Kind;

/// The name of our rows.
pub const NAME: &str = "slotguard";

/// Named entries of a segment.
pub struct Ours;

impl System for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> Kind {
        Kind::Processes
    }

    fn every(&self) -> u32 {
        4
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn tells(&self) -> bool {
        true
    }

    fn has_leases(&self) -> bool {
        true
    }

    fn create(&self, folder: &Path, names: u32) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(create(folder, names).map_err(io::Error::other)?))
    }

    fn open(&self, folder: &Path) -> io::Result<Box<dyn Store>> {
        let segment = Segment::open(folder.join("segment")).map_err(io::Error::other)?;
        Ok(Box::new(SharedMemory::new(segment).map_err(io::Error::other)?))
    }
}

/// Threads that commit at once: more than any row has.
pub const LANES: u32 = 128;
/// Blocks besides one for each value. A commit needs one for every operation until it is through; with as many as this
/// every lane keeps its own from commit to commit, one more for single changes, and some are left in the pool. With fewer
/// they are taken from the pool and given back each time, and if many workers are at it at once there may be none.
pub const SPARE: u32 = LANES * (slotguard::MAX_OPS as u32 + 1) + 64;

/// A segment for so many entries of up to 64 bytes, and for as many workers as any row has.
pub fn create(folder: &Path, names: u32) -> slotguard::Result<SharedMemory> {
    let segment = Segment::builder().keys(names).payloads(&[(64, names + SPARE)]).participants(LANES).lanes(LANES);
    SharedMemory::new(segment.create(folder.join("segment"))?)
}

/// Every commit of a bench is one that must take place.
pub fn committed(outcome: slotguard::Result<Outcome>) -> io::Result<Revision> {
    match outcome.map_err(io::Error::other)? {
        Outcome::Committed(revision) => Ok(revision),
        Outcome::Conflict => Err(io::Error::other("a commit that nothing stands in the way of was refused")),
    }
}

type Key = <SharedMemory as Backend>::Key;

/// A user and the handles of the entries it names.
struct User<'s> {
    store: &'s SharedMemory,
    keys: Vec<Key>,
    value: Vec<u8>,
}

impl Store for SharedMemory {
    fn client<'s>(&'s self, names: &[String]) -> io::Result<Box<dyn Client + 's>> {
        let keys = names.iter().map(|name| self.key(name)).collect::<slotguard::Result<_>>();
        Ok(Box::new(User { store: self, keys: keys.map_err(io::Error::other)?, value: Vec::new() }))
    }

    fn fill(&self, names: &[String], value: &[u8]) -> io::Result<()> {
        for names in names.chunks(slotguard::MAX_OPS) {
            let keys = names.iter().map(|name| self.key(name)).collect::<slotguard::Result<Vec<Key>>>();
            let keys = keys.map_err(io::Error::other)?;
            let ops: Vec<Op<'_, Key>> = keys.iter().map(|key| Op::put(key, value)).collect();
            committed(self.commit(&ops))?;
        }
        Ok(())
    }

    fn listen<'s>(&'s self, name: &str) -> io::Result<Box<dyn Listener + 's>> {
        let folder = name.rfind('/').map_or("", |end| &name[..=end]);
        let from = Revision(self.segment().revision().0 + 1);
        let watch = self.watch(folder, from).map_err(io::Error::other)?;
        Ok(Box::new(Watcher(watch)))
    }

    fn lease<'s>(&'s self, name: &str, time_to_live: Duration) -> io::Result<Renewal<'s>> {
        let lease = self.grant(time_to_live).map_err(io::Error::other)?;
        let key = self.key(name).map_err(io::Error::other)?;
        committed(self.commit(&[Op::put_leased(&key, b"leased", lease).if_exists()]))?;
        Ok(Box::new(move || self.renew(lease).map(drop).map_err(io::Error::other)))
    }

    fn writes(&self, names: &[String]) -> io::Result<Option<u64>> {
        let mut value = Vec::new();
        let versions = names.iter().map(|name| {
            let (meta, _) = self.read(&self.key(name)?, &mut value)?;
            Ok(meta.map_or(0, |meta| meta.version.0))
        });
        versions.sum::<slotguard::Result<u64>>().map(Some).map_err(io::Error::other)
    }

    fn retries(&self) -> u64 {
        self.segment().stats().conflicts
    }
}

impl Client for User<'_> {
    fn put(&mut self, names: &[usize], value: &[u8]) -> io::Result<()> {
        let ops: Vec<Op<'_, Key>> = names.iter().map(|name| Op::put(&self.keys[*name], value)).collect();
        committed(self.store.commit(&ops)).map(drop)
    }

    fn raise(&mut self, names: &[usize]) -> io::Result<u64> {
        let mut retries = 0;
        let mut read = Vec::with_capacity(names.len());
        loop {
            read.clear();
            for name in names {
                let (meta, _) = self.store.read(&self.keys[*name], &mut self.value).map_err(io::Error::other)?;
                let meta = meta.ok_or_else(|| io::Error::other("an entry that is to be raised is absent"))?;
                read.push((&self.keys[*name], meta.modified, (number(&self.value)? + 1).to_le_bytes()));
            }
            let op = |(key, modified, value)| Op::put(key, value).if_modified_at(modified);
            let ops: Vec<Op<'_, Key>> =
                read.iter().map(|(key, modified, value)| op((*key, *modified, value))).collect();
            match self.store.commit(&ops).map_err(io::Error::other)? {
                Outcome::Committed(_) => return Ok(retries),
                Outcome::Conflict => retries += 1,
            }
        }
    }

    fn get(&mut self, name: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        let (meta, _) = self.store.read(&self.keys[name], into).map_err(io::Error::other)?;
        Ok(meta.is_some())
    }

    fn create(&mut self, name: usize, value: &[u8]) -> io::Result<bool> {
        let outcome = self.store.commit(&[Op::put(&self.keys[name], value).if_absent()]);
        Ok(matches!(outcome.map_err(io::Error::other)?, Outcome::Committed(_)))
    }

    fn delete(&mut self, name: usize) -> io::Result<bool> {
        let outcome = self.store.commit(&[Op::delete(&self.keys[name]).if_exists()]);
        Ok(matches!(outcome.map_err(io::Error::other)?, Outcome::Committed(_)))
    }

    fn range(&mut self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.store.range(prefix, &mut |_, value, _| visit(value)).map(drop).map_err(io::Error::other)
    }
}

/// A watch of the name's folder.
struct Watcher<'s>(<SharedMemory as Backend>::Watch<'s>);

impl Listener for Watcher<'_> {
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut told = Vec::new();
        let mut visit = |event: Event<'_, Key>| {
            if let Event::Put { value, .. } = event {
                told = value.to_vec();
            }
        };
        self.0.next(&Deadline::never(), &mut visit).map_err(io::Error::other)?;
        Ok(told)
    }
}
