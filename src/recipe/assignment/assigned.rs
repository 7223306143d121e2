//! A node's slot: checked, announced, released.

use std::fmt;
use std::sync::Arc;

use super::error::{Error, Result};
use super::placement::Placement;
use crate::Outcome;
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Revision, Token};
use crate::recipe::{Damaged, Owner};

/// A slot assigned to a node, with its generation.
///
/// Dropping it releases nothing: the slot stays the node's. Any process may release the slot at any time, so writes use
/// [`condition`](Assigned::condition), and acts outside the store [`check`](Assigned::check).
pub struct Assigned<B: Backend> {
    pub(super) store: Arc<B>,
    pub(super) placement: Placement,
    pub(super) node_key: B::Key,
    pub(super) slot_key: B::Key,
    pub(super) alive_key: B::Key,
}

impl<B: Backend> Assigned<B> {
    /// The node's name.
    pub fn node(&self) -> &str {
        &self.placement.node
    }

    /// The slot.
    pub fn slot(&self) -> u16 {
        self.placement.slot
    }

    /// The fencing token, larger than that of every earlier owner of this slot. Pass it to the resource that the slot
    /// stands for, which refuses smaller ones.
    pub fn generation(&self) -> Token {
        self.placement.generation
    }

    /// The node, its slot and generation.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Makes a commit depend on this assignment: it is refused once the slot was released.
    pub fn condition(&self) -> Op<'_, B::Key> {
        Op::check(&self.slot_key, self.same_generation())
    }

    /// Reads whether the slot is still assigned to the node in this generation. Call it right before an act outside the
    /// store; a commit to the store takes [`condition`](Assigned::condition) instead.
    ///
    /// # Errors
    /// [`Error::Evicted`], which names the node that has the slot now, and is final; [`Error::Store`].
    pub fn check(&self) -> Result<()> {
        let mut value = Vec::new();
        let (meta, _) = self.store.read(&self.slot_key, &mut value)?;
        if self.condition().when.holds(meta.as_ref()) {
            return Ok(());
        }
        let now = meta.map(|meta| (String::from_utf8_lossy(&value).into_owned(), Token(meta.created.0)));
        let Placement { node, slot, generation } = self.placement.clone();
        Err(Error::Evicted { node, slot, generation, now })
    }

    /// Announces the node as alive for as long as `session` lives, in place of an earlier session.
    /// [`Assignment::join`](super::Assignment::join) does so, too; call it with a new session once the old one is lost.
    ///
    /// # Errors
    /// [`Error::Evicted`]; [`Error::Damaged`]; [`Error::Store`], among them
    /// [`LeaseExpired`](crate::Error::LeaseExpired) if the session is over.
    pub fn announce(&self, session: &Session<B>) -> Result<()> {
        let (slot, owner) = (self.placement.slot.to_string(), Owner::me().to_bytes());
        self.act(&[
            self.condition(),
            // An unchanged value with a new `modified` revision: a `Cleaner` sees that the node was announced.
            Op::put(&self.node_key, slot.as_bytes()).when(self.same_generation()),
            Op::put_leased(&self.alive_key, &owner, session.lease()),
        ])
    }

    /// Releases the slot: it is free for another node.
    ///
    /// # Errors
    /// [`Error::Evicted`] if it was released already; [`Error::Damaged`]; [`Error::Store`].
    pub fn release(self) -> Result<Placement> {
        self.act(&[
            Op::delete(&self.slot_key).when(self.condition().when),
            Op::delete(&self.node_key).when(self.same_generation()),
            Op::delete(&self.alive_key),
        ])?;
        Ok(self.placement)
    }

    /// Commits `ops`, which all depend on this assignment.
    fn act(&self, ops: &[Op<'_, B::Key>]) -> Result<()> {
        if let Outcome::Committed(_) = self.store.commit(ops)? {
            return Ok(());
        }
        self.check()?;
        let what = "it was not created together with its slot's entry".to_owned();
        Err(Damaged::new(&self.node_key, what).into())
    }

    fn same_generation(&self) -> When {
        When::CreatedAt(Revision(self.placement.generation.0))
    }
}

impl<B: Backend> fmt::Debug for Assigned<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Assigned").field(&self.placement).finish()
    }
}
