//! How often something may happen, counted over all processes: a bucket of tokens that fills at a steady rate.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{RateLimiter, rate_limiter::Taken};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! // 100 a minute, at most 2 of them at once.
//! let mails = RateLimiter::new(&store, "mails", 100, Duration::from_secs(60), 2)?;
//! assert_eq!(mails.try_take(2)?, Taken::Yes { left: 0 });
//! assert!(matches!(mails.try_take(1)?, Taken::No { retry_after } if retry_after <= Duration::from_millis(600)));
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/bucket` | `FULL WHOLE CLOCK`: the nanosecond of that clock at which the bucket is full, and how many nanoseconds a whole one takes whoever wrote this; at most 57 bytes; absent: it is full | until [`reset`](RateLimiter::reset) |
//!
//! # How
//! One number says it all: when the bucket will be full again if nobody takes anything. To take a token is to put that
//! off by the time one token needs, which is allowed while it is no further off than a whole bucket. (The generic cell
//! rate algorithm, ITU-T I.371.) It is changed by compare-and-swap: whatever is given out has been taken from what all
//! see. Rate and burst are each caller's own, so a new configuration may come in process by process: while two are in
//! use, no more is given out at once than the larger burst, and who has the smaller bucket waits for what the larger
//! one owes.
//!
//! # Which clock
//! The time of day may be set, and times since a process began mean nothing to another process. [`Clock::Boot`] counts
//! from the machine's start, also while it sleeps, the same for all processes of one time namespace; what it says of
//! another boot, machine or namespace is refused ([`Error::OtherClock`]). [`Clock::Wall`] is for stores shared by
//! those. On any clock, however it jumps:
//!
//! * A clock that goes forward fills the bucket, and never past its brim: no more than the burst is given out at once.
//! * A clock that goes back finds the bucket to be full later than a bucket can be, ours or that of whoever wrote it. That
//!   is taken for an empty one, from that moment on, and written down: nobody waits longer than one bucket takes to fill.
//!
//! The clock is read *after* the entry. Read before, it could be earlier than the time at which another process wrote the
//! entry, which would look like a clock that went back.
//!
//! # When a process dies
//! What it took is taken, whether it was used or not.

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

/// The result of a rate limiter's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with a rate limiter. Nothing has been taken then. That there are not enough tokens is an answer,
/// [`Taken::No`].
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The entry holds no times and clock.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// No bucket can be like that, or ever hold so many tokens.
    #[error(transparent)]
    BadCount(#[from] BadCount),
    /// The limiter's time is of a clock that ours cannot be compared with.
    #[error(
        "rate limiter {name:?} counts on the clock of another boot, machine, or time namespace; use Clock::Wall everywhere, or reset it"
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

/// A rate limiter of this name, for whoever shares the store.
pub struct RateLimiter<B: Backend> {
    store: Arc<B>,
    name: String,
    key: B::Key,
    /// Nanoseconds in which one token arrives.
    each: u64,
    burst: u32,
    clock: Clock,
}

/// What the bucket fills by.
#[derive(Clone)]
#[non_exhaustive]
pub enum Clock {
    /// Time since the machine's start (`CLOCK_BOOTTIME`): for the processes of one machine and time namespace.
    Boot,
    /// Unix time: for stores that several machines share, or that outlive a boot.
    Wall,
    /// One's own: the time since a moment that is the same for everybody.
    Own(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// Whether tokens were to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They have been taken.
    Yes {
        /// How many are left at this moment.
        left: u32,
    },
    /// There were not enough, and none have been taken.
    No {
        /// When there will be enough, if nobody else takes any.
        retry_after: Duration,
    },
}

impl<B: Backend> RateLimiter<B> {
    /// The limiter of this name: `tokens` per time, and at most `burst` at once. It goes by [`Clock::Boot`].
    ///
    /// The time one token needs is rounded up to whole nanoseconds.
    ///
    /// # Errors
    /// [`Error::BadCount`] for no tokens, no time, no burst, more than one token a nanosecond, or a bucket that takes
    /// over a hundred years to fill. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty,
    /// contains a NUL, or is longer than the store's names less 7 bytes.
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

    /// The same by another clock. All who use the limiter must use the same.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes so many tokens, or none.
    ///
    /// # Errors
    /// [`Error::BadCount`] for none, or more than the burst, which could never be had. [`Error::OtherClock`],
    /// [`Error::Damaged`]. The store's.
    pub fn try_take(&self, tokens: u32) -> Result<Taken> {
        Ok(self.step(tokens)?.0)
    }

    /// Waits until so many tokens can be taken. [`Taken::No`] as soon as it is certain that there will not be enough
    /// before the deadline.
    ///
    /// Those who wait are not in line: whoever asks first when there are enough has them.
    ///
    /// # Errors
    /// As [`try_take`](RateLimiter::try_take).
    pub fn take(&self, tokens: u32, deadline: &Deadline) -> Result<Taken> {
        loop {
            let (taken, seen_at) = self.step(tokens)?;
            let Taken::No { retry_after } = taken else { return Ok(taken) };
            if deadline.remaining().is_some_and(|left| left < retry_after) {
                return Ok(taken);
            }
            // Until then nothing but somebody's reset can help, which is a change of the entry.
            self.store.wait(&self.key, seen_at, &sooner(deadline, retry_after))?;
        }
    }

    /// Fills the bucket.
    ///
    /// # Errors
    /// The store's.
    pub fn reset(&self) -> Result<()> {
        self.store.commit(&[Op::delete(&self.key)])?;
        Ok(())
    }

    /// Takes if there are enough; and a revision at which it was as answered.
    fn step(&self, tokens: u32) -> Result<(Taken, Revision)> {
        if tokens == 0 || tokens > self.burst {
            let why = if tokens == 0 { "take at least 1" } else { "the bucket never holds so many; take fewer" };
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
            let (taken, new) = match after.checked_sub(brim) {
                None | Some(0) => (Taken::Yes { left: ((brim - after) / self.each) as u32 }, after),
                Some(early) => (Taken::No { retry_after: Duration::from_nanos(early) }, full),
            };
            if matches!(taken, Taken::No { .. }) && !went_back {
                return Ok((taken, seen_at));
            }
            let value = format!("{new} {whole} {}", self.clock.tag());
            if let Outcome::Committed(at) = self.store.commit(&[Op::put(&self.key, value.as_bytes()).when(before)])? {
                return Ok((taken, at));
            }
        }
    }

    /// When the bucket is full, how long a whole one takes whoever wrote that, what holds as long as it does, and a
    /// revision at which it did.
    fn read(&self) -> Result<(u64, u64, When, Revision)> {
        let mut value = Vec::new();
        let (meta, seen_at) = self.store.read(&self.key, &mut value)?;
        let Some(meta) = meta else { return Ok((0, 0, When::Absent, seen_at)) };
        let text = String::from_utf8_lossy(&value);
        let parts = text.split_once(' ').and_then(|(full, rest)| Some((full.parse().ok()?, rest.split_once(' ')?)));
        let parts = parts.and_then(|(full, (whole, clock))| Some((full, whole.parse().ok()?, clock)));
        let Some((full, whole, clock)) = parts.filter(|(_, whole, _)| *whole <= LONGEST) else {
            let what = format!("it holds {text:?}, no times and clock");
            return Err(Damaged::new(&self.key, what).into());
        };
        if clock != self.clock.tag() {
            return Err(Error::OtherClock { name: self.name.clone() });
        }
        Ok((full, whole, When::ModifiedAt(meta.modified), seen_at))
    }
}

impl Clock {
    /// In nanoseconds. It stands still after 292 years, so that nothing added to it overflows.
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

    /// What tells clocks apart that cannot be compared, at most 16 bytes.
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
