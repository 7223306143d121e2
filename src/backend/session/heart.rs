//! What keeps a session alive, and notices when it is not: the local deadline, the renewals, the thread that makes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::bell::Bell;
use crate::backend::{Backend, Op};
use crate::clock::{Deadline, Lease, Token};
use crate::error::{Error, Result};
use crate::mutant::planted;

/// The thread renews after the time to live divided by this, as etcd's clients do: two more can fail.
const RENEWALS: u32 = 3;
/// After a renewal that failed, the thread tries again after the time to live divided by this.
const RETRIES: u32 = 12;
/// In place of a deadline: the session is over.
const LOST: u64 = 0;

/// What the session and its thread share.
pub(super) struct Heart<B: Backend> {
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
    pub(super) bell: Arc<Bell<Signals>>,
    /// What should have been deleted and could not be.
    pub(super) left: Mutex<Vec<B::Key>>,
}

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) stop: bool,
    pub(super) lost: bool,
    pub(super) failure: Option<Arc<Error>>,
}

impl<B: Backend> Heart<B> {
    /// Until when it may be counted on; `None` once it is over.
    pub(super) fn alive_until(&self) -> Option<Instant> {
        let until = self.until.load(Ordering::Relaxed);
        (self.is_alive() && until != LOST).then(|| self.base + Duration::from_nanos(until))
    }

    #[inline]
    pub(super) fn is_alive(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        nanoseconds(self.base, self.store.now()) < until || self.lapse(until)
    }

    /// Ends the session because its deadline has passed, unless a renewal was faster; answers whether it lives on.
    #[cold]
    fn lapse(&self, mut until: u64) -> bool {
        while until != LOST {
            // What one caller has been told stays true: a renewal under way meets the end and cannot take it back.
            match self.until.compare_exchange(until, LOST, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.announce();
                    return false;
                }
                Err(put_off) => until = put_off,
            }
            if nanoseconds(self.base, self.store.now()) < until {
                return true;
            }
        }
        false
    }

    fn lose(&self) {
        self.until.store(LOST, Ordering::Relaxed);
        self.announce();
    }

    fn announce(&self) {
        self.bell.lock().lost = true;
        self.bell.ring();
    }

    fn over(&self) -> Error {
        Error::LeaseExpired { lease: self.lease }
    }

    /// Renews the lease; answers until when it may be counted on.
    pub(super) fn renew(&self) -> Result<Instant> {
        if !self.is_alive() && !planted("session: renew after the end") {
            return Err(self.over());
        }
        let mut until = match self.store.renew(self.lease) {
            Err(error) => {
                if matches!(error, Error::LeaseExpired { .. } | Error::UnknownLease { .. }) {
                    self.lose();
                }
                return Err(error);
            }
            Ok(until) => until,
        };
        if planted("session: deadline from after the renewal") {
            until = self.store.now() + self.time_to_live;
        }
        if !self.put_off(nanoseconds(self.base, until)) || !self.entry_is_ours() {
            // The lease has just been given its whole time again, for nobody.
            self.lose();
            let _ = self.store.revoke(self.lease);
            return Err(self.over());
        }
        self.delete_left();
        Ok(until)
    }

    pub(super) fn leave(&self, keys: impl Iterator<Item = B::Key>) {
        if self.is_alive() && !planted("session: what is left stays") {
            self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        }
    }

    fn delete_left(&self) {
        let left = || self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = std::mem::take(&mut *left());
        still.retain(|key| self.store.commit(&[Op::delete(key)]).is_err());
        left().extend(still);
    }

    /// Moves the local deadline, never back; `false` if the session is over.
    fn put_off(&self, to: u64) -> bool {
        let later = |until| (until != LOST || planted("session: renew after the end")).then(|| to.max(until));
        self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).is_ok()
    }

    /// Whether the entry is the one we created; if nobody can tell at the moment, it is.
    fn entry_is_ours(&self) -> bool {
        if planted("session: overlook the entry") {
            return true;
        }
        match self.store.read(&self.key, &mut Vec::new()) {
            Ok((meta, _)) => meta.is_some_and(|meta| meta.created.0 == self.token.0),
            Err(_) => true,
        }
    }

    /// The thread: renews until it is told to stop or the session is lost.
    pub(super) fn beat(&self) {
        let mut pause = self.time_to_live / RENEWALS;
        while let Ok(None) = self.bell.wait(&Deadline::after(pause), |signals| signals.stop.then_some(())) {
            let renewed = self.renew();
            pause = self.time_to_live / if renewed.is_ok() { RENEWALS } else { RETRIES };
            let lost = self.until.load(Ordering::Relaxed) == LOST;
            let mut signals = self.bell.lock();
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
