//! What must hold of names under leases: one holder at a time, nothing too late, nothing too early, nothing left.
//!
//! From the history follows of every lease until when it lasts at least and at most: its time from before the last grant or
//! renewal on, and from after it. A name held under it cannot go to somebody else before, unless its holder parted with it
//! or was killed, and cannot be seen or written by its token after.

use slotguard::Error;
use slotguard::backend::{Backend, SharedMemory};

use super::register::{Hold, Register};
use super::{DATA, HELD, Terms};
use crate::check::chain::{self, Chains};
use crate::check::recovery::{self, Next, Recoveries, Recovery};
use crate::check::{Final, Findings, Promise, Scene, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::value::Evidence;
use crate::workloads::{Examined, Figure, slowest};

/// What is left when everybody has gone and all leases were ended.
pub struct Left {
    /// By name: its data.
    data: Vec<Final>,
    /// Entries that lived by a lease, and are there all the same.
    leased: Vec<String>,
}

/// Ends what is over, and looks at the rest.
pub fn left(store: &SharedMemory, terms: Terms) -> Result<Left, Error> {
    store.reap()?;
    let never = Final { version: 0, evidence: Ok(Evidence::NONE), fingerprint_agrees: true };
    let mut left = Left { data: vec![never; terms.names as usize], leased: Vec::new() };
    store.range("", &mut |key, value, meta| {
        let name = key.as_ref();
        if meta.lease.is_some() || name.starts_with(HELD) {
            left.leased.push(name.to_owned());
        }
        let number = name.strip_prefix(DATA).and_then(|number| number.parse::<usize>().ok());
        if let Some((number, place)) = number.and_then(|number| Some((number, left.data.get_mut(number)?))) {
            *place = Final { version: meta.version.0, evidence: Evidence::of(number as u32, value), ..never };
        }
    })?;
    Ok(left)
}

/// Holds the history against what is left.
pub fn check(scene: &Scene<'_>, terms: Terms, left: &Left) -> Examined {
    let scene = &Scene { finals: &left.data, ..*scene };
    let chains = chain::walk(scene);
    let register = Register::of(scene, terms.lease().as_nanos() as u64);
    let mut leases = Findings::default();
    for holds in register.by_name() {
        one_at_a_time(&register, &holds, &mut leases);
        writes_are_of_the_holder(scene, &holds, &mut leases);
    }
    nothing_too_early(scene, &register, &mut leases);
    nothing_too_late(scene, &register, &mut leases);
    let mut once = chains.findings.clone();
    tokens_grow_along_the_data(scene, &chains, &mut once);
    let mut after = Recoveries::default();
    after.findings.expect(left.leased.is_empty(), || format!("entries of the dead are left: {:?}", left.leased));
    answers_are_explained(scene, &mut after.findings);
    names_are_free_in_time(scene, &register, &mut after);
    let figures = figures(scene, &chains, &after);
    let mut verdicts = reads::broken(scene.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, after.findings);
    verdicts.add(Promise::P6, order::check(scene.history));
    verdicts.add(Promise::P7, leases);
    Examined {
        verdicts,
        acknowledged: chains.acknowledged,
        found: chains.found,
        in_doubt: chains.in_doubt,
        took_effect: chains.took_effect,
        refused_late: count(scene, Kind::Guarded, Outcome::LeaseLost),
        recoveries: after.recoveries,
        figures,
    }
}

fn count(scene: &Scene<'_>, kind: Kind, outcome: Outcome) -> u64 {
    scene.history.all().filter(|(_, entry)| entry.kind == kind && entry.outcome == outcome).count() as u64
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

/// Nobody takes a name while another has it for certain. The holds are those of one name, in the order of their tokens.
fn one_at_a_time(register: &Register, holds: &[&Hold], findings: &mut Findings) {
    for pair in holds.windows(2) {
        let until = register.surely_until(pair[0]);
        findings.expect(pair[1].taken >= until, || {
            format!(
                "name {}: token {} was given {} ns before token {} could end",
                pair[0].name,
                pair[1].token,
                until - pair[1].taken,
                pair[0].token
            )
        });
    }
}

/// A write that was acknowledged has a revision between its own token and the next one of the name.
fn writes_are_of_the_holder(scene: &Scene<'_>, holds: &[&Hold], findings: &mut Findings) {
    for (at, hold) in holds.iter().enumerate() {
        let next = holds.get(at + 1).map_or(u64::MAX, |next| next.token);
        let region = &scene.history.regions[hold.writer as usize].entries;
        let writes = hold.writes.iter().map(|at| &region[*at]).filter(|write| write.outcome == Outcome::Done);
        for write in writes {
            findings.expect(hold.token < write.revision && write.revision < next, || {
                format!(
                    "name {}: a write of token {} has revision {}; the next token is {next}",
                    hold.name, hold.token, write.revision
                )
            });
        }
    }
}

/// Who is in time is not refused, and neither are those who come under a lease that lasts.
fn nothing_too_early(scene: &Scene<'_>, register: &Register, findings: &mut Findings) {
    for hold in &register.holds {
        let until = register.surely_until(hold);
        let region = &scene.history.regions[hold.writer as usize].entries;
        for write in hold.writes.iter().map(|at| &region[*at]).filter(|write| write.outcome == Outcome::LeaseLost) {
            findings.expect(write.end >= until, || {
                format!("name {}: token {} was refused while it held for certain", hold.name, hold.token)
            });
        }
    }
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
            let gone = register.gone(entry.record, entry.revision).unwrap_or(u64::MAX);
            let until = revoked.map_or(u64::MAX, |revoked| revoked.told).min(gone);
            findings.expect(begin <= until, || format!("{} shows what had ended before", what()));
        } else if let Some(revoked) = revoked {
            findings.expect(entry.revision <= revoked.clock, || {
                format!("{} is newer than the end of its lease, revoked by {}", what(), revoked.clock)
            });
        }
    }
}

