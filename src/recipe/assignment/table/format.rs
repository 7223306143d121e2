//! The table of source system 1 as bytes: to move to a store, or back.
//!
//! ```
//! use slotguard::recipe::assignment::Table;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let mut table = Table::new("test-cluster");
//! assert_eq!(table.assign("node-1")?, 28);
//! let mut bytes = table.marshal();
//! assert_eq!(Table::unmarshal(&bytes, "test-cluster")?, table);
//!
//! bytes[40] ^= 1;
//! assert!(Table::unmarshal(&bytes, "test-cluster").is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # The bytes
//! ```text
//! 0                4
//! | CRC-32 (IEEE)  | JSON, byte by byte as Go's encoding/json writes it              | zeros, if in a 512 B slot |
//! | of the JSON,   | {"magic":[8 numbers],"version":1,"cluster_name":"…",            |
//! | little end     |  "entries":{"node":{"node_name":"…","node_id":1,"hash":…,       |
//! | first          |   "timestamp":"…","last_seen":"…","cluster_name":"…"}},         |
//! |                |  "node_usage":{"1":"node"},"last_update":"…"}                   |
//! ```
//! Names of entries and slots are sorted as texts, and `<`, `>`, `&`, U+2028 and U+2029 are escaped. Earlier versions
//! of the source say `slot_id` and `slot_usage`; both are read, and written again as they were read. Zeros after the
//! JSON are no part of it (the source's reader counts them into the checksum, so that nothing it had written could be
//! read).

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Serializer};

use super::json::{AsGo, JsonEntry, JsonTable, Unique};
use crate::recipe::assignment::digest::crc32;
use crate::recipe::assignment::error::{Error, Result};
use crate::recipe::assignment::integrity::{Finding, examine};
use crate::recipe::assignment::probe::{node_hash, order};
use crate::recipe::assignment::slots::TABLE_SLOTS;
use crate::recipe::assignment::table_error::TableError;

/// What a table begins with.
pub const MAGIC: [u8; 8] = *b"SBDNMAP1";

/// Which node has which slot, as the source keeps it.
///
/// It is a value: whoever changes a copy has changed nothing else. [`Assignment`](crate::recipe::Assignment) takes it in and gives
/// it out; [`FileTable`](super::FileTable) keeps it in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Counts the changes, from 1 on.
    pub version: u64,
    /// The cluster's name.
    pub cluster: String,
    /// The entries by name.
    pub entries: BTreeMap<String, TableEntry>,
    /// Who has each slot.
    pub usage: BTreeMap<u16, String>,
    /// When it was last changed: RFC 3339, by the wall clock of who did.
    pub last_update: String,
    words: Words,
}

/// One node of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its name.
    pub node: String,
    /// Its slot.
    pub slot: u16,
    /// Its [`node_hash`].
    pub hash: u32,
    /// When it was given the slot: RFC 3339. For people: nothing is decided by it.
    pub timestamp: String,
    /// When it was last seen: RFC 3339. For people: nothing is decided by it.
    pub last_seen: String,
    /// Its cluster's name; may be empty.
    pub cluster: String,
}

/// Whether the source spoke of nodes or of slots when it wrote the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Words {
    #[default]
    Nodes,
    Slots,
}

impl Table {
    /// An empty table, of version 1.
    pub fn new(cluster: &str) -> Self {
        Self {
            version: 1,
            cluster: cluster.to_owned(),
            entries: BTreeMap::new(),
            usage: BTreeMap::new(),
            last_update: now(),
            words: Words::default(),
        }
    }

    /// Gives the node a slot of 1 to 255, or says which it has.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Inconsistent`] with all that [`integrity`](Table::integrity) finds;
    /// [`Error::Full`] if all 255 are taken. Nothing has changed after any of them.
    pub fn assign(&mut self, node: &str) -> Result<u16> {
        if node.is_empty() {
            return Err(Error::EmptyNode);
        }
        self.check()?;
        if let Some(entry) = self.entries.get(node) {
            return Ok(entry.slot);
        }
        let hash = node_hash(&self.cluster, node);
        let free = order(hash, TABLE_SLOTS).find(|slot| !self.usage.contains_key(slot));
        let slot = free.ok_or(Error::Full { slots: TABLE_SLOTS })?;
        self.put(node, slot);
        self.touch();
        Ok(slot)
    }

    /// Takes the node's slot away and answers which it was.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] as for [`assign`](Table::assign); [`Error::UnknownNode`]. Nothing has changed after either.
    pub fn remove(&mut self, node: &str) -> Result<u16> {
        self.check()?;
        let entry = self.entries.remove(node).ok_or_else(|| Error::UnknownNode { node: node.to_owned() })?;
        self.usage.remove(&entry.slot);
        self.touch();
        Ok(entry.slot)
    }

    /// What does not agree in it: nothing, unless somebody wrote it otherwise than through [`Table::assign`] and
    /// [`Table::remove`].
    pub fn integrity(&self) -> Vec<Finding> {
        let entries = self.entries.iter().map(|(node, entry)| (node.clone(), entry.slot)).collect();
        examine(&entries, &self.usage, TABLE_SLOTS)
    }

    /// Refuses a table that contradicts itself.
    pub(super) fn check(&self) -> Result<()> {
        let findings = self.integrity();
        if findings.is_empty() { Ok(()) } else { Err(Error::Inconsistent { findings }) }
    }

