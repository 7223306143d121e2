//! What must hold of slots: one node each, kept until a release, and every release somebody's.
//!
//! A generation is the revision of the commit that gave the slot. So in each slot, and for each node, generations follow each
//! other, each ended by a release that somebody made, or was killed while making; and a write of one generation has a
//! revision before the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slotguard::backend::{Meta, SharedMemory};
use slotguard::recipe::Result;
use slotguard::recipe::assignment::Error;

use super::work::{self, everything};
use super::{NAME, Settings};
use crate::check::chain::{self, Chains};
use crate::check::holds;
use crate::check::recovery::{self, Recoveries};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Kind, Outcome};
use crate::value::Author;
use crate::workloads::{Examined, Figure, count, final_state, slowest};

/// What is left when everybody has gone.
#[derive(Default)]
pub struct FinalState {
    /// By slot: its data.
    pub data: Vec<Final>,
    /// By slot: node and generation.
    pub places: BTreeMap<u16, (u16, u64)>,
    /// What should have gone with whoever put it.
    pub of_the_dead: Vec<String>,
}

/// Looks at what is left; then releases everybody, and has every slot there is.
pub fn final_state(store: &Arc<SharedMemory>, settings: Settings, room: &mut Findings) -> Result<FinalState> {
    let stays = |name: &str, _: &[u8], meta: &Meta| meta.lease.is_none() && name.starts_with(NAME);
    let (data, of_the_dead) = final_state::read(store, usize::from(settings.slots) + 1, stays)?;
    let mut final_state = FinalState { data, of_the_dead, ..FinalState::default() };
    let seen = everything(store)?;
    room.expect(seen.agrees && seen.announced.is_empty(), || {
        format!("at the end nodes and slots are {:?}, announced {:?}", seen.places, seen.announced)
    });
    let number = |node: &String| node.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(u16::MAX);
    final_state.places = seen.places.iter().map(|(slot, (node, since))| (*slot, (number(node), *since))).collect();
    every_slot_can_be_had(store, settings, &seen, room)?;
    Ok(final_state)
}

fn every_slot_can_be_had(
    store: &Arc<SharedMemory>,
    settings: Settings,
    seen: &work::Seen,
    room: &mut Findings,
) -> Result<()> {
    let slots = work::open(store, settings)?;
    for (node, _) in seen.places.values() {
        slots.release(node)?;
    }
    let mut had = BTreeSet::new();
    let mut refused = None;
    for number in 0..=settings.slots {
        match slots.assign(&format!("last-{number}")) {
            Ok(assigned) => drop(had.insert(assigned.slot())),
            Err(error) => {
                refused = Some((number, error));
                break;
            }
        }
    }
    let all: BTreeSet<u16> = (1..=settings.slots).collect();
    let full = matches!(&refused, Some((number, Error::Full { .. })) if *number == settings.slots);
    room.expect(had == all && full, || {
        format!("{} of {} slots can be had at the end; refused was {refused:?}", had.len(), settings.slots)
    });
    Ok(())
}

