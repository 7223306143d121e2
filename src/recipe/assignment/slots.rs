//! The assignment itself: who joins, is looked up and released.

use std::fmt;
use std::sync::Arc;

use super::assigned::Assigned;
use super::error::{Error, Result};
use super::integrity::Finding;
use super::names::EntryNames;
use super::occupancy::Occupancy;
use super::placement::Placement;
use super::probe::{node_hash, order, probe};
use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::Token;
use crate::recipe::{Damaged, Owner};

/// How many slots a table of source system 1 has: numbers 1 to 255.
pub const TABLE_SLOTS: u16 = 255;
/// How many slots there are unless said otherwise: as many as a table of source system 1 has.
pub const DEFAULT_SLOTS: u16 = TABLE_SLOTS;
/// The cluster's name unless said otherwise, as in source system 1.
pub const DEFAULT_CLUSTER: &str = "default-cluster";

/// The slots of one name, 1 to N, and who has which.
///
/// Any number of processes open the same name.
pub struct Assignment<B: Backend> {
    pub(super) store: Arc<B>,
    pub(super) names: EntryNames,
    pub(super) cluster: String,
    pub(super) slots: u16,
}

/// How many slots there are, and what has become of them, as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All there are.
    pub slots: u16,
    /// Those that belong to a node.
    pub taken: u16,
    /// Those whose node is alive.
    pub active: u16,
    /// Those whose node is not.
    pub stale: u16,
    /// Those that belong to nobody.
    pub free: u16,
}

impl<B: Backend> Assignment<B> {
    /// Opens or makes the assignment of this name, with [`DEFAULT_SLOTS`] and [`DEFAULT_CLUSTER`].
    ///
    /// # Errors
    /// As [`open_with`](Assignment::open_with).
    pub fn open(store: &Arc<B>, name: &str) -> Result<Self> {
        Self::open_with(store, name, DEFAULT_CLUSTER, DEFAULT_SLOTS)
    }

    /// The same with a cluster's name of one's own, which takes part in each node's first choice, and another number of
    /// slots. Who opens a name first decides both.
    ///
    /// # Errors
    /// [`Error::NoSlots`] if `slots` is 0; [`Error::OtherSettings`] if it was made with others; the store's, for a name
    /// it does not take.
    pub fn open_with(store: &Arc<B>, name: &str, cluster: &str, slots: u16) -> Result<Self> {
        if slots == 0 {
            return Err(Error::NoSlots);
        }
        let names = EntryNames::new(name);
        // Refuses a name that is too long, or none, before anything is written under it.
        store.key(name)?;
        store.key(&names.longest())?;
        let settings = store.key(&names.settings())?;
        let asked = format!("{slots} {cluster}");
        let mut found = Vec::new();
        // Settings are never deleted by us: a second round happens only if somebody else did.
        while store.read(&settings, &mut found)?.0.is_none() {
            if let Outcome::Committed(_) = store.commit(&[Op::put(&settings, asked.as_bytes()).if_absent()])? {
                found = asked.clone().into_bytes();
                break;
            }
        }
        if found != asked.as_bytes() {
            let words = |text: &str| match text.split_once(' ') {
                Some((slots, cluster)) => format!("{slots} slots of cluster {cluster:?}"),
                None => format!("{text:?}"),
            };
            let (asked, found) = (words(&asked), words(&String::from_utf8_lossy(&found)));
            return Err(Error::OtherSettings { name: name.to_owned(), asked, found });
        }
        Ok(Self { store: Arc::clone(store), names, cluster: cluster.to_owned(), slots })
    }

    /// Gives the node a slot, or says which it has, and announces that it is alive as long as the session lives.
    ///
    /// If several processes join under one name, they share the slot and the generation; the last one's session counts.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Full`]; [`Error::Inconsistent`] and [`Error::Damaged`] if entries make no
    /// sense; the store's, among them [`TooLarge`](crate::Error::TooLarge) for a name that fits into no value and
    /// [`LeaseExpired`](crate::Error::LeaseExpired) for a session that is over.
    pub fn join(&self, session: &Session<B>, node: &str) -> Result<Assigned<B>> {
        self.give(node, Some(session))
    }

    /// Gives the node a slot, or says which it has; whether it is alive is another matter.
    ///
    /// # Errors
    /// As [`join`](Assignment::join).
    pub fn assign(&self, node: &str) -> Result<Assigned<B>> {
        self.give(node, None)
    }

    fn give(&self, node: &str, session: Option<&Session<B>>) -> Result<Assigned<B>> {
        if node.is_empty() {
            return Err(Error::EmptyNode);
        }
        let owner = Owner::me().to_bytes();
        let hash = node_hash(&self.cluster, node);
        let mut slot = probe(hash, 0, self.slots);
        loop {
            let mut assigned = self.assigned(Placement { node: node.to_owned(), slot, generation: Token(0) })?;
            let text = slot.to_string();
            let mut ops = vec![
                Op::put(&assigned.node_key, text.as_bytes()).if_absent(),
                Op::put(&assigned.slot_key, node.as_bytes()).if_absent(),
            ];
            // A session that is over has a lease that is over, and under that nothing can be put.
            ops.extend(session.map(|session| Op::put_leased(&assigned.alive_key, &owner, session.lease())));
            if let Outcome::Committed(revision) = self.store.commit(&ops)? {
                assigned.placement.generation = Token(revision.0);
                return Ok(assigned);
            }
            let occupancy = self.occupancy()?;
            if let Some(placement) = occupancy.placement_of(node, &self.names)? {
                let assigned = self.assigned(placement)?;
                match session.map_or(Ok(()), |session| assigned.announce(session)) {
                    // Released since: everything is open again.
                    Err(Error::Evicted { .. }) => continue,
                    announced => return announced.map(|()| assigned),
                }
            }
            let free = order(hash, self.slots).find(|slot| !occupancy.is_taken(*slot));
            slot = free.ok_or(Error::Full { slots: self.slots })?;
        }
    }

