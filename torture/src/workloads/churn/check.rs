//! What must hold of names that come and go: one owner at a time, nothing lost, nothing that stays.
//!
//! Every commit that created names is an *incarnation*, named by its author. That of an acknowledged one is known from the
//! answer; one in doubt is known to have taken effect if a later life deleted it or it is there at the end, since the
//! values name their author. A deletion is acknowledged, or in doubt, and then the names may be gone from then on. Nobody
//! but its author's thread deletes an incarnation, so a deletion that finds it gone is a loss unless another was in doubt.

use std::collections::{BTreeMap, HashMap};

use slotguard::Error;
use slotguard::backend::{Backend, SharedMemory};

use super::{PREFIX, ticket};
use crate::check::recovery::{self, Recoveries};
use crate::check::{Execution, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::value::{Author, Evidence};
use crate::workloads::{Examined, Figure, slowest};

/// A name found when everybody had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalName {
    pub ticket: u64,
    pub created: u64,
    /// Whom the value names; `None` if it is not whole or not that of the name.
    pub author: Option<Author>,
}

/// All names there are.
pub fn final_state(store: &SharedMemory) -> Result<Vec<FinalName>, Error> {
    let mut final_state = Vec::new();
    store.range(PREFIX, &mut |key, value, meta| {
        let ticket = ticket(key.as_ref()).unwrap_or(u64::MAX);
        let author = Evidence::of(ticket as u32, value).ok().and_then(|evidence| Author::unpack(evidence.author));
        final_state.push(FinalName { ticket, created: meta.created.0, author });
    })?;
    Ok(final_state)
}

/// How an incarnation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody tried to delete it.
    Never,
    /// Deleted at this revision; the answer came at this time.
    Deleted { revision: u64, answered: u64 },
    /// Whoever deleted it was killed before the answer.
    InDoubt,
}

/// What one commit created.
#[derive(Clone, Debug)]
struct Incarnation {
    author: Author,
    first: u64,
    names: u64,
    /// Its revision; `None` while nothing shows that one in doubt took effect.
    created: Option<u64>,
    acknowledged: bool,
    began: u64,
    end: End,
    /// How many of its names are there at the end.
    remaining: u64,
}

impl Incarnation {
    fn tickets(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.names
    }

    /// Until when it may have been there.
    fn lasted(&self) -> u64 {
        match self.end {
            End::Deleted { answered, .. } => answered,
            End::Never | End::InDoubt => u64::MAX,
        }
    }
}

/// Every incarnation, and by name those that took effect.
struct NameTable {
    all: Vec<Incarnation>,
    by_author: HashMap<Author, usize>,
    findings: Findings,
}

/// Holds the history against the names that are left; `steady` is the owner who is never killed.
pub fn check(execution: &Execution<'_>, final_state: &[FinalName], steady: u32) -> Examined {
    let mut table = NameTable::of(execution);
    table.enter_deletions(execution);
    table.enter_final_names(final_state);
    let mut together = Findings::default();
    table.come_and_go_together(&mut together);
    let mut owners = Findings::default();
    let by_name = table.by_name();
    table.one_owner_at_a_time(&by_name, &mut owners);
    table.losers_met_a_winner(execution, &by_name, &mut owners);
    let mut numbers = order::check(execution.history);
    table.counts_show_one_moment(execution, steady, &mut numbers);
    let mut going_on = Recoveries::default();
    recovery::others_go_on(execution, |entry| matches!(entry.kind, Kind::Create | Kind::Delete), &mut going_on);
    for (author, entry) in execution.history.all() {
        let explained = matches!(entry.outcome, Outcome::Done | Outcome::Conflict | Outcome::InDoubt);
        going_on.findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
    let figures = table.figures(execution, &by_name, &going_on);
    let (acknowledged, lost) = table.acknowledged_and_lost(execution);
    let in_doubt = execution.history.all().filter(|(_, entry)| is_owners(entry) && entry.is_in_doubt()).count() as u64;
    let shown = table.all.iter().filter(|one| !one.acknowledged && one.created.is_some()).count() as u64;
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, table.findings);
    verdicts.add(Promise::P4, going_on.findings);
    verdicts.add(Promise::P5, together);
    verdicts.add(Promise::P6, numbers);
    verdicts.add(Promise::P7, owners);
    Examined {
        verdicts,
        acknowledged,
        found: acknowledged - lost,
        in_doubt,
        took_effect: shown,
        recoveries: going_on.recoveries,
        figures,
        ..Examined::default()
    }
}

