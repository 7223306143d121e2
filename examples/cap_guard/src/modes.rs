//! The five ways to change one row from many processes, each as short as it is usually written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::Result;
use crate::customer::{Query, Update, Updated};
use crate::database::{Change, Database, Fence};
use crate::guard::CapGuard;

/// How concurrent writers are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Not at all: read, compute, write. The control, which must lose updates.
    Naive,
    /// A row lock held from the read to the commit: `SELECT … FOR UPDATE`; on SQLite, which has no row locks, `BEGIN
    /// IMMEDIATE`.
    ForUpdate,
    /// `WHERE version = ?`, and again from the start when it fails.
    Optimistic,
    /// `flock(2)` on a file around it, and `WHERE version = ?` beside it.
    Flock,
    /// A claim of this project around it, with intent, version and token.
    Guard,
}

impl Mode {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Mode; 5] = [Mode::Naive, Mode::ForUpdate, Mode::Optimistic, Mode::Flock, Mode::Guard];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Naive => "naive",
            Mode::ForUpdate => "for-update",
            Mode::Optimistic => "optimistic",
            Mode::Flock => "flock",
            Mode::Guard => "guard",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("no mode {text:?}: naive, for-update, optimistic, flock, guard"))
    }
}

/// A mode together with what it holds on to between calls.
pub enum Protection {
    /// See [`Mode::Naive`].
    Naive,
    /// See [`Mode::ForUpdate`].
    ForUpdate,
    /// See [`Mode::Optimistic`].
    Optimistic,
    /// See [`Mode::Flock`].
    Flock(File),
    /// See [`Mode::Guard`].
    Guard(CapGuard),
}

impl Protection {
    /// Sets up a mode; its lock file or segment is `shared`, the same path in every process.
    pub fn open(mode: Mode, shared: &Path, lease: Duration) -> Result<Self> {
        Ok(match mode {
            Mode::Naive => Protection::Naive,
            Mode::ForUpdate => Protection::ForUpdate,
            Mode::Optimistic => Protection::Optimistic,
            Mode::Flock => Protection::Flock(OpenOptions::new().create(true).append(true).open(shared)?),
            Mode::Guard => Protection::Guard(CapGuard::open(shared, lease)?),
        })
    }

    /// Changes one customer's row the way this mode does it.
    pub fn update_customer_cap_and_access(
        &self,
        database: &mut dyn Database,
        query: Query,
        update: &Update,
    ) -> Result<Updated> {
        match self {
            Protection::Naive => naive(database, query, update),
            Protection::ForUpdate => for_update(database, query, update),
            Protection::Optimistic => optimistic(database, query, update),
            Protection::Flock(file) => under_flock(file, database, query, update),
            Protection::Guard(guard) => guard.update_customer_cap_and_access(database, query, update),
        }
    }
}

fn naive(database: &mut dyn Database, query: Query, update: &Update) -> Result<Updated> {
    let Some(row) = database.read(query.customer)? else {
        return Ok(Updated { updated: false });
    };
    let updated = database.write(&Change::of(&row, update, Fence::Nothing))?;
    Ok(Updated { updated })
}

fn for_update(database: &mut dyn Database, query: Query, update: &Update) -> Result<Updated> {
    let Some(row) = database.lock(query.customer)? else {
        database.unlock()?;
        return Ok(Updated { updated: false });
    };
    database.write_locked(&Change::of(&row, update, Fence::Nothing))?;
    Ok(Updated { updated: true })
}

fn optimistic(database: &mut dyn Database, query: Query, update: &Update) -> Result<Updated> {
    loop {
        let Some(row) = database.read(query.customer)? else {
            return Ok(Updated { updated: false });
        };
        if database.write(&Change::of(&row, update, Fence::Version))? {
            return Ok(Updated { updated: true });
        }
    }
}

fn under_flock(file: &File, database: &mut dyn Database, query: Query, update: &Update) -> Result<Updated> {
    flock(file, FlockOperation::LockExclusive)?;
    let updated = optimistic(database, query, update);
    flock(file, FlockOperation::Unlock)?;
    updated
}
