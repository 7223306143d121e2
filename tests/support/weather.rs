//! A backend in bad weather: one that works, behind a link on which a test breaks what it likes and counts what passes.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slotguard::backend::{Backend, Event, Limits, Meta, Op, Watch};
use slotguard::{Deadline, Error, Lease, Outcome, Result, Revision};

type Hook<B> = Arc<dyn Fn(&B) + Send + Sync>;
type Gate<B> = Arc<dyn Fn(&B, &[Op<'_, <B as Backend>::Key>]) -> Result<()> + Send + Sync>;

/// A store, and what is to go wrong with it.
pub struct Weather<B: Backend> {
    pub store: B,
    /// Calls that reached the store, whatever came of them.
    pub calls: AtomicU64,
    pub renewals: AtomicU32,
    pub revocations: AtomicU32,
    /// So many renewals fail before they reach the store.
    pub lost_renewals: AtomicU32,
    /// So many looks of watches fail.
    pub lost_looks: AtomicU32,
    /// The next batch breaks off in the middle; it comes again, whole.
    pub torn: AtomicBool,
    /// How often the history has been lost: every watch then begins anew at its next look.
    history_lost: AtomicU32,
    /// By how many nanoseconds our clock is ahead of the store's.
    pub ahead: AtomicU64,
    /// Whether the clock is the system's.
    pub real_time: AtomicBool,
    /// Run when a grant or renewal has been made and before its answer arrives.
    slow_answer: Mutex<Option<Hook<B>>>,
    /// Run before a commit reaches the store; its error is all that comes of that commit.
    gate: Mutex<Option<Gate<B>>>,
}

pub fn weather<B: Backend>(store: B) -> Arc<Weather<B>> {
    Arc::new(Weather {
        store,
        calls: AtomicU64::new(0),
        renewals: AtomicU32::new(0),
        revocations: AtomicU32::new(0),
        lost_renewals: AtomicU32::new(0),
        lost_looks: AtomicU32::new(0),
        torn: AtomicBool::new(false),
        history_lost: AtomicU32::new(0),
        ahead: AtomicU64::new(0),
        real_time: AtomicBool::new(false),
        slow_answer: Mutex::new(None),
        gate: Mutex::new(None),
    })
}

pub fn lost() -> Error {
    Error::Outrun { what: "the weather".to_owned(), rounds: 1 }
}

/// Takes one from a counter that is not 0.
fn one_of(counter: &AtomicU32) -> bool {
    counter.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl<B: Backend> Weather<B> {
    pub fn put(&self, name: &str, value: &[u8]) -> Revision {
        committed(self.store.commit(&[Op::put(&self.store.key(name).unwrap(), value)]))
    }

    pub fn delete(&self, name: &str) -> Revision {
        committed(self.store.commit(&[Op::delete(&self.store.key(name).unwrap())]))
    }

    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let (meta, _) = self.store.read(&self.store.key(name).unwrap(), &mut value).unwrap();
        meta.map(|_| value)
    }

    pub fn lose_history(&self) {
        self.history_lost.fetch_add(1, SeqCst);
    }

    pub fn move_ahead(&self, by: Duration) {
        self.ahead.fetch_add(by.as_nanos() as u64, SeqCst);
    }

    pub fn answer_slowly(&self, meanwhile: impl Fn(&B) + Send + Sync + 'static) {
        *self.slow_answer.lock().unwrap() = Some(Arc::new(meanwhile));
    }

    pub fn before_commits(&self, gate: impl Fn(&B, &[Op<'_, B::Key>]) -> Result<()> + Send + Sync + 'static) {
        *self.gate.lock().unwrap() = Some(Arc::new(gate));
    }

    pub fn let_commits_pass(&self) {
        *self.gate.lock().unwrap() = None;
    }

    fn reached(&self) {
        self.calls.fetch_add(1, SeqCst);
    }

    fn answer(&self) {
        let hook = self.slow_answer.lock().unwrap().clone();
        if let Some(meanwhile) = hook {
            meanwhile(&self.store);
        }
    }
}

pub fn committed(outcome: Result<Outcome>) -> Revision {
    match outcome.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a condition was false"),
    }
}

impl<B: Backend> Backend for Weather<B> {
    type Key = B::Key;
    type Watch<'a>
        = WeatherWatch<'a, B>
    where
        Self: 'a;

    const LIMITS: Limits = B::LIMITS;

    fn key(&self, name: &str) -> Result<B::Key> {
        self.store.key(name)
    }

    fn read(&self, key: &B::Key, into: &mut Vec<u8>) -> Result<(Option<Meta>, Revision)> {
        self.reached();
        self.store.read(key, into)
    }

    fn range(&self, prefix: &str, visit: &mut dyn FnMut(B::Key, &[u8], Meta)) -> Result<Revision> {
        self.reached();
        self.store.range(prefix, visit)
    }

    fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate(&self.store, ops)?;
        }
        self.reached();
        self.store.commit(ops)
    }

    fn wait(&self, key: &B::Key, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        self.reached();
        self.store.wait(key, newer_than, deadline)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<WeatherWatch<'_, B>> {
        self.reached();
        let inner = self.store.watch(prefix, from)?;
        let losses = self.history_lost.load(SeqCst);
        Ok(WeatherWatch { weather: self, prefix: prefix.to_owned(), inner, losses, held: None })
    }

    fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        self.reached();
        let lease = self.store.grant(time_to_live)?;
        self.answer();
        Ok(lease)
    }

    fn renew(&self, lease: Lease) -> Result<Instant> {
        if one_of(&self.lost_renewals) {
            return Err(lost());
        }
        self.reached();
        let renewed = self.store.renew(lease);
        self.answer();
        self.renewals.fetch_add(1, SeqCst);
        renewed
    }

    fn expiry(&self, lease: Lease) -> Result<Instant> {
        self.reached();
        self.store.expiry(lease)
    }

    fn revoke(&self, lease: Lease) -> Result<()> {
        self.reached();
        self.revocations.fetch_add(1, SeqCst);
        self.store.revoke(lease)
    }

    fn now(&self) -> Instant {
        if self.real_time.load(SeqCst) {
            return Instant::now();
        }
        self.store.now() + Duration::from_nanos(self.ahead.load(SeqCst))
    }
}

