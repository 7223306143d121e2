//! Leases: what entries may be bound to, so that they are gone when their owner is.
//!
//! A lease is a record with an entry in the directory under a hidden name, so that it can be found by whoever looks for
//! leases that are over. Its value is {state, time to live, deadline, owner}. It is rewritten by renewals, which mark
//! nothing and wake nobody, and by its end:
//!
//! * **renew**: swap ALIVE with deadline d for ALIVE with d'. **End**: swap ALIVE for DYING, allowed once d has passed, once
//!   the owner is proven dead, or on demand. Both compare the record's head, so renewal and end cannot both win, and DYING
//!   is never left: death is final.
//! * **A put under a lease checks the lease's head in the same commit.** (The first design kept a word a lease beside the
//!   records and looked at it again after the put: a put whose author was killed in between had to be completed by others.
//!   As a check of the commit it needs no second look and leaves nothing to complete.)
//! * A block names its lease by the lease's record and incarnation, so finding its state is one look, for leased entries
//!   only. An entry whose lease is over is removed by whoever meets it before anybody is told that it is absent.
//! * **Sweep**: walks the leaves in the order of names, looks at the entries marked *may be leased* only (the commit that
//!   first puts a key under a lease sets the mark, and it stays), and removes those whose lease is over; then the lease's
//!   own record goes. No put under a DYING lease can commit, so one walk is enough; anyone may start it again.
//!
//! The owner is the attachment that granted it, (row, epoch), whose death the kernel proves. Reads compare the deadline
//! with the clock; the owner's lock is probed only when an entry is in somebody's way, and at the end of wait slices.

use std::time::{Duration, Instant};

use super::node::{self, Edit, Place};
use super::tree::{COUNTS, Path, ROUNDS, Tree};
use crate::clock::Lease;
use crate::error::{Error, Result};
use crate::memory::block::meta::{BlockMeta, Next};
use crate::memory::block::spares::LaneHandle;
use crate::memory::fnv1a64;
use crate::memory::layout::word::{Head, OwnerWord};
use crate::memory::liveness::attachment::Attachment;
use crate::memory::record::next::{next_value, same_value};
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;

/// What a lease's block says its value is.
pub(super) const LEASE: u64 = u64::from_le_bytes(*b"dirlease");
/// The hidden names of leases: no user's name has a NUL.
pub(super) const HIDDEN: &[u8] = b"\0l";

/// The shortest and the longest time to live.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const ALIVE: u64 = 1;
const DYING: u64 = 2;

/// What a lease's value says; times are nanoseconds of the host's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    state: u64,
    time_to_live: u64,
    until: u64,
    owner: OwnerWord,
}

impl Terms {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let &[state, time_to_live, until, owner] = words else { return None };
        let [state, time_to_live, until, owner] = [state, time_to_live, until, owner].map(u64::from_le_bytes);
        rest.is_empty().then_some(Self { state, time_to_live, until, owner: OwnerWord(owner) })
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in
            bytes.as_chunks_mut::<8>().0.iter_mut().zip([self.state, self.time_to_live, self.until, self.owner.0])
        {
            *place = word.to_le_bytes();
        }
        bytes
    }
}

/// How sure one wants to be that a lease is alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Its deadline has not passed.
    Clock,
    /// And its owner lives.
    Owner,
}

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LeaseStatus {
    /// With the head it had when it was looked at, for a commit to check.
    Alive(Head),
    /// Expired, revoked, its owner dead, or all that and removed.
    Over,
    /// There was never such a lease.
    Unknown,
}

impl Lease {
    fn of(place: Place) -> Self {
        Self(place.word())
    }

    pub(super) fn place(self) -> Place {
        Place::of_word(self.0).unwrap_or(Place { record: 0, incarnation: 0, leased: false })
    }

    fn hidden_name(self) -> [u8; 10] {
        let mut name = [0; 10];
        name[..2].copy_from_slice(HIDDEN);
        name[2..].copy_from_slice(&self.0.to_be_bytes());
        name
    }

    /// The lease of a hidden name.
    fn of_hidden_name(name: &[u8]) -> Option<Self> {
        let id = name.strip_prefix(HIDDEN)?;
        Some(Self(u64::from_be_bytes(id.try_into().ok()?)))
    }
}

impl Tree {
    fn home(&self) -> &Attachment {
        &self.segment().inner
    }

    /// Looks at a lease; one whose deadline has passed, or whose owner is found dead, is ended here.
    pub(super) fn lease_status(&self, lane: &mut LaneHandle, lease: Lease, probe: Probe) -> Result<LeaseStatus> {
        for _ in 0..ROUNDS {
            let Some((seen, terms)) = self.terms(lease)? else {
                return Ok(self.past(lease));
            };
            let home = self.home();
            let over = terms.state != ALIVE
                || terms.until <= home.host.now()
                || probe == Probe::Owner && !home.is_alive(terms.owner);
            if !over {
                return Ok(LeaseStatus::Alive(seen.head));
            }
            if terms.state == DYING || self.rewrite(lane, lease, &seen, Terms { state: DYING, ..terms })? {
                return Ok(LeaseStatus::Over);
            }
        }
        Err(outrun(lease))
    }

