//! A real SQLite in one file, set up as a web service would: write-ahead log, a generous busy timeout.
//!
//! SQLite has no row locks. The nearest thing to `SELECT … FOR UPDATE` is `BEGIN IMMEDIATE`, which keeps every other
//! writer of the whole file out; those poll, with pauses of up to 100 ms.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{AuditLine, Change, Database, Fence, sql};
use crate::Result;
use crate::customer::{Access, Call, Row};

/// How long a writer polls for the file before it gives up.
const BUSY: Duration = Duration::from_secs(60);

/// One connection to the file.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the file, creating it where it is missing.
    pub fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A killed process loses nothing with it; only a power cut could.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Sqlite { connection })
    }

    fn execute(&self, statement: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(statement)?.execute(values)
    }

    fn begin(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }

    /// Ends the transaction: commits what went well, rolls back what did not.
    fn end<T>(&self, outcome: Result<T>) -> Result<T> {
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.connection.execute_batch(end);
        let value = outcome?;
        ended?;
        Ok(value)
    }

    /// The row and its audit line, in the transaction that is open.
    fn change(&self, change: &Change) -> Result<bool> {
        let Change { seen, new, .. } = change;
        let (cap, access, version) = (new.cap, new.access.name(), seen.version as i64);
        let rows = match change.fence {
            Fence::Nothing => self.execute(sql::WRITE, params![cap, access, new.id]),
            Fence::Version => self.execute(sql::WRITE_IF_VERSION, params![cap, access, new.id, version]),
            Fence::VersionAndToken(token) => {
                self.execute(sql::WRITE_IF_VERSION_AND_TOKEN, params![cap, access, token as i64, new.id, version])
            }
        }?;
        if rows == 0 {
            return Ok(false);
        }
        self.execute(sql::AUDIT_INSERT, params![change.call.process, change.call.number, new.version as i64])?;
        Ok(true)
    }
}

impl Database for Sqlite {
    fn prepare(&mut self, row: &Row) -> Result<()> {
        self.connection.execute_batch(sql::TABLES)?;
        self.execute(sql::INSERT, params![row.id, row.cap, row.access.name(), row.version as i64, row.token as i64])?;
        Ok(())
    }

    fn read(&mut self, id: u32) -> Result<Option<Row>> {
        let mut statement = self.connection.prepare_cached(sql::READ)?;
        let stored = statement
            .query_row([id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?, row.get::<_, i64>(4)?))
            })
            .optional()?;
        let Some((id, cap, access, version, token)) = stored else {
            return Ok(None);
        };
        Ok(Some(Row {
            id,
            cap,
            access: Access::from_name(&access).ok_or("an access that is neither word")?,
            version: version as u64,
            token: token as u64,
        }))
    }

    fn write(&mut self, change: &Change) -> Result<bool> {
        self.begin()?;
        self.end(self.change(change))
    }

    fn lock(&mut self, id: u32) -> Result<Option<Row>> {
        self.begin()?;
        let row = self.read(id);
        if row.is_err() {
            return self.end(row);
        }
        row
    }

    fn write_locked(&mut self, change: &Change) -> Result<()> {
        self.end(self.change(change)).map(drop)
    }

    fn unlock(&mut self) -> Result<()> {
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }

    fn forget_token(&mut self, seen: &Row) -> Result<bool> {
        Ok(self.execute(sql::FORGET_TOKEN, params![seen.id, seen.version as i64])? == 1)
    }

    fn audit(&mut self) -> Result<Vec<AuditLine>> {
        let mut statement = self.connection.prepare_cached(sql::AUDIT_READ)?;
        let lines = statement
            .query_map([], |row| {
                Ok(AuditLine {
                    call: Call { process: row.get(0)?, number: row.get(1)? },
                    version: row.get::<_, i64>(2)? as u64,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(lines)
    }
}
