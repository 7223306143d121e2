//! What happened before what, among participants that share no clock.
//!
//! ```
//! use slotguard::{Causality, VectorClock};
//!
//! let mut order = VectorClock::new();
//! order.tick(0)?; // participant 0 takes an order,
//! let mut invoice = order.clone();
//! invoice.tick(1)?; // participant 1 has seen it and writes the invoice,
//! let mut reminder = VectorClock::new();
//! reminder.tick(2)?; // participant 2 has seen neither.
//!
//! assert_eq!(order.compare(&invoice), Causality::Before);
//! assert_eq!(invoice.compare(&reminder), Causality::Concurrent);
//!
//! reminder.merge(&invoice);
//! assert!(reminder.dominates(&order));
//! assert_eq!(reminder.to_string(), "{0:1, 1:1, 2:1}");
//! # Ok::<(), slotguard::ClockOverflow>(())
//! ```
//!
//! A clock holds, for every participant, how many of its events are known. A participant ticks its own count at
//! each event of its own, and merges the clock of each message it gets. Then one event happened before another exactly when
//! its clock is smaller in some count and larger in none (C. J. Fidge, "Timestamps in message-passing systems that
//! preserve the partial ordering", 1988; F. Mattern, "Virtual time and global states of distributed systems", 1988/89).
//!
//! A participant without an entry has the count 0, and 0 is never stored: clocks that mean the same are equal.

use std::cmp::Ordering;
use std::fmt;

/// A vector clock: for each participant, how many of its events are known.
///
/// Two clocks may be neither smaller, equal nor larger, which [`compare`](Self::compare) calls
/// [`Concurrent`](Causality::Concurrent) and `partial_cmp` `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VectorClock {
    /// Sorted by participant, each at most once, no count 0.
    counts: Vec<(u32, u64)>,
}

/// How two events, or the clocks they carry, relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Causality {
    /// The first may have caused the second.
    Before,
    /// The second may have caused the first.
    After,
    /// The clocks know the same events.
    Equal,
    /// Neither knew of the other.
    Concurrent,
}

/// A participant's count is at its end, `u64::MAX`: its next event would look like its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "participant {participant} has counted {} events and cannot count one more; let it go on under a number not used before",
    u64::MAX
)]
pub struct ClockOverflow {
    /// The participant whose count is at its end.
    pub participant: u32,
}

impl VectorClock {
    /// A clock that knows of nothing.
    pub const fn new() -> Self {
        Self { counts: Vec::new() }
    }

    /// How many events of `participant` are known, 0 for one never heard of.
    pub fn get(&self, participant: u32) -> u64 {
        match self.place(participant) {
            Ok(at) => self.counts[at].1,
            Err(_) => 0,
        }
    }

    /// Sets the count of `participant`; 0 forgets it.
    pub fn set(&mut self, participant: u32, count: u64) {
        match (self.place(participant), count) {
            (Ok(at), 0) => drop(self.counts.remove(at)),
            (Ok(at), _) => self.counts[at].1 = count,
            (Err(_), 0) => {}
            (Err(at), _) => self.counts.insert(at, (participant, count)),
        }
    }

    /// Counts one event of `participant` and answers its number, from 1 on.
    ///
    /// # Errors
    /// [`ClockOverflow`] if the count is `u64::MAX`; the clock stays as it is. It neither stops there, as two events
    /// would then look like one, nor starts again, as the later would then look like the earlier.
    ///
    /// ```
    /// use slotguard::{ClockOverflow, VectorClock};
    ///
    /// let mut clock = VectorClock::new();
    /// assert_eq!(clock.tick(7), Ok(1));
    /// clock.set(7, u64::MAX);
    /// assert_eq!(clock.tick(7), Err(ClockOverflow { participant: 7 }));
    /// ```
    pub fn tick(&mut self, participant: u32) -> Result<u64, ClockOverflow> {
        match self.place(participant) {
            Ok(at) => {
                let count = &mut self.counts[at].1;
                *count = count.checked_add(1).ok_or(ClockOverflow { participant })?;
                Ok(*count)
            }
            Err(at) => {
                self.counts.insert(at, (participant, 1));
                Ok(1)
            }
        }
    }

