//! What those who want names do, all the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, Outcome as Answer, Revision};

use super::{BATCH, KEEP, LARGE_BATCH, PREFIX, Role, name, ticket};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Author, Evidence};

/// Handles of names that are kept although the names may be gone: a handle that is out of date must not mislead.
const HANDLES: usize = 512;
/// How far behind the newest a name may be that is wanted once more.
const RECENT: u64 = 300;
/// A counter looks at everything; two cores are not for counters alone.
const BETWEEN_COUNTS: Duration = Duration::from_micros(500);

type Key = <SharedMemory as Backend>::Key;

/// The whole life of a thread.
pub fn act(role: Role, client: &mut Client<'_>) -> Result<(), Error> {
    let store = SharedMemory::new(client.segment.clone())?;
    match role {
        Role::Owner => {
            let mut owner = Owner { store: &store, client, own: VecDeque::new(), handles: BTreeMap::new() };
            owner.adopt()?;
            while owner.client.awaits_room() {
                owner.step()?;
            }
        }
        Role::Counter(steady) => {
            while client.awaits_room() {
                count(&store, steady, client)?;
                std::thread::sleep(BETWEEN_COUNTS);
            }
        }
    }
    Ok(())
}

/// Counts all names at one moment, and those of one writer.
fn count(store: &SharedMemory, steady: u32, client: &mut Client<'_>) -> Result<(), Error> {
    let open = client.log.begin(Kind::Snapshot, 0);
    let (mut all, mut of_steady, mut torn) = (0, 0, None);
    let revision = store.range(PREFIX, &mut |key, value, meta| {
        all += 1;
        match author_in(&key, value) {
            Some(author) => of_steady += u64::from(author.writer == steady),
            None => torn = Some(meta.modified.0),
        }
    })?;
    open.looked(revision.0, all, of_steady);
    client.log.count_read();
    if let Some(revision) = torn {
        client.anomaly(0, revision, Anomaly::OtherName);
    }
    Ok(())
}

/// Whom a value names as its author; `None` if it is not whole or not that of the name.
fn author_in(key: &Key, value: &[u8]) -> Option<Author> {
    let ticket = ticket(key.as_ref())?;
    let evidence = Evidence::of(ticket as u32, value).ok()?;
    Author::unpack(evidence.author)
}

/// Names that were created by one commit.
struct Owned {
    first: u64,
    names: u64,
    created: u64,
    author: u64,
    /// How often the first of them was put in this life; `None`: found, not created in this life.
    puts: Option<u64>,
}

struct Owner<'a, 'h> {
    store: &'a SharedMemory,
    client: &'a mut Client<'h>,
    own: VecDeque<Owned>,
    handles: BTreeMap<u64, Key>,
}

impl Owner<'_, '_> {
    /// Takes over what earlier lives of this thread have left behind.
    fn adopt(&mut self) -> Result<(), Error> {
        let me = self.client.log.author_after(0).writer;
        let mut found: BTreeMap<u64, Owned> = BTreeMap::new();
        self.store.range(PREFIX, &mut |key, value, meta| {
            let Some((author, ticket)) = author_in(&key, value).zip(ticket(key.as_ref())) else {
                return;
            };
            if author.writer == me {
                let author = author.packed();
                let of_author = found.entry(author).or_insert(Owned {
                    first: ticket,
                    names: 0,
                    created: meta.created.0,
                    author,
                    puts: None,
                });
                of_author.first = of_author.first.min(ticket);
                of_author.names += 1;
            }
        })?;
        self.own.extend(found.into_values());
        Ok(())
    }

    fn step(&mut self) -> Result<(), Error> {
        let kept: u64 = self.own.iter().map(|owned| owned.names).sum();
        let deletes = kept + LARGE_BATCH > KEEP || kept > KEEP / 4 && self.client.random.one_in(2);
        match self.client.random.below(16) {
            0 => self.read_anybodys(),
            1 => self.read_own(),
            2 => self.write_anew(),
            _ if deletes => self.delete(),
            3 => {
                let newest = self.client.history().frontier();
                let back = 1 + self.client.random.below(RECENT);
                self.create(newest.saturating_sub(back), 1).map(drop)
            }
            _ => {
                let first = self.client.history().frontier();
                let most = if self.client.random.one_in(32) { LARGE_BATCH } else { BATCH };
                let names = 1 + self.client.random.below(most);
                let won = self.create(first, names)?;
                // Who won may have been killed before this.
                self.client.history().advance_frontier(first, first + if won { names } else { 1 });
                Ok(())
            }
        }
    }

    fn handle(&mut self, ticket: u64) -> Result<Key, Error> {
        if let Some(known) = self.handles.get(&ticket) {
            return Ok(known.clone());
        }
        let key = self.store.key(&name(ticket))?;
        if self.handles.len() >= HANDLES {
            self.handles.pop_first();
        }
        self.handles.insert(ticket, key.clone());
        Ok(key)
    }

