//! The tickets that this process holds: drawing them, commits that check them, giving them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::error::{Error, Result};
use super::order::Queue;
use super::ticket::{new_value, read_value};
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Deadline, Revision, Token};
use crate::recipe::Owner;
use crate::recipe::waiting::{session_ended, wait_any};
use crate::{Error as StoreError, Outcome};

/// Tickets drawn by one commit, which share its revision. Dropped, they are deleted.
pub(crate) struct HeldTickets<B: Backend> {
    places: Vec<(Queue<B>, B::Key)>,
    token: Token,
    given_back: bool,
    /// One was found to be gone. Relaxed: it publishes nothing but itself.
    lost: AtomicBool,
}

impl<B: Backend> HeldTickets<B> {
    /// Draws a ticket in each of the queues (at least one, all of one session) in one commit.
    pub(crate) fn draw(queues: &[(&Queue<B>, &str)]) -> Result<Self> {
        Ok(Self::draw_if(queues, &[])?.ok_or_else(|| session_ended(&queues[0].0.session))?)
    }

    /// As [`draw`](HeldTickets::draw), with `besides` in the same commit; `None` if one of its conditions is false.
    pub(crate) fn draw_if(queues: &[(&Queue<B>, &str)], besides: &[Op<'_, B::Key>]) -> crate::Result<Option<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let session = Arc::clone(&queues[0].0.session);
        let ticket = format!("{:x}-{:x}", session.token().0, NEXT.fetch_add(1, Relaxed));
        let mut places = Vec::with_capacity(queues.len());
        for (queue, _) in queues {
            places.push(((*queue).clone(), session.store().key(&format!("{}{ticket}", queue.prefix()))?));
        }
        let me = Owner::me();
        let values: Vec<Vec<u8>> = queues.iter().map(|(_, kind)| new_value(kind, &me)).collect();
        // From here on a ticket that may exist is deleted whatever happens.
        let mut held = Self { places, token: Token(0), given_back: false, lost: AtomicBool::new(false) };
        let tickets = held.places.iter().zip(&values);
        let put = tickets.map(|((_, key), value)| Op::put_leased(key, value, session.lease()).if_absent());
        let ops: Vec<_> = put.chain([session.condition()]).chain(besides.iter().copied()).collect();
        match session.store().commit(&ops)? {
            Outcome::Committed(revision) => held.token = Token(revision.0),
            Outcome::Conflict => {
                held.given_back = true;
                // No name is used twice, so it is the session, or what else was asked for.
                return if lives(&session)? { Ok(None) } else { Err(session_ended(&session)) };
            }
        }
        Ok(Some(held))
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn session(&self) -> &Arc<Session<B>> {
        &self.places[0].0.session
    }

    /// The names of the queues.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|(queue, _)| queue.name())
    }

    pub(crate) fn key(&self, at: usize) -> &B::Key {
        &self.places[at].1
    }

    /// The condition that holds for each ticket for as long as it is ours.
    pub(crate) fn condition(&self) -> When {
        When::CreatedAt(Revision(self.token.0))
    }

    /// Whether all are held, as far as this process knows. Once `false`, always `false`.
    pub(crate) fn is_alive(&self) -> bool {
        !self.lost.load(Relaxed) && self.session().is_alive()
    }

    /// Asks the store whether the tickets are all still there.
    pub(crate) fn check(&self) -> Result<()> {
        self.gone()?.map_or(Ok(()), |queue| Err(self.lose(queue)))
    }

    /// Renews the session's lease, and asks the store whether the tickets are all still there.
    pub(crate) fn renew(&self) -> Result<Instant> {
        match self.session().keep_alive() {
            Ok(until) => self.check().map(|()| until),
            Err(StoreError::LeaseExpired { .. } | StoreError::UnknownLease { .. }) => Err(self.lost()),
            Err(error) => Err(error.into()),
        }
    }

    /// The operations, and with them the condition that all tickets are still ours.
    pub(crate) fn protect<'a>(&'a self, ops: &[Op<'a, B::Key>]) -> Vec<Op<'a, B::Key>> {
        let all_ours = self.places.iter().map(|(_, key)| Op::check(key, self.condition()));
        ops.iter().copied().chain(all_ours).collect()
    }

    /// Commits, provided that all tickets are still ours; else nothing is written.
    pub(crate) fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        let outcome = self.session().store().commit(&self.protect(ops))?;
        if outcome == Outcome::Conflict {
            self.check()?;
        }
        Ok(outcome)
    }

    /// Deletes the tickets, each with its operation of `with` (as far as there is one), and does `besides`, in one commit.
    /// If a ticket was lost that is an error: the others are deleted, and `besides` is not done.
    pub(crate) fn give_back(&mut self, with: &[Option<Op<'_, B::Key>>], besides: &[Op<'_, B::Key>]) -> Result<()> {
        if self.given_back {
            return Ok(());
        }
        let delete: Vec<_> = self.places.iter().map(|(_, key)| Op::delete(key).when(self.condition())).collect();
        let ops: Vec<_> = delete.iter().chain(with.iter().flatten()).chain(besides).copied().collect();
        let store = self.session().store();
        let mut lost = None;
        if store.commit(&ops)? == Outcome::Conflict {
            lost = self.gone()?;
            for (at, one) in delete.iter().enumerate().filter(|_| delete.len() > 1) {
                let with = with.get(at).copied().flatten();
                store.commit(&[*one].into_iter().chain(with).collect::<Vec<_>>())?;
            }
        }
        let lost = lost.map(|queue| self.lose(queue));
        self.given_back = true;
        lost.map_or(Ok(()), Err)
    }

    /// As [`give_back`](HeldTickets::give_back) with `besides`, but does nothing and answers `false` if a ticket is lost or
    /// a condition of `besides` is false.
    pub(crate) fn try_give_back(&mut self, besides: &[Op<'_, B::Key>]) -> crate::Result<bool> {
        let delete = self.places.iter().map(|(_, key)| Op::delete(key).when(self.condition()));
        let ops: Vec<_> = delete.chain(besides.iter().copied()).collect();
        self.given_back = self.session().store().commit(&ops)? != Outcome::Conflict;
        Ok(self.given_back)
    }

    /// Marks the tickets lost, which another answer of the store has told.
    pub(crate) fn lost(&self) -> Error {
        let queue = self.gone().ok().flatten();
        self.lose(queue.unwrap_or(&self.places[0].0))
    }

    /// Tells why a ticket was gone while we waited: the session has ended, or it was taken away by force.
    pub(crate) fn taken(&self, at: usize) -> Error {
        match lives(self.session()) {
            Ok(false) => session_ended(self.session()).into(),
            _ => self.lose(&self.places[at].0),
        }
    }

    /// Reads the tickets: the process that asks for one of them, and when each was last put.
    pub(crate) fn look(&self) -> Result<(Option<String>, Vec<Revision>)> {
        let (mut asker, mut value) = (None, Vec::new());
        let mut put = Vec::with_capacity(self.places.len());
        for (queue, key) in &self.places {
            let (meta, _) = self.session().store().read(key, &mut value)?;
            let meta = meta.filter(|meta| self.condition().holds(Some(meta))).ok_or_else(|| self.lose(queue))?;
            put.push(meta.modified);
            asker = asker.or_else(|| read_value(&value).2);
        }
        Ok((asker, put))
    }

    /// Waits until one of the tickets has changed since these revisions; `false` once the deadline has passed.
    pub(crate) fn wait_changed(&self, since: &[Revision], deadline: &Deadline) -> crate::Result<bool> {
        let tickets: Vec<_> = self.places.iter().map(|(_, key)| key).zip(since.iter().copied()).collect();
        wait_any(self.session(), &tickets, deadline)
    }

    /// Waits until one of the tickets is lost; `false` once the deadline has passed.
    pub(crate) fn wait_lost(&self, deadline: &Deadline) -> crate::Result<bool> {
        loop {
            match self.look().and_then(|(_, put)| Ok(self.wait_changed(&put, deadline)?)) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Error::Lost(_)) => return Ok(true),
                Err(Error::Store(StoreError::LeaseExpired { .. })) => {
                    let _ = self.lost();
                    return Ok(true);
                }
                Err(Error::Store(error)) => return Err(error),
            }
        }
    }

