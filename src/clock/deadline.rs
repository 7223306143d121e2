//! Deadlines of waits, and cancelling a wait from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bounds a wait: until a moment, without end, or not at all; and optionally until cancelled.
///
/// A deadline that has passed means one look and then "timed out". Moments are of the monotonic clock, which does not
/// count the time a machine is suspended and never jumps.
///
/// ```
/// use slotguard::Deadline;
/// use std::time::Duration;
/// let soon = Deadline::after(Duration::from_millis(5));
/// assert!(soon.remaining().unwrap() <= Duration::from_millis(5));
/// assert!(Deadline::now().has_passed());
/// assert!(Deadline::never().remaining().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Option<Instant>,
    cancel: Option<Cancel>,
}

impl Deadline {
    /// Already past: look once, do not wait.
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// This long from now. A duration past the end of the clock means [`Deadline::never`].
    pub fn after(duration: Duration) -> Self {
        Self { at: Instant::now().checked_add(duration), cancel: None }
    }

    /// At this moment.
    pub fn at(moment: Instant) -> Self {
        Self { at: Some(moment), cancel: None }
    }

    /// As long as it takes.
    pub fn never() -> Self {
        Self { at: None, cancel: None }
    }

    /// Adds a cancellation: the wait also ends, with [`Error::Cancelled`](crate::Error::Cancelled), once `by` is cancelled.
    #[must_use]
    pub fn or_cancelled(self, by: &Cancel) -> Self {
        Self { cancel: Some(by.clone()), ..self }
    }

    /// How long is left; zero once it has passed, `None` if it never will.
    pub fn remaining(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the moment has come.
    pub fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    pub(crate) fn cancel(&self) -> Option<&Cancel> {
        self.cancel.as_ref()
    }
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}

/// Ends waits from another thread of this process; clones share one switch.
///
/// Once cancelled it stays so: every wait under a deadline made with [`Deadline::or_cancelled`], running or to come,
/// answers [`Error::Cancelled`](crate::Error::Cancelled).
///
/// ```
/// use slotguard::{Cancel, Deadline, Error, Segment, Version};
/// # fn main() -> slotguard::Result<()> {
/// let segment = Segment::builder().records(1).anonymous()?;
/// let stop = Cancel::new();
/// std::thread::scope(|scope| {
///     let deadline = Deadline::never().or_cancelled(&stop);
///     let waiter = scope.spawn(|| segment.record(0)?.wait_newer(Version(0), deadline));
///     stop.cancel();
///     assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled)));
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    next: AtomicU64,
    wakers: Mutex<Vec<(u64, Waker)>>,
}

type Waker = Box<dyn Fn() + Send + Sync>;

impl Cancel {
    /// A switch that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all waits that listen to this switch, now and from now on.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        for (_, wake) in self.wakers().iter() {
            wake();
        }
    }

    /// Whether [`Cancel::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// Has `wake` called by every cancellation until the answer is dropped. Ask [`Cancel::is_cancelled`] *after* that and
    /// before each sleep.
    pub(crate) fn register(&self, wake: Waker) -> Registration {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.wakers().push((id, wake));
        Registration { cancel: self.clone(), id }
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Waker)>> {
        // A waker that panicked has at worst not woken the ones after it; the list itself is whole.
        self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// A waker on a switch's list; dropping it takes it off.
pub(crate) struct Registration {
    cancel: Cancel,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancel.wakers().retain(|(id, _)| *id != self.id);
    }
}
