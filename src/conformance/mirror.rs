//! A prefix as a watch tells it, with every batch held to what the contract says of batches.

use super::asking::{Asking, Contents, State};
use crate::backend::{Backend, Event, Watch};
use crate::{Deadline, Result, Revision};

/// What a watcher knows.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) view: Contents,
    /// The store was as the view is at this revision.
    pub(super) at: Revision,
    /// How many batches began with a resync.
    pub(super) resyncs: usize,
    /// What the last batch told.
    pub(super) told: Vec<Told>,
}

/// One event of a batch, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Resync,
    Put(String),
    Delete(String),
}

impl Mirror {
    /// One who knows nothing and will be told everything.
    pub(super) fn empty() -> Self {
        Self { view: Contents::new(), at: Revision(0), resyncs: 0, told: Vec::new() }
    }

    /// One who has seen the range, and the watch that tells the rest.
    pub(super) fn open<'a, B: Backend>(store: &'a B, prefix: &str) -> (Self, B::Watch<'a>) {
        let (view, at) = store.contents(prefix);
        let watch = store.watch(prefix, Revision(at.0 + 1)).expect("a watch from one past the range");
        (Self { view, at, resyncs: 0, told: Vec::new() }, watch)
    }

    /// Takes in the next batch; `false` if there was none in time.
    pub(super) fn follow<W: Watch<Key: AsRef<str>>>(&mut self, watch: &mut W, deadline: &Deadline) -> Result<bool> {
        self.told.clear();
        let before = self.at;
        let mut latest = Revision(0);
        let mut progress = None;
        let mut last: Option<String> = None;
        let mut resync = false;
        let answer = watch.next(deadline, &mut |event| {
            assert_eq!(progress, None, "nothing comes after the progress: {event:?}", event = Shown(&event));
            match event {
                Event::Resync => {
                    assert_eq!(last, None, "a resync comes first");
                    assert!(!resync, "one resync a batch");
                    resync = true;
                    self.view.clear();
                    self.told.push(Told::Resync);
                }
                Event::Put { key, value, meta } => {
                    let name = key.as_ref();
                    assert!(last.as_deref() < Some(name), "{name} is told twice, or out of order, after {last:?}");
                    last = Some(name.to_owned());
                    latest = latest.max(meta.modified);
                    let state = State { value: value.to_vec(), meta };
                    let old = self.view.insert(name.to_owned(), state);
                    if !resync {
                        check_news(name, before, old.as_ref(), &self.view[name]);
                    }
                    self.told.push(Told::Put(name.to_owned()));
                }
                Event::Delete { key } => {
                    let name = key.as_ref();
                    assert!(last.as_deref() < Some(name), "{name} is told twice, or out of order, after {last:?}");
                    assert!(!resync, "{name}: a resync is followed by puts only");
                    last = Some(name.to_owned());
                    self.view.remove(name);
                    self.told.push(Told::Delete(name.to_owned()));
                }
                Event::Progress(revision) => progress = Some(revision),
            }
        })?;
        assert_eq!(answer, progress, "what a batch answers is its progress");
        let Some(progress) = progress else {
            assert_eq!(self.told, [], "a batch ends with its progress");
            return Ok(false);
        };
        assert!(latest <= progress, "an entry modified at {latest} is not of the store at {progress}");
        assert!(progress >= before, "a watch does not run backwards: {progress} after {before}");
        self.resyncs += usize::from(resync);
        self.at = progress;
        Ok(true)
    }

    /// Takes in batches until there is this entry.
    pub(super) fn follow_until<W: Watch<Key: AsRef<str>>>(&mut self, watch: &mut W, name: &str) {
        while !self.view.contains_key(name) {
            assert!(self.follow(watch, &Deadline::never()).expect("a batch"), "this wait has no end but a batch");
        }
    }

    /// Takes in what is there to be told, without waiting.
    pub(super) fn catch_up<W: Watch<Key: AsRef<str>>>(&mut self, watch: &mut W) {
        while self.follow(watch, &Deadline::now()).expect("a look") {}
    }
}

/// A put is news: it happened after what was known, and follows from it.
fn check_news(name: &str, before: Revision, old: Option<&State>, new: &State) {
    let meta = new.meta;
    assert!(meta.modified > before, "{name} of {} is told again after {before}", meta.modified);
    match old.map(|old| old.meta) {
        Some(old) if old.created == meta.created => {
            assert!(meta.version > old.version, "{name} goes from version {} to {}", old.version, meta.version);
        }
        _ => assert!(meta.created > before, "{name}, created at {}, was missing at {before}", meta.created),
    }
}

/// An event's kind and name, for messages.
struct Shown<'a, 'b, K>(&'a Event<'b, K>);

impl<K: AsRef<str>> std::fmt::Debug for Shown<'_, '_, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Event::Put { key, .. } => write!(f, "put {:?}", key.as_ref()),
            Event::Delete { key } => write!(f, "delete {:?}", key.as_ref()),
            Event::Resync => write!(f, "resync"),
            Event::Progress(revision) => write!(f, "progress {revision}"),
        }
    }
}
