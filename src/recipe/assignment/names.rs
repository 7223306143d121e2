//! Which entry says what.

use std::fmt::Write;

use super::digest::sha256;

/// A node of more bytes than this goes by its digest, whatever the backend would take: so that all agree.
const LONGEST: usize = 64;

/// The names of an assignment's entries.
#[derive(Clone, Debug)]
pub(super) struct EntryNames(String);

impl EntryNames {
    pub fn new(assignment: &str) -> Self {
        Self(assignment.to_owned())
    }

    /// What all of them begin with.
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

    /// The longest any of them can be.
    pub fn longest(&self) -> String {
        self.node("#")
    }

    /// What stands for a node in the name of its entry: itself, or `#` and its SHA-256 where it is long, or has a NUL, or
    /// begins with `#` itself. So two nodes never share one, short of a collision of SHA-256; and the slot's entry has the
    /// whole name, so that even this would be noticed.
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
