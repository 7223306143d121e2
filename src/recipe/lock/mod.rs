//! Locks a name for one process at a time, or for several readers, in the order of asking; the lock ends with its holder,
//! and every write of a holder can be checked against its token.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, Lock};
//! use slotguard::{Deadline, Outcome};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let lock = Lock::new(&session, "billing-cap")?;
//!
//! let guard = lock.acquire(&Deadline::after(Duration::from_secs(1)))?;
//! let cap = store.key("caps/billing")?;
//! // Refused if the lock has another holder by now, whatever this process believes.
//! assert!(matches!(guard.commit(&[Op::put(&cap, b"100")])?, Outcome::Committed(_)));
//! guard.release()?;
//! # Ok(())
//! # }
//! ```
//! At most one holder per token; every write to the store can be guarded by the token ([`Guard::commit`]); whatever lies
//! outside must compare [`Guard::token`] itself and refuse smaller ones.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/t/…` | a ticket: `w` or `r`, its process, and the process that asks for it back; at most 64 bytes | from the asking to the release, at most by the session's lease |
//! | `NAME/held` | the holder's token, at most 20 bytes; only with [`delay`](Lock::delay) | from grant to release, by no lease |
//!
//! # How
//! To ask is to draw a ticket, in one commit. The ticket with the smallest token has the lock; readers have it while no
//! writer's ticket is smaller than theirs. It is held for as long as the ticket exists. Each waiter waits for one ticket
//! only, the last that is in its way, so a release wakes one waiter (or the readers behind one writer), and when a waiter
//! in the middle of the queue gives up, the next one waits for the one before.
//!
//! A ticket's revision is the fencing token: tokens grow from holder to holder, because holders follow each other in the
//! order of their tickets. [`all`] acquires several locks at once; [`several`] says why that cannot deadlock.
//!
//! # When a process dies
//! Before the commit of its ticket nothing has happened. After it the ticket goes with the session's lease, whether its
//! owner waited or held: at once where the store can prove the death, else when the lease ends. A holder that is stopped
//! past its lease finds its writes refused. With [`delay`](Lock::delay) the next one waits longer, because writes of the
//! dead one may still be under way elsewhere.

mod acquire;
mod delay;
mod error;
mod guard;
mod handle;
pub mod several;
mod threads;

pub use super::queue::Mode;
pub use error::{Error, Result};
pub use guard::Guard;
pub use handle::{Lock, Status};
pub use several::all;
