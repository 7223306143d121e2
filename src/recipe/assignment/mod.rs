//! Numbers for names: every node gets one of the slots 1 to N, no two the same, and keeps it until it is released.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, assignment::{Assignment, Error}};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//!
//! let slots = Assignment::open(&store, "gpus")?;
//! let mine = slots.join(&session, "host-a")?;
//! assert_eq!(slots.lookup("host-a")?.unwrap().slot, mine.slot());
//! assert_eq!(slots.join(&session, "host-a")?.slot(), mine.slot()); // The same name, the same slot.
//!
//! // Whatever is written on behalf of the slot names its generation, so that who lost it cannot write.
//! let state = store.key("state/host-a")?;
//! store.commit(&[mine.condition(), Op::put(&state, b"ready")])?;
//! slots.release("host-a")?;
//! assert!(matches!(mine.check(), Err(Error::Evicted { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept
//! | entry | value | lives |
//! |---|---|---|
//! | `name/settings` | number of slots and the cluster's name | for ever |
//! | `name/node/<node>` | its slot | until released |
//! | `name/slot/<slot>` | the node's whole name | until released |
//! | `name/alive/<slot>` | the [`Owner`] that announced it | as long as a session |
//!
//! Values are as long as the node's name, and no others longer than 48 bytes, or the cluster's name and 6. A name of
//! more than 64 bytes, one with a NUL in it or one that begins with `#` stands in the entry's name as `#` and its
//! SHA-256, and in full in the slot's value: any name is good as long as the store takes a value of its length. The
//! name of the assignment can have 71 bytes less than the store's longest.
//!
//! # Why it is right
//! * *One slot a node, one node a slot.* One commit creates the node's entry and the slot's, each only if it is absent,
//!   and one commit deletes them. They exist together, with the same `created`, at every moment; whoever dies, dies
//!   before the commit or after it. That revision is the **generation**: a slot given out again has a larger one, so
//!   there is no mistaking an old owner for the new one.
//! * *All N placeable, and full only when full.* A join tries the name's first choice at once. If that fails, one
//!   `range` shows all slots as of one moment: the first one free, in the order of the name's probes and then of all
//!   others, is tried. If none is free, all N were taken at that moment, which lies within the call: that is the only
//!   way to [`Error::Full`]. A failed attempt means that somebody else's join or release took place, so some join
//!   always comes to an end, and there is no number of attempts after which one gives up.
//! * *Ownership does not end with a process, liveness does.* `alive` entries are bound to the session's lease. Renewing
//!   it touches no entry, so heartbeats disturb nobody, however many nodes there are. A node that is not alive is
//!   **stale**; it keeps its slot until somebody cleans up.
//! * *Nobody compares clocks of two machines.* [`Cleaner`] measures on its own monotonic clock for how long it has seen
//!   a node stale without a break, and the commit that evicts it says so: the same generation, not announced anew
//!   since, and not alive at this moment. Every announcement puts the node's entry, and only it creates the `alive`
//!   entry: if neither has happened, the node has been stale all the time.
//!
//! # When a process dies
//! Its slot stays its name's: started again under the same name it goes on with the same slot and generation. `alive` goes
//! when the store ends its session.

mod assigned;
mod cleaner;
mod digest;
mod error;
#[cfg(feature = "file-table")]
mod file_table;
mod hash;
mod integrity;
#[cfg(feature = "file-table")]
mod json;
mod names;
mod snapshot;
#[cfg(feature = "file-table")]
mod table;
#[cfg(feature = "file-table")]
mod table_error;
#[cfg(feature = "file-table")]
mod transfer;

use std::fmt;
use std::sync::Arc;

use self::hash::order;
use self::names::Names;
use self::snapshot::Snapshot;
use crate::Outcome;
use crate::backend::{Backend, Op, Session};
use crate::clock::Token;
use crate::recipe::{Damaged, Owner};

pub use self::assigned::Assigned;
pub use self::cleaner::{Cleaner, STALE_AFTER};
pub use self::error::{Error, Result};
#[cfg(feature = "file-table")]
pub use self::file_table::FileTable;
pub use self::hash::{PROBES, node_hash, probe};
pub use self::integrity::Finding;
#[cfg(feature = "file-table")]
pub use self::table::{MAGIC, Table, TableEntry};
#[cfg(feature = "file-table")]
pub use self::table_error::TableError;

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
    store: Arc<B>,
    names: Names,
    cluster: String,
    slots: u16,
}