/// One event that can be kept.
enum Held<K> {
    Put(K, Vec<u8>, Meta),
    Delete(K),
    Resync,
    Progress(Revision),
}

pub struct WeatherWatch<'a, B: Backend + 'a> {
    weather: &'a Weather<B>,
    prefix: String,
    inner: B::Watch<'a>,
    losses: u32,
    held: Option<(Vec<Held<B::Key>>, Revision)>,
}

impl<B: Backend> Watch for WeatherWatch<'_, B> {
    type Key = B::Key;

    fn next(&mut self, deadline: &Deadline, visit: &mut dyn FnMut(Event<'_, B::Key>)) -> Result<Option<Revision>> {
        if one_of(&self.weather.lost_looks) {
            return Err(lost());
        }
        let losses = self.weather.history_lost.load(SeqCst);
        if losses != self.losses {
            self.losses = losses;
            self.held = None;
            self.inner = self.weather.store.watch(&self.prefix, Revision(0))?;
        }
        if let Some((events, revision)) = self.held.take() {
            events.iter().for_each(|event| event.tell(visit));
            return Ok(Some(revision));
        }
        let mut events = Vec::new();
        let Some(revision) = self.inner.next(deadline, &mut |event| events.push(Held::of(event)))? else {
            return Ok(None);
        };
        if self.weather.torn.swap(false, SeqCst) {
            events[..events.len() / 2].iter().for_each(|event| event.tell(visit));
            self.held = Some((events, revision));
            return Err(lost());
        }
        events.iter().for_each(|event| event.tell(visit));
        Ok(Some(revision))
    }
}

impl<K: Clone> Held<K> {
    fn of(event: Event<'_, K>) -> Self {
        match event {
            Event::Put { key, value, meta } => Self::Put(key.clone(), value.to_vec(), meta),
            Event::Delete { key } => Self::Delete(key.clone()),
            Event::Resync => Self::Resync,
            Event::Progress(revision) => Self::Progress(revision),
        }
    }

    fn tell(&self, visit: &mut dyn FnMut(Event<'_, K>)) {
        visit(match self {
            Self::Put(key, value, meta) => Event::Put { key, value, meta: *meta },
            Self::Delete(key) => Event::Delete { key },
            Self::Resync => Event::Resync,
            Self::Progress(revision) => Event::Progress(*revision),
        });
    }
}
