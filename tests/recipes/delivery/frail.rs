//! A store whose client dies at one of its commits, is refused some, or is kept waiting before one.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slotguard::backend::{Act, Backend, Limits, Meta, Op};
use slotguard::{Deadline, Error, Lease, Outcome, Resource, Result, Revision};

type Hook<B> = Box<dyn FnOnce(&B) + Send>;

/// One process's way to a store.
pub struct Frail<B> {
    pub store: B,
    /// How many commits are left to it.
    left: AtomicU32,
    /// Whether the last one takes place, unheard.
    applies: bool,
    dead: AtomicBool,
    /// The next commit takes place, unheard; the client lives on.
    mishears: AtomicBool,
    /// Commits that put something are refused.
    full: AtomicBool,
    /// How many of the next commits, and reads, are refused.
    refuses: [AtomicU32; 2],
    before: Mutex<Option<Hook<B>>>,
    before_look: Mutex<Option<(u32, Hook<B>)>>,
}

impl<B: Backend> Frail<B> {
    /// One that dies at its commit number `commits`, counted from 0, which takes place or not.
    pub fn dies_at(store: B, commits: u32, applies: bool) -> Arc<Self> {
        let (left, dead, mishears) = (AtomicU32::new(commits), AtomicBool::new(false), AtomicBool::new(false));
        let (full, refuses, before, before_look) = Default::default();
        Arc::new(Self { store, left, applies, dead, mishears, full, refuses, before, before_look })
    }

    /// One that lives.
    pub fn new(store: B) -> Arc<Self> {
        Self::dies_at(store, u32::MAX, false)
    }

    /// Runs this before the next commit.
    pub fn before_next_commit(&self, hook: impl FnOnce(&B) + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(hook));
    }

    /// Runs this before the look (`range`) after so many others.
    pub fn before_look(&self, others: u32, hook: impl FnOnce(&B) + Send + 'static) {
        *self.before_look.lock().unwrap() = Some((others, Box::new(hook)));
    }

    /// Has the next commit take place and end in an error all the same.
    pub fn mishear_next_commit(&self) {
        self.mishears.store(true, SeqCst);
    }

    /// Has the store refuse what puts something, as if it were full.
    pub fn fill(&self, full: bool) {
        self.full.store(full, SeqCst);
    }

    /// Has so many commits be refused, and so many reads.
    pub fn refuse(&self, commits: u32, reads: u32) {
        self.refuses[0].store(commits, SeqCst);
        self.refuses[1].store(reads, SeqCst);
    }

    fn refused(&self, of: usize) -> Result<()> {
        let one_less = self.refuses[of].fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if one_less.is_ok() { Err(Error::Outrun { what: "it".to_owned(), rounds: 1 }) } else { Ok(()) }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(SeqCst)
    }

    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(Error::Retired) } else { Ok(()) }
    }
}

impl<B: Backend> Backend for Frail<B> {
    type Key = B::Key;
    type Watch<'a>
        = B::Watch<'a>
    where
        Self: 'a;

    const LIMITS: Limits = B::LIMITS;

    fn key(&self, name: &str) -> Result<B::Key> {
        self.store.key(name)
    }

    fn read(&self, key: &B::Key, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        self.alive()?;
        self.refused(1)?;
        self.store.read(key, into)
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(B::Key, &[u8], Meta)) -> Result<Revision> {
        self.alive()?;
        let mut before = self.before_look.lock().unwrap();
        let hook = match &mut *before {
            Some((0, _)) => before.take().map(|(_, hook)| hook),
            Some((others, _)) => {
                *others -= 1;
                None
            }
            None => None,
        };
        drop(before);
        if let Some(hook) = hook {
            hook(&self.store);
        }
        self.store.range(prefix, visit)
    }

    fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        let hook = self.before.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(&self.store);
        }
        self.alive()?;
        if self.left.load(SeqCst) == 0 {
            self.dead.store(true, SeqCst);
            if self.applies {
                self.store.commit(ops)?;
            }
            return Err(Error::Retired);
        }
        self.refused(0)?;
        if self.full.load(SeqCst) && ops.iter().any(|op| matches!(op.act, Act::Put { .. })) {
            return Err(Error::Full { what: Resource::Keys, limit: 1, holders: Vec::new() });
        }
        self.left.fetch_sub(1, SeqCst);
        let outcome = self.store.commit(ops)?;
        if self.mishears.swap(false, SeqCst) { Err(Error::Retired) } else { Ok(outcome) }
    }

    fn wait(&self, key: &B::Key, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        self.alive()?;
        self.store.wait(key, newer_than, deadline)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<B::Watch<'_>> {
        self.alive()?;
        self.store.watch(prefix, from)
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        self.alive()?;
        self.store.grant(time_to_live)
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        self.alive()?;
        self.store.renew(lease)
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        self.alive()?;
        self.store.expiry(lease)
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        self.alive()?;
        self.store.revoke(lease)
    }

    fn now(&self) -> Instant {
        self.store.now()
    }
}
