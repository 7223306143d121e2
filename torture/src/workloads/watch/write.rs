//! What writers put, all the time, and whisperers now and then.

use std::time::Duration;

use slotguard::backend::{Backend, Meta, Op, SharedMemory};
use slotguard::{Error, Outcome as Answer};

use super::{HALVES, PAIRS, QUIET, TRANSIENT, names};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Evidence};

type Key = <SharedMemory as Backend>::Key;

/// Puts pairs, and has others come and go.
pub fn write_pairs(store: &SharedMemory, client: &mut Client<'_>) -> Result<(), Error> {
    let pairs: Vec<Vec<Key>> = (0..PAIRS).map(|number| keys(store, &names(number))).collect::<Result<_, _>>()?;
    let pair = |number| keys(store, &HALVES.map(|half| format!("pair/blink{number}/{half}")));
    let transient: Vec<Vec<Key>> = (0..TRANSIENT).map(pair).collect::<Result<_, _>>()?;
    while client.awaits_room() {
        if client.random.one_in(8) {
            let number = client.random.below(u64::from(TRANSIENT)) as usize;
            come_or_go(store, &transient[number], client)?;
        } else {
            let number = client.random.below(u64::from(PAIRS)) as u32;
            put(store, number, &pairs[number as usize], client)?;
        }
    }
    Ok(())
}

/// Puts a quiet entry now and then: those who follow it are asleep.
pub fn write_quiet(store: &SharedMemory, client: &mut Client<'_>) -> Result<(), Error> {
    while client.awaits_room() {
        let number = PAIRS + client.random.below(u64::from(QUIET)) as u32;
        put(store, number, &keys(store, &names(number))?, client)?;
        std::thread::sleep(client.random.between(Duration::from_millis(5), Duration::from_millis(60)));
    }
    Ok(())
}

fn keys(store: &SharedMemory, names: &[String]) -> Result<Vec<Key>, Error> {
    names.iter().map(|name| store.key(name)).collect()
}

/// One change of a pair, or of a quiet entry: all of it by one commit, if it still is as it was read.
fn put(store: &SharedMemory, number: u32, keys: &[Key], client: &mut Client<'_>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let (meta, _) = store.read(key, &mut bytes)?;
        client.log.count_read();
        let version = meta.map_or(0, |meta| meta.version.0);
        match Evidence::of(number, &bytes).ok().filter(|evidence| evidence.count == version) {
            Some(evidence) => found.push((meta, evidence)),
            None => client.anomaly(number, version, Anomaly::Mixed),
        }
    }
    let Some(((_, before), true)) = found.first().map(|first| (*first, found.len() == keys.len())) else {
        return Ok(());
    };
    let open = client.log.begin(Kind::PairPut, number);
    open.attempt(before.author, before.count + 1);
    let author = open.author();
    before.followed_by(author).write(number, value::length_of(author, client.longest()), &mut bytes);
    let ops: Vec<_> = keys.iter().zip(&found).map(|(key, (meta, _))| if_as_read(Op::put(key, &bytes), *meta)).collect();
    match store.commit(&ops) {
        Ok(Answer::Committed(revision)) => {
            client.log.count_acknowledged();
            open.finish(Outcome::Done, before.count + 1, revision.0);
        }
        Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
        Err(error) => {
            client.refused(open, &error);
        }
    }
    Ok(())
}

fn if_as_read(op: Op<'_, Key>, meta: Option<Meta>) -> Op<'_, Key> {
    match meta {
        Some(meta) => op.if_modified_at(meta.modified),
        None => op.if_absent(),
    }
}

/// A pair that is there goes, one that is not comes: both halves at once, or somebody else was first.
fn come_or_go(store: &SharedMemory, keys: &[Key], client: &mut Client<'_>) -> Result<(), Error> {
    let (meta, _) = store.read(&keys[0], &mut Vec::new())?;
    let value = client.random.next().to_le_bytes();
    let ops: Vec<_> = match meta {
        Some(meta) => keys.iter().map(|key| Op::delete(key).if_created_at(meta.created)).collect(),
        None => keys.iter().map(|key| Op::put(key, &value).if_absent()).collect(),
    };
    store.commit(&ops).map(drop)
}
