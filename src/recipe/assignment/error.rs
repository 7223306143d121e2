//! Errors of an assignment.

use super::integrity::Finding;
#[cfg(feature = "file-table")]
use super::table_error::TableError;
use crate::clock::Token;
use crate::error::{Kind, next_moves};
use crate::recipe::Damaged;

/// The result of a call of an assignment or one of its tables.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call of an assignment or one of its tables failed. Nothing has changed, unless the variant or the call's `#
/// Errors` says otherwise.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own; for a table in a file, the operating system's.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// An entry holds a value that this recipe never writes. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A table's bytes or file cannot be used.
    #[cfg(feature = "file-table")]
    #[error(transparent)]
    Table(#[from] TableError),
    /// A node without a name.
    #[error("a node needs a name of at least one character")]
    EmptyNode,
    /// An assignment without slots.
    #[error("an assignment cannot have 0 slots; give it 1 to 65535")]
    NoSlots,
    /// There is no such slot.
    #[error("there is no slot {slot}; slots are numbered 1 to {slots}")]
    NoSuchSlot {
        /// The slot asked for.
        slot: u16,
        /// How many there are.
        slots: u16,
    },
    /// All slots were taken, at one moment during the call.
    #[error("all {slots} slots are taken; release a node that is gone for good, or clean up the stale ones")]
    Full {
        /// How many there are.
        slots: u16,
    },
    /// The node has no slot.
    #[error("node {node:?} has no slot; join gives it one")]
    UnknownNode {
        /// The node.
        node: String,
    },
    /// The slot was released: it is not the node's any more, or not in this generation.
    #[error(
        "node {node:?} has lost slot {slot}, generation {generation}: {}; join again and use the new generation",
        now_of(now)
    )]
    Evicted {
        /// The node.
        node: String,
        /// The slot it had.
        slot: u16,
        /// The generation in which it had it.
        generation: Token,
        /// The node that has the slot now, and its generation.
        now: Option<(String, Token)>,
    },
    /// The assignment of this name was created with other settings.
    #[error(
        "assignment {name:?} was created with {found}, and this is {asked}; use the same everywhere, or another name"
    )]
    OtherSettings {
        /// The assignment.
        name: String,
        /// What was asked for.
        asked: String,
        /// What it has.
        found: String,
    },
    /// The entries of nodes and those of slots contradict each other. Nothing is repaired or wiped.
    #[error("the assignment contradicts itself: {}; find out what wrote it, then repair it by hand", listed(findings))]
    Inconsistent {
        /// Every contradiction.
        findings: Vec<Finding>,
    },
    /// A node or slot of the table is assigned otherwise here. Nodes imported before it stay: import again once it is
    /// resolved.
    #[cfg(feature = "file-table")]
    #[error("cannot import {node:?} to slot {slot}: {why}; release one of them, then import again")]
    ImportConflict {
        /// The node.
        node: String,
        /// The slot it has in the table.
        slot: u16,
        /// What is in the way.
        why: String,
    },
    /// The assignment has a slot that a table cannot hold.
    #[cfg(feature = "file-table")]
    #[error(
        "node {node:?} has slot {slot}, and a table has {most} slots; export an assignment of at most {most} slots"
    )]
    SlotBeyondTable {
        /// The node.
        node: String,
        /// Its slot.
        slot: u16,
        /// The last slot that a table has.
        most: u16,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) | Self::Inconsistent { .. } => Kind::Damaged,
            #[cfg(feature = "file-table")]
            Self::Table(error) => error.kind(),
            Self::EmptyNode | Self::NoSlots | Self::NoSuchSlot { .. } => Kind::Misuse,
            Self::Full { .. } => Kind::Full,
            Self::UnknownNode { .. } => Kind::Unavailable,
            Self::Evicted { .. } => Kind::Lost,
            Self::OtherSettings { .. } => Kind::Incompatible,
            #[cfg(feature = "file-table")]
            Self::ImportConflict { .. } => Kind::Conflict,
            #[cfg(feature = "file-table")]
            Self::SlotBeyondTable { .. } => Kind::Full,
        }
    }
}

next_moves!(Error);

fn now_of(now: &Option<(String, Token)>) -> String {
    match now {
        Some((node, token)) => format!("{node:?} has it now, generation {token}"),
        None => "it is free now".to_owned(),
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
