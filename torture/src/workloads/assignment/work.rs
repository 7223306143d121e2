//! What joiners, sweepers and lookers do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slotguard::Outcome as Answer;
use slotguard::backend::{Backend, Op, Session, SharedMemory};
use slotguard::recipe::Result;
use slotguard::recipe::assignment::{self, Assigned, Assignment, Error, Placement};

use super::{CLUSTER, JOINERS, NAME, OWN, Settings, called};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Evidence};
use crate::workloads::final_state::DATA;

/// How often somebody writes at most before it decides what becomes of its slot.
const WRITES: u64 = 16;
/// For how long a node is away before it is swept.
const AWAY: Duration = Duration::from_millis(20);
const BETWEEN_LOOKS: Duration = Duration::from_micros(500);

type Slots = Assignment<SharedMemory>;

pub fn open(store: &Arc<SharedMemory>, settings: Settings) -> assignment::Result<Slots> {
    Assignment::open_with(store, NAME, CLUSTER, settings.slots)
}

/// Joins nodes with one session after the other.
pub fn join_nodes(store: &Arc<SharedMemory>, number: u32, settings: Settings, client: &mut Client<'_>) -> Result<()> {
    let slots = open(store, settings)?;
    while client.awaits_room() {
        let Some(session) = client.join(store, settings.lease()) else {
            continue;
        };
        while session.is_alive() && client.awaits_room() {
            let node = number * OWN + client.random.below(u64::from(OWN)) as u32;
            join_once(store, &slots, &session, node, client)?;
        }
    }
    Ok(())
}

fn join_once(
    store: &Arc<SharedMemory>,
    slots: &Slots,
    session: &Session<SharedMemory>,
    node: u32,
    client: &mut Client<'_>,
) -> Result<()> {
    let open = client.log.begin(Kind::Assign, node);
    let mine = match slots.join(session, &called(node)) {
        Ok(mine) => mine,
        Err(error) => {
            // None is free: somebody has to go.
            if client.refused_by(open, error) == Outcome::Declined {
                release_any(slots, client);
            }
            return Ok(());
        }
    };
    open.finish(Outcome::Done, u64::from(mine.slot()), mine.generation().0);
    client.log.set_holding(true);
    let written = write(store, &mine, client);
    client.log.set_holding(false);
    if !written? || client.log.room() < 16 {
        return Ok(());
    }
    match client.random.below(8) {
        0..=2 => {
            let open = client.log.begin(Kind::Unassign, node).with_extra(mine.generation().0);
            match mine.release() {
                Ok(place) => freed(open, &place),
                Err(error) => {
                    client.refused_by(open, error);
                }
            }
        }
        3 | 4 => release_any(slots, client),
        _ => {}
    }
    Ok(())
}

