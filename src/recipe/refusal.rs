//! Refusals that several recipes share: each has them as variants of its own error.

/// An entry holds what its recipe never wrote. Nothing is repaired or wiped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("entry {entry:?} is damaged: {what}; find out what wrote it, then delete or restore it")]
pub struct Damaged {
    /// The entry's name.
    pub entry: String,
    /// What is wrong with it.
    pub what: String,
}

/// A number that a recipe cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{what} {name:?} cannot be for {asked}: {why}")]
pub struct BadCount {
    /// `semaphore`, `barrier`, …
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub asked: u64,
    /// What is wrong with it, and what is possible.
    pub why: &'static str,
}

/// Others use what has this name with another number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{what} {name:?} is used for {found} and this is for {asked}; use one number everywhere, or another name")]
pub struct OtherCount {
    /// `semaphore`, `barrier`, …
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub asked: u64,
    /// What others use it for.
    pub found: u64,
}

impl Damaged {
    /// That this is wrong with the entry of this key.
    pub(super) fn new(key: &impl AsRef<str>, what: impl Into<String>) -> Self {
        Self { entry: key.as_ref().to_owned(), what: what.into() }
    }
}
