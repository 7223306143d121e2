//! How many changes there had been up to a revision: what somebody who looked at one moment must have seen.
//!
//! Of an acknowledged change the revision was told. That of one in doubt which took effect was not; it lies between those
//! of the changes before and after it in the history of its record ([`chain`](super::chain)).

use super::Execution;
use super::chain::Chains;
use crate::history::Outcome;

/// Revisions of the changes of some records that took effect: told, or between two that were.
pub struct Numbers {
    told: Vec<u64>,
    /// After which revisions those in doubt may have come, and by which ones they have.
    earliest: Vec<u64>,
    latest: Vec<u64>,
}

impl Numbers {
    pub fn of(execution: &Execution<'_>, chains: &Chains, records: &[u32]) -> Self {
        let mut numbers = Self { told: Vec::new(), earliest: Vec::new(), latest: Vec::new() };
        for record in records {
            let authors = chains.authors.get(*record as usize).map_or(&[][..], Vec::as_slice);
            let (mut before, mut waiting) = (0, 0);
            for change in authors.iter().flatten().filter_map(|author| execution.history.entry(*author)) {
                if change.outcome == Outcome::Done {
                    numbers.told.push(change.revision);
                    numbers.latest.extend(std::iter::repeat_n(change.revision, waiting));
                    (before, waiting) = (change.revision, 0);
                } else {
                    numbers.earliest.push(before);
                    waiting += 1;
                }
            }
            numbers.latest.extend(std::iter::repeat_n(u64::MAX, waiting));
        }
        numbers.told.sort_unstable();
        numbers.earliest.sort_unstable();
        numbers.latest.sort_unstable();
        numbers
    }

    /// How many have a revision up to this one, at least and at most.
    pub fn up_to(&self, revision: u64) -> (u64, u64) {
        let told = self.told.partition_point(|one| *one <= revision);
        let certain = self.latest.partition_point(|one| *one <= revision);
        let possible = self.earliest.partition_point(|one| *one < revision);
        ((told + certain) as u64, (told + possible) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::chain;
    use crate::check::scripted_run::ScriptedRun;

    #[test]
    fn a_change_in_doubt_counts_from_its_neighbours_on() {
        let mut run = ScriptedRun::new(1, 2);
        run.change(0, 0);
        let doubt = run.change(0, 0);
        run.change(0, 1);
        run.change(0, 0);
        let last = run.change(0, 0);
        run.entry(doubt).outcome = Outcome::InDoubt;
        run.entry(last).outcome = Outcome::InDoubt;
        run.with_execution(|execution| {
            let numbers = Numbers::of(execution, &chain::walk(execution), &[0]);
            let counts: Vec<_> = (0..7).map(|revision| numbers.up_to(revision)).collect();
            assert_eq!(counts, [(0, 0), (1, 1), (1, 2), (1, 2), (3, 3), (3, 4), (3, 4)]);
        });
    }
}
