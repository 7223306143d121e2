//! What must hold of names under leases: one holder at a time, nothing too late, nothing too early, nothing left.
//!
//! From the history follows of every lease until when it lasts at least and at most: its time from before the last grant or
//! renewal on, and from after it. A name held under it cannot go to somebody else before, unless its holder parted with it
//! or was killed, and cannot be seen or written by its token after.

use slotguard::Error;
use slotguard::backend::{Meta, SharedMemory};

use super::{HELD, Terms};
use crate::check::chain::{self, Chains};
use crate::check::holds::{self, Register};
use crate::check::recovery::{Next, Recoveries};
use crate::check::{Final, Findings, Promise, Scene, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::workloads::{Examined, Figure, count, left, slowest};

/// What is left when everybody has gone and all leases were ended.
pub struct Left {
    /// By name: its data.
    data: Vec<Final>,
    /// Entries that lived by a lease, and are there all the same.
    leased: Vec<String>,
}

/// Ends what is over, and looks at the rest.
pub fn left(store: &SharedMemory, terms: Terms) -> Result<Left, Error> {
    let stays = |name: &str, _: &[u8], meta: &Meta| meta.lease.is_none() && !name.starts_with(HELD);
    let (data, leased) = left::look(store, terms.names as usize, stays)?;
    Ok(Left { data, leased })
}

/// Holds the history against what is left.
pub fn check(scene: &Scene<'_>, terms: Terms, left: &Left) -> Examined {
    let scene = &Scene { finals: &left.data, ..*scene };
    let chains = chain::walk(scene);
    let register = Register::of(scene, terms.lease().as_nanos() as u64);
    let mut leases = Findings::default();
    holds::check(scene, &register, &mut leases);
    holds::looks_are_not_late(scene, &register, &mut leases, |entry| entry.kind == Kind::Sight);
    nothing_too_early(scene, &register, &mut leases);
    nothing_too_late(scene, &register, &mut leases);
    let mut once = chains.findings.clone();
    holds::tokens_grow_along_the_data(scene, &chains, &mut once);
    let mut after = Recoveries::default();
    after.findings.expect(left.leased.is_empty(), || format!("entries of the dead are left: {:?}", left.leased));
    answers_are_explained(scene, &mut after.findings);
    holds::names_are_free_in_time(scene, &register, &mut after);
    let figures = figures(scene, &chains, &after);
    let mut verdicts = reads::anomalies(scene.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, after.findings);
    let mut order = order::check(scene.history);
    let seen = |entry: &Entry| (entry.kind == Kind::Sight).then_some(entry.revision);
    holds::looks_go_forward(scene, seen, &mut order);
    verdicts.add(Promise::P6, order);
    verdicts.add(Promise::P7, leases);
    Examined {
        verdicts,
        refused_late: count(scene, Kind::Guarded, Outcome::LeaseLost),
        recoveries: after.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

fn figures(scene: &Scene<'_>, chains: &Chains, after: &Recoveries) -> Vec<Figure> {
    let count = |kind, outcome| count(scene, kind, outcome);
    let mut figures = vec![
        Figure::needed("names taken", count(Kind::Take, Outcome::Done)),
        Figure::needed("writes under a token acknowledged", chains.acknowledged),
        Figure::needed("late writes refused", count(Kind::Guarded, Outcome::LeaseLost)),
        Figure::count("late renewals refused", count(Kind::Lend, Outcome::LeaseLost)),
        Figure::needed("leases revoked", count(Kind::Revoke, Outcome::Done)),
        Figure::needed("entries put under a lease of others", count(Kind::Lodge, Outcome::Done)),
        Figure::needed("entries refused since that lease was over", count(Kind::Lodge, Outcome::LeaseLost)),
        Figure::needed("names seen held", count(Kind::Sight, Outcome::Done)),
    ];
    let of = |next: Next| after.recoveries.iter().filter(|one| one.next == next).copied().collect::<Vec<_>>();
    figures.extend(slowest(&of(Next::Name), "names of killed holders taken over", "slowest take-over after a kill"));
    figures.extend(slowest(&of(Next::Expiry), "names taken over when a lease ran out", "slowest after its end"));
    figures
}

/// Losing a name to another, or a lease to time, is all that is refused here.
fn answers_are_explained(scene: &Scene<'_>, findings: &mut Findings) {
    for (author, entry) in scene.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            Outcome::Declined => matches!(entry.kind, Kind::Take | Kind::Sight),
            Outcome::LeaseLost => {
                matches!(entry.kind, Kind::Lend | Kind::Take | Kind::Guarded | Kind::Leave | Kind::Revoke | Kind::Lodge)
            }
            _ => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

/// Nobody who comes under a lease that lasts is refused.
fn nothing_too_early(scene: &Scene<'_>, register: &Register, findings: &mut Findings) {
    let of_a_lease =
        |entry: &Entry| matches!(entry.kind, Kind::Lend | Kind::Lodge) && entry.outcome == Outcome::LeaseLost;
    for (author, entry) in scene.history.all().filter(|(_, entry)| of_a_lease(entry)) {
        let until = register.lasts_until(entry.extra);
        findings.expect(entry.end >= until, || {
            format!("{:?} by {author:?} was told that lease {} is over, which it was not", entry.kind, entry.extra)
        });
    }
}

/// What lives by a lease is neither seen nor made when the lease is over for certain.
fn nothing_too_late(scene: &Scene<'_>, register: &Register, findings: &mut Findings) {
    let done = scene.history.all().filter(|(_, entry)| entry.outcome == Outcome::Done);
    for (author, entry) in done.filter(|(_, entry)| matches!(entry.kind, Kind::Sight | Kind::Take | Kind::Lodge)) {
        let Some(lease) = register.leases.get(&entry.extra) else {
            continue;
        };
        let what = || format!("{:?} by {author:?} (name {}, revision {})", entry.kind, entry.record, entry.revision);
        // A name is asked for long before it is given.
        let begin = if entry.kind == Kind::Take { 0 } else { entry.begin };
        findings.expect(begin <= lease.at_most, || format!("{} is under a lease that had run out", what()));
        let revoked = lease.revoked;
        if entry.kind == Kind::Sight {
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
