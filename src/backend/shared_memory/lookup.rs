//! Reading one entry by its name.

use super::key::Key;
use super::lease::{LeaseStatus, Probe};
use super::node::Place;
use super::tree::{Path, ROUNDS, Tree};
use crate::backend::Meta;
use crate::clock::{Lease, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::layout::word::Head;
use crate::memory::record::read::Observed;
use crate::memory::sync::error::RetryBudget;

/// What a lookup found.
pub(super) enum Presence {
    Present(Place),
    /// With the leaf that shows it.
    Absent {
        revision: u64,
        leaf: u32,
        head: Head,
    },
}

/// What a block says of its entry.
pub(super) fn meta_of(seen: &Observed) -> Meta {
    Meta {
        created: Revision(seen.created()),
        modified: Revision(seen.modified()),
        version: Version(seen.meta.version),
        lease: (seen.meta.lease != 0).then_some(Lease(seen.meta.lease)),
    }
}

impl Tree {
    /// Looks at the record of `place`, if it still is that incarnation of an entry or lease.
    pub(super) fn look_at(&self, place: Place, seen: &mut Observed) -> Result<bool> {
        if !self.is_key(place.record) {
            return Ok(false);
        }
        self.arena().read_into(place.record, None, seen)?;
        Ok(!seen.head.is_absent() && seen.meta.incarnation == place.incarnation)
    }

    pub(super) fn look_at_entry(&self, place: Place, seen: &mut Observed) -> Result<bool> {
        Ok(self.look_at(place, seen)? && seen.meta.kind == 0)
    }

    /// What the handle says, if it is still true; `seen` is filled then.
    pub(super) fn cached(&self, key: &Key, seen: &mut Observed) -> Result<Option<Place>> {
        let Some(place) = key.place_in(self) else { return Ok(None) };
        if self.look_at_entry(place, seen)? {
            return Ok(Some(place));
        }
        key.forget();
        Ok(None)
    }

    /// Reads an entry's record by its place; `None` if it is another incarnation or kind.
    pub(super) fn read_at(&self, place: Place, into: &mut Vec<u8>, seen: &mut Observed) -> Result<bool> {
        if !self.is_key(place.record) {
            return Ok(false);
        }
        self.arena().read_into(place.record, Some(into), seen)?;
        let same = seen.meta.incarnation == place.incarnation;
        Ok(!seen.head.is_absent() && same && seen.meta.kind == 0)
    }

    /// Reads an entry; where it is, or the leaf's revision and place if it is absent.
    pub(super) fn find(&self, key: &Key, into: &mut Vec<u8>, seen: &mut Observed) -> Result<Presence> {
        self.find_with(key, into, seen, true)
    }

    /// The same; what is found dead is removed only where the caller has no lane in use.
    pub(super) fn find_with(
        &self,
        key: &Key,
        into: &mut Vec<u8>,
        seen: &mut Observed,
        remove: bool,
    ) -> Result<Presence> {
        let mut path = Path::default();
        let mut budget = RetryBudget::new();
        for _ in 0..ROUNDS {
            self.segment().inner.check()?;
            let mut place = key.place_in(self);
            if let Some(known) = place
                && !self.read_at(known, into, seen)?
            {
                key.forget();
                place = None;
            }
            let place = match place {
                Some(place) => place,
                None => {
                    self.descend(key.bytes(), &mut path)?;
                    let leaf = path.leaf();
                    let Ok(at) = leaf.node().search(key.bytes()) else {
                        into.clear();
                        return Ok(Presence::Absent {
                            revision: leaf.revision(),
                            leaf: leaf.record,
                            head: leaf.seen.head,
                        });
                    };
                    let place = leaf.node().place(at);
                    if !self.read_at(place, into, seen)? {
                        // Deleted since the leaf was read, or damage: then the leaf stays as it is.
                        let (record, head) = (path.leaf().record, path.leaf().seen.head.0);
                        budget.again("an entry that the directory does not mean", record, head, place.record.into())?;
                        continue;
                    }
                    key.remember(place, self);
                    place
                }
            };
            let lease = Lease(seen.meta.lease);
            if remove && lease.0 != 0 && self.is_over(lease)? {
                // Ended for good before its first entry goes: nobody may renew it once somebody saw an absence.
                self.with_lane(|lane| match self.lease_status(lane, lease, Probe::Clock)? {
                    LeaseStatus::Alive(_) => Ok(()),
                    _ => self.remove_dead(lane, key.bytes(), place, lease),
                })?;
                continue;
            }
            return Ok(Presence::Present(place));
        }
        Err(Error::Outrun { what: format!("key {:?}", key.as_ref()), rounds: ROUNDS })
    }
}
