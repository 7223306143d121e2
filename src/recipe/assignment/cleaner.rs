//! Freeing the slots of nodes that will not come back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::error::Result;
use super::placement::Placement;
use super::slots::Assignment;
use crate::Outcome;
use crate::backend::{Backend, Op, When};
use crate::clock::{Revision, Token};

/// For how long a node is stale before source system 1 takes its slot away: ten minutes.
pub const STALE_AFTER: Duration = Duration::from_secs(600);

/// Frees the slots of nodes that it has seen stale for long enough.
///
/// The time is the cleaner's own: from a look that found the node stale to a later call, on its monotonic clock. A
/// cleaner that starts anew begins to count anew. Any number may work at once; each eviction is one commit, and takes
/// place once.
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
/// slots.assign("host-a")?; // Never announced.
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

/// What has been stale at every look since it was first seen so.
struct Stale {
    generation: Token,
    /// When the node was last announced.
    announced: Revision,
    since: Instant,
}

impl<B: Backend> Assignment<B> {
    /// One who frees the slots of those who have been stale for long.
    pub fn cleaner(&self) -> Cleaner<'_, B> {
        Cleaner { assignment: self, stale: BTreeMap::new() }
    }
}

impl<B: Backend> Cleaner<'_, B> {
    /// Looks who is stale, and begins to count for those who were not before. In the order of slots, each with how long it
    /// is known to have been so.
    ///
    /// # Errors
    /// As [`Assignment::active`].
    pub fn look(&mut self) -> Result<Vec<(Placement, Duration)>> {
        let occupancy = self.assignment.occupancy()?;
        // After the look: what is counted is never longer than it was.
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

    /// Looks, and frees the slots of those who have been stale for so long without a break; answers whose. Call it now and
    /// then, say every half of the time.
    ///
    /// # Errors
    /// As [`look`](Cleaner::look), and those of [`Backend::commit`]. Those who were freed before it stay so.
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
            // A conflict: it was announced or released in between, so it is not stale any more.
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
