//! One row changed by many processes: a claim lets them in one at a time, an intent tells the next one how far a
//! killed one came, and `WHERE version = … AND token <= …` refuses whoever comes too late. Copy this file.
//!
//! ```text
//!  claim ──► read row ──► compute ──► intend ──► UPDATE … WHERE version, token ──► commit ──► acknowledged
//!    ▲                                   │                    │
//!    └── the next holder                 └─ killed here:      └─ killed here: the row carries the token,
//!        finds the intent and               nothing happened     so it did happen; bring the record up to it
//!        re-reads the row
//! ```
//!
//! A row carries two numbers: `version` grows by one with every change, `token` says under which claim the last one
//! was made. The guard makes conflicts rare and cheap; your `WHERE version = ?` makes them impossible.
//!
//! # When a process dies
//! Killed while it holds the claim, the next one takes over at once; stopped, when its lease ends, and what it writes
//! after that is refused. Nobody restarts anything, nobody removes a file.

use std::path::Path;
use std::time::Duration;

use slotguard::{Deadline, ErrorKind, Intent, Segment};

use crate::Result;
use crate::customer::{Query, Update, Updated};
use crate::database::{Change, Database, Fence};

/// Told of a change a dead or stopped process left open, and whether the row has it.
///
/// If it has not, a statement of the dead one may still be on its way to the database. It and ours ask for the same
/// version, so one of them fails; if that is ours, we start over from what the other wrote.
pub type Resolved = Box<dyn Fn(&Intent, bool) + Send + Sync>;

/// Keeps the processes that change customers out of each other's way.
pub struct CapGuard {
    segment: Segment,
    /// How long a call waits for its turn before it fails with the holder's name.
    pub wait: Duration,
    /// How long a stopped process may keep the others waiting. A killed one does not.
    pub lease: Duration,
    /// For your metrics and logs; does nothing unless set.
    pub resolved: Resolved,
}

impl CapGuard {
    /// Attaches this process to the segment at `path`; the first one creates it.
    pub fn open(path: &Path, lease: Duration) -> Result<Self> {
        Ok(CapGuard {
            segment: Segment::builder().participants(256).payload(64).open_or_create(path)?,
            wait: Duration::from_secs(30),
            lease,
            resolved: Box::new(|_, _| {}),
        })
    }

    /// Changes one customer's row, whoever else is changing it and wherever one of them is killed.
    ///
    /// # Errors
    /// The database's, and [`slotguard::Error::TimedOut`] naming who holds the claim. An error of the write itself
    /// leaves the outcome open; the next call for this customer finds the intent and settles it.
    pub fn update_customer_cap_and_access(
        &self,
        database: &mut dyn Database,
        query: Query,
        update: &Update,
    ) -> Result<Updated> {
        let record = self.segment.record(query.customer)?;
        loop {
            let mut claim = record.claim(Deadline::after(self.wait), self.lease)?;
            let Some(row) = database.read(query.customer)? else {
                return Ok(Updated { updated: false });
            };
            if row.token >= claim.token().0 {
                // Tokens grow, so either we are late, or this one comes from a segment that is gone (a reboot).
                if in_time(claim.renew(self.lease))?.is_some() {
                    database.forget_token(&row)?;
                }
                continue;
            }
            if let Some(intent) = claim.abandoned() {
                let happened = row.token == intent.token.0;
                (self.resolved)(intent, happened);
                if happened {
                    in_time(claim.commit(&row.state()))?;
                    continue;
                }
            }
            let change = Change::of(&row, update, Fence::VersionAndToken(claim.token().0));
            if in_time(claim.intend(&change.new.state()))?.is_none() {
                continue; // our lease ended while we computed: somebody else had its turn
            }
            if !database.write(&change)? {
                // The row was changed without a claim, or we are late. Nothing was written: take the intent back.
                in_time(claim.release())?;
                continue;
            }
            // Too late to commit is not too late: the row has the change, and the next holder tells the record.
            in_time(claim.commit(&change.new.state()))?;
            return Ok(Updated { updated: true });
        }
    }
}

/// The value, or nothing when the claim has gone to somebody else in the meantime.
fn in_time<T>(outcome: slotguard::Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(None),
        Err(error) => Err(error.into()),
    }
}