/// Along the data of a name the tokens never fall, those of the killed included.
fn tokens_grow_along_the_data(scene: &Scene<'_>, chains: &Chains, findings: &mut Findings) {
    for (name, authors) in chains.authors.iter().enumerate() {
        let mut highest = 0;
        for token in authors.iter().flatten().filter_map(|author| scene.history.entry(*author)).map(|entry| entry.extra)
        {
            findings.expect(token >= highest, || {
                format!("name {name}: a write of token {token} came after one of token {highest}")
            });
            highest = highest.max(token);
        }
    }
}

/// From the end of a hold to the next: its holder was killed, or its lease ran out.
fn names_are_free_in_time(scene: &Scene<'_>, register: &Register, found: &mut Recoveries) {
    for holds in register.by_name() {
        for pair in holds.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            let expires = register.leases.get(&one.lease).map_or(u64::MAX, |lease| lease.at_most);
            let killed = register.killed(one).filter(|killed| *killed < expires);
            let (over, kind) = match (one.parting, killed) {
                // Parted with it: the next one had nobody to wait for, or saw it go.
                (Some(_), _) => continue,
                (None, Some(killed)) => (killed, Next::Name),
                (None, None) => (expires, Next::Expiry),
            };
            if over >= next.taken {
                continue;
            }
            // Somebody who was killed while waiting may have had it in between.
            let between =
                register.killed_while_asking(one.name).filter(|killed| *killed < next.taken).max().unwrap_or(0);
            let from = over.max(next.begin).max(between);
            if from < next.taken && !recovery::was_stopped(scene, next.slot, from, next.taken) {
                let recovery = Recovery { at: from, took: next.taken - from, next: kind };
                let what = || format!("the next hold of name {} after token {} ({kind:?})", one.name, one.token);
                recovery::judge(scene, recovery, what, found);
            }
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
