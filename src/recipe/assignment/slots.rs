//! An assignment's operations: joining, looking up and releasing nodes.

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

/// Slots of a [node map of sbd-operator](https://github.com/medik8s/sbd-operator), which an assignment can import: 255.
pub const TABLE_SLOTS: u16 = 255;
/// Slots of an assignment by default: as many as a node map has.
pub const DEFAULT_SLOTS: u16 = TABLE_SLOTS;
/// The cluster's name by default, as in sbd-operator.
pub const DEFAULT_CLUSTER: &str = "default-cluster";

/// Assigns slots 1 to N to nodes. Any number of processes may open one assignment by its name and use it at once.
pub struct Assignment<B: Backend> {
    pub(super) store: Arc<B>,
    pub(super) names: EntryNames,
    pub(super) cluster: String,
    pub(super) slots: u16,
}

/// Numbers of slots, as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All slots.
    pub slots: u16,
    /// Slots assigned to a node.
    pub taken: u16,
    /// Assigned slots whose node is alive.
    pub active: u16,
    /// Assigned slots whose node is stale.
    pub stale: u16,
    /// Slots assigned to no node.
    pub free: u16,
}

impl<B: Backend> Assignment<B> {
    /// Opens the assignment `name`, or creates it, with [`DEFAULT_SLOTS`] and [`DEFAULT_CLUSTER`].
    ///
    /// # Errors
    /// Those of [`open_with`](Assignment::open_with).
    pub fn open(store: &Arc<B>, name: &str) -> Result<Self> {
        Self::open_with(store, name, DEFAULT_CLUSTER, DEFAULT_SLOTS)
    }

