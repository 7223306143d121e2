//! Changes a thing outside the store (a row, a file, a machine) from many processes: one at a time, each change announced
//! before it is made, so that the process after a death knows what may have happened.
//!
//! The state lies in a named entry of any store, and the queue is that of a lock: claims are served in the order of asking
//! and live by their session's lease. [`Claim`](crate::Claim) has these verbs on a numbered record of one segment, with a
//! lease of its own: for programs that address their rows by number and need no store.
//!
//! ```
//! use slotguard::Deadline;
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Guarded};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let sql = rusqlite::Connection::open_in_memory()?;
//! # sql.execute_batch("CREATE TABLE caps (id, cap, version, token); INSERT INTO caps VALUES (7, 100, 0, 0)")?;
//! # let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let caps = Guarded::new(&session, "caps/7")?;
//!
//! let mut claim = caps.claim(&Deadline::after(Duration::from_secs(5)))?;
//! let (cap, version, last): (i64, i64, i64) = sql.query_row(
//!     "SELECT cap, version, token FROM caps WHERE id = 7",
//!     [],
//!     |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
//! )?;
//! for intent in claim.abandoned() {
//!     // A process ended between intent and commit. The row carries its token if it made the change, else it did not.
//!     let _was_made = last as u64 == intent.token.0;
//! }
//! let token = claim.token().0 as i64;
//! let new = (cap + 10).to_le_bytes();
//! claim.intend(&new)?;
//! let changed = sql.execute(
//!     "UPDATE caps SET cap = ?1, version = version + 1, token = ?2 WHERE id = 7 AND version = ?3 AND token <= ?2",
//!     (cap + 10, token, version),
//! )?;
//! if changed == 1 {
//!     claim.commit(&new)?;
//! } else {
//!     // The row was changed outside of any claim, or we are late and the next claim has changed it. Begin again.
//!     claim.release()?;
//! }
//! # assert_eq!(caps.read()?.version, 1);
//! # Ok(())
//! # }
//! ```
//! **The guard makes conflicts rare and cheap; your `WHERE version = ?` makes them impossible.** Swapping in the store and
//! writing elsewhere are two steps, and a process can die between them. What the guard adds is that the steps of two
//! processes do not mix, and that the next process is told of a step that may or may not have been made.
//!
//! For PostgreSQL the statement is: `client.execute("UPDATE caps SET cap = $1, version = version + 1, token = $2
//! WHERE id = $3 AND version = $4 AND token <= $2", …)?` answers how many rows were changed. The whole loop for both, with
//! the abandoned case and a row that remembers a segment from before a reboot, is `examples/cap_guard/src/guard.rs`.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME` | 32 bytes (version, token of the last commit, token and fingerprint of an intent; each 8 bytes, little-endian), then what was last committed | for ever |
//! | `NAME/i/TOKEN` | an intent that a later one was announced over: its fingerprint (8 bytes); the token in 16 hexadecimal digits | until the next commit |
//! | `NAME/t/…` | the queue: see [`lock`](super::lock) | by the session's lease |
//!
//! # Why it holds
//! ```text
//!  claim ──► read the row ──► intend ──► write the row ──► commit ──► the next claim
//!    │                           │            │
//!    │                           │            └─ dies here: the row carries its token: it happened
//!    └─ dies here: nothing       └─ dies here: the row does not: it did not happen
//! ```
//! Only the first in the queue writes `NAME`, by commits that check its ticket; so a late holder changes nothing.
//! `commit` puts the new value and ends the claim in one commit: there is no moment at which the next claim has begun and
//! the change is not there. The intent lies in `NAME`, which outlives its author.
//!
//! An intent over an abandoned one moves that one to `NAME/i/…`, in the same commit. So a process that announces over the
//! dead and dies as well hides nothing: the next one finds both ([`GuardedClaim::abandoned`]). The newest and
//! [`MOST_EARLIER`] before it are kept; then no other is accepted before one of them is committed
//! ([`Error::TooManyIntents`]).
//!
//! # When a process dies
//! The next claim begins at once where the store can prove the death, else when the lease ends, and finds the intent.
//! A statement of the dead one may still be on its way to the database: it asks for the same version as ours, so one of
//! the two changes no row.

mod claim;
mod error;
mod guarded;
mod state;

pub use claim::GuardedClaim;
pub use error::{Error, Result};
pub use guarded::Guarded;
pub use state::{MOST_EARLIER, State};