    /// The table as bytes.
    pub fn marshal(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        let mut writer = Serializer::with_formatter(&mut bytes, AsGo(CompactFormatter));
        self.to_json().serialize(&mut writer).expect("texts and numbers, written to memory");
        let sum = crc32(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The table in these bytes, if it is this cluster's. Whether what it says agrees is for
    /// [`integrity`](Table::integrity) to tell; who would change or import it is refused if it does not.
    ///
    /// # Errors
    /// The first of these that applies: [`TableError::TooShort`], [`TableError::Checksum`], [`TableError::Malformed`],
    /// [`TableError::Magic`], [`TableError::Version`], [`TableError::Cluster`]. Whatever is wrong, it is never taken
    /// for an empty table.
    pub fn unmarshal(bytes: &[u8], cluster: &str) -> Result<Self, TableError> {
        let Some((sum, json)) = bytes.split_first_chunk::<4>() else {
            return Err(TableError::TooShort { length: bytes.len() });
        };
        let padding = json.iter().rev().take_while(|&&byte| byte == 0).count();
        let json = &json[..json.len() - padding];
        let (expected, found) = (u32::from_le_bytes(*sum), crc32(json));
        if expected != found {
            return Err(TableError::Checksum { expected, found });
        }
        let read: JsonTable = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        if read.magic != MAGIC {
            return Err(TableError::Magic { found: String::from_utf8_lossy(&read.magic).into_owned() });
        }
        if read.version == 0 {
            return Err(TableError::Version);
        }
        if read.cluster_name != cluster {
            return Err(TableError::Cluster { expected: cluster.to_owned(), found: read.cluster_name });
        }
        Self::of_json(read)
    }

    /// Writes down that the node has the slot, whatever was said of either.
    pub(super) fn put(&mut self, node: &str, slot: u16) {
        let (hash, now) = (node_hash(&self.cluster, node), now());
        let (node, cluster) = (node.to_owned(), self.cluster.clone());
        self.usage.insert(slot, node.clone());
        let entry = TableEntry { node: node.clone(), slot, hash, timestamp: now.clone(), last_seen: now, cluster };
        self.entries.insert(node, entry);
    }

    fn touch(&mut self) {
        // The last number stays the last: 0 is no version, and would make the table unreadable.
        self.version = self.version.saturating_add(1);
        self.last_update = now();
    }

    fn to_json(&self) -> JsonTable {
        let usage = self.usage.iter().map(|(slot, node)| (slot.to_string(), node.clone())).collect();
        let usage = Some(Unique(usage));
        let (node_usage, slot_usage) = match self.words {
            Words::Nodes => (usage, None),
            Words::Slots => (None, usage),
        };
        let entries = self.entries.iter().map(|(name, entry)| (name.clone(), entry.to_json(self.words))).collect();
        JsonTable {
            magic: MAGIC.to_vec(),
            version: self.version,
            cluster_name: self.cluster.clone(),
            entries: Some(Unique(entries)),
            node_usage,
            slot_usage,
            last_update: self.last_update.clone(),
        }
    }

    fn of_json(read: JsonTable) -> Result<Self, TableError> {
        let words = if read.slot_usage.is_some() { Words::Slots } else { Words::Nodes };
        let mut usage = BTreeMap::new();
        for (slot, node) in read.node_usage.or(read.slot_usage).map_or_else(BTreeMap::new, |usage| usage.0) {
            let number = u16::from_str(&slot).map_err(|_| malformed(&format!("{slot:?} is no slot")))?;
            if usage.insert(number, node).is_some() {
                return Err(malformed(&format!("slot {number} is there twice")));
            }
        }
        let mut entries = BTreeMap::new();
        for (name, entry) in read.entries.map_or_else(BTreeMap::new, |entries| entries.0) {
            if entry.node_name != name {
                return Err(malformed(&format!("the entry of {name:?} says {:?}", entry.node_name)));
            }
            entries.insert(name, TableEntry::of_json(entry)?);
        }
        check_time(&read.last_update)?;
        let (version, cluster, last_update) = (read.version, read.cluster_name, read.last_update);
        Ok(Self { version, cluster, entries, usage, last_update, words })
    }
}

impl TableEntry {
    fn to_json(&self, words: Words) -> JsonEntry {
        JsonEntry {
            node_name: self.node.clone(),
            node_id: (words == Words::Nodes).then_some(self.slot),
            slot_id: (words == Words::Slots).then_some(self.slot),
            hash: self.hash,
            timestamp: self.timestamp.clone(),
            last_seen: self.last_seen.clone(),
            cluster_name: self.cluster.clone(),
        }
    }

    fn of_json(read: JsonEntry) -> Result<Self, TableError> {
        let JsonEntry { node_name: node, node_id, slot_id, hash, timestamp, last_seen, cluster_name: cluster } = read;
        let slot = node_id.or(slot_id).ok_or_else(|| malformed(&format!("{node:?} has no slot")))?;
        check_time(&timestamp)?;
        check_time(&last_seen)?;
        Ok(Self { node, slot, hash, timestamp, last_seen, cluster })
    }
}

fn malformed(why: &impl ToString) -> TableError {
    TableError::Malformed { why: why.to_string() }
}

fn check_time(text: &str) -> Result<(), TableError> {
    jiff::Timestamp::from_str(text).map(drop).map_err(|_| malformed(&format!("{text:?} is no RFC 3339 time")))
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