    /// Learns all that `other` knows: each count becomes the larger of the two.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (participant, count) in other.iter() {
            match self.place(participant) {
                Ok(at) => self.counts[at].1 = self.counts[at].1.max(count),
                Err(at) => self.counts.insert(at, (participant, count)),
            }
        }
    }

    /// How this clock relates to `other`.
    pub fn compare(&self, other: &Self) -> Causality {
        match (self.dominates(other), other.dominates(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Whether this clock knows all that `other` knows: no count is smaller.
    pub fn dominates(&self, other: &Self) -> bool {
        let mut mine = self.iter();
        other.iter().all(|(participant, count)| {
            mine.find(|&(candidate, _)| candidate >= participant)
                .is_some_and(|(found, known)| found == participant && known >= count)
        })
    }

    /// Forgets `participant` and answers its count, 0 if it had none.
    ///
    /// For one that is gone for good: to compare rightly, all clocks must forget it.
    pub fn remove(&mut self, participant: u32) -> u64 {
        match self.place(participant) {
            Ok(at) => self.counts.remove(at).1,
            Err(_) => 0,
        }
    }

    /// The participants with a count above 0, smallest number first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// How many participants have a count above 0.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether the clock knows of nothing.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Where the entry of `participant` is, or else where it belongs.
    fn place(&self, participant: u32) -> Result<usize, usize> {
        self.counts.binary_search_by_key(&participant, |&(candidate, _)| candidate)
    }
}

impl PartialOrd for VectorClock {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.compare(other) {
            Causality::Before => Some(Ordering::Less),
            Causality::After => Some(Ordering::Greater),
            Causality::Equal => Some(Ordering::Equal),
            Causality::Concurrent => None,
        }
    }
}

/// Of several counts of one participant the largest holds, as in [`VectorClock::merge`].
impl FromIterator<(u32, u64)> for VectorClock {
    fn from_iter<I: IntoIterator<Item = (u32, u64)>>(counts: I) -> Self {
        let mut counts: Vec<_> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
        counts.sort_unstable_by_key(|&(participant, count)| (participant, std::cmp::Reverse(count)));
        counts.dedup_by_key(|&mut (participant, _)| participant);
        Self { counts }
    }
}

/// `{0:3, 7:1}`
impl fmt::Display for VectorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (participant, count)) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{participant}:{count}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 27 clocks of three participants that have counted to 2 at most.
    fn all() -> Vec<VectorClock> {
        (0..27).map(|n| [(3, n % 3), (5, n / 3 % 3), (9, n / 9)].into_iter().collect()).collect()
    }

    fn merged(one: &VectorClock, other: &VectorClock) -> VectorClock {
        let mut clock = one.clone();
        clock.merge(other);
        clock
    }

    /// The definition, without a thought for how clocks are stored.
    fn knows_all_of(one: &VectorClock, other: &VectorClock) -> bool {
        (0..=10).all(|participant| one.get(participant) >= other.get(participant))
    }

    #[test]
    fn two_clocks_are_before_after_equal_or_concurrent_by_definition() {
        for a in all() {
            for b in all() {
                let expected = match (knows_all_of(&a, &b), knows_all_of(&b, &a)) {
                    (true, true) => Causality::Equal,
                    (true, false) => Causality::After,
                    (false, true) => Causality::Before,
                    (false, false) => Causality::Concurrent,
                };
                assert_eq!(a.compare(&b), expected, "{a} {b}");
                assert_eq!(a.dominates(&b), knows_all_of(&a, &b), "{a} {b}");
                assert_eq!(a == b, expected == Causality::Equal, "{a} {b}");
            }
        }
    }

    #[test]
    fn concurrent_means_that_neither_dominates() {
        for a in all() {
            for b in all() {
                let neither = !a.dominates(&b) && !b.dominates(&a);
                assert_eq!(a.compare(&b) == Causality::Concurrent, neither, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_order_is_partial_and_says_what_compare_says() {
        for a in all() {
            for b in all() {
                let (there, back) = (a.compare(&b), b.compare(&a));
                let mirrored = match there {
                    Causality::Before => Causality::After,
                    Causality::After => Causality::Before,
                    same => same,
                };
                assert_eq!(back, mirrored, "{a} {b}");
                assert!(!(a <= b && b <= a) || a == b, "antisymmetry: {a} {b}");
                assert_eq!(a < b, there == Causality::Before);
                assert_eq!(a > b, there == Causality::After);
                assert_eq!(a.partial_cmp(&b).is_none(), there == Causality::Concurrent);
                for c in all() {
                    assert!(!(a < b && b < c) || a < c, "transitivity: {a} {b} {c}");
                }
            }
        }
    }

    #[test]
    fn a_merge_is_the_smallest_clock_that_dominates_both() {
        for a in all() {
            assert_eq!(merged(&a, &a), a, "idempotent");
            for b in all() {
                let both = merged(&a, &b);
                assert!(both.dominates(&a) && both.dominates(&b), "{a} {b}");
                assert_eq!(both, merged(&b, &a), "commutative");
                for c in all() {
                    assert!(!(c >= a && c >= b) || c >= both, "least: {a} {b} {c}");
                    assert_eq!(merged(&both, &c), merged(&a, &merged(&b, &c)), "associative");
                }
            }
        }
    }

    #[test]
    fn a_tick_comes_after_all_that_was_known() {
        for before in all() {
            for participant in [0, 3, 4, 9, u32::MAX] {
                let mut after = before.clone();
                assert_eq!(after.tick(participant), Ok(before.get(participant) + 1));
                assert_eq!(before.compare(&after), Causality::Before);
            }
        }
    }

    #[test]
    fn a_count_at_its_end_refuses_to_tick_and_stays_as_it_is() {
        let mut clock: VectorClock = [(1, 4), (2, u64::MAX - 1)].into_iter().collect();
        assert_eq!(clock.tick(2), Ok(u64::MAX));
        let full = clock.clone();
        assert_eq!(clock.tick(2), Err(ClockOverflow { participant: 2 }));
        assert_eq!(clock, full);
        assert_eq!(clock.tick(1), Ok(5), "the others go on");
        let error: &dyn std::error::Error = &ClockOverflow { participant: 2 };
        assert!(error.to_string().starts_with("participant 2 has counted 18446744073709551615"));
    }

    #[test]
    fn a_removed_participant_is_as_one_never_heard_of() {
        let mut clock: VectorClock = [(0, 3), (4, 2), (7, 1)].into_iter().collect();
        assert_eq!((clock.remove(4), clock.remove(4), clock.remove(5)), (2, 0, 0));
        assert_eq!((clock.get(4), clock.len()), (0, 2));
        assert_eq!(clock, [(0, 3), (7, 1)].into_iter().collect());
        assert_eq!(clock.tick(4), Ok(1));
    }

    #[test]
    fn zero_is_never_stored() {
        let mut clock: VectorClock = [(9, 0), (2, 5), (2, 6), (1, 1), (2, 0)].into_iter().collect();
        assert_eq!(clock.iter().collect::<Vec<_>>(), [(1, 1), (2, 6)]);
        clock.set(1, 0);
        clock.set(3, 0);
        clock.set(2, 4);
        assert_eq!(clock.iter().collect::<Vec<_>>(), [(2, 4)]);
        clock.set(2, 0);
        assert!(clock.is_empty());
        assert_eq!(clock, VectorClock::new());
    }

    #[test]
    fn a_clock_prints_its_counts_in_order() {
        let clock: VectorClock = [(7, 1), (0, 3)].into_iter().collect();
        assert_eq!((clock.to_string(), VectorClock::new().to_string()), ("{0:3, 7:1}".into(), "{}".into()));
    }
}