/// Writes the slot's data under the generation; answers whether the slot is its own still.
fn write(store: &Arc<SharedMemory>, mine: &Assigned<SharedMemory>, client: &mut Client<'_>) -> Result<bool> {
    let (slot, generation) = (u32::from(mine.slot()), mine.generation().0);
    let data = store.key(&format!("{DATA}{slot}"))?;
    for _ in 0..1 + client.random.below(WRITES) {
        let mut bytes = Vec::new();
        let (meta, _) = store.read(&data, &mut bytes)?;
        client.log.count_read();
        let version = meta.map_or(0, |meta| meta.version.0);
        let Ok(before) = Evidence::of(slot, &bytes) else {
            client.anomaly(slot, generation, Anomaly::Mixed);
            return Ok(false);
        };
        if client.random.one_in(16) {
            std::thread::sleep(client.random.between(Duration::ZERO, Duration::from_millis(4)));
        }
        if client.log.room() < 16 || client.is_over() {
            break;
        }
        let open = client.log.begin(Kind::GuardedWrite, slot).with_extra(generation);
        open.attempt(before.author, before.count + 1);
        let author = open.author();
        before.followed_by(author).write(slot, value::length_of(author, client.longest()), &mut bytes);
        // No condition of its own: only the generation keeps others away.
        match store.commit(&[mine.condition(), Op::put(&data, &bytes)]) {
            Ok(Answer::Committed(revision)) => {
                client.log.count_acknowledged();
                open.finish(Outcome::Done, version + 1, revision.0);
            }
            Ok(Answer::Conflict) => {
                open.finish(Outcome::LeaseLost, 0, 0);
                // What was refused is told by whoever asks.
                return match mine.check() {
                    Err(Error::Evicted { .. }) => Ok(false),
                    Ok(()) => {
                        client.anomaly(slot, generation, Anomaly::Inconsistent);
                        Ok(false)
                    }
                    Err(error) => Err(error.into()),
                };
            }
            Err(error) => {
                client.refused(open, &error);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Takes some node's slot away, whoever has it.
fn release_any(slots: &Slots, client: &mut Client<'_>) {
    let node = client.random.below(u64::from(JOINERS * OWN)) as u32;
    let open = client.log.begin(Kind::Unassign, node);
    match slots.release(&called(node)) {
        Ok(place) => freed(open, &place),
        Err(error) => {
            client.refused_by(open, error);
        }
    }
}

fn freed(open: crate::history::Open<'_>, place: &Placement) {
    open.finish(Outcome::Done, u64::from(place.slot), place.generation.0);
}

/// Frees the slots of those who are away.
pub fn sweep(store: &Arc<SharedMemory>, settings: Settings, client: &mut Client<'_>) -> Result<()> {
    let slots = open(store, settings)?;
    let mut cleaner = slots.cleaner();
    while client.awaits_room() {
        if client.log.room() < 16 + u64::from(settings.slots) {
            break;
        }
        let open = client.log.begin(Kind::Sweep, 0);
        let sweep = open.author().packed();
        let freed_places = cleaner.release_stale(AWAY)?;
        open.finish(Outcome::Done, freed_places.len() as u64, 0);
        for place in freed_places {
            let node = place.node.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX);
            let open = client.log.begin(Kind::Unassign, node);
            open.attempt(sweep, 0);
            freed(open, &place);
        }
        std::thread::sleep(AWAY / 4);
    }
    Ok(())
}

/// Takes in everything at one moment, and asks both ways.
pub fn look(store: &Arc<SharedMemory>, settings: Settings, client: &mut Client<'_>) -> Result<()> {
    let slots = open(store, settings)?;
    while client.awaits_room() {
        let open = client.log.begin(Kind::Snapshot, 0);
        let seen = everything(store)?;
        client.log.count_read();
        if seen.agrees {
            open.looked(seen.revision, 0, seen.taken);
        } else {
            open.finish(Outcome::Declined, 0, 0);
            client.anomaly(0, seen.revision, Anomaly::Inconsistent);
        }
        // By the recipe's own means: asked one after the other, with a generation that stays between equal answers.
        let node = called(client.random.below(u64::from(JOINERS * OWN)) as u32);
        if let Some(place) = slots.lookup(&node)? {
            let other = slots.node_of(place.slot)?;
            let again = slots.lookup(&node)?;
            if again.as_ref() == Some(&place) && other != again {
                client.anomaly(u32::from(place.slot), place.generation.0, Anomaly::Inconsistent);
            }
        }
        let stats = slots.stats()?;
        let sums = stats.taken + stats.free == settings.slots && stats.active + stats.stale == stats.taken;
        if !sums || !slots.integrity()?.is_empty() {
            client.anomaly(0, 0, Anomaly::Inconsistent);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// What one `range` shows.
pub struct Seen {
    pub revision: u64,
    pub taken: u64,
    /// Whether a node's entry and its slot's are there together, of one commit.
    pub agrees: bool,
    /// By slot: node and generation.
    pub places: BTreeMap<u16, (String, u64)>,
    /// The slots whose node is announced.
    pub announced: Vec<u16>,
}

pub fn everything(store: &SharedMemory) -> Result<Seen> {
    let (mut nodes, mut places, mut announced) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut is_text = true;
    let revision = store.range(&format!("{NAME}/"), &mut |key, value, meta| {
        let mut parts = key.as_ref().split('/').skip(1);
        let (kind, rest) = (parts.next(), parts.next().unwrap_or_default());
        let value = String::from_utf8_lossy(value).into_owned();
        match kind {
            Some("node") => {
                is_text &= value.parse().map(|slot: u16| nodes.insert(slot, (rest.to_owned(), meta.created.0))).is_ok()
            }
            Some("slot") => {
                is_text &= rest.parse().map(|slot: u16| places.insert(slot, (value, meta.created.0))).is_ok()
            }
            Some("alive") => announced.extend(rest.parse::<u16>()),
            _ => {}
        }
    })?;
    let agrees = is_text && nodes == places;
    Ok(Seen { revision: revision.0, taken: places.len() as u64, agrees, places, announced })
}
