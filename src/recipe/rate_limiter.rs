//! Limits how often all processes together do something: a token bucket that refills at a steady rate.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{RateLimiter, rate_limiter::Decision};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! // 100 a minute, at most 2 of them at once.
//! let mails = RateLimiter::new(&store, "mails", 100, Duration::from_secs(60), 2)?;
//! assert_eq!(mails.try_take(2)?, Decision::Allowed { left: 0 });
//! let Decision::Denied { retry_after } = mails.try_take(1)? else { panic!("the bucket is empty") };
//! assert!(retry_after <= Duration::from_millis(600));
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/bucket` | `FULL WHOLE CLOCK`: the nanosecond of that clock at which the bucket is full, and in how many nanoseconds the writer's bucket fills; at most 57 bytes; absent: it is full | until [`reset`](RateLimiter::reset) |
//!
//! # How
//! The state is one number: the time at which the bucket is full again if nothing else is taken. Taking a token moves
//! it by the time one token needs, and is allowed as long as the result is at most a whole bucket away. This is the
//! generic cell rate algorithm (ITU-T I.371). The number is changed by compare-and-swap, so every token is taken once.
//! Rate and burst belong to the handle, so a new configuration may be rolled out process by process: while two are in
//! use, at most the larger burst is given out at once, and processes with the smaller bucket wait until the larger one
//! has refilled.
//!
//! # Which clock
//! The time of day may be set, and the time since a process began means nothing to another process. [`Clock::Boot`]
//! counts from the machine's start, including suspended time, and is equal for all processes of one time namespace; an
//! entry written in another boot, machine or namespace is refused ([`Error::OtherClock`]). [`Clock::Wall`] is for
//! stores that outlive or span these. On any clock, however it jumps:
//!
//! * A clock that jumps forward fills the bucket, but never beyond its size: at most the burst is given out at once.
//! * After a jump back the bucket seems to be full later than possible for our bucket or the writer's. It is then
//!   written down as empty from now on: no caller waits longer than one bucket takes to fill.
//!
//! The clock is read *after* the entry. Read before, it could be earlier than another process's write of the entry,
//! which would look like a jump back.
//!
//! # When a process dies
//! The tokens it took stay taken, used or not.

use std::fmt;
use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::name::check_recipe_name;
use super::refusal::{BadCount, Damaged};
use super::waiting::sooner;
use crate::backend::{Backend, Op, When};
use crate::clock::{Deadline, Revision};
use crate::error::{Kind, next_moves};
use crate::{Outcome, fnv1a64};

const REST: &str = "/bucket";
/// How long a bucket may take to fill, in nanoseconds: a hundred years.
const LONGEST: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// The result of a call of [`RateLimiter`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call of a rate limiter failed. Nothing was taken. Too few tokens are no error but an answer,
/// [`Decision::Denied`].
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The entry does not hold a bucket. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The rate or burst is impossible, or more tokens were asked for than the bucket can hold.
    #[error(transparent)]
    BadCount(#[from] BadCount),
    /// The entry was written by a clock that this handle's cannot be compared with.
    #[error(
        "rate limiter {name:?} was used with another clock, boot, machine, or time namespace; use Clock::Wall everywhere, or reset it"
    )]
    OtherClock {
        /// The limiter.
        name: String,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) => Kind::Damaged,
            Self::BadCount(_) => Kind::Misuse,
            Self::OtherClock { .. } => Kind::Incompatible,
        }
    }
}

next_moves!(Error);

/// A named token bucket, shared by all processes with the store.
pub struct RateLimiter<B: Backend> {
    store: Arc<B>,
    name: String,
    key: B::Key,
    /// Nanoseconds in which one token is refilled.
    each: u64,
    burst: u32,
    clock: Clock,
}

/// The clock by which the bucket refills.
#[derive(Clone)]
#[non_exhaustive]
pub enum Clock {
    /// Time since the machine's start (`CLOCK_BOOTTIME`): for the processes of one machine and time namespace.
    Boot,
    /// Unix time: for stores that several machines share, or that outlive a boot.
    Wall,
    /// A function: the time since a moment that all processes agree on.
    Own(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// Whether tokens were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All of them were taken.
    Allowed {
        /// The tokens left in the bucket at this moment.
        left: u32,
    },
    /// The bucket holds too few, and none were taken.
    Denied {
        /// In which time it will hold enough, if no other process takes any.
        retry_after: Duration,
    },
}

impl<B: Backend> RateLimiter<B> {
    /// Opens the limiter `name`: `tokens` in each `per`, and at most `burst` at once, by [`Clock::Boot`].
    ///
    /// The time in which a token is refilled is rounded up to whole nanoseconds.
    ///
    /// # Errors
    /// [`Error::BadCount`] if `tokens`, `per` or `burst` is 0, or for more than one token a nanosecond, or for a bucket
    /// that takes more than a hundred years to fill. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name
    /// is empty, contains a NUL, or is longer than the store's names less 7 bytes.
    pub fn new(store: &Arc<B>, name: &str, tokens: u32, per: Duration, burst: u32) -> Result<Self> {
        check_recipe_name::<B>(name, REST.len())?;
        let bad = |asked: u32, why| {
            Error::from(BadCount { what: "rate limiter", name: name.to_owned(), asked: asked.into(), why })
        };
        if tokens == 0 || burst == 0 {
            return Err(bad(0, "nothing would ever be given out; give it at least 1"));
        }
        if per.as_nanos() < tokens.into() {
            return Err(bad(tokens, "more than one token a nanosecond; give it a longer time"));
        }
        let each = per.as_nanos().div_ceil(tokens.into());
        if each.saturating_mul(burst.into()) > LONGEST.into() {
            return Err(bad(
                burst,
                "the bucket would take over a hundred years to fill; give it a shorter time or burst",
            ));
        }
        let key = store.key(&format!("{name}{REST}"))?;
        let (store, name, each) = (Arc::clone(store), name.to_owned(), each as u64);
        Ok(Self { store, name, key, each, burst, clock: Clock::Boot })
    }

    /// Uses another clock. All processes must use one and the same with this limiter.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes all of `tokens` or none, without waiting.
    ///
    /// # Errors
    /// [`Error::BadCount`] for 0, or for more than the burst, which the bucket never holds; [`Error::OtherClock`];
    /// [`Error::Damaged`]; [`Error::Store`].
    pub fn try_take(&self, tokens: u32) -> Result<Decision> {
        Ok(self.step(tokens)?.0)
    }

    /// Waits until `tokens` can be taken. Returns [`Decision::Denied`] as soon as it is certain that the bucket will
    /// not hold enough before the deadline.
    ///
    /// There is no queue: of several waiters the first to try once the bucket holds enough takes them.
    ///
    /// # Errors
    /// As [`try_take`](RateLimiter::try_take).
    pub fn take(&self, tokens: u32, deadline: &Deadline) -> Result<Decision> {
        loop {
            let (decision, seen_at) = self.step(tokens)?;
            let Decision::Denied { retry_after } = decision else { return Ok(decision) };
            if deadline.remaining().is_some_and(|left| left < retry_after) {
                return Ok(decision);
            }
            // Only a reset can allow it earlier, and a reset changes the entry.
            self.store.wait(&self.key, seen_at, &sooner(deadline, retry_after))?;
        }
    }

    /// Fills the bucket, by deleting its entry.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn reset(&self) -> Result<()> {
        self.store.commit(&[Op::delete(&self.key)])?;
        Ok(())
    }

    /// Takes `tokens` if the bucket holds enough. Returns the decision and a revision at which it was true.
    fn step(&self, tokens: u32) -> Result<(Decision, Revision)> {
        if tokens == 0 || tokens > self.burst {
            let why = if tokens == 0 { "take at least 1" } else { "the bucket never holds that much; take fewer" };
            return Err(BadCount { what: "rate limiter", name: self.name.clone(), asked: tokens.into(), why }.into());
        }
        let whole = self.each * u64::from(self.burst);
        loop {
            // The entry first, then the clock.
            let ((full, theirs, before, seen_at), now) = (self.read()?, self.clock.now());
            let brim = now + whole;
            let went_back = full > now + whole.max(theirs);
            let full = if went_back { brim } else { full };
            let after = full.max(now) + self.each * u64::from(tokens);
            let (decision, new) = match after.checked_sub(brim) {
                None | Some(0) => (Decision::Allowed { left: ((brim - after) / self.each) as u32 }, after),
                Some(early) => (Decision::Denied { retry_after: Duration::from_nanos(early) }, full),
            };
            if matches!(decision, Decision::Denied { .. }) && !went_back {
                return Ok((decision, seen_at));
            }
            let value = format!("{new} {whole} {}", self.clock.tag());
            if let Outcome::Committed(at) = self.store.commit(&[Op::put(&self.key, value.as_bytes()).when(before)])? {
                return Ok((decision, at));
            }
        }
    }

    /// Reads when the bucket is full, in which time the writer's bucket fills, the condition under which both are still
    /// current, and a revision at which they were.
    fn read(&self) -> Result<(u64, u64, When, Revision)> {
        let mut value = Vec::new();
        let (meta, seen_at) = self.store.read(&self.key, &mut value)?;
        let Some(meta) = meta else { return Ok((0, 0, When::Absent, seen_at)) };
        let text = String::from_utf8_lossy(&value);
        let parts = text.split_once(' ').and_then(|(full, rest)| Some((full.parse().ok()?, rest.split_once(' ')?)));
        let parts = parts.and_then(|(full, (whole, clock))| Some((full, whole.parse().ok()?, clock)));
        let Some((full, whole, clock)) = parts.filter(|(_, whole, _)| *whole <= LONGEST) else {
            let what = format!("{text:?} is not a bucket: two times and a clock");
            return Err(Damaged::new(&self.key, what).into());
        };
        if clock != self.clock.tag() {
            return Err(Error::OtherClock { name: self.name.clone() });
        }
        Ok((full, whole, When::ModifiedAt(meta.modified), seen_at))
    }
}

impl Clock {
    /// The time in nanoseconds, at most 292 years, so that nothing added to it overflows.
    fn now(&self) -> u64 {
        let since = match self {
            Self::Boot => {
                let now = clock_gettime(ClockId::Boottime);
                Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
            }
            Self::Wall => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Own(now) => now(),
        };
        since.as_nanos().try_into().unwrap_or(u64::MAX).min(u64::MAX / 2)
    }

    /// Distinguishes clocks that cannot be compared, in at most 16 bytes.
    fn tag(&self) -> &str {
        static BOOT: OnceLock<String> = OnceLock::new();
        match self {
            Self::Boot => BOOT.get_or_init(|| {
                let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
                // A kernel without time namespaces has one time.
                let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
                format!("{:x}", fnv1a64(&[&boot, namespace.as_os_str().as_encoded_bytes()].concat()))
            }),
            Self::Wall => "wall",
            Self::Own(_) => "own",
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "Boot",
            Self::Wall => "Wall",
            Self::Own(_) => "Own",
        })
    }
}

impl<B: Backend> fmt::Debug for RateLimiter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, each, burst, clock, .. } = self;
        let each = Duration::from_nanos(*each);
        f.debug_struct("RateLimiter")
            .field("name", name)
            .field("each", &each)
            .field("burst", burst)
            .field("clock", clock)
            .finish_non_exhaustive()
    }
}
