//! Watches a prefix of a model: a batch is the difference between what has been reported and what the map holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::ModelKey;
use super::store::Store;
use crate::backend::monitor::Monitor;
use crate::backend::{Event, Watch};
use crate::clock::{Deadline, Revision};
use crate::error::Result;

/// A watch of a [`Model`](super::Model).
#[derive(Debug)]
pub struct ModelWatch {
    store: Arc<Monitor<Store>>,
    prefix: String,
    /// Whether the next batch begins with a resync.
    resync: bool,
    /// When each entry was modified, as far as it has been reported.
    reported: BTreeMap<ModelKey, Revision>,
}

impl ModelWatch {
    pub(super) fn new(
        store: &Arc<Monitor<Store>>,
        prefix: &str,
        resync: bool,
        reported: BTreeMap<ModelKey, Revision>,
    ) -> Self {
        Self { store: Arc::clone(store), prefix: prefix.to_owned(), resync, reported }
    }
}

impl Watch for ModelWatch {
    type Key = ModelKey;

    fn next(&mut self, deadline: &Deadline, visit: &mut dyn FnMut(Event<'_, ModelKey>)) -> Result<Option<Revision>> {
        let found = self.store.wait(deadline, |store| {
            let changes = store.differences(&self.prefix, &self.reported);
            (self.resync || !changes.is_empty()).then_some((changes, Revision(store.newest)))
        })?;
        let Some((changes, newest)) = found else {
            return Ok(None);
        };
        // Noted before it is reported, and reported without the mutex: `visit` may do what it likes.
        for (key, entry) in &changes {
            match entry {
                Some(entry) => self.reported.insert(key.clone(), entry.meta.modified),
                None => self.reported.remove(key),
            };
        }
        if std::mem::take(&mut self.resync) {
            visit(Event::Resync);
        }
        for (key, entry) in &changes {
            match entry {
                Some(entry) => visit(Event::Put { key, value: &entry.value, meta: entry.meta }),
                None => visit(Event::Delete { key }),
            }
        }
        visit(Event::Progress(newest));
        Ok(Some(newest))
    }
}