    /// The first queue in which our ticket is not any more.
    fn gone(&self) -> crate::Result<Option<&Queue<B>>> {
        for (queue, key) in &self.places {
            let (meta, _) = self.session().store().read(key, &mut Vec::new())?;
            if !self.condition().holds(meta.as_ref()) {
                return Ok(Some(queue));
            }
        }
        Ok(None)
    }

    fn lose(&self, queue: &Queue<B>) -> Error {
        self.lost.store(true, Relaxed);
        Error::Lost(queue.lost(self.token))
    }
}

impl<B: Backend> Drop for HeldTickets<B> {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        let deleted = if self.token == Token(0) {
            // Unknown whether they were drawn. Their names are nobody else's.
            let any: Vec<_> = self.places.iter().map(|(_, key)| Op::delete(key)).collect();
            self.session().store().commit(&any).map(drop).map_err(Error::Store)
        } else {
            self.give_back(&[], &[])
        };
        // Those behind wait for them: the next renewal tries again. A fork's copy is not ours to delete.
        if let Err(Error::Store(error)) = deleted
            && !matches!(error, StoreError::Forked)
        {
            self.session().delete_later(self.places.iter().map(|(_, key)| key.clone()));
        }
    }
}

/// Whether the store has the session still.
fn lives<B: Backend>(session: &Session<B>) -> crate::Result<bool> {
    let (meta, _) = session.store().read(session.key(), &mut Vec::new())?;
    Ok(session.condition().when.holds(meta.as_ref()))
}
