//! Who keeps a view up to date: a caller's thread step by step, or threads of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::listeners::{Core, Task};
use super::snapshot::News;
use crate::backend::{Backend, Watch};
use crate::clock::{Cancel, Deadline, Revision};
use crate::error::{Error, Result};

/// After an error a view's own thread tries again after this long, and each time twice as long, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// A prefix under which there is nothing in any store, since no name has a NUL.
const NOWHERE: &str = "\0";

/// Keeps a [`View`](super::View) up to date, whenever its owner calls it, and runs the listeners.
///
/// Dropping it ends the view: it stays as it is, and whoever waits for it is told so.
pub struct Follower<'s, B: Backend + 's> {
    core: Arc<Core<B::Key>>,
    store: &'s B,
    watch: B::Watch<'s>,
    _end: End<B::Key>,
}

impl<'s, B: Backend> Follower<'s, B> {
    /// Begins where the view is.
    pub(super) fn start(core: &Arc<Core<B::Key>>, store: &'s B) -> Result<Self> {
        let watch = store.watch(&core.prefix, Revision(core.fresh_at().0 + 1))?;
        Ok(Self { core: Arc::clone(core), store, watch, _end: End(Arc::clone(core)) })
    }

    /// Waits for the next batch, shows it, and runs the listeners; answers how new the view is then. `None` once the
    /// deadline has passed; a past deadline is one look.
    ///
    /// # Errors
    /// [`Error::Cancelled`] and those of the backend. The view stays as it is and the next call goes on from there.
    pub fn follow(&mut self, deadline: &Deadline) -> Result<Option<Revision>> {
        let found = self.advance(deadline);
        self.core.notify();
        found
    }

    /// Shows all there is and runs the listeners, without waiting. The view is then as new as this call: it equals the
    /// store at the revision that is returned, and that is no older than any commit that was over before.
    ///
    /// ```
    /// use slotguard::backend::{Backend, Model, Op, View};
    ///
    /// # fn main() -> slotguard::Result<()> {
    /// let store = Model::new();
    /// let (view, mut follower) = View::new(&store, "nodes/")?;
    /// store.commit(&[Op::put(&store.key("nodes/a")?, b"up")])?;
    /// store.commit(&[Op::put(&store.key("elsewhere")?, b"")])?;
    /// let revision = follower.catch_up()?;
    /// assert_eq!((view.len(), view.fresh_at()), (1, revision));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    pub fn catch_up(&mut self) -> Result<Revision> {
        let caught_up = self.catch_up_with_store();
        self.core.notify();
        caught_up?;
        Ok(self.core.fresh_at())
    }

    /// [`follow`](Follower::follow) without the listeners.
    pub(super) fn advance(&mut self, deadline: &Deadline) -> Result<Option<Revision>> {
        loop {
            let wake = match self.core.next_task() {
                Task::End => return Ok(None),
                Task::Confirm(asked) => {
                    let before = self.core.fresh_at();
                    let newest = self.catch_up_with_store()?;
                    self.core.answer(asked, newest);
                    let after = self.core.fresh_at();
                    if after > before {
                        return Ok(Some(after));
                    }
                    continue;
                }
                Task::Sleep(wake) => wake,
            };
            // The sleep ends by whichever switch is thrown first, the caller's or ours.
            let by_caller = deadline.cancel();
            let _relay = by_caller.map(|caller| {
                let wake = wake.clone();
                caller.register(Box::new(move || wake.cancel()))
            });
            if by_caller.is_some_and(Cancel::is_cancelled) {
                return Err(Error::Cancelled);
            }
            match self.look(&deadline.clone().or_cancelled(&wake)) {
                Err(Error::Cancelled) if wake.is_cancelled() => {}
                found => return found,
            }
        }
    }

    /// Looks until the view is as new as the store was when this began, and says so.
    ///
    /// A watch is silent about changes elsewhere. So: ask for the newest revision, then look; if there is nothing new up
    /// to now, there was nothing new up to that revision.
    fn catch_up_with_store(&mut self) -> Result<Revision> {
        let newest = self.store.range(NOWHERE, &mut |_, _, _| {})?;
        while self.core.fresh_at() < newest {
            if self.look(&Deadline::now())?.is_none() {
                self.core.confirm(newest);
            }
        }
        Ok(newest)
    }

    /// Waits for a batch and shows it, whole or not at all.
    fn look(&mut self, deadline: &Deadline) -> Result<Option<Revision>> {
        let mut news = News::new();
        let Some(revision) = self.watch.next(deadline, &mut |event| news.note(event))? else {
            return Ok(None);
        };
        self.core.show(news, revision);
        Ok(Some(self.core.fresh_at()))
    }
}

impl<B: Backend> fmt::Debug for Follower<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("prefix", &self.core.prefix)
            .field("fresh_at", &self.core.fresh_at())
            .finish_non_exhaustive()
    }
}

/// The end of a view, however its follower ends.
struct End<K: Clone + Ord + AsRef<str> + Send + Sync + 'static>(Arc<Core<K>>);

impl<K: Clone + Ord + AsRef<str> + Send + Sync + 'static> Drop for End<K> {
    fn drop(&mut self) {
        // In a forked child the lock may be held for ever, and nobody waits.
        if self.0.owner.is_current() {
            self.0.end();
        }
    }
}

/// A thread: shows what comes, for as long as the view lives, whatever errors there are in between.
pub(super) fn keep_following<B: Backend>(core: &Arc<Core<B::Key>>, store: &B) {
    let _end = End(Arc::clone(core));
    let mut follower = None;
    let mut pause = PAUSES.0;
    loop {
        let step = match &mut follower {
            None => Follower::start(core, store).map(|started| {
                follower = Some(started);
                None
            }),
            Some(follower) => follower.advance(&Deadline::never()),
        };
        if core.listeners.lock().ended {
            return;
        }
        match step {
            Ok(_) => {
                pause = PAUSES.0;
                core.record_success();
            }
            Err(error) => {
                core.record_failure(error);
                core.back_off(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// The other thread: runs the listeners, so that neither the map nor a subscriber waits for them.
pub(super) fn keep_notifying<B: Backend>(core: &Arc<Core<B::Key>>) {
    while core.wait_for_work() {
        core.notify();
    }
}
