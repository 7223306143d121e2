//! A queue's tickets in the order in which they were created, and waiting for one of them to go.

use std::sync::Arc;
use std::time::Duration;

use super::error::{InUse, Lost};
use super::ticket::{Ticket, read_value};
use crate::backend::{Backend, Session};
use crate::clock::{Deadline, Revision, Token};
use crate::error::Result;
use crate::recipe::name::check_recipe_name;
use crate::recipe::waiting::wait_while_alive;

/// `/SESSION-NUMBER`, both in hexadecimal.
const LONGEST_TICKET: usize = 1 + 16 + 1 + 16;

/// A ticket, with the key and the revision that the queue waits by.
pub(in crate::recipe) struct QueuedTicket<K> {
    pub(in crate::recipe) key: K,
    pub(in crate::recipe) modified: Revision,
    pub(in crate::recipe) ticket: Ticket,
}

/// The queue `NAME/WORD/`, and the session whose lease our tickets are bound to.
pub(in crate::recipe) struct Queue<B: Backend> {
    pub(in crate::recipe) session: Arc<Session<B>>,
    what: &'static str,
    name: Arc<str>,
    prefix: Arc<str>,
}

impl<B: Backend> Queue<B> {
    /// Opens the queue `name/word/` of a `what` of this name.
    pub(in crate::recipe) fn new(
        session: &Arc<Session<B>>,
        what: &'static str,
        name: &str,
        word: &str,
    ) -> Result<Self> {
        check_recipe_name::<B>(name, 1 + word.len() + LONGEST_TICKET)?;
        let prefix = format!("{name}/{word}/").into();
        Ok(Self { session: Arc::clone(session), what, name: name.into(), prefix })
    }

    pub(in crate::recipe) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::recipe) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Describes the tickets ahead, of which the first `holders` are holders'.
    pub(in crate::recipe) fn in_use(
        &self,
        ahead: &[QueuedTicket<B::Key>],
        holders: usize,
        waited: Duration,
    ) -> Box<InUse> {
        let holders = ahead.iter().take(holders).map(|seen| self.with_expiry(&seen.ticket)).collect();
        let (what, name) = (self.what, self.name.to_string());
        Box::new(InUse { what, name, holders, ahead: ahead.len(), waited })
    }

    /// Describes the loss of the ticket of this token: the first in the queue now.
    pub(in crate::recipe) fn lost(&self, token: Token) -> Lost {
        // The holder is told for people: an error in asking does not hide the loss.
        let queue = self.look().map(|(queue, _)| queue).unwrap_or_default();
        let holder = queue.first().map(|seen| Box::new(self.with_expiry(&seen.ticket)));
        Lost { what: self.what, name: self.name.to_string(), token, holder }
    }

    fn with_expiry(&self, ticket: &Ticket) -> Ticket {
        let store = self.session.store();
        // For people, too: a lease that has ended meanwhile has none.
        let at = ticket.lease.and_then(|lease| store.expiry(lease).ok());
        let expires_in = at.map(|at| at.saturating_duration_since(store.now()));
        Ticket { expires_in, ..ticket.clone() }
    }

    /// Reads all tickets, in their order, and the revision at which that was so.
    pub(in crate::recipe) fn look(&self) -> Result<(Vec<QueuedTicket<B::Key>>, Revision)> {
        let mut queue = Vec::new();
        let at = self.session.store().range(&self.prefix, &mut |key, value, meta| {
            if !key.as_ref()[self.prefix.len()..].contains('/') {
                let (kind, owner, asked_by) = read_value(value);
                let token = Token(meta.created.0);
                let ticket = Ticket { token, kind, owner, lease: meta.lease, expires_in: None, asked_by };
                queue.push(QueuedTicket { key, modified: meta.modified, ticket });
            }
        })?;
        queue.sort_by_key(|seen| seen.ticket.token);
        Ok((queue, at))
    }

    /// Reads all tickets in their order. Of the first `most`, those of processes proven dead are deleted before: the store
    /// looks for the dead when a wait begins.
    pub(in crate::recipe) fn look_alive(&self, most: usize) -> Result<Vec<QueuedTicket<B::Key>>> {
        let (queue, _) = self.look()?;
        let mut gone = false;
        for seen in queue.iter().take(most) {
            gone |= self.session.store().wait(&seen.key, seen.modified, &Deadline::now())?;
        }
        if gone { Ok(self.look()?.0) } else { Ok(queue) }
    }

    /// Whether one of these tickets has gone or changed. Those of processes proven dead are deleted by this.
    pub(in crate::recipe) fn any_gone(&self, seen: &[QueuedTicket<B::Key>]) -> Result<bool> {
        let mut gone = false;
        for one in seen {
            gone |= self.wait_for(one, &Deadline::now())?;
        }
        Ok(gone)
    }

    /// Waits until a ticket has gone or changed; `false` once the deadline has passed.
    pub(in crate::recipe) fn wait_for(&self, seen: &QueuedTicket<B::Key>, deadline: &Deadline) -> Result<bool> {
        wait_while_alive(&self.session, &seen.key, seen.modified, deadline)
    }
}

impl<B: Backend> Clone for Queue<B> {
    fn clone(&self) -> Self {
        let Self { session, what, name, prefix } = self;
        Self { session: session.clone(), what, name: name.clone(), prefix: prefix.clone() }
    }
}