    fn handles(&mut self, first: u64, names: u64) -> Result<Vec<Key>, Error> {
        (first..first + names).map(|ticket| self.handle(ticket)).collect()
    }

    /// Creates these names if none of them is there; answers whether it did.
    fn create(&mut self, first: u64, names: u64) -> Result<bool, Error> {
        let keys = self.handles(first, names)?;
        let open = self.client.log.begin(Kind::Create, names as u32).with_extra(first);
        let author = open.author();
        let values = (first..).zip(&keys).map(|(ticket, _)| value_of(ticket, author, self.client.longest()));
        let values: Vec<Vec<u8>> = values.collect();
        let ops: Vec<_> = keys.iter().zip(&values).map(|(key, value)| Op::put(key, value).if_absent()).collect();
        match self.store.commit(&ops) {
            Ok(Answer::Committed(revision)) => {
                self.client.log.count_acknowledged();
                open.finish(Outcome::Done, 0, revision.0);
                let (created, author) = (revision.0, author.packed());
                self.own.push_back(Owned { first, names, created, author, puts: Some(1) });
                return Ok(true);
            }
            Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
            Err(error) => {
                self.client.refused(open, &error);
            }
        }
        Ok(false)
    }

    /// Deletes what it has had longest, if it still is what it created.
    fn delete(&mut self) -> Result<(), Error> {
        let Some(Owned { first, names, created, author, .. }) = self.own.pop_front() else {
            return Ok(());
        };
        let keys = self.handles(first, names)?;
        let open = self.client.log.begin(Kind::Delete, names as u32).with_extra(first);
        open.attempt(author, created);
        let ops: Vec<_> = keys.iter().map(|key| Op::delete(key).if_created_at(Revision(created))).collect();
        match self.store.commit(&ops) {
            Ok(Answer::Committed(revision)) => {
                self.client.log.count_acknowledged();
                open.finish(Outcome::Done, 0, revision.0);
            }
            Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
            Err(error) => {
                self.client.refused(open, &error);
            }
        }
        Ok(())
    }

    /// One of those created in this life, which nobody else may delete.
    fn pick(&mut self) -> Option<usize> {
        let at = self.client.random.below(self.own.len().max(1) as u64) as usize;
        self.own.get(at).is_some_and(|owned| owned.puts.is_some()).then_some(at)
    }

    /// What is its own must be there, as it was left.
    fn read_own(&mut self) -> Result<(), Error> {
        let Some(at) = self.pick() else {
            return Ok(());
        };
        let Owned { first, created, author, puts, .. } = self.own[at];
        let key = self.handle(first)?;
        let mut bytes = Vec::new();
        let (meta, _) = self.store.read(&key, &mut bytes)?;
        self.client.log.count_read();
        let same = meta.is_some_and(|meta| meta.created.0 == created && Some(meta.version.0) == puts);
        if !same || author_in(&key, &bytes).map(Author::packed) != Some(author) {
            self.client.anomaly(0, created, Anomaly::Gone);
        }
        Ok(())
    }

    /// Puts a value of another length; creation and author stay.
    fn write_anew(&mut self) -> Result<(), Error> {
        let Some(at) = self.pick() else {
            return Ok(());
        };
        let Owned { first, created, author, .. } = self.own[at];
        let key = self.handle(first)?;
        let Some(author) = Author::unpack(author) else {
            return Ok(());
        };
        let longest =
            value::SHORTEST + self.client.random.below((self.client.longest() - value::SHORTEST) as u64 + 1) as usize;
        let value = value_of(first, author, longest);
        match self.store.commit(&[Op::put(&key, &value).if_created_at(Revision(created))])? {
            Answer::Committed(_) => self.own[at].puts = self.own[at].puts.map(|puts| puts + 1),
            Answer::Conflict => self.client.anomaly(0, created, Anomaly::Gone),
        }
        Ok(())
    }

    /// A name of which it has a handle, whatever became of it.
    fn read_anybodys(&mut self) -> Result<(), Error> {
        let at = self.client.random.below(self.handles.len().max(1) as u64) as usize;
        let Some(key) = self.handles.values().nth(at) else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        let (meta, revision) = self.store.read(key, &mut bytes)?;
        let whole = meta.is_none() || author_in(key, &bytes).is_some();
        self.client.log.count_read();
        if !whole {
            self.client.anomaly(0, revision.0, Anomaly::OtherName);
        }
        Ok(())
    }
}

/// The value of a name: who created it.
fn value_of(ticket: u64, author: Author, longest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Evidence::NONE.followed_by(author).write(ticket as u32, value::length_of(author, longest), &mut bytes);
    bytes
}
