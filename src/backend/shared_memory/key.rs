//! Names resolved once: a key keeps, in this process, where its entry was last seen.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::node::Place;
use super::tree::Tree;

/// A name, and where its entry was last seen. Stores nothing in the segment; clones share what they know.
#[derive(Clone)]
pub struct Key(Arc<CachedKey>);

struct CachedKey {
    name: Box<str>,
    /// The segment that `place` is of; in any other the key is looked up by its name, every time.
    segment: u64,
    /// The [`Place`] of the entry; 0: unknown.
    place: AtomicU64,
}

impl Key {
    pub(super) fn new(name: &str, tree: &Tree) -> Self {
        Self(Arc::new(CachedKey { name: name.into(), segment: tree.generation(), place: AtomicU64::new(0) }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.name.as_bytes()
    }

    pub(super) fn place_in(&self, tree: &Tree) -> Option<Place> {
        let here = self.0.segment == tree.generation();
        Place::of_word(self.0.place.load(Relaxed)).filter(|_| here)
    }

    pub(super) fn remember(&self, place: Place, tree: &Tree) {
        if self.0.segment == tree.generation() {
            self.0.place.store(place.word(), Relaxed);
        }
    }

    pub(super) fn forget(&self) {
        self.0.place.store(0, Relaxed);
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.0.name).finish()
    }
}