fn is_owners(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Create | Kind::Delete)
}

impl NameTable {
    fn of(execution: &Execution<'_>) -> Self {
        let mut table = Self { all: Vec::new(), by_author: HashMap::new(), findings: Findings::default() };
        let created = execution.history.all().filter(|(_, entry)| entry.kind == Kind::Create);
        for (author, entry) in created.filter(|(_, e)| matches!(e.outcome, Outcome::Done | Outcome::InDoubt)) {
            let acknowledged = entry.outcome == Outcome::Done;
            table.by_author.insert(author, table.all.len());
            table.all.push(Incarnation {
                author,
                first: entry.extra,
                names: u64::from(entry.record),
                created: acknowledged.then_some(entry.revision),
                acknowledged,
                began: entry.begin,
                end: End::Never,
                remaining: 0,
            });
        }
        table
    }

    /// The incarnation of an author, known now to have been created at this revision; a violation if it cannot be.
    fn known(&mut self, author: Option<Author>, created: u64, names: std::ops::Range<u64>) -> Option<usize> {
        let at = author.and_then(|author| self.by_author.get(&author)).copied();
        let fits = at.is_some_and(|at| {
            let one = &self.all[at];
            let within = one.tickets().contains(&names.start) && names.end <= one.tickets().end;
            within && one.created.is_none_or(|told| told == created)
        });
        self.findings.expect(fits, || {
            format!("names {names:?}, created at {created}, name {author:?} as their author, who did not create them")
        });
        let at = at.filter(|_| fits)?;
        self.all[at].created = Some(created);
        Some(at)
    }

    fn enter_deletions(&mut self, execution: &Execution<'_>) {
        // Who was killed before it wrote down what it was to delete had not begun to.
        let begun = |entry: &Entry| entry.kind == Kind::Delete && entry.previous != Author::NOBODY && entry.count != 0;
        let mut deletions: Vec<(Author, &Entry)> = execution.history.all().filter(|(_, entry)| begun(entry)).collect();
        deletions.sort_unstable_by_key(|(_, entry)| entry.begin);
        for (by, entry) in deletions {
            let names = entry.extra..entry.extra + u64::from(entry.record);
            let Some(at) = self.known(Author::unpack(entry.previous), entry.count, names.clone()) else {
                continue;
            };
            let one = &mut self.all[at];
            let before = one.end;
            let (holds, end) = match entry.outcome {
                Outcome::Done => {
                    let deleted = End::Deleted { revision: entry.revision, answered: entry.end };
                    (!matches!(before, End::Deleted { .. }) && entry.revision > entry.count, deleted)
                }
                Outcome::InDoubt => (true, if before == End::Never { End::InDoubt } else { before }),
                _ => (before != End::Never, before),
            };
            one.end = end;
            self.findings.expect(holds, || {
                format!(
                    "names {names:?}, created at {}: their deletion by {by:?} was told {:?} (revision {}) after {before:?}",
                    entry.count, entry.outcome, entry.revision
                )
            });
        }
    }

