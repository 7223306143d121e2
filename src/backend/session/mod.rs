//! Being there, for others to see: a lease kept alive and an entry that is gone soon after its owner.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op, Session};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = Session::open(&store, "workers/1", b"host-a:9000", Duration::from_secs(10))?.mine().unwrap();
//!
//! // Acting outside? Ask before each act: no store is touched.
//! assert!(session.is_alive());
//! // Writing to the store? Let the commit ask: it holds only while the session lives.
//! let result = store.key("results/1")?;
//! store.commit(&[session.condition(), Op::put(&result, b"done")])?;
//!
//! session.close()?;
//! assert!(store.read(&store.key("workers/1")?, &mut Vec::new())?.0.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # How it ends, and who notices
//! | what happens | the entry | [`is_alive`](Session::is_alive) | [`wait_lost`](Session::wait_lost) |
//! |---|---|---|---|
//! | closed or dropped | gone at once | | |
//! | the process dies | gone at once where the backend can prove a death, else with the lease | | |
//! | the process is stopped, or cut off from the store | gone when the lease ends | `false` from the local deadline on | returns then |
//! | somebody revokes the lease or deletes the entry | gone at once | `false` from the next renewal on | returns then |
//!
//! The local deadline never lies behind the store's: it is the time to live, less the drift of clocks, from the instant
//! *before* the renewal was sent, and whoever sees it pass ends the session for this process for good. So nobody else
//! can have the name while `is_alive` says yes, unless somebody took it away by force; against that, and against the
//! time between the question and the act, only [`condition`](Session::condition) helps.

mod keepalive;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::keepalive::{Keepalive, Signals, nanoseconds};
use super::monitor::Monitor;
use super::process::OwnerProcess;
use super::{Backend, Meta, Op, When};
use crate::clock::{Deadline, Lease, Revision, Token};
use crate::error::{Error, Result};
use crate::memory::Outcome;

/// A lease kept alive, and an entry that lives by it.
///
/// Dropping it revokes the lease, and with it the entry; should that fail, the lease ends by itself.
///
/// # In a forked child
/// The session stays the parent's. The child's copy renews and revokes nothing: [`keep_alive`](Session::keep_alive) and
/// [`close`](Session::close) answer [`Error::Forked`], and dropping it does nothing. [`is_alive`](Session::is_alive)
/// tells what the parent knew when it forked, until that deadline has passed.
pub struct Session<B: Backend> {
    keepalive: Arc<Keepalive<B>>,
    renewer: Option<JoinHandle<()>>,
    owner: OwnerProcess,
    closed: bool,
}

/// What [`Session::open`] came to.
#[derive(Debug)]
pub enum Opened<B: Backend> {
    /// The name was free and is ours.
    Mine(Session<B>),
    /// There is an entry of this name.
    Taken(Taken),
}

/// The entry in the way of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its value.
    pub value: Vec<u8>,
    /// What else is known of it.
    pub meta: Meta,
    /// A revision at which it was so: wait for changes newer than this.
    pub seen_at: Revision,
}

impl<B: Backend + 'static> Session<B> {
    /// Creates the entry under a lease of its own and keeps the lease alive with a thread, until dropped.
    ///
    /// An entry of that name that lives already is left alone and returned. The thread renews after a third of the time
    /// to live, and in between sleeps.
    ///
    /// # Errors
    /// Those of [`Backend::key`], [`Backend::grant`] and [`Backend::commit`]; [`Error::Io`] if there can be no thread.
    /// Nothing is left behind after any of them.
    pub fn open(store: &Arc<B>, name: &str, value: &[u8], time_to_live: Duration) -> Result<Opened<B>> {
        let opened = Self::manual(store, name, value, time_to_live)?;
        let Opened::Mine(mut session) = opened else {
            return Ok(opened);
        };
        let keepalive = Arc::clone(&session.keepalive);
        let renewer = thread::Builder::new().name("slotguard-lease".to_owned()).spawn(move || keepalive.run());
        let failed = |cause| Error::Io { action: "start the thread that renews a session", path: None, cause };
        session.renewer = Some(renewer.map_err(failed)?);
        Ok(Opened::Mine(session))
    }
}

