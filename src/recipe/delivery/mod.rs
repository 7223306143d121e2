//! Messages between processes: each is delivered to every member, none before what caused it, and none is lost.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, delivery::Member};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let anna = Member::join(&session, "chat", 1)?;
//! let bert = Member::join(&session, "chat", 2)?; // Another process, usually.
//!
//! let sent = anna.send(b"charge order 7")?;
//! let mut inbox = bert.inbox()?;
//! let message = inbox.next(&Deadline::never())?.unwrap();
//! assert_eq!((message.sender(), message.body()), (1, &b"charge order 7"[..]));
//!
//! // Exactly once: what is done for it and the acknowledgement are one commit.
//! let order = store.key("orders/7")?;
//! message.commit(&[Op::put(&order, b"charged")])?;
//! anna.wait_acknowledged(sent.sequence, &Deadline::never())?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept
//! | entry | value | lives |
//! |---|---|---|
//! | `name/m/<member>` | the [`Owner`](crate::recipe::Owner) that is the member | as long as its session |
//! | `name/m/<sender>/<sequence>` | the message: its clock, then its body; one byte 0 where it was taken away | until all members have acknowledged it and somebody makes room |
//! | `name/r/<member>` | the member's **cursor**: how many messages of each sender it has acknowledged, and sent itself | until it leaves, or is dropped |
//! | `name/floor` | up to which message of each sender messages have been removed | for ever |
//!
//! A clock takes a byte, and two to fifteen more for each number ever used that has sent something: few members fit
//! into 64 bytes beside a short body. Numbers are the members' own and outlive processes; the slots of an
//! [`assignment`](crate::recipe::assignment) serve well. A number used again goes on counting where it was.
//!
//! # Why it is right
//! * *Sending* is one commit: the message, if the sender is the member still. So what was sent is there for everybody,
//!   in the order of revisions, and a message that was caused by another was committed after it.
//! * *Delivering* goes by the clocks ([`Causal`]), whatever order the watch tells in. Nothing a receiver has not
//!   acknowledged is ever removed, so every gap closes.
//! * *Acknowledging* is one commit: the cursor, if the receiver is the member still, and with it whatever was to be
//!   done for the message ([`Delivery::commit`]: **exactly once**). A receiver that dies before that commit is given
//!   the message again; one that dies after it never. With [`Delivery::acknowledge`] the work is done before, outside:
//!   **at least once**.
//! * *Removing* is one commit: the messages that all cursors have passed, and the low watermark, if nobody has changed
//!   that since the cursors were read. Who joins anew puts that too. So of a joining and a removal that do not know of
//!   each other one takes place and the other looks again; a newcomer begins with what had been sent at its look, and
//!   whatever was sent after it is there.
//! * *The dead* are waited for as long as there is room: started again under its number, a member goes on where it was.
//!   When a sender is at its bound, those behind that have no session at that moment (checked in the same commit) are
//!   dropped: their cursors go, and who comes back joins anew ([`Member::has_resumed`] says so). Only the living can
//!   hold a sender up, and its error names them.
//!
//! # What somebody else has written
//! Entries under `name` that are none of a delivery's, or make no sense, stop nobody but whom they belong to: a message
//! that cannot be read keeps what it caused and the rest of its sender's, and every inbox tells of it; a cursor counts
//! as one of a member that has acknowledged nothing, and only that member cannot join; only `name/floor` all need.
//! [`foreign()`] lists them, and [`remove_foreign`] takes one away.
//!
//! # When a process dies
//! Its session ends, and with it its presence; its messages and its cursor stay. Whoever was waiting for its
//! acknowledgement is told by the watch that its presence has gone.

mod causal;
mod encoding;
mod error;
mod foreign;
mod inbox;
mod look;
mod member;

pub use self::causal::{Causal, Left, Message, Received};
pub use self::error::{Behind, Error, Gap, Result};
pub use self::foreign::{Foreign, foreign, remove_foreign};
pub use self::inbox::{Delivery, Inbox};
pub use self::member::{DEFAULT_BOUND, Member, Sent};
