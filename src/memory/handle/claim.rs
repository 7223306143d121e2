//! Claims a record while its holder acts outside: read, write outside, commit.
//!
//! A claim is a block like any other, with the same value and version and an owner, a deadline and a token. Take-over,
//! renewal, release and the guarded write are the same swap of the head, made against the very block in which the token
//! was read: a holder that lost its claim meets another head and cannot write (P7).
//!
//! Swapping in memory and writing a database are two steps, and a crash between them is possible. So a holder announces
//! with [`Claim::intend`] what it is about to write; if it dies, the next holder finds the [`Intent`], reads the database
//! again and knows which side of the crash it is on. *The claim makes conflicts rare and cheap; your
//! `WHERE version = ?` makes them impossible.*

use std::fmt;
use std::time::{Duration, Instant};

use super::record::{Record, Stamp, stamp};
use crate::clock::{Deadline, Intent, Revision, Token, Version};
use crate::error::{Error, LeaseEnd, Result};
use crate::memory::block::meta::{ClaimWords, IntentWords, Next};
use crate::memory::fingerprint::fnv1a64;
use crate::memory::record::next::{next_value, same_value};
use crate::memory::record::read::Observed;
use crate::memory::wait::record::WaitStep;
use crate::memory::wait::sleeper::Pace;

/// A record that is ours until the lease ends: read it, announce a change, make it outside, commit.
///
/// For programs that address records of one segment by number. [`Guarded`](crate::recipe::Guarded) has these verbs on a
/// named entry of any store: its claims are served in the order of asking, live by their session's lease, and keep more
/// than one abandoned intent.
///
/// Dropping it releases the record. Dropping it after [`Claim::intend`] and without a commit (a panic, an early return)
/// releases the record and leaves the intent to the next holder, since the outside write may have happened.
///
/// # When a process dies
/// The claim ends with it, at once; the next holder finds in [`Claim::abandoned`] what the dead one had announced.
#[must_use = "a claim that is dropped is released"]
pub struct Claim<'s> {
    record: Record<'s>,
    token: Token,
    abandoned: Option<Intent>,
    ended: bool,
    /// We announced a write and have neither committed nor released.
    intending: bool,
}

impl<'s> Record<'s> {
    /// Takes the record: until the claim ends, every other update answers [`Error::Held`].
    ///
    /// Waits until `wait` for somebody else's claim to end. The claim ends by itself after `lease`, and at once if this
    /// process dies. Its [token](Claim::token) grows from claim to claim.
    ///
    /// # Errors
    /// [`Error::TimedOut`] naming the holder; [`Error::Invalid`] for a lease of zero; else as [`Record::update`].
    ///
    /// # When a process dies
    /// A killed holder's claim can be taken over as soon as the kernel has taken its lock away; a waiter notices within
    /// one wait slice. A *stopped* holder's claim can be taken over once its lease has ended, and then it is refused.
    pub fn claim(&self, wait: Deadline, lease: Duration) -> Result<Claim<'s>> {
        self.note(Claim::acquire(*self, &wait, lease))
    }
}

impl<'s> Claim<'s> {
    pub(crate) fn acquire(record: Record<'s>, wait: &Deadline, lease: Duration) -> Result<Self> {
        let lease = nanoseconds(lease)?;
        let home = record.home;
        let mut met: Option<(Instant, Observed)> = None;
        let claimed = home.wait_until(record.index(), wait, Pace::Probing, || {
            home.with_lane(|lane, copies| {
                let seen = record.observe_value(&mut copies.old)?;
                if record.live_claim(&seen) {
                    met = Some((met.map_or_else(Instant::now, |(began, _)| began), seen));
                    return Ok(WaitStep::Wait { head: seen.head, until: Some(seen.meta.claim.until) });
                }
                let now = home.host.now();
                let claim = ClaimWords { owner: home.me, token: 0, until: now.saturating_add(lease), since: now };
                let next = Next { claim: Some(&claim), ..same_value(record.index(), &seen) };
                let published = record.publish(lane, &seen, &next, &copies.old)?;
                Ok(published.map_or(WaitStep::Again, |revision| WaitStep::Done((seen.meta.intent, revision))))
            })
        })?;
        let Some((left, revision)) = claimed else {
            let (began, seen) = met.expect("a wait that ends in vain has met a holder");
            let holder = Box::new(record.describe_holder(&seen));
            return Err(Error::TimedOut { waited: began.elapsed(), holder });
        };
        let abandoned =
            left.announced().map(|left| Intent { token: Token(left.token), before: left.before, after: left.after });
        Ok(Self { record, token: Token(revision), abandoned, ended: false, intending: false })
    }

