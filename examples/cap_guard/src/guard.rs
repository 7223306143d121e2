//! One row changed by many processes: a claim lets them in one at a time, an intent tells the next one how far a
//! killed one came, and `WHERE version = … AND token <= …` refuses whoever comes too late. Copy this file.
//!
//! ```text
//!  claim ──► read row ──► compute ──► intend ──► UPDATE … WHERE version, token ──► commit ──► acknowledged
//!    ▲                                   │                    │
//!    └── the next one in line            └─ killed here:      └─ killed here: the row carries the token,
//!        finds the intent and               nothing happened     so it did happen; bring the record up to it
//!        re-reads the row
//! ```
//!
//! A row carries two numbers: `version` grows by one with every change, `token` says under which claim the last one
//! was made. The guard makes conflicts rare and cheap; your `WHERE version = ?` makes them impossible.
//!
//! # When a process dies
//! Killed under its claim, the next one in line claims the row at once; stopped, when its lease ends, and what it writes
//! after that is refused. Nobody restarts anything, nobody removes a file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slotguard::backend::{Backend, Session, SharedMemory};
use slotguard::recipe::{self, Guarded, guard};
use slotguard::{Deadline, Intent, Segment};

use crate::Result;
use crate::customer::{Query, Update, Updated};
use crate::database::{Change, Database, Fence};

/// Told of a change a dead or stopped process left open, and whether the row has it.
///
/// If it has not, a statement of the dead one may still be on its way to the database. It and ours ask for the same
/// version, so one of them fails; if that is ours, we start over from what the other wrote, and tell of it again.
pub type Resolved = Box<dyn Fn(&Intent, bool) + Send + Sync>;

/// Keeps the processes that change customers out of each other's way.
pub struct CapGuard {
    store: Arc<SharedMemory>,
    session: Mutex<Arc<Session<SharedMemory>>>,
    lease: Duration,
    /// How long a call waits for its claim before it fails with the name of the holder.
    pub wait: Duration,
    /// For your metrics and logs; does nothing unless set.
    pub resolved: Resolved,
}

impl CapGuard {
    /// Attaches this process to the segment at `path`; the first one creates it. A stopped process keeps the others
    /// waiting for as long as `lease`; a killed one does not.
    pub fn open(path: &Path, lease: Duration) -> Result<Self> {
        let segment = Segment::builder().keys(2_000).participants(256).payload(64).open_or_create(path)?;
        let store = Arc::new(SharedMemory::new(segment)?);
        let lease = lease.min(SharedMemory::LIMITS.longest_lease);
        let session = Mutex::new(recipe::join(&store, lease)?);
        Ok(CapGuard { store, session, lease, wait: Duration::from_secs(30), resolved: Box::new(|_, _| {}) })
    }

    /// Changes one customer's row, whoever else is changing it and wherever one of them is killed.
    ///
    /// # Errors
    /// The database's, and [`guard::Error::InUse`] naming the holder. An error of the write itself leaves the
    /// outcome open; the next call for this customer finds the intent and settles it.
    pub fn update_customer_cap_and_access(
        &self,
        database: &mut dyn Database,
        query: Query,
        update: &Update,
    ) -> Result<Updated> {
        loop {
            let caps = self.caps(query.customer)?;
            let Some(mut claim) = in_time(caps.claim(&Deadline::after(self.wait)))? else {
                continue; // we were stopped past our lease while we stood in line
            };
            let Some(row) = database.read(query.customer)? else {
                return Ok(Updated { updated: false });
            };
            if row.token >= claim.token().0 {
                // Tokens grow, so either we are late, or this one comes from a segment that is gone (a reboot).
                if in_time(claim.check())?.is_some() {
                    database.forget_token(&row)?;
                }
                continue;
            }
            let mut any_happened = false;
            for intent in claim.abandoned() {
                let happened = row.token == intent.token.0;
                (self.resolved)(&intent, happened);
                any_happened |= happened;
            }
            if any_happened {
                in_time(claim.commit(&row.state()))?;
                continue;
            }
            let change = Change::of(&row, update, Fence::VersionAndToken(claim.token().0));
            if in_time(claim.intend(&change.new.state()))?.is_none() {
                continue; // our lease ended while we computed: another process has claimed the row
            }
            if !database.write(&change)? {
                // The row was changed outside of any claim, or we are late. Nothing was written: take the intent back.
                in_time(claim.release())?;
                continue;
            }
            // Too late to commit is not too late: the row has the change, and the next one in line tells the record.
            in_time(claim.commit(&change.new.state()))?;
            return Ok(Updated { updated: true });
        }
    }

    /// What the store knows of a customer's row.
    ///
    /// # Errors
    /// The store's.
    pub fn caps(&self, customer: u32) -> Result<Guarded<SharedMemory>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if !session.is_alive() {
            // We were stopped for too long, and have lost all we had. Come back as somebody new.
            *session = recipe::join(&self.store, self.lease)?;
        }
        Ok(Guarded::new(&session, &format!("caps/{customer}"))?)
    }
}

/// The value, or nothing when the claim has ended in the meantime.
fn in_time<T>(outcome: guard::Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