    /// Whether entries of the lease are still there, for a reader: it changes nothing.
    pub(super) fn is_over(&self, lease: Lease) -> Result<bool> {
        let terms = self.terms(lease)?;
        let over = terms.is_none_or(|(_, terms)| terms.state != ALIVE || terms.until <= self.home().host.now());
        Ok(over)
    }

    /// The lease's record, if it still is that lease's.
    fn terms(&self, lease: Lease) -> Result<Option<(Observed, Terms)>> {
        let place = lease.place();
        if !self.is_key(place.record) {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(32);
        let seen = self.home().arena.read(place.record, Some(&mut bytes))?;
        let is_it = !seen.head.is_absent() && seen.meta.kind == LEASE && seen.meta.incarnation == place.incarnation;
        Ok(Terms::parse(&bytes).filter(|_| is_it).map(|terms| (seen, terms)))
    }

    /// What a lease without a record was.
    fn past(&self, lease: Lease) -> LeaseStatus {
        let place = lease.place();
        if !self.is_key(place.record) {
            return LeaseStatus::Unknown;
        }
        let seen = self.home().arena.read(place.record, None).map_or(0, |seen| seen.head.count());
        // Stamps wrap: what is less than half the circle behind is the past.
        if seen.wrapping_sub(place.incarnation) & COUNTS <= COUNTS / 2 {
            LeaseStatus::Over
        } else {
            LeaseStatus::Unknown
        }
    }

    /// Replaces a lease's terms; `false` if somebody else was first.
    fn rewrite(&self, lane: &mut LaneHandle, lease: Lease, seen: &Observed, terms: Terms) -> Result<bool> {
        let bytes = terms.bytes();
        let record = lease.place().record;
        let next = Next { fingerprint: fnv1a64(&bytes), claim: None, ..same_value(record, seen) };
        let arena = &self.home().arena;
        match lane.publish(arena, seen, &next, &bytes)? {
            Published::Won(_) => Ok(true),
            Published::Lost => {
                lane.back_off(arena);
                Ok(false)
            }
        }
    }

    /// [`Backend::grant`].
    pub(super) fn grant_lease(&self, time_to_live: Duration) -> Result<Lease> {
        self.with_room(|| self.with_lane(|lane| self.grant_with(lane, time_to_live)))
    }

    fn grant_with(&self, lane: &mut LaneHandle, time_to_live: Duration) -> Result<Lease> {
        let (shortest, longest) = (SHORTEST, LONGEST);
        if !(shortest..=longest).contains(&time_to_live) {
            return Err(Error::TimeToLive { asked: time_to_live, shortest, longest });
        }
        let home = self.home();
        let arena = &home.arena;
        let time_to_live = time_to_live.as_nanos() as u64;
        let mut path = Path::default();
        for _ in 0..ROUNDS {
            home.check()?;
            self.keep_reserve()?;
            // The name depends on the record, the leaf on the name; all hidden names are neighbours.
            self.descend(HIDDEN, &mut path)?;
            let (record, head) = self.free_key(&path.leaf().node(), HIDDEN, &[])?;
            let lease = Lease::of(Place::next_in((record, head)));
            let name = lease.hidden_name();
            self.descend_with_room(lane, &name, &mut path)?;
            let until = home.host.now().saturating_add(time_to_live);
            let bytes = Terms { state: ALIVE, time_to_live, until, owner: home.me }.bytes();
            let mut commit = lane.build_commit(arena);
            let seen = Observed { head, meta: BlockMeta { record, ..BlockMeta::ABSENT }, ..Observed::NOTHING };
            let next = Next { fingerprint: fnv1a64(&bytes), ..next_value(record, &seen, &[], LEASE) };
            commit.stage_put(arena, &seen, &next, &bytes, false).inspect_err(|_| self.mark_free(record))?;
            let mut leaf = Vec::new();
            let added = [Edit::Put(&name, lease.place())];
            let fits = node::edited(&self.validated(path.leaf())?, &added, &mut leaf);
            assert!(fits, "a leaf with room takes one more entry");
            self.stage_node(&mut commit, path.leaf(), &leaf)?;
            if let Published::Won(_) = commit.commit(arena)? {
                return Ok(lease);
            }
            drop(commit);
            self.mark_free(record);
            lane.back_off(arena);
        }
        Err(outrun(Lease(0)))
    }

    /// [`Backend::renew`].
    pub(super) fn renew_lease(&self, lease: Lease) -> Result<Instant> {
        self.with_lane(|lane| self.renew_with(lane, lease))
    }

    fn renew_with(&self, lane: &mut LaneHandle, lease: Lease) -> Result<Instant> {
        for _ in 0..ROUNDS {
            let (before, now) = (Instant::now(), self.home().host.now());
            match self.lease_status(lane, lease, Probe::Clock)? {
                LeaseStatus::Alive(_) => {}
                LeaseStatus::Over => return Err(Error::LeaseExpired { lease }),
                LeaseStatus::Unknown => return Err(Error::UnknownLease { lease }),
            }
            let Some((seen, terms)) = self.terms(lease)?.filter(|(_, terms)| terms.state == ALIVE) else {
                continue;
            };
            let until = now.saturating_add(terms.time_to_live);
            if self.rewrite(lane, lease, &seen, Terms { until, ..terms })? {
                return Ok(before + Duration::from_nanos(terms.time_to_live));
            }
        }
        Err(outrun(lease))
    }

    /// [`Backend::expiry`]: changes nothing.
    pub(super) fn lease_expiry(&self, lease: Lease) -> Result<Instant> {
        let home = self.home();
        home.check()?;
        let before = Instant::now();
        let Some((_, terms)) = self.terms(lease)? else {
            return Err(match self.past(lease) {
                LeaseStatus::Unknown => Error::UnknownLease { lease },
                _ => Error::LeaseExpired { lease },
            });
        };
        let now = home.host.now();
        let left =
            terms.until.checked_sub(now).filter(|left| *left > 0 && terms.state == ALIVE && home.is_alive(terms.owner));
        left.map(|left| before + Duration::from_nanos(left)).ok_or(Error::LeaseExpired { lease })
    }

    /// [`Backend::revoke`].
    pub(super) fn revoke_lease(&self, lease: Lease) -> Result<()> {
        self.with_lane(|lane| self.revoke_with(lane, lease))
    }

    fn revoke_with(&self, lane: &mut LaneHandle, lease: Lease) -> Result<()> {
        for _ in 0..ROUNDS {
            match self.lease_status(lane, lease, Probe::Clock)? {
                LeaseStatus::Alive(_) => {}
                LeaseStatus::Over => {
                    // Whoever ended it may not have swept it yet.
                    self.sweep(lane)?;
                    return Err(Error::LeaseExpired { lease });
                }
                LeaseStatus::Unknown => return Err(Error::UnknownLease { lease }),
            }
            let Some((seen, terms)) = self.terms(lease)?.filter(|(_, terms)| terms.state == ALIVE) else {
                continue;
            };
            if self.rewrite(lane, lease, &seen, Terms { state: DYING, ..terms })? {
                self.sweep(lane)?;
                return Ok(());
            }
        }
        Err(outrun(lease))
    }

    /// Ends the leases that are over (deadline passed, owner dead), removes the entries that lived by them, and the leases;
    /// answers how many.
    pub(super) fn sweep(&self, lane: &mut LaneHandle) -> Result<u32> {
        let mut over = Vec::new();
        self.walk(HIDDEN, |lease_name, _| {
            if let Some(lease) = Lease::of_hidden_name(lease_name) {
                over.push(lease);
            }
            Ok(())
        })?;
        let mut failed = None;
        over.retain(|lease| match self.lease_status(lane, *lease, Probe::Owner) {
            Ok(status) => !matches!(status, LeaseStatus::Alive(_)),
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if over.is_empty() {
            return Ok(0);
        }
        let mut dead: Vec<(Vec<u8>, Place, Lease)> = Vec::new();
        let mut seen = Observed::NOTHING;
        self.walk(b"", |name, place| {
            if place.leased && self.look_at(place, &mut seen)? && over.contains(&Lease(seen.meta.lease)) {
                dead.push((name.to_vec(), place, Lease(seen.meta.lease)));
            }
            Ok(())
        })?;
        for (name, place, lease) in &dead {
            self.remove_dead(lane, name, *place, *lease)?;
        }
        for lease in &over {
            self.remove_dead(lane, &lease.hidden_name(), lease.place(), Lease(0))?;
        }
        Ok(over.len() as u32)
    }

    /// Runs `work`, and again when the segment is full, once the entries of dead leases are removed.
    #[inline]
    pub(super) fn with_room<R>(&self, work: impl Fn() -> Result<R>) -> Result<R> {
        let sweep = || {
            if self.any_over()? {
                self.with_lane(|lane| self.sweep(lane))?;
            }
            Ok(())
        };
        self.segment().inner.with_room(sweep, work)
    }

    /// Whether any lease is over, without ending it: what a waiter looks at between two slices.
    pub(super) fn any_over(&self) -> Result<bool> {
        let mut any = false;
        let home = self.home();
        self.walk(HIDDEN, |name, _| {
            if let (false, Some(lease)) = (any, Lease::of_hidden_name(name)) {
                any = self.terms(lease)?.is_none_or(|(_, terms)| {
                    terms.state != ALIVE || terms.until <= home.host.now() || !home.is_alive(terms.owner)
                });
            }
            Ok(())
        })?;
        Ok(any)
    }

    /// When the lease ends unless it is renewed, for a waiter: nanoseconds of the host's clock.
    pub(super) fn lease_until(&self, lease: Lease) -> Result<Option<u64>> {
        Ok(self.terms(lease)?.map(|(_, terms)| terms.until))
    }
}

/// Others rewrote the lease as often as this call looked at it.
fn outrun(lease: Lease) -> Error {
    Error::Outrun { what: format!("lease {lease}"), rounds: ROUNDS }
}
