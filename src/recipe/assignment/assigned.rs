//! Having a slot: the proof of it, and what is done with it.

use std::fmt;
use std::sync::Arc;

use super::error::{Error, Result};
use super::placement::Placement;
use crate::Outcome;
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Revision, Token};
use crate::recipe::{Damaged, Owner};

/// A node's slot, and the generation in which it has it.
///
/// Dropping it changes nothing: the slot stays the node's. It is worth what [`condition`](Assigned::condition) and
/// [`check`](Assigned::check) say of it, since anybody may release the slot meanwhile.
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

    /// The fencing token: larger than that of everybody who had this slot before. Hand it to whatever the slot stands
    /// for, and let that refuse smaller ones.
    pub fn generation(&self) -> Token {
        self.placement.generation
    }

    /// Node, slot and generation.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The operation that lets a commit take place only while the slot is the node's in this generation.
    pub fn condition(&self) -> Op<'_, B::Key> {
        Op::check(&self.slot_key, self.same_generation())
    }

    /// Looks whether the slot is the node's still. For acts outside the store, right before them; commits to the store
    /// take [`condition`](Assigned::condition) instead.
    ///
    /// # Errors
    /// [`Error::Evicted`], which tells who has the slot now, and is final.
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

    /// Announces that the node is alive as long as this session lives; what an earlier session announced is over then.
    /// [`Assignment::join`](super::Assignment::join) has done it; call it with a new session once the old one is lost.
    ///
    /// # Errors
    /// [`Error::Evicted`]; the store's, among them [`LeaseExpired`](crate::Error::LeaseExpired) if the session is over.
    pub fn announce(&self, session: &Session<B>) -> Result<()> {
        let (slot, owner) = (self.placement.slot.to_string(), Owner::me().to_bytes());
        self.act(&[
            self.condition(),
            // The same value: what counts is that it is put. See `Cleaner`.
            Op::put(&self.node_key, slot.as_bytes()).when(self.same_generation()),
            Op::put_leased(&self.alive_key, &owner, session.lease()),
        ])
    }

    /// Gives the slot up: another node may have it from now on.
    ///
    /// # Errors
    /// [`Error::Evicted`] if it was lost already.
    pub fn release(self) -> Result<Placement> {
        self.act(&[
            Op::delete(&self.slot_key).when(self.condition().when),
            Op::delete(&self.node_key).when(self.same_generation()),
            Op::delete(&self.alive_key),
        ])?;
        Ok(self.placement)
    }

    /// Commits what holds as long as the slot is ours.
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
