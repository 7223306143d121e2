//! A ticket in a queue, and its encoding.

use std::fmt;
use std::time::Duration;

use crate::clock::{Lease, Token};
use crate::recipe::Owner;

/// A place in a queue: a process that holds or waits, its token and its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// The fencing token, and the place in the queue: smaller tokens are ahead.
    pub token: Token,
    /// What it was drawn for: `w` (exclusive) or `r` (shared) of a lock, the number of permits of a semaphore, the generation
    /// of a barrier.
    pub kind: String,
    /// The process that drew it, and when.
    pub owner: Owner,
    /// The lease it lives by.
    pub lease: Option<Lease>,
    /// The time until that lease ends unless it is renewed. Present only in errors, and there for holders: each costs a
    /// question to the store.
    pub expires_in: Option<Duration>,
    /// The process that asks for it back, as `command[pid]`.
    pub asked_by: Option<String>,
}

/// Encodes a new ticket.
pub(super) fn new_value(kind: &str, owner: &Owner) -> Vec<u8> {
    [kind.as_bytes(), b" ", &owner.to_bytes()].concat()
}

/// Decodes a ticket into its kind, its owner, and the process that asks for it back.
pub(super) fn read_value(value: &[u8]) -> (String, Owner, Option<String>) {
    let mut parts = value.splitn(2, |byte| *byte == 0);
    let own = parts.next().unwrap_or_default();
    let asked_by = parts.next().map(|asker| String::from_utf8_lossy(asker).into_owned());
    let at = own.iter().position(|byte| *byte == b' ').unwrap_or(own.len());
    let kind = String::from_utf8_lossy(&own[..at]).into_owned();
    (kind, Owner::from_bytes(own.get(at + 1..).unwrap_or_default()), asked_by)
}

impl Ticket {
    /// Encodes this ticket with a request of this process to give it back.
    pub(crate) fn asked_value(&self) -> Vec<u8> {
        let me = Owner::me();
        let asker = format!("{}[{}]", me.command, me.pid);
        [&new_value(&self.kind, &self.owner)[..], b"\0", asker.as_bytes()].concat()
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { command, pid, .. } = &self.owner;
        write!(f, "{command}[{pid}], which asked for it {:.1?} ago, token {}", self.owner.age(), self.token)?;
        if let Some(lease) = self.lease {
            write!(f, ", lease {lease}")?;
        }
        if let Some(left) = self.expires_in {
            write!(f, " (it ends in {left:.1?} unless renewed)")?;
        }
        match &self.asked_by {
            Some(asker) => write!(f, " ({asker} has asked for it back)"),
            None => Ok(()),
        }
    }
}