    /// Which slot the node has; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Damaged`]; the store's.
    pub fn lookup(&self, node: &str) -> Result<Option<Placement>> {
        if node.is_empty() {
            return Err(Error::EmptyNode);
        }
        let (name, mut value) = (self.names.node(node), Vec::new());
        let (Some(meta), _) = self.store.read(&self.store.key(&name)?, &mut value)? else { return Ok(None) };
        let slot = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        let slot = slot.filter(|slot| (1..=self.slots).contains(slot)).ok_or_else(|| {
            let what = format!("{:?} is no slot", String::from_utf8_lossy(&value));
            Damaged::new(&name, what)
        })?;
        Ok(Some(Placement { node: node.to_owned(), slot, generation: Token(meta.created.0) }))
    }

    /// Which node has the slot; `None` if it is free.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`]; [`Error::Damaged`]; the store's.
    pub fn node_of(&self, slot: u16) -> Result<Option<Placement>> {
        if !(1..=self.slots).contains(&slot) {
            return Err(Error::NoSuchSlot { slot, slots: self.slots });
        }
        let (name, mut value) = (self.names.slot(slot), Vec::new());
        let (Some(meta), _) = self.store.read(&self.store.key(&name)?, &mut value)? else { return Ok(None) };
        let damaged = |_| Damaged::new(&name, "its value is no text");
        let node = String::from_utf8(value).map_err(damaged)?;
        Ok(Some(Placement { node, slot, generation: Token(meta.created.0) }))
    }

    /// Takes the node's slot away, whoever has it, and answers what it was. The owner is told by its next
    /// [`check`](Assigned::check) and refused by its next write.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if it has none; [`Error::EmptyNode`]; [`Error::Inconsistent`] and [`Error::Damaged`] if
    /// entries make no sense; the store's.
    pub fn release(&self, node: &str) -> Result<Placement> {
        let mut refused = None;
        loop {
            let placement = self.lookup(node)?.ok_or_else(|| Error::UnknownNode { node: node.to_owned() })?;
            let generation = placement.generation;
            if refused == Some(generation) {
                // Its entry was there all the time, and the slot was not its own: says so, unless that has been mended
                // since.
                self.occupancy()?.placement_of(node, &self.names)?;
            }
            match self.assigned(placement)?.release() {
                // Somebody else released it; it may have come back.
                Err(Error::Evicted { .. }) => refused = Some(generation),
                released => return released,
            }
        }
    }

    /// The nodes that are alive, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Damaged`]; the store's.
    pub fn active(&self) -> Result<Vec<Placement>> {
        self.with_life(true)
    }

    /// The nodes that have a slot and are not alive, in the order of their names.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn stale(&self) -> Result<Vec<Placement>> {
        self.with_life(false)
    }

    fn with_life(&self, is_alive: bool) -> Result<Vec<Placement>> {
        let occupancy = self.occupancy()?;
        let mut places: Vec<_> = occupancy
            .placements()
            .filter(|(_, _, alive)| *alive == is_alive)
            .map(|(placement, ..)| placement)
            .collect();
        places.sort_unstable_by(|one, other| one.node.cmp(&other.node));
        Ok(places)
    }

    /// How many slots are taken, alive and free.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn stats(&self) -> Result<Stats> {
        let occupancy = self.occupancy()?;
        let (taken, active) =
            occupancy.placements().fold((0, 0), |(taken, active), (.., alive)| (taken + 1, active + u16::from(alive)));
        Ok(Stats { slots: self.slots, taken, active, stale: taken - active, free: self.slots.saturating_sub(taken) })
    }

    /// What does not agree: nothing, unless somebody else wrote under this name.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn integrity(&self) -> Result<Vec<Finding>> {
        Ok(self.occupancy()?.findings())
    }

    /// How many slots there are.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn assigned(&self, placement: Placement) -> Result<Assigned<B>> {
        let store = Arc::clone(&self.store);
        let node_key = store.key(&self.names.node(&placement.node))?;
        let slot_key = store.key(&self.names.slot(placement.slot))?;
        let alive_key = store.key(&self.names.alive(placement.slot))?;
        Ok(Assigned { store, placement, node_key, slot_key, alive_key })
    }

    pub(super) fn occupancy(&self) -> Result<Occupancy> {
        Occupancy::read(&*self.store, &self.names, self.slots)
    }
}

impl<B: Backend> fmt::Debug for Assignment<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, cluster, slots) = (&self.names, &self.cluster, &self.slots);
        f.debug_struct("Assignment").field("names", names).field("cluster", cluster).field("slots", slots).finish()
    }
}
