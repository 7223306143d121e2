//! A queue in the store: tickets served in the order in which they were drawn, gone with whoever drew them. What
//! [`lock`](super::lock), [`semaphore`](super::semaphore) and the barriers are made of.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/WORD/SESSION-NUMBER` | `KIND PID SINCE COMMAND`, and behind a NUL who asks for it back; at most 64 bytes where the kind is a letter | by the session's lease |
//!
//! `SESSION` is the token of the session that drew it and `NUMBER` counts within the process, so no name is ever used
//! twice. `WORD` tells the recipes apart: `t` for a lock, `s` for a semaphore, `b` and `d` for the barriers. A name
//! with one more `/` is of another recipe of a longer name.
//!
//! # Why it holds
//! A ticket's place is its `created`: the revision of the commit that drew it. Revisions order all commits and respect
//! real time, so a look after the drawing shows every ticket that will ever be ahead of ours. From then on those ahead
//! can only go. So *who has once seen nobody ahead stays first for as long as the ticket is there*, and a commit that
//! checks the ticket's `created` is a commit of whoever was first at that moment: there is no window between the two. No
//! clock has a say.
//!
//! The tickets of the dead go with their lease. A ticket whose drawing ended in an error is deleted in case it was drawn
//! after all. One that the store fails to delete stands in the way of those behind it until the session's next renewal,
//! which tries again, as each one does; at most until the lease ends.

mod held;
mod order;
mod ticket;

pub(super) use held::HeldTickets;
pub(super) use order::{Queue, QueuedTicket};
pub use ticket::{InUse, Ticket};
