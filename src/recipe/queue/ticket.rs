//! A ticket as it is read and written, and the refusal that lists those ahead.

use std::fmt;
use std::time::Duration;

use crate::clock::{Lease, Token};
use crate::recipe::Owner;

/// A ticket as somebody saw it: who is, or stands, where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// The fencing token, and the place in the queue: smaller ones were drawn earlier.
    pub token: Token,
    /// What it was drawn for: `w` (alone) or `r` (with other readers) of a lock, the number of permits of a semaphore.
    pub kind: String,
    /// Who drew it, and when.
    pub owner: Owner,
    /// The lease it lives by.
    pub lease: Option<Lease>,
    /// In how long that lease ends by itself unless it is renewed. Only errors tell it, and of holders: it is the store
    /// that has to be asked.
    pub expires_in: Option<Duration>,
    /// Who asks for it back, as `command[pid]`.
    pub asked_by: Option<String>,
}

/// Who is in the way of a lock, a lead or a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InUse {
    /// `lock`, `election` or `semaphore`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub holders: Vec<Ticket>,
    /// How many are ahead, the holders included.
    pub ahead: usize,
    /// How long the call waited.
    pub waited: Duration,
}

/// The value of a new ticket.
pub(super) fn new_value(kind: &str, owner: &Owner) -> Vec<u8> {
    [kind.as_bytes(), b" ", &owner.to_bytes()].concat()
}

/// `KIND PID SINCE COMMAND`, and behind a NUL who asks for it back.
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

impl InUse {
    /// What can be done about it.
    pub(in crate::recipe) fn way_out(&self) -> &'static str {
        match self.what {
            "election" => "wait longer, or depose the leader by its term",
            "semaphore" => "wait longer, or have one of them give it back",
            _ => "wait longer, ask them to give it up, or take it from them by their token",
        }
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: held by ", self.what, self.name)?;
        for (at, holder) in self.holders.iter().enumerate() {
            write!(f, "{}{holder}", if at == 0 { "" } else { " and " })?;
        }
        write!(f, "; {} ahead of you after {:.1?}", self.ahead, self.waited)
    }
}
