//! What must hold of names under leases: one holder at a time, nothing too late, nothing too early, nothing left.
//!
//! From the history follows of every lease until when it lasts at least and at most: its time from before the last grant or
//! renewal on, and from after it. A name held under it cannot go to somebody else before, unless its holder parted with it
//! or was killed, and cannot be seen or written by its token after.

use slotguard::Error;
use slotguard::backend::{Meta, SharedMemory};

use super::{HELD, Settings};
use crate::check::chain::{self, Chains};
use crate::check::holds::{self, HoldTable};
use crate::check::recovery::{Next, Recoveries};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::workloads::{Examined, Figure, count, final_state, slowest};

/// What is left when everybody has gone and all leases were ended.
pub struct FinalState {
    /// By name: its data.
    data: Vec<Final>,
    /// Entries that lived by a lease, and are there all the same.
    leased: Vec<String>,
}

/// Ends what is over, and looks at the rest.
pub fn final_state(store: &SharedMemory, settings: Settings) -> Result<FinalState, Error> {
    let stays = |name: &str, _: &[u8], meta: &Meta| meta.lease.is_none() && !name.starts_with(HELD);
    let (data, leased) = final_state::read(store, settings.names as usize, stays)?;
    Ok(FinalState { data, leased })
}

/// Holds the history against what is left.
pub fn check(execution: &Execution<'_>, settings: Settings, final_state: &FinalState) -> Examined {
    let execution = &Execution { finals: &final_state.data, ..*execution };
    let chains = chain::walk(execution);
    let table = HoldTable::of(execution, settings.lease().as_nanos() as u64);
    let mut leases = Findings::default();
    holds::check(execution, &table, &mut leases);
    holds::looks_are_not_late(execution, &table, &mut leases, |entry| entry.kind == Kind::Observe);
    nothing_too_early(execution, &table, &mut leases);
    nothing_too_late(execution, &table, &mut leases);
    let mut once = chains.findings.clone();
    holds::tokens_grow_along_the_data(execution, &chains, &mut once);
    let mut after = Recoveries::default();
    after
        .findings
        .expect(final_state.leased.is_empty(), || format!("entries of the dead are left: {:?}", final_state.leased));
    answers_are_explained(execution, &mut after.findings);
    holds::names_are_free_in_time(execution, &table, &mut after);
    let figures = figures(execution, &chains, &after);
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, after.findings);
    let mut order = order::check(execution.history);
    let seen = |entry: &Entry| (entry.kind == Kind::Observe).then_some(entry.revision);
    holds::looks_go_forward(execution, seen, &mut order);
    verdicts.add(Promise::P6, order);
    verdicts.add(Promise::P7, leases);
    Examined {
        verdicts,
        refused_late: count(execution, Kind::GuardedWrite, Outcome::LeaseLost),
        recoveries: after.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

fn figures(execution: &Execution<'_>, chains: &Chains, after: &Recoveries) -> Vec<Figure> {
    let count = |kind, outcome| count(execution, kind, outcome);
    let mut figures = vec![
        Figure::needed("names taken", count(Kind::Acquire, Outcome::Done)),
        Figure::needed("writes under a token acknowledged", chains.acknowledged),
        Figure::needed("late writes refused", count(Kind::GuardedWrite, Outcome::LeaseLost)),
        Figure::count("late renewals refused", count(Kind::Lease, Outcome::LeaseLost)),
        Figure::needed("leases revoked", count(Kind::Revoke, Outcome::Done)),
        Figure::needed("entries put under a lease of others", count(Kind::LeasedPut, Outcome::Done)),
        Figure::needed("entries refused since that lease was over", count(Kind::LeasedPut, Outcome::LeaseLost)),
        Figure::needed("names seen held", count(Kind::Observe, Outcome::Done)),
    ];
    let of = |next: Next| after.recoveries.iter().filter(|one| one.next == next).copied().collect::<Vec<_>>();
    figures.extend(slowest(&of(Next::Name), "names of killed holders taken over", "slowest take-over after a kill"));
    figures.extend(slowest(&of(Next::Expiry), "names taken over when a lease ran out", "slowest after its end"));
    figures
}

/// Losing a name to another, or a lease to time, is all that is refused here.
fn answers_are_explained(execution: &Execution<'_>, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            Outcome::Declined => matches!(entry.kind, Kind::Acquire | Kind::Observe),
            Outcome::LeaseLost => {
                matches!(
                    entry.kind,
                    Kind::Lease
                        | Kind::Acquire
                        | Kind::GuardedWrite
                        | Kind::ReleaseName
                        | Kind::Revoke
                        | Kind::LeasedPut
                )
            }
            _ => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

/// Nobody who comes under a lease that lasts is refused.
fn nothing_too_early(execution: &Execution<'_>, table: &HoldTable, findings: &mut Findings) {
    let of_a_lease =
        |entry: &Entry| matches!(entry.kind, Kind::Lease | Kind::LeasedPut) && entry.outcome == Outcome::LeaseLost;
    for (author, entry) in execution.history.all().filter(|(_, entry)| of_a_lease(entry)) {
        let until = table.lasts_until(entry.extra);
        findings.expect(entry.end >= until, || {
            format!("{:?} by {author:?} was told that lease {} is over, which it was not", entry.kind, entry.extra)
        });
    }
}

/// What lives by a lease is neither seen nor made when the lease is over for certain.
fn nothing_too_late(execution: &Execution<'_>, table: &HoldTable, findings: &mut Findings) {
    let done = execution.history.all().filter(|(_, entry)| entry.outcome == Outcome::Done);
    for (author, entry) in
        done.filter(|(_, entry)| matches!(entry.kind, Kind::Observe | Kind::Acquire | Kind::LeasedPut))
    {
        let Some(lease) = table.leases.get(&entry.extra) else {
            continue;
        };
        let what = || format!("{:?} by {author:?} (name {}, revision {})", entry.kind, entry.record, entry.revision);
        // A name is asked for long before it is given.
        let begin = if entry.kind == Kind::Acquire { 0 } else { entry.begin };
        findings.expect(begin <= lease.at_most, || format!("{} is under a lease that had run out", what()));
        let revoked = lease.revoked;
        if entry.kind == Kind::Observe {
            let until = revoked.map_or(u64::MAX, |revoked| revoked.told);
            findings.expect(begin <= until, || format!("{} shows what had ended before", what()));
        } else if let Some(revoked) = revoked {
            findings.expect(entry.revision <= revoked.clock, || {
                format!("{} is newer than the end of its lease, revoked by {}", what(), revoked.clock)
            });
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
