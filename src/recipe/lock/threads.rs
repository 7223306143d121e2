//! What each thread holds by a re-entrant handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};

use super::guard::Grant;
use crate::backend::Backend;
use crate::recipe::queue::Mode;

pub(super) struct Threads<B: Backend>(Mutex<Held<B>>);

type Held<B> = HashMap<ThreadId, (Weak<Grant<B>>, Mode)>;

impl<B: Backend> Threads<B> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn of_this_thread(&self) -> Option<(Arc<Grant<B>>, Mode)> {
        let held = self.lock();
        let (grant, mode) = held.get(&thread::current().id())?;
        Some((grant.upgrade()?, *mode))
    }

    pub(super) fn insert(&self, grant: &Arc<Grant<B>>, mode: Mode) {
        let mut held = self.lock();
        held.retain(|_, (grant, _)| grant.strong_count() > 0);
        held.insert(thread::current().id(), (Arc::downgrade(grant), mode));
    }

    fn lock(&self) -> MutexGuard<'_, Held<B>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
