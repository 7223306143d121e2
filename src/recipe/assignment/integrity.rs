//! Finds contradictions between the entries of nodes and the entries of slots: duplicates, orphans, mismatches, and
//! slots out of range.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A contradiction, which no code of this recipe writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A node has a slot out of range.
    NoSuchSlot {
        /// The slot.
        slot: u16,
        /// The node.
        node: String,
        /// How many slots there are, numbered from 1.
        slots: u16,
    },
    /// The entries of several nodes name one slot.
    DuplicateSlot {
        /// The slot.
        slot: u16,
        /// The nodes, in the order of their names.
        nodes: Vec<String>,
    },
    /// A slot's entry names a node that has no entry.
    OrphanedUsage {
        /// The slot.
        slot: u16,
        /// The node.
        node: String,
    },
    /// A slot's entry names a node whose entry names another slot.
    Mismatch {
        /// The slot.
        slot: u16,
        /// The node.
        node: String,
        /// The slot in the node's entry.
        entry: u16,
    },
    /// A node's entry names a slot that has no entry.
    OrphanedEntry {
        /// The node.
        node: String,
        /// The slot.
        slot: u16,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSlot { slot, node, slots } => write!(f, "slot {slot} of {node:?} is none of 1 to {slots}"),
            Self::DuplicateSlot { slot, nodes } => write!(f, "slot {slot} is in the entries of {nodes:?}"),
            Self::OrphanedUsage { slot, node } => write!(f, "slot {slot} belongs to {node:?}, which has no entry"),
            Self::Mismatch { slot, node, entry } => {
                write!(f, "slot {slot} belongs to {node:?}, whose entry names slot {entry}")
            }
            Self::OrphanedEntry { node, slot } => write!(f, "{node:?} has slot {slot}, which belongs to no node"),
        }
    }
}

/// Returns all contradictions between `entries` (node to slot) and `usage` (slot to node): slots out of range,
/// duplicates, wrong usage, wrong entries; each in the order of slots and names.
pub(super) fn examine(entries: &BTreeMap<String, u16>, usage: &BTreeMap<u16, String>, slots: u16) -> Vec<Finding> {
    let all = entries.iter().map(|(node, &slot)| (slot, node)).chain(usage.iter().map(|(&slot, node)| (slot, node)));
    let beyond: BTreeSet<_> = all.filter(|(slot, _)| !(1..=slots).contains(slot)).collect();
    let beyond = beyond.into_iter().map(|(slot, node)| Finding::NoSuchSlot { slot, node: node.clone(), slots });
    let mut found: Vec<_> = beyond.collect();
    let mut by_slot = BTreeMap::<u16, Vec<&String>>::new();
    for (node, slot) in entries {
        by_slot.entry(*slot).or_default().push(node);
    }
    for (slot, nodes) in by_slot.into_iter().filter(|(_, nodes)| nodes.len() > 1) {
        found.push(Finding::DuplicateSlot { slot, nodes: nodes.into_iter().cloned().collect() });
    }
    for (&slot, node) in usage {
        match entries.get(node) {
            None => found.push(Finding::OrphanedUsage { slot, node: node.clone() }),
            Some(&entry) if entry != slot => found.push(Finding::Mismatch { slot, node: node.clone(), entry }),
            Some(_) => {}
        }
    }
    for (node, &slot) in entries.iter().filter(|(_, slot)| !usage.contains_key(slot)) {
        found.push(Finding::OrphanedEntry { node: node.clone(), slot });
    }
    found
}