    /// Opens the assignment `name`, or creates it, with this number of slots and this cluster's name, which is part of
    /// every node's hash. Both are fixed when it is created.
    ///
    /// # Errors
    /// [`Error::NoSlots`] if `slots` is 0; [`Error::OtherSettings`] if it was created with others; [`Error::Store`],
    /// among them [`BadName`](crate::Error::BadName) for a name that is empty or too long.
    pub fn open_with(store: &Arc<B>, name: &str, cluster: &str, slots: u16) -> Result<Self> {
        if slots == 0 {
            return Err(Error::NoSlots);
        }
        let names = EntryNames::new(name);
        // Refuses a bad name before anything is written.
        store.key(name)?;
        store.key(&names.longest())?;
        let settings = store.key(&names.settings())?;
        let asked = format!("{slots} {cluster}");
        let mut found = Vec::new();
        // This recipe never deletes settings: the loop repeats only if another program did.
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

    /// Assigns a slot to the node, or returns the one it has, and announces the node as alive for as long as `session`
    /// lives.
    ///
    /// Several processes that join as one node share its slot and generation; the session of the last one counts.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Full`]; [`Error::Inconsistent`] and [`Error::Damaged`] if entries were written by
    /// another program; [`Error::Store`], among them [`TooLarge`](crate::Error::TooLarge) for a name longer than a
    /// value and [`LeaseExpired`](crate::Error::LeaseExpired) for a session that is over.
    pub fn join(&self, session: &Session<B>, node: &str) -> Result<Assigned<B>> {
        self.give(node, Some(session))
    }

    /// Assigns a slot to the node, or returns the one it has, without announcing the node: a new one is stale.
    ///
    /// # Errors
    /// Those of [`join`](Assignment::join).
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
            // Refused if the session is over: its lease is, too.
            ops.extend(session.map(|session| Op::put_leased(&assigned.alive_key, &owner, session.lease())));
            if let Outcome::Committed(revision) = self.store.commit(&ops)? {
                assigned.placement.generation = Token(revision.0);
                return Ok(assigned);
            }
            let occupancy = self.occupancy()?;
            if let Some(placement) = occupancy.placement_of(node, &self.names)? {
                let assigned = self.assigned(placement)?;
                match session.map_or(Ok(()), |session| assigned.announce(session)) {
                    // Released meanwhile: begin again.
                    Err(Error::Evicted { .. }) => continue,
                    announced => return announced.map(|()| assigned),
                }
            }
            let free = order(hash, self.slots).find(|slot| !occupancy.is_taken(*slot));
            slot = free.ok_or(Error::Full { slots: self.slots })?;
        }
    }

    /// Reads the node's slot; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Damaged`]; [`Error::Store`].
    pub fn lookup(&self, node: &str) -> Result<Option<Placement>> {
        if node.is_empty() {
            return Err(Error::EmptyNode);
        }
        let (name, mut value) = (self.names.node(node), Vec::new());
        let (Some(meta), _) = self.store.read(&self.store.key(&name)?, &mut value)? else { return Ok(None) };
        let slot = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        let slot = slot.filter(|slot| (1..=self.slots).contains(slot)).ok_or_else(|| {
            let what = format!("{:?} is not a slot", String::from_utf8_lossy(&value));
            Damaged::new(&name, what)
        })?;
        Ok(Some(Placement { node: node.to_owned(), slot, generation: Token(meta.created.0) }))
    }

    /// Reads which node has the slot; `None` if it is free.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`]; [`Error::Damaged`]; [`Error::Store`].
    pub fn node_of(&self, slot: u16) -> Result<Option<Placement>> {
        if !(1..=self.slots).contains(&slot) {
            return Err(Error::NoSuchSlot { slot, slots: self.slots });
        }
        let (name, mut value) = (self.names.slot(slot), Vec::new());
        let (Some(meta), _) = self.store.read(&self.store.key(&name)?, &mut value)? else { return Ok(None) };
        let damaged = |_| Damaged::new(&name, "its value is not UTF-8");
        let node = String::from_utf8(value).map_err(damaged)?;
        Ok(Some(Placement { node, slot, generation: Token(meta.created.0) }))
    }

    /// Releases the node's slot, from any process, and returns the placement that ended. The owner's next
    /// [`check`](Assigned::check) fails, and so do its commits with [`condition`](Assigned::condition).
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if it has none; [`Error::EmptyNode`]; [`Error::Inconsistent`] and [`Error::Damaged`] if
    /// entries were written by another program; [`Error::Store`].
    pub fn release(&self, node: &str) -> Result<Placement> {
        let mut refused = None;
        loop {
            let placement = self.lookup(node)?.ok_or_else(|| Error::UnknownNode { node: node.to_owned() })?;
            let generation = placement.generation;
            if refused == Some(generation) {
                // Its entry is unchanged, and yet the slot is not its own: report the contradiction, unless it has been
                // repaired meanwhile.
                self.occupancy()?.placement_of(node, &self.names)?;
            }
            match self.assigned(placement)?.release() {
                // Released by another process meanwhile; the node may have joined again.
                Err(Error::Evicted { .. }) => refused = Some(generation),
                released => return released,
            }
        }
    }

    /// Reads the nodes that are alive, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Damaged`]; [`Error::Store`].
    pub fn active(&self) -> Result<Vec<Placement>> {
        self.with_liveness(true)
    }

    /// Reads the nodes that have a slot and are not alive, in the order of their names.
    ///
    /// # Errors
    /// Those of [`active`](Assignment::active).
    pub fn stale(&self) -> Result<Vec<Placement>> {
        self.with_liveness(false)
    }

    fn with_liveness(&self, is_alive: bool) -> Result<Vec<Placement>> {
        let occupancy = self.occupancy()?;
        let mut places: Vec<_> = occupancy
            .placements()
            .filter(|(_, _, alive)| *alive == is_alive)
            .map(|(placement, ..)| placement)
            .collect();
        places.sort_unstable_by(|one, other| one.node.cmp(&other.node));
        Ok(places)
    }

    /// Counts the slots that are assigned, alive, stale and free.
    ///
    /// # Errors
    /// Those of [`active`](Assignment::active).
    pub fn stats(&self) -> Result<Stats> {
        let occupancy = self.occupancy()?;
        let (taken, active) =
            occupancy.placements().fold((0, 0), |(taken, active), (.., alive)| (taken + 1, active + u16::from(alive)));
        Ok(Stats { slots: self.slots, taken, active, stale: taken - active, free: self.slots.saturating_sub(taken) })
    }

    /// Finds contradictions between the entries: none, unless another program wrote under this name.
    ///
    /// # Errors
    /// Those of [`active`](Assignment::active).
    pub fn integrity(&self) -> Result<Vec<Finding>> {
        Ok(self.occupancy()?.findings())
    }

    /// The number of slots.
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
