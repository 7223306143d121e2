//! What was acknowledged, in the order of revisions: tells what the store was at any of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::asking::Contents;
use crate::Revision;

/// What one commit left of each entry it changed: its value, or that it is gone.
pub(super) type Effects = Vec<(String, Option<Vec<u8>>)>;

/// The acknowledged commits of all threads of a test.
#[derive(Default)]
pub(super) struct Ledger {
    commits: Mutex<Vec<(Revision, Effects)>>,
}

/// Something seen of the store, with the revision it was said to be of.
pub(super) type Sighting = (Revision, Values);

/// Values by name.
pub(super) type Values = BTreeMap<String, Vec<u8>>;

/// The values of what a range or a watch found.
pub(super) fn values(contents: &Contents) -> Values {
    contents.iter().map(|(name, state)| (name.clone(), state.value.clone())).collect()
}

impl Ledger {
    /// Notes a commit that took place and what it changed.
    pub(super) fn enter(&self, revision: Revision, effects: Effects) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).push((revision, effects));
    }

    /// Once all commits have been entered: whether each sighting is the store at its revision.
    pub(super) fn check(self, mut sightings: Vec<Sighting>) {
        let mut commits = self.commits.into_inner().unwrap_or_else(PoisonError::into_inner);
        commits.sort_by_key(|(revision, _)| *revision);
        for pair in commits.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "two commits have one revision");
        }
        sightings.sort_by_key(|(revision, _)| *revision);
        let mut store = Values::new();
        let mut commits = commits.into_iter().peekable();
        for (at, seen) in sightings {
            while let Some((_, effects)) = commits.next_if(|(revision, _)| *revision <= at) {
                for (name, value) in effects {
                    match value {
                        Some(value) => store.insert(name, value),
                        None => store.remove(&name),
                    };
                }
            }
            assert_eq!(seen, store, "what was seen (left) is not what was acknowledged up to revision {at} (right)");
        }
    }
}
