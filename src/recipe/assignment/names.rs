//! Names of an assignment's entries.

use std::fmt::Write;

use super::digest::sha256;

/// A node's name of more bytes is replaced by its digest, whatever the backend's limit, so that all processes agree.
const LONGEST: usize = 64;

/// Names the entries of one assignment.
#[derive(Clone, Debug)]
pub(super) struct EntryNames(String);

impl EntryNames {
    pub fn new(assignment: &str) -> Self {
        Self(assignment.to_owned())
    }

    /// The common prefix.
    pub fn prefix(&self) -> String {
        format!("{}/", self.0)
    }

    pub fn settings(&self) -> String {
        format!("{}/settings", self.0)
    }

    pub fn node(&self, node: &str) -> String {
        format!("{}/node/{}", self.0, Self::short(node))
    }

    pub fn slot(&self, slot: u16) -> String {
        format!("{}/slot/{slot:05}", self.0)
    }

    pub fn alive(&self, slot: u16) -> String {
        format!("{}/alive/{slot:05}", self.0)
    }

    /// A name as long as the longest can be.
    pub fn longest(&self) -> String {
        self.node("#")
    }

    /// The node's part of its entry's name: the node's name, or `#` and its SHA-256 if it is long, contains a NUL, or
    /// begins with `#`. Two nodes share one only if SHA-256 collides, and even that is noticed: the slot's entry has
    /// the full name.
    pub fn short(node: &str) -> String {
        if node.len() <= LONGEST && !node.starts_with('#') && !node.contains('\0') {
            return node.to_owned();
        }
        let mut short = String::from("#");
        for byte in sha256(node.as_bytes()) {
            write!(short, "{byte:02x}").expect("a text takes any text");
        }
        short
    }
}