impl<B: Backend> Session<B> {
    /// The same without a thread: call [`keep_alive`](Session::keep_alive) after every third of the time to live.
    ///
    /// ```
    /// use slotguard::backend::{Model, Session};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// # fn main() -> slotguard::Result<()> {
    /// let store = Arc::new(Model::new());
    /// let session = Session::manual(&store, "leader", b"me", Duration::from_secs(9))?.mine().unwrap();
    /// store.advance(Duration::from_secs(3));
    /// session.keep_alive()?;
    /// store.advance(Duration::from_secs(9)); // Too late.
    /// assert!(!session.is_alive() && session.keep_alive().is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Session::open).
    pub fn manual(store: &Arc<B>, name: &str, value: &[u8], time_to_live: Duration) -> Result<Opened<B>> {
        let key = store.key(name)?;
        let base = store.now();
        let lease = store.grant(time_to_live)?;
        let granted = Granted { store: &**store, lease };
        let token = match granted.create(&key, value)? {
            Ok(token) => token,
            Err(taken) => return Ok(Opened::Taken(taken)),
        };
        std::mem::forget(granted);
        // What `renew` would answer, without the round trip.
        let counted_on = time_to_live.saturating_sub(time_to_live / 1000 * B::LIMITS.clock_drift);
        let keepalive = Keepalive {
            store: Arc::clone(store),
            key,
            lease,
            token,
            time_to_live,
            base,
            until: AtomicU64::new(nanoseconds(base, base + counted_on)),
            monitor: Monitor::new(Signals::default()),
            pending_deletes: Mutex::default(),
        };
        Ok(Opened::Mine(Self {
            keepalive: Arc::new(keepalive),
            renewer: None,
            owner: OwnerProcess::current(),
            closed: false,
        }))
    }

    /// The fencing token: larger than that of every earlier session of this name.
    pub fn token(&self) -> Token {
        self.keepalive.token
    }

    /// The store it is a session of.
    pub fn store(&self) -> &Arc<B> {
        &self.keepalive.store
    }

    /// The entry.
    pub fn key(&self) -> &B::Key {
        &self.keepalive.key
    }

    /// The lease, to bind more entries to.
    pub fn lease(&self) -> Lease {
        self.keepalive.lease
    }

    /// Whether the session may be counted on at this moment. Once `false`, always `false`.
    ///
    /// A comparison of a number in this process with the clock: the store is not asked.
    #[inline]
    pub fn is_alive(&self) -> bool {
        self.keepalive.is_alive()
    }

    /// Until when it may be counted on if it is not renewed again, on the backend's clock; `None` once it is over.
    pub fn alive_until(&self) -> Option<Instant> {
        self.keepalive.alive_until()
    }

