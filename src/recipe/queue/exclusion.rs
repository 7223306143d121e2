//! One writer or several readers at a time: which tickets block which, and how one is taken away by force.
//!
//! Each waiter waits for one ticket only, the last that blocks it. So a release wakes one waiter, or the readers behind
//! one writer, and a waiter that gives up in the middle of the queue has the next one wait for the one before.

use std::time::Instant;

use super::error::{Error, InUse, Result};
use super::held::HeldTickets;
use super::order::{Queue, QueuedTicket};
use super::ticket::Ticket;
use crate::backend::{Backend, Op};
use crate::clock::{Deadline, Revision, Token};
use crate::{Error as StoreError, Outcome};

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Together with others that hold it in this mode.
    Shared,
    /// Alone.
    Exclusive,
}

/// An answer, or the tickets ahead, the deadline having passed.
type Unless<T> = std::result::Result<T, Box<InUse>>;

impl<B: Backend> Queue<B> {
    /// Draws a ticket and waits until none blocks it. If the answer is the tickets ahead, ours is deleted. A deadline
    /// that has passed: writes nothing if another ticket is in the way.
    pub(in crate::recipe) fn acquire(&self, mode: Mode, deadline: &Deadline) -> Result<Unless<HeldTickets<B>>> {
        if deadline.has_passed()
            && let Err(in_use) = self.wait_turn(None, mode, deadline)?
        {
            return Ok(Err(in_use));
        }
        let held = HeldTickets::draw(&[(self, mode.letter())])?;
        Ok(self.wait_turn(Some((&held, 0)), mode, deadline)?.map(|()| held))
    }

    /// Waits until no ticket blocks ours (the one at this place among those held); without one, a ticket drawn now.
    pub(in crate::recipe) fn wait_turn(
        &self,
        ticket: Option<(&HeldTickets<B>, usize)>,
        mode: Mode,
        deadline: &Deadline,
    ) -> Result<Unless<()>> {
        let began = Instant::now();
        let mut looked_last = false;
        loop {
            let (mut queue, _) = self.look()?;
            if let Some((held, at)) = ticket {
                let place = queue.iter().position(|seen| seen.key == *held.key(at));
                queue.truncate(place.ok_or_else(|| held.taken(at))?);
            }
            let Some(in_the_way) = last_in_the_way(&queue, mode) else { return Ok(Ok(())) };
            if looked_last {
                return Ok(Err(self.in_use(&queue, holders(&queue), began.elapsed())));
            }
            looked_last = !self.wait_for(in_the_way, deadline)?;
        }
    }

    /// The tickets of the holders, and those that wait, in their order. Tickets of processes proven dead are left out.
    pub(in crate::recipe) fn holders_and_waiters(&self) -> crate::Result<(Vec<Ticket>, Vec<Ticket>)> {
        let queue = self.look_alive(usize::MAX)?;
        let first = holders(&queue);
        let mut holders: Vec<_> = queue.into_iter().map(|seen| seen.ticket).collect();
        let waiters = holders.split_off(first);
        Ok((holders, waiters))
    }

    /// The first ticket's token. Tickets of processes proven dead are left out.
    pub(in crate::recipe) fn first(&self) -> crate::Result<Option<Token>> {
        Ok(self.look_alive(1)?.first().map(|first| first.ticket.token))
    }

    /// Writes into the holders' tickets that this process asks for them back; answers whose they are.
    pub(in crate::recipe) fn ask_holders(&self) -> crate::Result<Vec<Ticket>> {
        let queue = self.look_alive(usize::MAX)?;
        let mut asked = Vec::new();
        for seen in &queue[..holders(&queue)] {
            let value = seen.ticket.asked_value();
            let put =
                seen.ticket.lease.map_or(Op::put(&seen.key, &value), |lease| Op::put_leased(&seen.key, &value, lease));
            match self.session.store().commit(&[put.if_modified_at(seen.modified)]) {
                // Gone; or another process has just asked, which is as good.
                Ok(Outcome::Conflict) | Err(StoreError::LeaseExpired { .. } | StoreError::UnknownLease { .. }) => {}
                Ok(Outcome::Committed(_)) => asked.push(seen.ticket.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(asked)
    }

    /// Deletes the ticket of this token and, in the same commit, does `besides`; [`Error::Lost`] if there is none.
    pub(in crate::recipe) fn take_from(&self, token: Token, besides: &[Op<'_, B::Key>]) -> Result<()> {
        let (queue, _) = self.look()?;
        let victim = queue.iter().find(|seen| seen.ticket.token == token);
        let victim = victim.ok_or_else(|| Error::Lost(self.lost(token)))?;
        let gone = Op::delete(&victim.key).if_created_at(Revision(token.0));
        let ops: Vec<_> = [gone].into_iter().chain(besides.iter().copied()).collect();
        match self.session.store().commit(&ops)? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(Error::Lost(self.lost(token))),
        }
    }
}

/// The last ticket of this queue that blocks one drawn behind it in this mode.
fn last_in_the_way<K>(queue: &[QueuedTicket<K>], mode: Mode) -> Option<&QueuedTicket<K>> {
    match mode {
        Mode::Exclusive => queue.last(),
        Mode::Shared => queue.iter().rfind(|seen| !seen.reads()),
    }
}

/// How many tickets at the beginning of the queue are holders'.
fn holders<K>(queue: &[QueuedTicket<K>]) -> usize {
    queue.iter().take_while(|seen| seen.reads()).count().max(queue.len().min(1))
}

impl<K> QueuedTicket<K> {
    fn reads(&self) -> bool {
        self.ticket.kind == Mode::Shared.letter()
    }
}

impl Mode {
    /// A ticket's kind.
    pub(in crate::recipe) const fn letter(self) -> &'static str {
        match self {
            Self::Shared => "r",
            Self::Exclusive => "w",
        }
    }
}
