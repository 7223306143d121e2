//! A node, its slot, and since when.

use crate::clock::Token;

/// A node with its slot and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// Its slot.
    pub slot: u16,
    /// The revision of the commit that assigned the slot: a fencing token, larger than that of every earlier owner.
    pub generation: Token,
}
