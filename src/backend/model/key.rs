//! Names an entry of a model.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A name of an entry of a [`Model`](super::Model).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey(Arc<str>);

impl ModelKey {
    /// Makes a key of a name that has been checked.
    pub(super) fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl AsRef<str> for ModelKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