    /// The operation that lets a commit take place only while the session lives.
    pub fn condition(&self) -> Op<'_, B::Key> {
        Op::check(&self.keepalive.key, When::CreatedAt(Revision(self.keepalive.token.0)))
    }

    /// The operation that gives the session's entry another value, if the session lives.
    pub fn put<'a>(&'a self, value: &'a [u8]) -> Op<'a, B::Key> {
        Op::put_leased(&self.keepalive.key, value, self.keepalive.lease).when(self.condition().when)
    }

    /// Renews the lease now and looks whether the entry is still ours; answers until when it may be counted on.
    ///
    /// # Errors
    /// [`Error::LeaseExpired`] once the session is over, which is final: nothing is sent any more, and nothing is
    /// created anew. After any other error the session lives on until [`alive_until`](Session::alive_until): try again.
    pub fn keep_alive(&self) -> Result<Instant> {
        if !self.owner.is_current() {
            return Err(Error::Forked);
        }
        self.keepalive.renew()
    }

    /// Has the renewals try to delete entries of this session that nobody else writes and that could not be deleted.
    pub(crate) fn delete_later(&self, keys: impl Iterator<Item = B::Key>) {
        self.keepalive.delete_later(keys);
    }

    /// Waits until the session is lost: its lease or entry has been taken away, or the deadline up to which it may be
    /// counted on has passed. `false` once the deadline to wait for has passed.
    ///
    /// What takes it away is noticed by the next renewal; time that passes on a clock that only a test moves, by
    /// whoever asks next.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn wait_lost(&self, deadline: &Deadline) -> Result<bool> {
        while let Some(until) = self.alive_until() {
            // To the end as known now: renewals wake nobody. If it has been extended meanwhile, once more.
            let left = until.saturating_duration_since(self.keepalive.store.now());
            let waited = deadline.remaining().is_none_or(|most| most > left);
            let mut next = if waited { Deadline::after(left) } else { deadline.clone() };
            if let Some(by) = deadline.cancel() {
                next = next.or_cancelled(by);
            }
            let lost = self.keepalive.monitor.wait(&next, |signals| signals.lost.then_some(()))?;
            if lost.is_none() && deadline.has_passed() {
                return Ok(!self.is_alive());
            }
        }
        Ok(true)
    }

    /// Why the thread's last renewal failed; `None` if it did not. Once the session is over: what failed before the
    /// end.
    pub fn last_failure(&self) -> Option<Arc<Error>> {
        self.keepalive.monitor.lock().failure.clone()
    }

    /// Ends the session; when this returns, its entry is gone, and so is everything else bound to its lease.
    ///
    /// # Errors
    /// Those of [`Backend::revoke`]: [`Error::LeaseExpired`] if it had ended before. [`Error::Forked`].
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        if !self.owner.is_current() {
            return Err(Error::Forked);
        }
        self.end_renewals();
        self.keepalive.store.revoke(self.keepalive.lease)
    }

    fn end_renewals(&mut self) {
        self.keepalive.monitor.lock().stop = true;
        self.keepalive.monitor.notify_all();
        if let Some(renewer) = self.renewer.take() {
            // A thread that panicked has reported it, and the session ended by its deadline.
            let _ = renewer.join();
        }
    }
}

impl<B: Backend> Drop for Session<B> {
    fn drop(&mut self) {
        if !self.owner.is_current() {
            // The thread is the parent's; nobody would ever answer a join. Locks may be held for ever.
            std::mem::forget(self.renewer.take());
        } else if !self.closed {
            self.end_renewals();
            // Whatever hinders it: the lease ends by itself.
            let _ = self.keepalive.store.revoke(self.keepalive.lease);
        }
    }
}

impl<B: Backend> fmt::Debug for Session<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.keepalive.key)
            .field("token", &self.keepalive.token)
            .field("lease", &self.keepalive.lease)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Opened<B> {
    /// The session, if the name was free.
    pub fn mine(self) -> Option<Session<B>> {
        match self {
            Self::Mine(session) => Some(session),
            Self::Taken(_) => None,
        }
    }

    /// Who has the name, if it was not.
    pub fn taken(self) -> Option<Taken> {
        match self {
            Self::Mine(_) => None,
            Self::Taken(taken) => Some(taken),
        }
    }
}

/// A lease that nothing keeps yet; dropping it revokes it.
struct Granted<'a, B: Backend> {
    store: &'a B,
    lease: Lease,
}

impl<B: Backend> Granted<'_, B> {
    /// Creates the entry in one commit, or tells which is in the way.
    fn create(&self, key: &B::Key, value: &[u8]) -> Result<Result<Token, Taken>> {
        let create = Op::put_leased(key, value, self.lease).if_absent();
        loop {
            if let Outcome::Committed(revision) = self.store.commit(&[create])? {
                return Ok(Ok(Token(revision.0)));
            }
            let mut value = Vec::new();
            let (meta, seen_at) = self.store.read(key, &mut value)?;
            // If it has gone meanwhile: try again. Each round means that somebody else's entry has come and gone.
            if let Some(meta) = meta {
                return Ok(Err(Taken { value, meta, seen_at }));
            }
        }
    }
}

impl<B: Backend> Drop for Granted<'_, B> {
    fn drop(&mut self) {
        let _ = self.store.revoke(self.lease);
    }
}
