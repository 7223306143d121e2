//! The map of a view, and how what a watch reports becomes a list of changes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::Arc;

use super::batch::{Change, Entry};
use crate::backend::Event;
use crate::clock::Revision;

/// Entries by name.
pub(super) type Map<K> = BTreeMap<ByName<K>, Entry>;

/// A key that is found by its name.
#[derive(Clone)]
pub(super) struct ByName<K>(pub(super) K);

impl<K: AsRef<str>> Borrow<str> for ByName<K> {
    fn borrow(&self) -> &str {
        self.0.as_ref()
    }
}

impl<K: AsRef<str>> Ord for ByName<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_ref().cmp(other.0.as_ref())
    }
}

impl<K: AsRef<str>> PartialOrd for ByName<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: AsRef<str>> PartialEq for ByName<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl<K: AsRef<str>> Eq for ByName<K> {}

/// The whole view at one moment. It stays as it is; the view goes on.
///
/// Taking one copies nothing. While one is held, the next batch copies the map once (names and pointers, not values).
pub struct Snapshot<K> {
    pub(super) revision: Revision,
    pub(super) map: Arc<Map<K>>,
}

impl<K: AsRef<str>> Snapshot<K> {
    /// The revision at which the store was as this shows it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.map.get(name)
    }

    /// All entries, in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &Entry)> {
        self.map.iter().map(|(key, entry)| (&key.0, entry))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, map: Arc::clone(&self.map) }
    }
}

impl<K: AsRef<str>> fmt::Debug for Snapshot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot at {}: ", self.revision)?;
        f.debug_map().entries(self.map.iter().map(|(key, entry)| (key.0.as_ref(), entry))).finish()
    }
}

/// What a watch has reported of one batch so far.
#[derive(Debug)]
pub(super) struct News<K> {
    pub(super) resync: bool,
    states: Vec<(K, Option<Entry>)>,
}

impl<K: Clone + Ord + AsRef<str>> News<K> {
    pub(super) fn new() -> Self {
        Self { resync: false, states: Vec::new() }
    }

    pub(super) fn note(&mut self, event: Event<'_, K>) {
        match event {
            Event::Put { key, value, meta } => {
                self.states.push((key.clone(), Some(Entry { value: value.into(), meta })));
            }
            Event::Delete { key } => self.states.push((key.clone(), None)),
            Event::Resync => {
                self.resync = true;
                self.states.clear();
            }
            Event::Progress(_) => {}
        }
    }

    /// Brings the map up to date; answers what that changed, in the order of names.
    pub(super) fn apply(self, map: &mut Map<K>) -> Vec<Change<K>> {
        if self.resync {
            return self.replace(map);
        }
        let mut changes = Vec::with_capacity(self.states.len());
        for (key, after) in self.states {
            let before = match &after {
                Some(entry) => map.insert(ByName(key.clone()), entry.clone()),
                None => map.remove(key.as_ref()),
            };
            changes.extend(change(key, before, after));
        }
        changes
    }

    /// Forgets what is not in the news.
    fn replace(self, map: &mut Map<K>) -> Vec<Change<K>> {
        let mut old = mem::take(map);
        let mut changes = Vec::new();
        for (key, after) in self.states {
            let Some(entry) = after.clone() else { continue };
            let before = old.remove(key.as_ref());
            map.insert(ByName(key.clone()), entry);
            changes.extend(change(key, before, after));
        }
        changes.extend(old.into_iter().filter_map(|(key, before)| change(key.0, Some(before), None)));
        changes.sort_by(|a, b| a.key.as_ref().cmp(b.key.as_ref()));
        changes
    }
}

/// The change, if it is one: what the same commit put is the same.
fn change<K>(key: K, before: Option<Entry>, after: Option<Entry>) -> Option<Change<K>> {
    let same = before.as_ref().map(|entry| entry.meta) == after.as_ref().map(|entry| entry.meta);
    (!same).then_some(Change { key, before, after })
}
