//! Encodes and decodes node maps of sbd-operator, tables of up to 255 nodes and their slots.
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
//! | little-endian  |  "entries":{"node":{"node_name":"…","node_id":1,"hash":…,       |
//! |                |   "timestamp":"…","last_seen":"…","cluster_name":"…"}},         |
//! |                |  "node_usage":{"1":"node"},"last_update":"…"}                   |
//! ```
//! Names of entries and slots are sorted as strings, and `<`, `>`, `&`, U+2028 and U+2029 are escaped. Earlier versions
//! of sbd-operator wrote `slot_id` and `slot_usage`; both are read, and written again as they were read. The checksum
//! does not cover zeros after the JSON (its reader included them, and so could not read what it had written).

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

/// The magic of a table.
pub const MAGIC: [u8; 8] = *b"SBDNMAP1";

/// Nodes and their slots in the format of sbd-operator.
///
/// It is a plain value in memory. [`Assignment`](crate::recipe::Assignment) imports and exports it;
/// [`FileTable`](super::FileTable) keeps it in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The number of changes, counted from 1.
    pub version: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Entries by the node's name.
    pub entries: BTreeMap<String, TableEntry>,
    /// Nodes by slot.
    pub usage: BTreeMap<u16, String>,
    /// The time of the last change: RFC 3339, by the writer's wall clock.
    pub last_update: String,
    words: Words,
}

/// One node of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The node's name.
    pub node: String,
    /// The node's slot.
    pub slot: u16,
    /// Its [`node_hash`].
    pub hash: u32,
    /// The time at which it got the slot: RFC 3339. Informative only.
    pub timestamp: String,
    /// The time at which it was last seen: RFC 3339. Informative only.
    pub last_seen: String,
    /// Its cluster's name; may be empty.
    pub cluster: String,
}

/// Whether the table has the field names of now (`node_id`) or of earlier versions (`slot_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Words {
    #[default]
    Nodes,
    Slots,
}

impl Table {
    /// Creates an empty table, of version 1.
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

    /// Assigns a slot of 1 to 255 to the node, or returns the one it has.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Inconsistent`] with all that [`integrity`](Table::integrity) finds;
    /// [`Error::Full`] if all 255 are taken.
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

    /// Removes the node and returns the slot it had.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] as for [`assign`](Table::assign); [`Error::UnknownNode`].
    pub fn remove(&mut self, node: &str) -> Result<u16> {
        self.check()?;
        let entry = self.entries.remove(node).ok_or_else(|| Error::UnknownNode { node: node.to_owned() })?;
        self.usage.remove(&entry.slot);
        self.touch();
        Ok(entry.slot)
    }

    /// Finds contradictions between `entries` and `usage`: none, unless they were changed other than by
    /// [`Table::assign`] and [`Table::remove`].
    pub fn integrity(&self) -> Vec<Finding> {
        let entries = self.entries.iter().map(|(node, entry)| (node.clone(), entry.slot)).collect();
        examine(&entries, &self.usage, TABLE_SLOTS)
    }

    /// Refuses a table with contradictions.
    pub(super) fn check(&self) -> Result<()> {
        let findings = self.integrity();
        if findings.is_empty() { Ok(()) } else { Err(Error::Inconsistent { findings }) }
    }

    /// Encodes the table.
    pub fn marshal(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        let mut writer = Serializer::with_formatter(&mut bytes, AsGo(CompactFormatter));
        self.to_json().serialize(&mut writer).expect("strings and numbers are written to memory");
        let sum = crc32(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Decodes a table of this cluster. Contradictions between its entries are no error here: see
    /// [`integrity`](Table::integrity). Changing or importing such a table is refused.
    ///
    /// # Errors
    /// The first of these that applies: [`TableError::TooShort`], [`TableError::Checksum`], [`TableError::Malformed`],
    /// [`TableError::Magic`], [`TableError::Version`], [`TableError::Cluster`]. A damaged table is never taken for an
    /// empty one.
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

    /// Puts the node at the slot, without looking at what is there.
    pub(super) fn put(&mut self, node: &str, slot: u16) {
        let (hash, now) = (node_hash(&self.cluster, node), now());
        let (node, cluster) = (node.to_owned(), self.cluster.clone());
        self.usage.insert(slot, node.clone());
        let entry = TableEntry { node: node.clone(), slot, hash, timestamp: now.clone(), last_seen: now, cluster };
        self.entries.insert(node, entry);
    }

    fn touch(&mut self) {
        // Saturates: version 0 would make the table unreadable.
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
            let number = u16::from_str(&slot).map_err(|_| malformed(&format!("{slot:?} is not a slot")))?;
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
    jiff::Timestamp::from_str(text).map(drop).map_err(|_| malformed(&format!("{text:?} is not an RFC 3339 time")))
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
