//! What a view tells: batches of changes, each with what was before and what is after.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::mem;
use std::sync::Arc;

use crate::backend::Meta;
use crate::clock::Revision;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Arc<[u8]>,
    /// What else is known of it.
    pub meta: Meta,
}

/// What became of one entry. Two creations with a deletion between differ in [`Meta::created`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<K> {
    /// Which entry.
    pub key: K,
    /// What it was; `None` if it was absent.
    pub before: Option<Entry>,
    /// What it is; `None` if it is gone.
    pub after: Option<Entry>,
}

/// The difference between the view as last told and the view at a revision. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<K> {
    /// With these changes it is the store at this revision.
    pub revision: Revision,
    /// The backend had lost track and told everything anew: this is the difference to what was known. What it stands for
    /// may be much, and it says less of what happened in between.
    pub resync: bool,
    /// The changes, in the order of names, one a name.
    pub changes: Vec<Change<K>>,
}

/// What one listener has not been told yet: one batch at most, however many it stands for.
#[derive(Debug)]
pub(super) enum Backlog<K> {
    Nothing,
    One(Arc<Batch<K>>),
    Several(Difference<K>),
}

/// Batches in the making of one: no more memory than two states of each name that differs.
#[derive(Debug)]
pub(super) struct Difference<K> {
    revision: Revision,
    resync: bool,
    changes: BTreeMap<K, States>,
}

#[derive(Debug)]
struct States {
    before: Option<Entry>,
    after: Option<Entry>,
}

impl<K: Clone + Ord> Backlog<K> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Adds the batch that came after all that is here.
    pub(super) fn push(&mut self, batch: &Arc<Batch<K>>) {
        let mut difference = match mem::replace(self, Self::Nothing) {
            Self::Nothing => {
                *self = Self::One(Arc::clone(batch));
                return;
            }
            Self::One(first) => {
                let mut difference = Difference { revision: first.revision, resync: false, changes: BTreeMap::new() };
                difference.add(&first);
                difference
            }
            Self::Several(difference) => difference,
        };
        difference.add(batch);
        // Back to what was told last: there is nothing to tell.
        if !difference.changes.is_empty() {
            *self = Self::Several(difference);
        }
    }

    /// Takes all of it as one batch.
    pub(super) fn take(&mut self) -> Option<Arc<Batch<K>>> {
        match mem::replace(self, Self::Nothing) {
            Self::Nothing => None,
            Self::One(batch) => Some(batch),
            Self::Several(Difference { revision, resync, changes }) => {
                let changes =
                    changes.into_iter().map(|(key, States { before, after })| Change { key, before, after }).collect();
                Some(Arc::new(Batch { revision, resync, changes }))
            }
        }
    }
}

impl<K: Clone + Ord> Difference<K> {
    /// What was before stays as in the older batch, what is after comes from the newer one.
    fn add(&mut self, newer: &Batch<K>) {
        self.revision = newer.revision;
        self.resync |= newer.resync;
        for Change { key, before, after } in &newer.changes {
            match self.changes.entry(key.clone()) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(States { before: before.clone(), after: after.clone() });
                }
                btree_map::Entry::Occupied(mut place) => {
                    place.get_mut().after.clone_from(after);
                    if place.get().before == place.get().after {
                        place.remove();
                    }
                }
            }
        }
    }
}
