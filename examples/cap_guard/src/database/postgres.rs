//! A real PostgreSQL over its unix socket, at its default isolation level, with prepared statements.

use std::path::Path;

use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Statement};

use super::{AuditLine, Change, Database, Fence, sql};
use crate::Result;
use crate::customer::{Access, Call, Row};
use crate::server::{DATABASE, USER};

/// One connection to the server.
pub struct Postgres {
    client: Client,
    prepared: Option<Prepared>,
}

/// What a worker runs over and over, parsed once; only possible when the tables are there.
struct Prepared {
    read: Statement,
    lock: Statement,
    write: Statement,
    write_if_version: Statement,
    write_if_version_and_token: Statement,
    audit_insert: Statement,
}

impl Postgres {
    /// Connects to the server whose socket is in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let client = Config::new().host_path(folder).user(USER).dbname(DATABASE).connect(NoTls)?;
        Ok(Postgres { client, prepared: None })
    }

    fn prepared(&mut self) -> Result<(&mut Client, &Prepared)> {
        if self.prepared.is_none() {
            let client = &mut self.client;
            self.prepared = Some(Prepared {
                read: client.prepare(sql::READ)?,
                lock: client.prepare(&format!("{} FOR UPDATE", sql::READ))?,
                write: client.prepare(sql::WRITE)?,
                write_if_version: client.prepare(sql::WRITE_IF_VERSION)?,
                write_if_version_and_token: client.prepare(sql::WRITE_IF_VERSION_AND_TOKEN)?,
                audit_insert: client.prepare(sql::AUDIT_INSERT)?,
            });
        }
        let prepared = self.prepared.as_ref().expect("prepared above");
        Ok((&mut self.client, prepared))
    }

    /// Ends the transaction: commits what went well, rolls back what did not.
    fn end<T>(&mut self, outcome: Result<T>) -> Result<T> {
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.client.batch_execute(end);
        let value = outcome?;
        ended?;
        Ok(value)
    }

    /// The row and its audit line, in the transaction that is open.
    fn change(&mut self, change: &Change) -> Result<bool> {
        let (client, prepared) = self.prepared()?;
        let Change { seen, new, .. } = change;
        let (id, access, version) = (i64::from(new.id), new.access.name(), seen.version as i64);
        let rows = match change.fence {
            Fence::Nothing => client.execute(&prepared.write, &[&new.cap, &access, &id]),
            Fence::Version => client.execute(&prepared.write_if_version, &[&new.cap, &access, &id, &version]),
            Fence::VersionAndToken(token) => client
                .execute(&prepared.write_if_version_and_token, &[&new.cap, &access, &(token as i64), &id, &version]),
        }?;
        if rows == 0 {
            return Ok(false);
        }
        let line: [&(dyn ToSql + Sync); 3] =
            [&i64::from(change.call.process), &i64::from(change.call.number), &(new.version as i64)];
        client.execute(&prepared.audit_insert, &line)?;
        Ok(true)
    }

    fn row(stored: &postgres::Row) -> Result<Row> {
        Ok(Row {
            id: u32::try_from(stored.get::<_, i64>(0))?,
            cap: stored.get(1),
            access: Access::from_name(stored.get(2)).ok_or("an access that is neither word")?,
            version: stored.get::<_, i64>(3) as u64,
            token: stored.get::<_, i64>(4) as u64,
        })
    }
}

impl Database for Postgres {
    fn prepare(&mut self, row: &Row) -> Result<()> {
        // Where the tables exist already the server says so in a notice, which nobody reads.
        self.client.batch_execute(sql::TABLES)?;
        self.client.execute(
            sql::INSERT,
            &[&i64::from(row.id), &row.cap, &row.access.name(), &(row.version as i64), &(row.token as i64)],
        )?;
        Ok(())
    }

    fn read(&mut self, id: u32) -> Result<Option<Row>> {
        let (client, prepared) = self.prepared()?;
        let stored = client.query_opt(&prepared.read, &[&i64::from(id)])?;
        stored.as_ref().map(Self::row).transpose()
    }

    fn write(&mut self, change: &Change) -> Result<bool> {
        self.client.batch_execute("BEGIN")?;
        let outcome = self.change(change);
        self.end(outcome)
    }

    fn lock(&mut self, id: u32) -> Result<Option<Row>> {
        self.client.batch_execute("BEGIN")?;
        let (client, prepared) = self.prepared()?;
        let outcome = match client.query_opt(&prepared.lock, &[&i64::from(id)]) {
            Ok(stored) => stored.as_ref().map(Self::row).transpose(),
            Err(error) => Err(error.into()),
        };
        if outcome.is_err() {
            return self.end(outcome);
        }
        outcome
    }

    fn write_locked(&mut self, change: &Change) -> Result<()> {
        let outcome = self.change(change);
        self.end(outcome).map(drop)
    }

    fn unlock(&mut self) -> Result<()> {
        Ok(self.client.batch_execute("ROLLBACK")?)
    }

    fn forget_token(&mut self, seen: &Row) -> Result<bool> {
        let rows = self.client.execute(sql::FORGET_TOKEN, &[&i64::from(seen.id), &(seen.version as i64)])?;
        Ok(rows == 1)
    }

    fn audit(&mut self) -> Result<Vec<AuditLine>> {
        let lines = self.client.query(sql::AUDIT_READ, &[])?;
        let line = |stored: postgres::Row| {
            Ok(AuditLine {
                call: Call {
                    process: u32::try_from(stored.get::<_, i64>(0))?,
                    number: u32::try_from(stored.get::<_, i64>(1))?,
                },
                version: stored.get::<_, i64>(2) as u64,
            })
        };
        lines.into_iter().map(line).collect()
    }
}
