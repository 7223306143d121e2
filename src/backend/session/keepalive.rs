//! What keeps a session alive, and notices when it is not: the local deadline, the renewals, the thread that makes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::monitor::Monitor;
use crate::backend::{Backend, Op};
use crate::clock::{Deadline, Lease, Token};
use crate::error::{Error, Result};

/// The thread renews after the time to live divided by this, as etcd's clients do: two more can fail.
const RENEWALS: u32 = 3;
/// After a renewal that failed, the thread tries again after the time to live divided by this.
const RETRIES: u32 = 12;
/// In place of a deadline: the session is over.
const LOST: u64 = 0;

/// What the session and its thread share.
pub(super) struct Keepalive<B: Backend> {
    pub(super) store: Arc<B>,
    pub(super) key: B::Key,
    pub(super) lease: Lease,
    pub(super) token: Token,
    pub(super) time_to_live: Duration,
    /// What `until` counts from.
    pub(super) base: Instant,
    /// Until when the session may be counted on, in nanoseconds since `base`; [`LOST`] for ever once it is.
    ///
    /// Relaxed throughout: it publishes nothing but itself.
    pub(super) until: AtomicU64,
    pub(super) monitor: Arc<Monitor<Signals>>,
    /// What should have been deleted and could not be.
    pub(super) pending_deletes: Mutex<Vec<B::Key>>,
}

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) stop: bool,
    pub(super) lost: bool,
    pub(super) failure: Option<Arc<Error>>,
}

impl<B: Backend> Keepalive<B> {
    /// Until when it may be counted on; `None` once it is over.
    pub(super) fn alive_until(&self) -> Option<Instant> {
        let until = self.until.load(Ordering::Relaxed);
        (self.is_alive() && until != LOST).then(|| self.base + Duration::from_nanos(until))
    }

    #[inline]
    pub(super) fn is_alive(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        nanoseconds(self.base, self.store.now()) < until || self.expire(until)
    }

    /// Ends the session because its deadline has passed, unless a renewal was faster; answers whether it lives on.
    #[cold]
    fn expire(&self, mut until: u64) -> bool {
        while until != LOST {
            // What one caller has been told stays true: a renewal under way meets the end and cannot take it back.
            match self.until.compare_exchange(until, LOST, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.notify_lost();
                    return false;
                }
                Err(extended) => until = extended,
            }
            if nanoseconds(self.base, self.store.now()) < until {
                return true;
            }
        }
        false
    }

    fn mark_lost(&self) {
        self.until.store(LOST, Ordering::Relaxed);
        self.notify_lost();
    }

    fn notify_lost(&self) {
        self.monitor.lock().lost = true;
        self.monitor.notify_all();
    }

    fn expired(&self) -> Error {
        Error::LeaseExpired { lease: self.lease }
    }

    /// Renews the lease; answers until when it may be counted on.
    pub(super) fn renew(&self) -> Result<Instant> {
        if !self.is_alive() {
            return Err(self.expired());
        }
        let until = match self.store.renew(self.lease) {
            Err(error) => {
                if matches!(error, Error::LeaseExpired { .. } | Error::UnknownLease { .. }) {
                    self.mark_lost();
                }
                return Err(error);
            }
            Ok(until) => until,
        };
        if !self.extend(nanoseconds(self.base, until)) || !self.entry_is_ours() {
            // The lease has just been given its whole time again, for nobody.
            self.mark_lost();
            let _ = self.store.revoke(self.lease);
            return Err(self.expired());
        }
        self.delete_pending();
        Ok(until)
    }

    pub(super) fn delete_later(&self, keys: impl Iterator<Item = B::Key>) {
        if self.is_alive() {
            self.pending_deletes.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        }
    }

    fn delete_pending(&self) {
        let left = || self.pending_deletes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = std::mem::take(&mut *left());
        still.retain(|key| self.store.commit(&[Op::delete(key)]).is_err());
        left().extend(still);
    }

    /// Moves the local deadline, never back; `false` if the session is over.
    fn extend(&self, to: u64) -> bool {
        let later = |until| (until != LOST).then(|| to.max(until));
        self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).is_ok()
    }

    /// Whether the entry is the one we created; if nobody can tell at the moment, it is.
    fn entry_is_ours(&self) -> bool {
        match self.store.read(&self.key, &mut Vec::new()) {
            Ok((meta, _)) => meta.is_some_and(|meta| meta.created.0 == self.token.0),
            Err(_) => true,
        }
    }

    /// The thread: renews until it is told to stop or the session is lost.
    pub(super) fn run(&self) {
        let mut pause = self.time_to_live / RENEWALS;
        while let Ok(None) = self.monitor.wait(&Deadline::after(pause), |signals| signals.stop.then_some(())) {
            let renewed = self.renew();
            pause = self.time_to_live / if renewed.is_ok() { RENEWALS } else { RETRIES };
            let lost = self.until.load(Ordering::Relaxed) == LOST;
            let mut signals = self.monitor.lock();
            // That the time is up says less than what went wrong before.
            if !(lost && signals.failure.is_some()) {
                signals.failure = renewed.err().map(Arc::new);
            }
            if lost {
                return;
            }
        }
    }
}

/// From `base` to `moment`, in nanoseconds; 584 years fit.
#[inline]
pub(super) fn nanoseconds(base: Instant, moment: Instant) -> u64 {
    moment.saturating_duration_since(base).as_nanos().try_into().unwrap_or(u64::MAX)
}