/// A node and its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// Its slot.
    pub slot: u16,
    /// Since which commit it has been so: larger than that of everybody who had the slot before.
    pub generation: Token,
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
        let names = Names::new(name);
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
        self.place(node, Some(session))
    }

    /// Gives the node a slot, or says which it has; whether it is alive is another matter.
    ///
    /// # Errors
    /// As [`join`](Assignment::join).
    pub fn assign(&self, node: &str) -> Result<Assigned<B>> {
        self.place(node, None)
    }

    fn place(&self, node: &str, session: Option<&Session<B>>) -> Result<Assigned<B>> {
        if node.is_empty() {
            return Err(Error::EmptyNode);
        }
        let owner = Owner::me().to_bytes();
        let hash = node_hash(&self.cluster, node);
        let mut slot = probe(hash, 0, self.slots);
        loop {
            let mut assigned = self.assigned(Place { node: node.to_owned(), slot, generation: Token(0) })?;
            let text = slot.to_string();
            let mut ops = vec![
                Op::put(&assigned.node_key, text.as_bytes()).if_absent(),
                Op::put(&assigned.slot_key, node.as_bytes()).if_absent(),
            ];
            // A session that is over has a lease that is over, and under that nothing can be put.
            ops.extend(session.map(|session| Op::put_leased(&assigned.alive_key, &owner, session.lease())));
            if let Outcome::Committed(revision) = self.store.commit(&ops)? {
                assigned.place.generation = Token(revision.0);
                return Ok(assigned);
            }
            let shot = self.snapshot()?;
            if let Some(place) = shot.place_of(node, &self.names)? {
                let assigned = self.assigned(place)?;
                match session.map_or(Ok(()), |session| assigned.announce(session)) {
                    // Released since: everything is open again.
                    Err(Error::Evicted { .. }) => continue,
                    announced => return announced.map(|()| assigned),
                }
            }
            let free = order(hash, self.slots).find(|slot| !shot.is_taken(*slot));
            slot = free.ok_or(Error::Full { slots: self.slots })?;
        }
    }

    /// Which slot the node has; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Damaged`]; the store's.
    pub fn lookup(&self, node: &str) -> Result<Option<Place>> {
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
        Ok(Some(Place { node: node.to_owned(), slot, generation: Token(meta.created.0) }))
    }

    /// Which node has the slot; `None` if it is free.
    ///
    /// # Errors
    /// [`Error::NoSuchSlot`]; [`Error::Damaged`]; the store's.
    pub fn node_of(&self, slot: u16) -> Result<Option<Place>> {
        if !(1..=self.slots).contains(&slot) {
            return Err(Error::NoSuchSlot { slot, slots: self.slots });
        }
        let (name, mut value) = (self.names.slot(slot), Vec::new());
        let (Some(meta), _) = self.store.read(&self.store.key(&name)?, &mut value)? else { return Ok(None) };
        let damaged = |_| Damaged::new(&name, "its value is no text");
        let node = String::from_utf8(value).map_err(damaged)?;
        Ok(Some(Place { node, slot, generation: Token(meta.created.0) }))
    }

    /// Takes the node's slot away, whoever has it, and answers what it was. The owner is told by its next
    /// [`check`](Assigned::check) and refused by its next write.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if it has none; [`Error::EmptyNode`]; [`Error::Inconsistent`] and [`Error::Damaged`] if
    /// entries make no sense; the store's.
    pub fn release(&self, node: &str) -> Result<Place> {
        let mut refused = None;
        loop {
            let place = self.lookup(node)?.ok_or_else(|| Error::UnknownNode { node: node.to_owned() })?;
            let generation = place.generation;
            if refused == Some(generation) {
                // Its entry was there all the time, and the slot was not its own: says so, unless that has been mended
                // since.
                self.snapshot()?.place_of(node, &self.names)?;
            }
            match self.assigned(place)?.release() {
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
    pub fn active(&self) -> Result<Vec<Place>> {
        self.with_life(true)
    }

    /// The nodes that have a slot and are not alive, in the order of their names.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn stale(&self) -> Result<Vec<Place>> {
        self.with_life(false)
    }

    fn with_life(&self, is_alive: bool) -> Result<Vec<Place>> {
        let shot = self.snapshot()?;
        let mut places: Vec<_> =
            shot.places().filter(|(_, _, alive)| *alive == is_alive).map(|(place, ..)| place).collect();
        places.sort_unstable_by(|one, other| one.node.cmp(&other.node));
        Ok(places)
    }

    /// How many slots are taken, alive and free.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn stats(&self) -> Result<Stats> {
        let shot = self.snapshot()?;
        let (taken, active) =
            shot.places().fold((0, 0), |(taken, active), (.., alive)| (taken + 1, active + u16::from(alive)));
        Ok(Stats { slots: self.slots, taken, active, stale: taken - active, free: self.slots.saturating_sub(taken) })
    }

    /// What does not agree: nothing, unless somebody else wrote under this name.
    ///
    /// # Errors
    /// As [`active`](Assignment::active).
    pub fn integrity(&self) -> Result<Vec<Finding>> {
        Ok(self.snapshot()?.findings())
    }

    /// One who frees the slots of those who have been stale for long.
    pub fn cleaner(&self) -> Cleaner<'_, B> {
        Cleaner::new(self)
    }

    /// How many slots there are.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    fn assigned(&self, place: Place) -> Result<Assigned<B>> {
        let store = Arc::clone(&self.store);
        let node_key = store.key(&self.names.node(&place.node))?;
        let slot_key = store.key(&self.names.slot(place.slot))?;
        let alive_key = store.key(&self.names.alive(place.slot))?;
        Ok(Assigned { store, place, node_key, slot_key, alive_key })
    }

    fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&*self.store, &self.names, self.slots)
    }
}

impl<B: Backend> fmt::Debug for Assignment<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, cluster, slots) = (&self.names, &self.cluster, &self.slots);
        f.debug_struct("Assignment").field("names", names).field("cluster", cluster).field("slots", slots).finish()
    }
}
