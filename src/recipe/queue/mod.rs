//! A queue in the store: tickets served in the order in which they were drawn, each bound to its owner's lease. Locks,
//! elections, semaphores and barriers stand on it.
//!
//! | file | holds |
//! |---|---|
//! | `ticket` | [`Ticket`], and how it is encoded |
//! | `error` | what a queue refuses: [`InUse`], [`Lost`] |
//! | `order` | [`Queue`]: all tickets in their order, and waiting for one of them to go |
//! | `held` | [`HeldTickets`]: drawing tickets, writing under them, giving them back |
//! | `exclusion` | [`Mode`]: one writer or several readers at a time |
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/WORD/SESSION-NUMBER` | `KIND PID SINCE COMMAND`, and behind a NUL the process that asks for it back; at most 64 bytes where the kind is a letter | by the session's lease |
//!
//! `SESSION` is the token of the session that drew the ticket and `NUMBER` counts within the process, so no name is ever
//! used twice. `WORD` tells the recipes apart: `t` for a lock, `s` for a semaphore, `b` and `d` for the barriers. A name
//! with one more `/` belongs to another recipe of a longer name.
//!
//! # Why it holds
//! A ticket's place is its `created`: the revision of the commit that drew it. Revisions order all commits and respect
//! real time, so a range read after the drawing shows every ticket that will ever be ahead of ours. From then on those
//! ahead can only go. So *a ticket that once had none ahead stays first for as long as it exists*, and a commit that
//! checks the ticket's `created` is a commit of the first in the queue at that moment: there is no window between the two.
//! No clock has a say.
//!
//! # When a process dies
//! Its tickets go with its lease. A ticket whose drawing ended in an error is deleted in case it was drawn after all. One
//! that the store fails to delete blocks those behind it until the session's next renewal, which deletes it, at most until
//! the lease ends.

mod error;
mod exclusion;
mod held;
mod order;
mod ticket;

pub(super) use error::{Error, Result, from_queue};
pub use error::{InUse, Lost};
pub use exclusion::Mode;
pub(super) use held::HeldTickets;
pub(super) use order::{Queue, QueuedTicket};
pub use ticket::Ticket;