    fn enter_final_names(&mut self, final_state: &[FinalName]) {
        for FinalName { ticket, created, author } in final_state {
            if let Some(at) = self.known(*author, *created, *ticket..ticket + 1) {
                self.all[at].remaining += 1;
            }
        }
        for at in 0..self.all.len() {
            let one = &self.all[at];
            let (remaining, names, end) = (one.remaining, one.names, one.end);
            let holds = match end {
                End::Never => remaining == names || one.created.is_none(),
                End::Deleted { .. } => remaining == 0,
                End::InDoubt => true,
            };
            let (author, tickets) = (one.author, one.tickets());
            self.findings.expect(holds, || {
                format!(
                    "of the names {tickets:?} that {author:?} created {remaining} are left at the end; their end: {end:?}"
                )
            });
        }
    }

    /// What one commit created is there as a whole or not at all.
    fn come_and_go_together(&self, findings: &mut Findings) {
        for one in self.all.iter().filter(|one| one.created.is_some()) {
            findings.expect(one.remaining == 0 || one.remaining == one.names, || {
                format!("{} of the {} names that {:?} created together are left", one.remaining, one.names, one.author)
            });
        }
    }

    /// Incarnations that took effect, by name, in the order of their creation.
    fn by_name(&self) -> BTreeMap<u64, Vec<usize>> {
        let mut by_name: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, one) in self.all.iter().enumerate().filter(|(_, one)| one.created.is_some()) {
            one.tickets().for_each(|ticket| by_name.entry(ticket).or_default().push(at));
        }
        by_name.values_mut().for_each(|list| list.sort_unstable_by_key(|at| self.all[*at].created));
        by_name
    }

    /// Nobody creates a name that somebody else has: between two creations lies a deletion.
    fn one_owner_at_a_time(&self, by_name: &BTreeMap<u64, Vec<usize>>, findings: &mut Findings) {
        for (ticket, list) in by_name {
            findings.checked += 1;
            for pair in list.windows(2) {
                let (one, next) = (&self.all[pair[0]], &self.all[pair[1]]);
                let free = match one.end {
                    End::Never => false,
                    End::Deleted { revision, .. } => Some(revision) < next.created,
                    End::InDoubt => true,
                };
                findings.expect(free && one.created < next.created, || {
                    format!(
                        "name {ticket} was created by {:?} at {:?} and by {:?} at {:?}; the end of the first: {:?}",
                        one.author, one.created, next.author, next.created, one.end
                    )
                });
            }
        }
    }

    /// Losing means that one of the names was there: somebody must have had it at some moment of the call.
    fn losers_met_a_winner(
        &self,
        execution: &Execution<'_>,
        by_name: &BTreeMap<u64, Vec<usize>>,
        findings: &mut Findings,
    ) {
        let lost = |entry: &Entry| entry.kind == Kind::Create && entry.outcome == Outcome::Conflict;
        for (author, entry) in execution.history.all().filter(|(_, entry)| lost(entry)) {
            let names = entry.extra..entry.extra + u64::from(entry.record);
            let mut owners = by_name.range(names.clone()).flat_map(|(_, list)| list).map(|at| &self.all[*at]);
            let met = owners.any(|owner| owner.began <= entry.end && owner.lasted() >= entry.begin);
            findings.expect(met, || format!("{author:?} was told that somebody has one of {names:?}; nobody had"));
        }
    }

    /// A count at revision R shows what was created and not deleted up to R: exactly, of the one who was never killed.
    fn counts_show_one_moment(&self, execution: &Execution<'_>, steady: u32, findings: &mut Findings) {
        let of_steady = || self.all.iter().filter(|one| one.author.writer == steady);
        let steady = Changes::of(of_steady());
        let all = Changes::of(self.all.iter());
        let counts =
            execution.history.all().filter(|(_, entry)| entry.kind == Kind::Snapshot && entry.outcome == Outcome::Done);
        for (author, look) in counts {
            let (exactly, _) = steady.at(look.revision);
            findings.expect(look.count == exactly, || {
                format!(
                    "the count {author:?} at revision {} shows {} names of the steady owner, not {exactly}",
                    look.revision, look.count
                )
            });
            let (least, most) = all.at(look.revision);
            findings.expect((least..=most).contains(&look.version), || {
                format!(
                    "the count {author:?} at revision {} shows {} names, not {least} to {most}",
                    look.revision, look.version
                )
            });
        }
    }

    /// Acknowledged operations, and how many of them are not in what is left.
    fn acknowledged_and_lost(&self, execution: &Execution<'_>) -> (u64, u64) {
        let acknowledged =
            execution.history.all().filter(|(_, entry)| is_owners(entry) && entry.outcome == Outcome::Done);
        let lost = self.all.iter().filter(|one| match one.end {
            End::Never => one.acknowledged && one.remaining < one.names,
            End::Deleted { .. } => one.remaining > 0,
            End::InDoubt => false,
        });
        (acknowledged.count() as u64, lost.count() as u64)
    }

    fn figures(
        &self,
        execution: &Execution<'_>,
        by_name: &BTreeMap<u64, Vec<usize>>,
        going_on: &Recoveries,
    ) -> Vec<Figure> {
        let count = |kind, outcome| {
            let meant = |entry: &Entry| entry.kind == kind && entry.outcome == outcome;
            execution.history.all().filter(|(_, entry)| meant(entry)).count() as u64
        };
        let taken_over = self.all.iter().filter(|one| !one.acknowledged && one.created.is_some()).count() as u64;
        let again: usize = by_name.values().map(|list| list.len() - 1).sum();
        let remaining: u64 = self.all.iter().map(|one| one.remaining).sum();
        let mut figures = vec![
            Figure::needed("distinct names", by_name.len() as u64),
            Figure::needed("creations acknowledged, of one name or several", count(Kind::Create, Outcome::Done)),
            Figure::needed("creations that lost to another", count(Kind::Create, Outcome::Conflict)),
            Figure::needed("deletions acknowledged", count(Kind::Delete, Outcome::Done)),
            Figure::count("names created once more", again as u64),
            Figure::count("creations in doubt that had taken effect", taken_over),
            Figure::needed("counts of all names at one moment", count(Kind::Snapshot, Outcome::Done)),
            Figure::count("names left at the end", remaining),
        ];
        figures.extend(slowest(&going_on.recoveries, "kills after which others went on", "slowest to go on"));
        figures
    }
}

