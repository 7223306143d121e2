//! Standing in line: tickets served in the order in which they were drawn, gone with whoever drew them. What
//! [`lock`](super::lock), [`semaphore`](super::semaphore) and the barriers are made of.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/WORD/SESSION-NUMBER` | `KIND PID SINCE COMMAND`, and behind a NUL who asks for it back; at most 64 bytes where the kind is a letter | by the session's lease |
//!
//! `SESSION` is the token of the session that drew it and `NUMBER` counts within the process, so no name is ever used
//! twice. `WORD` tells the recipes apart: `t` for a lock, `s` for a semaphore, `b` and `d` for the barriers. A name with one
//! more `/` is of another recipe of a longer name.
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

mod any;
mod held;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Error as StoreError;
use crate::backend::{Backend, Limits, Session, check_name};
use crate::clock::{Deadline, Lease, Revision, Token};
use crate::mutant::planted;
use crate::recipe::{Error, Owner, Result};

use any::wait_any;
pub(super) use held::HeldTickets;

/// `/SESSION-NUMBER`, both in hexadecimal.
const LONGEST_TICKET: usize = 1 + 16 + 1 + 16;

/// A ticket as somebody saw it: who is, or stands, where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// The fencing token, and the place in the line: smaller ones were drawn earlier.
    pub token: Token,
    /// What it was drawn for: `w` (alone) or `r` (with other readers) of a lock, the number of permits of a semaphore.
    pub kind: String,
    /// Who drew it, and when.
    pub owner: Owner,
    /// The lease it lives by.
    pub lease: Option<Lease>,
    /// In how long that lease ends by itself unless it is renewed. Only errors tell it, and of holders: it is the store that
    /// has to be asked.
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

/// A ticket, and what only the line needs to know of it.
pub(super) struct Seen<K> {
    pub(super) key: K,
    pub(super) modified: Revision,
    pub(super) ticket: Ticket,
}

/// Where one stands in line: `NAME/WORD/`, and the session one stands there with.
pub(super) struct Line<B: Backend> {
    pub(super) session: Arc<Session<B>>,
    what: &'static str,
    name: Arc<str>,
    prefix: Arc<str>,
}

/// Refuses names that are empty, contain a NUL, or leave no room for `rest` bytes more.
pub(super) fn check_recipe_name<B: Backend>(name: &str, rest: usize) -> crate::Result<()> {
    let limits = Limits { name: B::LIMITS.name.saturating_sub(rest), ..B::LIMITS };
    check_name(name, &limits)
}

/// The earlier of a deadline and the moment this long from now; cancelled as the deadline is.
pub(super) fn sooner(deadline: &Deadline, left: Duration) -> Deadline {
    if deadline.remaining().is_some_and(|most| most <= left) {
        return deadline.clone();
    }
    let soon = Deadline::after(left);
    deadline.cancel().map_or(soon.clone(), |by| soon.or_cancelled(by))
}

/// Waits as [`Backend::wait`] does, but no longer than the session lives.
pub(super) fn wait_as<B: Backend>(
    session: &Session<B>,
    key: &B::Key,
    newer_than: Revision,
    deadline: &Deadline,
) -> Result<bool> {
    let wait = |until: &Deadline| Ok(session.store().wait(key, newer_than, until)?.then_some(()));
    Ok(while_alive(session, deadline, wait)?.is_some())
}

/// Has `wait` wait until the deadline, but no longer than the session lives: it is given one that is no later, and asked
/// again if the session has been renewed meanwhile.
pub(super) fn while_alive<B: Backend, T>(
    session: &Session<B>,
    deadline: &Deadline,
    mut wait: impl FnMut(&Deadline) -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        let until = session.alive_until().ok_or_else(|| over(session))?;
        let left = until.saturating_duration_since(session.store().now());
        let found = wait(&sooner(deadline, left))?;
        if found.is_some() || deadline.has_passed() {
            return Ok(found);
        }
    }
}

/// That the session is over.
pub(super) fn over<B: Backend>(session: &Session<B>) -> Error {
    StoreError::LeaseExpired { lease: session.lease() }.into()
}

