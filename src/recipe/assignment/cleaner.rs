//! Releases the slots of nodes that have been stale for long enough.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::error::Result;
use super::placement::Placement;
use super::slots::Assignment;
use crate::Outcome;
use crate::backend::{Backend, Op, When};
use crate::clock::{Revision, Token};

/// The usual time for [`Cleaner::release_stale`], ten minutes, as in sbd-operator.
pub const STALE_AFTER: Duration = Duration::from_secs(600);

/// Releases the slots of nodes that it has seen stale for long enough.
///
/// It measures on its own monotonic clock, from the first call that found the node stale to a later call. A new cleaner
/// begins to measure anew. Any number may run at once; each eviction is one commit and happens once.
///
/// ```
/// use slotguard::backend::Model;
/// use slotguard::recipe::{self, assignment::{Assignment, STALE_AFTER}};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # fn main() -> slotguard::recipe::Result<()> {
/// let store = Arc::new(Model::new());
/// let slots = Assignment::open(&store, "gpus")?;
/// slots.assign("host-a")?; // Assigned, but never announced.
///
/// let mut cleaner = slots.cleaner();
/// assert_eq!(cleaner.look()?.len(), 1);
/// assert!(cleaner.release_stale(STALE_AFTER)?.is_empty());
/// store.advance(STALE_AFTER);
/// assert_eq!(cleaner.release_stale(STALE_AFTER)?[0].node, "host-a");
/// # Ok(())
/// # }
/// ```
pub struct Cleaner<'a, B: Backend> {
    assignment: &'a Assignment<B>,
    stale: BTreeMap<u16, Stale>,
}

/// A node that has been stale in every call of [`Cleaner::look`] since the first.
struct Stale {
    generation: Token,
    /// The revision of its last announcement.
    announced: Revision,
    since: Instant,
}

impl<B: Backend> Assignment<B> {
    /// Creates a cleaner, which has not seen any node stale yet.
    pub fn cleaner(&self) -> Cleaner<'_, B> {
        Cleaner { assignment: self, stale: BTreeMap::new() }
    }
}

impl<B: Backend> Cleaner<'_, B> {
    /// Returns the stale nodes, in the order of slots, each with the time for which this cleaner knows it to be stale:
    /// 0 for those that it sees stale for the first time.
    ///
    /// # Errors
    /// Those of [`Assignment::active`].
    pub fn look(&mut self) -> Result<Vec<(Placement, Duration)>> {
        let occupancy = self.assignment.occupancy()?;
        // Read after the occupancy, so that the measured time is never longer than the true one.
        let now = self.assignment.store.now();
        let mut before = std::mem::take(&mut self.stale);
        let mut seen = Vec::new();
        for (placement, announced, alive) in occupancy.placements() {
            if alive {
                continue;
            }
            let same = |stale: &Stale| stale.generation == placement.generation && stale.announced == announced;
            let known = before.remove(&placement.slot).filter(same);
            let stale = known.unwrap_or(Stale { generation: placement.generation, announced, since: now });
            seen.push((placement.clone(), now.saturating_duration_since(stale.since)));
            self.stale.insert(placement.slot, stale);
        }
        Ok(seen)
    }

    /// Releases the slots of nodes known to be stale for at least `stale_for` without a break, and returns them. Call
    /// it periodically, for example every half of `stale_for`.
    ///
    /// # Errors
    /// Those of [`look`](Cleaner::look) and [`Backend::commit`]. Slots released before it stay released.
    pub fn release_stale(&mut self, stale_for: Duration) -> Result<Vec<Placement>> {
        let mut released = Vec::new();
        for (placement, known_for) in self.look()? {
            if known_for < stale_for {
                continue;
            }
            let Some(stale) = self.stale.get(&placement.slot) else { continue };
            let announced = When::ModifiedAt(stale.announced);
            let owned = self.assignment.assigned(placement)?;
            let outcome = self.assignment.store.commit(&[
                Op::delete(&owned.slot_key).when(owned.condition().when),
                Op::delete(&owned.node_key).when(announced),
                Op::check(&owned.alive_key, When::Absent),
            ])?;
            // A conflict: it was announced or released meanwhile, so it is not stale any more.
            self.stale.remove(&owned.slot());
            if let Outcome::Committed(_) = outcome {
                released.push(owned.placement().clone());
            }
        }
        Ok(released)
    }
}

impl<B: Backend> fmt::Debug for Cleaner<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleaner").field("stale", &self.stale.len()).finish_non_exhaustive()
    }
}
