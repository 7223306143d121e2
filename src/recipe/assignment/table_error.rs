//! Errors of a table's bytes and its file.

use std::path::PathBuf;

use crate::error::{Kind, next_moves};

/// Why a table cannot be read, created or imported. Nothing has changed then, and a damaged table is never taken for an
/// empty one.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is no table at the path.
    #[error("there is no table at {path}; create one with FileTable::create, if none has been lost", path = path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The path is taken.
    #[error("{path} exists already; open it, or choose another path", path = path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The table has fewer bytes than its checksum.
    #[error("a table has at least 4 bytes, those of its checksum, and this has {length}; restore it from a copy")]
    TooShort {
        /// How many bytes there are.
        length: usize,
    },
    /// The table's bytes do not have the checksum it names.
    #[error(
        "the table is damaged: its checksum is {expected:#010x}, its bytes have {found:#010x}; restore it from a copy"
    )]
    Checksum {
        /// The checksum in the table.
        expected: u32,
        /// The checksum of its bytes.
        found: u32,
    },
    /// The table is no JSON, or not that of a table.
    #[error("the table cannot be parsed: {why}; restore it from a copy")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// The JSON is that of something else.
    #[error("this is no table: its magic is {found:?} instead of \"SBDNMAP1\"; name the table's own file")]
    Magic {
        /// Its magic.
        found: String,
    },
    /// The table has version 0, and versions begin at 1.
    #[error("the table has version 0, and the first is 1; restore it from a copy")]
    Version,
    /// The table is that of another cluster.
    #[error("the table is of cluster {found:?}, and this is {expected:?}; use that cluster's name, or another table")]
    Cluster {
        /// The cluster that was asked for.
        expected: String,
        /// The cluster in the table.
        found: String,
    },
}

impl TableError {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Unavailable,
            Self::Exists { .. } => Kind::Conflict,
            Self::TooShort { .. }
            | Self::Checksum { .. }
            | Self::Malformed { .. }
            | Self::Magic { .. }
            | Self::Version => Kind::Damaged,
            Self::Cluster { .. } => Kind::Incompatible,
        }
    }
}

next_moves!(TableError);