/// Holds the history against what is left.
pub fn check(execution: &Execution<'_>, final_state: &FinalState) -> Examined {
    let execution = &Execution { finals: &final_state.data, ..*execution };
    let chains = chain::walk(execution);
    let mut once = chains.findings.clone();
    holds::tokens_grow_along_the_data(execution, &chains, &mut once);
    let known = Known::of(execution);
    let mut slots = Findings::default();
    known.follow(final_state, &mut slots);
    known.writes(execution, &mut slots);
    let mut going_on = Recoveries::default();
    let of_the_dead = &final_state.of_the_dead;
    going_on.findings.expect(of_the_dead.is_empty(), || format!("entries of the dead are left: {of_the_dead:?}"));
    recovery::others_go_on(execution, |entry| matches!(entry.kind, Kind::GuardedWrite | Kind::Assign), &mut going_on);
    answers_are_explained(execution, &mut going_on.findings);
    let figures = figures(execution, &chains, &known, &going_on);
    let mut verdicts = reads::anomalies(execution.history);
    let looks = count(execution, Kind::Snapshot, Outcome::Done);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, going_on.findings);
    verdicts.add(Promise::P5, Findings { checked: looks, ..Findings::default() });
    verdicts.add(Promise::P6, order::check(execution.history));
    verdicts.add(Promise::P7, slots);
    Examined {
        verdicts,
        refused_late: count(execution, Kind::GuardedWrite, Outcome::LeaseLost),
        recoveries: going_on.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

/// Everything known of who had which slot in which generation.
struct Known {
    /// By generation: node and slot, and when somebody was first told of it.
    given: BTreeMap<u64, (u16, u16, u64)>,
    /// By generation: when it was set out to be ended, and when that was told.
    freed: BTreeMap<u64, (u64, u64)>,
    /// Releases that were never answered: the node, and from when on.
    in_doubt: Vec<(u16, u64)>,
    /// What was told twice and differently, or ended twice.
    contradictions: Vec<String>,
}

impl Known {
    fn of(execution: &Execution<'_>) -> Self {
        let mut known =
            Self { given: BTreeMap::new(), freed: BTreeMap::new(), in_doubt: Vec::new(), contradictions: Vec::new() };
        for (author, entry) in execution.history.all() {
            let (slot, generation) = (entry.version as u16, entry.revision);
            match (entry.kind, entry.outcome) {
                (Kind::Assign, Outcome::Done) => known.give(generation, entry.record, slot, entry.end),
                (Kind::Unassign, Outcome::Done) => {
                    known.give(generation, entry.record, slot, entry.end);
                    let sweep = Author::unpack(entry.previous).and_then(|sweep| execution.history.entry(sweep));
                    let begin = sweep.map_or(entry.begin, |sweep| sweep.begin);
                    if known.freed.insert(generation, (begin, entry.end)).is_some() {
                        known
                            .contradictions
                            .push(format!("generation {generation} was ended twice, once by {author:?}"));
                    }
                }
                (Kind::Unassign, Outcome::InDoubt) => known.in_doubt.push((entry.record, entry.begin)),
                _ => {}
            }
        }
        known
    }

    fn give(&mut self, generation: u64, node: u16, slot: u16, told: u64) {
        let given = self.given.entry(generation).or_insert((node, slot, told));
        given.2 = given.2.min(told);
        if (given.0, given.1) != (node, slot) {
            let given = *given;
            self.contradictions.push(format!(
                "generation {generation}: node {node} has slot {slot}, and node {} slot {}",
                given.0, given.1
            ));
        }
    }

    /// The generations of each slot, and of each node, follow each other, with a release in between.
    fn follow(&self, final_state: &FinalState, findings: &mut Findings) {
        for words in &self.contradictions {
            findings.violation(|| words.clone());
        }
        let (mut by_slot, mut by_node) = (BTreeMap::<u16, Vec<u64>>::new(), BTreeMap::<u16, Vec<u64>>::new());
        for (generation, (node, slot, _)) in &self.given {
            by_slot.entry(*slot).or_default().push(*generation);
            by_node.entry(*node).or_default().push(*generation);
        }
        for pair in by_slot.values().chain(by_node.values()).flat_map(|list| list.windows(2)) {
            let told = self.given[&pair[1]].2;
            let ended = self.may_have_ended(pair[0], told);
            findings.expect(ended, || {
                let ((node, slot, _), (other, its, _)) = (self.given[&pair[0]], self.given[&pair[1]]);
                format!(
                    "node {other} got slot {its} in generation {}; nobody had released node {node}, slot {slot}, \
                     generation {}",
                    pair[1], pair[0]
                )
            });
        }
        // The last generation of each slot is there at the end, unless it was released.
        for (slot, list) in &by_slot {
            let last = list.last().copied().unwrap_or_default();
            let (node, ..) = self.given[&last];
            let there = final_state.places.get(slot);
            let as_it_was = there == Some(&(node, last)) && !self.freed.contains_key(&last);
            let newer = there.is_none_or(|(_, since)| *since > last);
            findings.expect(as_it_was || newer && self.may_have_ended(last, u64::MAX), || {
                format!("slot {slot}: node {node} had it last, in generation {last}, and at the end it is {there:?}")
            });
        }
    }

    /// Whether somebody released it, or was killed while it may have.
    fn may_have_ended(&self, generation: u64, before: u64) -> bool {
        let (node, ..) = self.given[&generation];
        self.freed.get(&generation).is_some_and(|(begin, _)| *begin < before)
            || self.in_doubt.iter().any(|(of, begin)| *of == node && *begin < before)
    }

    /// Nobody writes after the end of its generation, or is refused before it.
    fn writes(&self, execution: &Execution<'_>, findings: &mut Findings) {
        for (author, write) in execution.history.all().filter(|(_, entry)| entry.kind == Kind::GuardedWrite) {
            let generation = write.extra;
            match write.outcome {
                Outcome::Done => {
                    let freed = self.freed.get(&generation).map_or(u64::MAX, |(_, told)| *told);
                    findings.expect(generation < write.revision && write.begin <= freed, || {
                        format!("{author:?} wrote slot {} after generation {generation} had ended", write.record)
                    });
                }
                Outcome::LeaseLost => findings.expect(self.may_have_ended(generation, write.end), || {
                    format!("{author:?} was refused in slot {}, generation {generation}, which lasted", write.record)
                }),
                _ => {}
            }
        }
    }
}

fn figures(execution: &Execution<'_>, chains: &Chains, known: &Known, going_on: &Recoveries) -> Vec<Figure> {
    let count = |kind, outcome| count(execution, kind, outcome);
    let swept =
        execution.history.all().filter(|(_, entry)| entry.kind == Kind::Unassign && entry.previous != Author::NOBODY);
    let placed = count(Kind::Assign, Outcome::Done);
    let mut figures = vec![
        Figure::needed("slots given", known.given.len() as u64),
        Figure::needed("nodes that came back to their slot", placed.saturating_sub(known.given.len() as u64)),
        Figure::needed("nodes told that all slots were taken", count(Kind::Assign, Outcome::Declined)),
        Figure::needed("nodes released", known.freed.len() as u64),
        Figure::needed("of these swept away", swept.count() as u64),
        Figure::needed("writes under a generation acknowledged", chains.acknowledged),
        Figure::needed("writes of the released refused", count(Kind::GuardedWrite, Outcome::LeaseLost)),
        Figure::needed("looks at everything at once", count(Kind::Snapshot, Outcome::Done)),
    ];
    figures.extend(slowest(&going_on.recoveries, "kills after which others went on", "slowest to go on"));
    figures
}

fn answers_are_explained(execution: &Execution<'_>, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            // A session that is over gets no slot.
            Outcome::LeaseLost => {
                matches!(entry.kind, Kind::Lease | Kind::Assign | Kind::GuardedWrite | Kind::Unassign)
            }
            // No slot is free, or the node has none to be freed, or a look did not agree.
            Outcome::Declined => matches!(entry.kind, Kind::Assign | Kind::Unassign | Kind::Snapshot),
            _ => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
