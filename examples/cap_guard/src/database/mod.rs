//! What the five modes need from a database, said once, with the SQL both databases run.

mod postgres;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Result;
use crate::customer::{Call, Row, Update};

/// Which writes of a row are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// All of them: the last one wins.
    Nothing,
    /// Only those that saw the row as it is now.
    Version,
    /// Those, and only while nobody has written under a later claim than this token.
    VersionAndToken(u64),
}

/// One change of a row: what the writer saw, what it wants, and on whose behalf.
#[derive(Clone, Debug)]
pub struct Change {
    /// The row as the writer read it.
    pub seen: Row,
    /// The row as it should be.
    pub new: Row,
    /// When to refuse it.
    pub fence: Fence,
    /// The call it belongs to.
    pub call: Call,
}

impl Change {
    /// The change an update makes to a row, computed now.
    pub fn of(seen: &Row, update: &Update, fence: Fence) -> Self {
        let new = update.apply(seen);
        Change { seen: seen.clone(), new, fence, call: update.call }
    }
}

/// One line of table `audit`: written in the same SQL transaction as the change it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Whose change it was.
    pub call: Call,
    /// The version of the row it made.
    pub version: u64,
}

/// One connection to a database.
pub trait Database {
    /// Creates the tables where they are missing, empties them and stores one fresh row.
    fn prepare(&mut self, row: &Row) -> Result<()>;

    /// The row as it is now.
    fn read(&mut self, id: u32) -> Result<Option<Row>>;

    /// Writes the row and the audit line in one transaction; false when the fence refused it.
    fn write(&mut self, change: &Change) -> Result<bool>;

    /// Begins a transaction that keeps others from writing the row until [`Database::write_locked`] or
    /// [`Database::unlock`], and reads the row in it.
    fn lock(&mut self, id: u32) -> Result<Option<Row>>;

    /// Writes inside the transaction [`Database::lock`] began and commits it.
    fn write_locked(&mut self, change: &Change) -> Result<()>;

    /// Gives up the transaction [`Database::lock`] began.
    fn unlock(&mut self) -> Result<()>;

    /// Sets the row's token to zero: it comes from a segment that no longer exists. False when the row has changed.
    fn forget_token(&mut self, seen: &Row) -> Result<bool>;

    /// Every audit line, in order of version.
    fn audit(&mut self) -> Result<Vec<AuditLine>>;
}

/// Where a database is, in a form that fits one command-line argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// The folder of a server's unix socket.
    Postgres(PathBuf),
}

impl Address {
    /// Opens a connection.
    pub fn connect(&self) -> Result<Box<dyn Database>> {
        Ok(match self {
            Address::Sqlite(file) => Box::new(sqlite::Sqlite::open(file)?),
            Address::Postgres(folder) => Box::new(postgres::Postgres::open(folder)?),
        })
    }

    /// The product's name.
    pub fn product(&self) -> &'static str {
        match self {
            Address::Sqlite(_) => "SQLite",
            Address::Postgres(_) => "PostgreSQL",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Address::Postgres(folder) => write!(f, "postgres:{}", folder.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", file)) => Ok(Address::Sqlite(file.into())),
            Some(("postgres", folder)) => Ok(Address::Postgres(folder.into())),
            _ => Err(format!("no database address: {text}")),
        }
    }
}

/// The statements. Parameters are numbered in the order in which they first appear, so that SQLite, for which `$1` is
/// a name, counts them as PostgreSQL does.
mod sql {
    pub const TABLES: &str = "
        CREATE TABLE IF NOT EXISTS caps (
            id BIGINT PRIMARY KEY, cap BIGINT NOT NULL, access TEXT NOT NULL,
            version BIGINT NOT NULL, token BIGINT NOT NULL);
        CREATE TABLE IF NOT EXISTS audit (
            process BIGINT NOT NULL, call BIGINT NOT NULL, version BIGINT NOT NULL,
            PRIMARY KEY (process, call));
        DELETE FROM caps;
        DELETE FROM audit";
    pub const INSERT: &str = "INSERT INTO caps (id, cap, access, version, token) VALUES ($1, $2, $3, $4, $5)";
    pub const READ: &str = "SELECT id, cap, access, version, token FROM caps WHERE id = $1";

    pub const WRITE: &str = "
        UPDATE caps SET cap = $1, access = $2, version = version + 1
        WHERE id = $3";
    pub const WRITE_IF_VERSION: &str = "
        UPDATE caps SET cap = $1, access = $2, version = version + 1
        WHERE id = $3 AND version = $4";
    pub const WRITE_IF_VERSION_AND_TOKEN: &str = "
        UPDATE caps SET cap = $1, access = $2, version = version + 1, token = $3
        WHERE id = $4 AND version = $5 AND token <= $3";

    pub const FORGET_TOKEN: &str = "UPDATE caps SET token = 0 WHERE id = $1 AND version = $2";
    pub const AUDIT_INSERT: &str = "INSERT INTO audit (process, call, version) VALUES ($1, $2, $3)";
    pub const AUDIT_READ: &str = "SELECT process, call, version FROM audit ORDER BY version, process, call";
}
