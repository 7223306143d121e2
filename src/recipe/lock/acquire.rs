//! Acquiring one lock or several at once: a ticket in each queue by one commit, then waiting in each queue in turn.

use std::sync::Arc;

use super::delay::{Delay, DelayOutcome};
use super::error::{Error, Result};
use super::guard::{Grant, Guard};
use crate::backend::Backend;
use crate::clock::Deadline;
use crate::recipe::queue::{HeldTickets, Mode, Queue};

/// A lock to acquire, and its mode.
pub(super) struct Wanted<'a, B: Backend> {
    pub(super) queue: &'a Queue<B>,
    pub(super) delay: Option<&'a Delay<B>>,
    pub(super) mode: Mode,
}

/// Acquires all of these (at least one, all of one session).
pub(super) fn acquire<B: Backend>(wanted: &[Wanted<'_, B>], deadline: &Deadline) -> Result<Guard<B>> {
    if deadline.has_passed() {
        for one in wanted {
            one.wait_turn(None, deadline)?;
        }
    }
    let queues: Vec<_> = wanted.iter().map(|one| (one.queue, one.mode.letter())).collect();
    let held = HeldTickets::draw(&queues)?;
    for (at, one) in wanted.iter().enumerate() {
        if let Err(error) = one.wait_turn(Some((&held, at)), deadline) {
            // Those before this one were ours already: their delays' marks go as by a release.
            drop(Grant { held, marks: marks(&wanted[..at]) });
            return Err(error);
        }
    }
    Ok(Guard { grant: Arc::new(Grant { held, marks: marks(wanted) }) })
}

impl<B: Backend> Wanted<'_, B> {
    /// Waits until nothing is in the way of our ticket, or without one, of a ticket drawn now.
    fn wait_turn(&self, ticket: Option<(&HeldTickets<B>, usize)>, deadline: &Deadline) -> Result<()> {
        self.queue.wait_turn(ticket, self.mode, deadline)?.map_err(Error::InUse)?;
        let Some(delay) = self.delay else { return Ok(()) };
        match delay.pass(&self.queue.session, ticket, self.mode, deadline)? {
            DelayOutcome::Over => Ok(()),
            DelayOutcome::Left(token, left) => Err(Error::Delayed { name: self.queue.name().to_owned(), token, left }),
        }
    }
}

/// The delay's mark of each lock, where its holder leaves one.
fn marks<B: Backend>(held: &[Wanted<'_, B>]) -> Vec<Option<B::Key>> {
    let mark = |one: &Wanted<'_, B>| {
        let delay = one.delay.filter(|_| one.mode == Mode::Exclusive)?;
        Some(delay.key().clone())
    };
    held.iter().map(mark).collect()
}