impl<B: Backend> Line<B> {
    /// The line `name/word/` for a `what` of this name.
    pub(super) fn new(session: &Arc<Session<B>>, what: &'static str, name: &str, word: &str) -> Result<Self> {
        check_recipe_name::<B>(name, 1 + word.len() + LONGEST_TICKET)?;
        let prefix = format!("{name}/{word}/").into();
        Ok(Self { session: Arc::clone(session), what, name: name.into(), prefix })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// That so many are ahead, of whom the first hold it.
    pub(super) fn in_use(&self, ahead: &[Seen<B::Key>], holders: usize, waited: Duration) -> Error {
        let holders = ahead.iter().take(holders).map(|seen| self.with_expiry(&seen.ticket)).collect();
        let (what, name) = (self.what, self.name.to_string());
        Error::InUse(Box::new(InUse { what, name, holders, ahead: ahead.len(), waited }))
    }

    /// That a ticket is not there any more, and who is first.
    pub(super) fn not_holder(&self, token: Token) -> Error {
        // Who it is now is for people: an error in asking does not hide the answer.
        let line = self.look().map(|(line, _)| line).unwrap_or_default();
        let holder = line.first().map(|seen| Box::new(self.with_expiry(&seen.ticket)));
        Error::NotHolder { what: self.what, name: self.name.to_string(), token, holder }
    }

    fn with_expiry(&self, ticket: &Ticket) -> Ticket {
        let store = self.session.store();
        // For people, too: a lease that has ended meanwhile has none.
        let at = ticket.lease.and_then(|lease| store.expiry(lease).ok());
        let expires_in = at.map(|at| at.saturating_duration_since(store.now()));
        Ticket { expires_in, ..ticket.clone() }
    }

    /// Everybody in line, in their order, and when that was so.
    pub(super) fn look(&self) -> Result<(Vec<Seen<B::Key>>, Revision)> {
        let mut line = Vec::new();
        let at = self.session.store().range(&self.prefix, &mut |key, value, meta| {
            if !key.as_ref()[self.prefix.len()..].contains('/') {
                let (kind, owner, asked_by) = read_value(value);
                let token = Token(meta.created.0);
                let ticket = Ticket { token, kind, owner, lease: meta.lease, expires_in: None, asked_by };
                line.push(Seen { key, modified: meta.modified, ticket });
            }
        })?;
        if planted("lock: an earlier clock wins") {
            line.sort_by_key(|seen| seen.ticket.owner.since_ms);
        } else {
            line.sort_by_key(|seen| seen.ticket.token);
        }
        Ok((line, at))
    }

    /// Everybody in line but, of the first so many, those whose death the store can prove: which it does for who waits.
    pub(super) fn look_alive(&self, most: usize) -> Result<Vec<Seen<B::Key>>> {
        let (line, _) = self.look()?;
        let mut gone = false;
        for seen in line.iter().take(most) {
            gone |= self.session.store().wait(&seen.key, seen.modified, &Deadline::now())?;
        }
        if gone && !planted("lock: show the dead") { Ok(self.look()?.0) } else { Ok(line) }
    }

    /// Whether one of them has gone or changed, or is dead and has gone by this.
    pub(super) fn any_gone(&self, seen: &[Seen<B::Key>]) -> Result<bool> {
        let mut gone = false;
        for one in seen {
            gone |= self.wait_for(one, &Deadline::now())?;
        }
        Ok(gone)
    }

    /// Waits until somebody in line has gone or changed, at most until the deadline.
    pub(super) fn wait_for(&self, seen: &Seen<B::Key>, deadline: &Deadline) -> Result<bool> {
        wait_as(&self.session, &seen.key, seen.modified, deadline)
    }
}

impl<B: Backend> Clone for Line<B> {
    fn clone(&self) -> Self {
        let Self { session, what, name, prefix } = self;
        Self { session: session.clone(), what, name: name.clone(), prefix: prefix.clone() }
    }
}

/// The value of a new ticket.
fn new_value(kind: &str, owner: &Owner) -> Vec<u8> {
    [kind.as_bytes(), b" ", &owner.to_bytes()].concat()
}

/// `KIND PID SINCE COMMAND`, and behind a NUL who asks for it back.
fn read_value(value: &[u8]) -> (String, Owner, Option<String>) {
    let mut parts = value.splitn(2, |byte| *byte == 0);
    let own = parts.next().unwrap_or_default();
    let asked_by = parts.next().map(|asker| String::from_utf8_lossy(asker).into_owned());
    let at = own.iter().position(|byte| *byte == b' ').unwrap_or(own.len());
    let kind = String::from_utf8_lossy(&own[..at]).into_owned();
    (kind, Owner::from_bytes(own.get(at + 1..).unwrap_or_default()), asked_by)
}

/// The value of a ticket of this kind and owner, with this process asking for it back.
pub(super) fn asked_value(ticket: &Ticket) -> Vec<u8> {
    let me = Owner::me();
    let asker = format!("{}[{}]", me.command, me.pid);
    [&new_value(&ticket.kind, &ticket.owner)[..], b"\0", asker.as_bytes()].concat()
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
    pub(super) fn way_out(&self) -> &'static str {
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
