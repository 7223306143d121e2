//! Which slot a node has.

use crate::clock::Token;

/// A node and its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// Its slot.
    pub slot: u16,
    /// Since which commit it has been so: larger than that of everybody who had the slot before.
    pub generation: Token,
}