    /// The fencing token: larger than that of every earlier claim on the record. Store it with what you write outside,
    /// and let the outside refuse smaller ones: `WHERE token <= ?`.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The claimed record.
    pub fn record(&self) -> Record<'s> {
        self.record
    }

    /// What an earlier holder announced and neither committed nor released: its outside write may have happened.
    ///
    /// Look outside which, and commit the value that is true there. The report stays with the record until a holder
    /// commits, announces an intent of its own, or calls [`Claim::dismiss`].
    pub fn abandoned(&self) -> Option<&Intent> {
        self.abandoned.as_ref()
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; else as [`Record::read`].
    pub fn read(&self, into: &mut Vec<u8>) -> Result<Stamp> {
        self.record.home.check()?;
        let seen = self.record.home.counted(self.record.observe_value(into))?;
        self.still_ours(&seen)?;
        Ok(stamp(&seen))
    }

    /// Announces that `new` is about to be written outside, before it is: a later holder learns of it if we die.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::TooLarge`] if the commit of `new` would be refused; else as [`Record::update`].
    pub fn intend(&mut self, new: &[u8]) -> Result<Intent> {
        let limit = self.record.home.max_payload();
        if new.len() > limit {
            return Err(Error::TooLarge { length: new.len(), limit });
        }
        let after = fnv1a64(new);
        let seen = self.rewrite(|seen, _, intent| {
            *intent = IntentWords { token: self.token.0, before: seen.meta.fingerprint, after };
        })?;
        self.intending = true;
        self.abandoned = None;
        Ok(Intent { token: self.token, before: seen.meta.fingerprint, after })
    }

    /// Drops the report of an abandoned intent, having found that nothing needs to be done about it.
    ///
    /// # Errors
    /// As [`Claim::renew`].
    pub fn dismiss(&mut self) -> Result<()> {
        self.rewrite(|_, _, intent| *intent = IntentWords::NONE)?;
        self.abandoned = None;
        self.intending = false;
        Ok(())
    }

    /// Lets the claim end this long from now instead.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if it has ended; else as [`Record::update`].
    pub fn renew(&mut self, lease: Duration) -> Result<()> {
        let lease = nanoseconds(lease)?;
        let now = self.record.home.host.now();
        self.rewrite(|_, claim, _| claim.until = now.saturating_add(lease)).map(|_| ())
    }

    /// Writes `new` and ends the claim, in one step.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the claim has ended: nothing is written. Else as [`Record::update`]; the claim is then
    /// released as by a drop.
    pub fn commit(mut self, new: &[u8]) -> Result<Stamp> {
        let (seen, revision) = self.replace(Some(new), |_, claim, intent| {
            *claim = ClaimWords::NONE;
            *intent = IntentWords::NONE;
        })?;
        self.ended = true;
        Ok(Stamp { version: Version(seen.meta.version + 1), revision: Revision(revision), fingerprint: fnv1a64(new) })
    }

    /// Ends the claim; the value stays. An intent of ours is taken back: nothing was written outside.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the claim has ended already; else as [`Record::update`].
    pub fn release(mut self) -> Result<()> {
        self.intending = false;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let (token, keep) = (self.token.0, self.intending);
        self.ended = true;
        self.rewrite(|_, claim, intent| {
            *claim = ClaimWords::NONE;
            if intent.token == token && !keep {
                *intent = IntentWords::NONE;
            }
        })
        .map(|_| ())
    }

    /// Replaces the block by one with the same value; `change` says in what its header differs.
    fn rewrite(&self, change: impl Fn(&Observed, &mut ClaimWords, &mut IntentWords)) -> Result<Observed> {
        self.replace(None, change).map(|(seen, _)| seen)
    }

    /// Replaces the block while it bears our token: with the value `new`, or the same value.
    fn replace(
        &self,
        new: Option<&[u8]>,
        change: impl Fn(&Observed, &mut ClaimWords, &mut IntentWords),
    ) -> Result<(Observed, u64)> {
        let record = self.record;
        let done = record.home.with_lane(|lane, copies| {
            loop {
                let seen = record.observe_value(&mut copies.old)?;
                self.still_ours(&seen)?;
                let (mut claim, mut intent) = (seen.meta.claim, seen.meta.intent);
                claim.token = self.token.0;
                change(&seen, &mut claim, &mut intent);
                let (next, value) = match new {
                    Some(new) => (next_value(record.index(), &seen, new, seen.meta.kind), new),
                    None => (same_value(record.index(), &seen), copies.old.as_slice()),
                };
                let claim = claim.is_some().then_some(&claim);
                let next = Next { claim, intent: intent.announced(), ..next };
                if let Some(revision) = record.publish(lane, &seen, &next, value)? {
                    return Ok((seen, revision));
                }
            }
        });
        record.note(done)
    }

    /// Refuses if the block seen is not under our claim, or the lease has run out.
    fn still_ours(&self, seen: &Observed) -> Result<()> {
        let home = self.record.home;
        let claim = seen.meta.claim;
        let why = if !claim.is_some() {
            LeaseEnd::Replaced
        } else if claim.owner != home.me || seen.token() != self.token.0 {
            LeaseEnd::TakenOver(Token(seen.token()))
        } else {
            match home.host.now().checked_sub(claim.until) {
                Some(ago) => LeaseEnd::Expired(Duration::from_nanos(ago)),
                None => return Ok(()),
            }
        };
        home.count_fenced();
        Err(Error::LeaseLost { record: self.record.index(), token: self.token, why })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // If this fails, the lease ends the claim.
            let _ = self.end();
        }
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("record", &self.record.index()).field("token", &self.token).finish()
    }
}

/// A lease in nanoseconds; more than the clock can count is for ever.
fn nanoseconds(lease: Duration) -> Result<u64> {
    if lease.is_zero() {
        return Err(Error::Invalid("a lease of zero would end before it began; give it some milliseconds".to_owned()));
    }
    Ok(u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX))
}