/// How many names there are by revision.
struct Changes {
    /// (revision, how many more or fewer), in order, summed up.
    certain: Vec<(u64, i64)>,
    /// Revisions after which names may be gone, and how many, summed up.
    doubtful: Vec<(u64, i64)>,
}

impl Changes {
    fn of<'a>(incarnations: impl Iterator<Item = &'a Incarnation>) -> Self {
        let (mut certain, mut doubtful) = (Vec::new(), Vec::new());
        for one in incarnations {
            let (Some(created), names) = (one.created, one.names as i64) else {
                continue;
            };
            certain.push((created, names));
            match one.end {
                End::Deleted { revision, .. } => certain.push((revision, -names)),
                End::InDoubt if one.remaining == 0 => doubtful.push((created, names)),
                End::InDoubt | End::Never => {}
            }
        }
        Self { certain: summed(certain), doubtful: summed(doubtful) }
    }

    /// At least and at most so many.
    fn at(&self, revision: u64) -> (u64, u64) {
        let until = |list: &[(u64, i64)]| match list.partition_point(|(at, _)| *at <= revision) {
            0 => 0,
            after => list[after - 1].1,
        };
        let most = until(&self.certain);
        ((most - until(&self.doubtful)).max(0) as u64, most.max(0) as u64)
    }
}

fn summed(mut changes: Vec<(u64, i64)>) -> Vec<(u64, i64)> {
    changes.sort_unstable();
    let mut sum = 0;
    for (_, change) in &mut changes {
        sum += *change;
        *change = sum;
    }
    changes
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
