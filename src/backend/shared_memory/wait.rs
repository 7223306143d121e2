//! Waiting until an entry changes: a sleep on its record, or, while it is absent, on the leaf that would name it.

use super::key::Key;
use super::lease::{LeaseStatus, Probe};
use super::lookup::Presence;
use super::tree::Tree;
use crate::clock::{Deadline, Lease, Revision};
use crate::error::Result;
use crate::memory::layout::word::Head;
use crate::memory::record::read::Observed;
use crate::memory::wait::record::WaitStep;
use crate::memory::wait::sleeper::Pace;

/// What a waiter knows of its entry.
struct Known {
    revision: Revision,
    /// Whether it was there when it was last looked at, if it has been.
    present: Option<bool>,
}

/// What a look on behalf of a waiter found.
enum Waiting {
    Changed,
    /// Nothing yet: sleep until this record has another head, and no longer than the lease lasts.
    Sleep {
        record: u32,
        head: Head,
        lease: Option<Lease>,
    },
}

impl Tree {
    /// [`Backend::wait`](crate::backend::Backend::wait).
    pub(super) fn wait(&self, key: &Key, newer_than: Revision, deadline: &Deadline) -> Result<bool> {
        let home = &self.segment().inner;
        let mut known = Known { revision: newer_than, present: None };
        loop {
            // The record to sleep on changes when the entry is created or deleted, or its leaf is split: each of that ends
            // the inner wait, and we look where to sleep anew.
            let (record, lease) = match self.look_for_wait(key, &mut known)? {
                Waiting::Changed => return Ok(true),
                Waiting::Sleep { record, lease, .. } => (record, lease),
            };
            // An owner's death wakes nobody: whoever waits for a leased entry looks often at first.
            let pace = if lease.is_some() { Pace::Leased } else { Pace::Steady };
            let done = home.wait_until(record, deadline, pace, || {
                Ok(match self.look_for_wait(key, &mut known)? {
                    Waiting::Changed => WaitStep::Done(true),
                    Waiting::Sleep { record: now, lease: under, .. } if (now, under) != (record, lease) => {
                        WaitStep::Done(false)
                    }
                    Waiting::Sleep { head, lease, .. } => {
                        let until = lease.map(|lease| self.lease_until(lease)).transpose()?.flatten();
                        WaitStep::Wait { head, until }
                    }
                })
            });
            match done? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => return Ok(false),
            }
        }
    }

    /// A look on behalf of somebody who waits for a change after `known`, which an absence seen now moves on.
    fn look_for_wait(&self, key: &Key, known: &mut Known) -> Result<Waiting> {
        let (mut value, mut seen) = (Vec::new(), Observed::NOTHING);
        let place = match self.find(key, &mut value, &mut seen)? {
            Presence::Absent { revision, leaf, head } => {
                // A leaf that changed while the name was absent before and after changed for another name.
                if revision > known.revision.0 && known.present != Some(false) {
                    return Ok(Waiting::Changed);
                }
                *known = Known { revision: Revision(revision.max(known.revision.0)), present: Some(false) };
                return Ok(Waiting::Sleep { record: leaf, head, lease: None });
            }
            Presence::Present(place) => place,
        };
        if seen.modified() > known.revision.0 {
            return Ok(Waiting::Changed);
        }
        known.present = Some(true);
        if seen.meta.lease == 0 {
            return Ok(Waiting::Sleep { record: place.record, head: seen.head, lease: None });
        }
        let lease = Lease(seen.meta.lease);
        // Somebody waits for it: the time to ask the kernel whether its owner lives.
        let gone = self.with_lane(|lane| match self.lease_status(lane, lease, Probe::Owner)? {
            LeaseStatus::Alive(_) => Ok(false),
            _ => self.remove_dead(lane, key.bytes(), place, lease).map(|()| true),
        })?;
        if gone {
            return Ok(Waiting::Changed);
        }
        Ok(Waiting::Sleep { record: place.record, head: seen.head, lease: Some(lease) })
    }
}
