//! Recovery itself, killed after each of its instructions, and followed by another.

use std::path::Path;
use std::time::Instant;

use super::entries;
use super::fixture::{Fixture, ROWS};
use super::operation;
use super::scale::{isolated, kills, seeded, some_of};
use super::scenario::Scenario;
use super::several;
use super::store::Store;
use super::sweep::{Context, Order, Tally, trace};
use super::trace::Trace;
use super::tracee::stay_on_one_processor;
use super::tracee::{SyncPoint, Tracee};
use harness::random::Random;

/// By asking for it.
fn by_request(fixture: &impl Fixture, sync: &SyncPoint<'_>) {
    let mine = fixture.own();
    sync.ready();
    mine.reap().expect("a recovery");
}

/// By attaching when no row is free but the dead one's.
fn by_attaching(fixture: &impl Fixture, sync: &SyncPoint<'_>) {
    for _ in 0..ROWS - 2 {
        fixture.own();
    }
    sync.ready();
    fixture.own();
}

/// Of leases, too, and what lives by them.
fn with_leases(store: &Store, sync: &SyncPoint<'_>) {
    let mine = store.own_keys();
    sync.ready();
    mine.reap().expect("a recovery");
    std::mem::forget(mine);
}

/// What becomes of the first recoverer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recoverer {
    Killed,
    /// And goes on when others have used the record for a while.
    Stopped,
}

/// Kills an author at each of those points of the operation, and its recoverer is killed or stopped at each of its own
/// points that makes a difference, and at some others.
fn sweep<S: Scenario>(
    folder: &Path,
    scenario: S,
    deaths: Deaths,
    recover: fn(&S::Fixture, &SyncPoint<'_>),
    mode: Recoverer,
) {
    stay_on_one_processor();
    let mut random = seeded();
    let began = Instant::now();
    let first = trace(folder, scenario);
    let deaths = deaths(&first, &mut random);
    let (mut tally, mut length, mut points) = (Tally::default(), 0, 0);
    for &death in &deaths {
        let kill_author = |fixture: &S::Fixture| {
            let mut tracee = scenario.author(fixture);
            let before = scenario.observe(fixture);
            let diverged = !first.lead(&mut tracee, death);
            tracee.kill();
            (before, diverged)
        };
        let second = {
            let fixture = scenario.fixture(folder);
            kill_author(&fixture);
            Trace::of(fixture.another_tracee(recover), fixture.diff())
        };
        length = length.max(second.last());
        for point in second.points(&mut random, kills() / deaths.len()) {
            points += 1;
            for &order in Order::at(point, &second) {
                let _context = Context::new(format!(
                    "{}, killed after {death} instructions, its recoverer {mode:?} after {point}, survivor: {order:?}",
                    scenario.name()
                ));
                let fixture = scenario.fixture(folder);
                let (before, diverged) = kill_author(&fixture);
                let mut recoverer = fixture.another_tracee(recover);
                tally.diverged += u64::from(!second.lead(&mut recoverer, point) || diverged);
                match mode {
                    Recoverer::Killed => {
                        recoverer.kill();
                        tally.count(scenario.check(&fixture, before, order, tally.kills()));
                    }
                    Recoverer::Stopped => others_go_on(scenario, &fixture, recoverer),
                }
            }
        }
    }
    println!(
        "{}, killed at {} points; its recovery of up to {length} instructions {mode:?} at {points}; {}{:.1} s",
        scenario.name(),
        deaths.len(),
        if mode == Recoverer::Killed { format!("{tally}; ") } else { String::new() },
        began.elapsed().as_secs_f64()
    );
}

/// Every block in use changes hands before the recoverer goes on.
fn others_go_on<S: Scenario>(scenario: S, fixture: &S::Fixture, recoverer: Tracee) {
    scenario.work(fixture);
    let before = scenario.observe(fixture);
    recoverer.finish();
    assert_eq!(scenario.observe(fixture), before, "recovery changes no value that others have seen");
    scenario.change(fixture);
    fixture.all_is_recovered();
}

/// At which points of its operation the first one dies.
type Deaths = fn(&Trace, &mut Random) -> Vec<usize>;

/// Points of the operation that others can tell from the one before: all of them in a release build.
fn anywhere(trace: &Trace, random: &mut Random) -> Vec<usize> {
    some_of(random, 0..trace.changes.len(), kills().div_ceil(25)).map(|i| trace.changes[i]).collect()
}

/// One of them.
fn somewhere(trace: &Trace, random: &mut Random) -> Vec<usize> {
    vec![trace.changes[random.index(trace.changes.len())]]
}

/// When the operation is done.
fn afterwards(trace: &Trace, _: &mut Random) -> Vec<usize> {
    vec![trace.last()]
}

#[test]
fn a_recoverer_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, operation::UPDATE, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_blocks_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, operation::LARGER, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_first_lane_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, operation::FIRST_LANE, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_stopped_at_any_instruction_is_in_nobodys_way() {
    isolated(|folder| sweep(folder, operation::UPDATE, anywhere, by_request, Recoverer::Stopped));
}

#[test]
fn a_recoverer_stopped_at_any_instruction_does_not_keep_a_dead_holders_claim() {
    isolated(|folder| sweep(folder, operation::CLAIM, afterwards, by_request, Recoverer::Stopped));
}

#[test]
fn a_newcomer_killed_while_it_takes_a_dead_ones_row_is_followed_by_another() {
    isolated(|folder| sweep(folder, operation::UPDATE, somewhere, by_attaching, Recoverer::Killed));
}

#[test]
fn a_newcomer_stopped_while_it_takes_a_dead_holders_row_does_not_keep_the_claim() {
    isolated(|folder| sweep(folder, operation::CLAIM, afterwards, by_attaching, Recoverer::Stopped));
}

#[test]
fn a_recoverer_of_a_commit_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, several::TWO, anywhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_larger_commit_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, several::EIGHT, somewhere, by_request, Recoverer::Killed));
}

#[test]
fn a_recoverer_of_a_commit_stopped_at_any_instruction_is_in_nobodys_way() {
    isolated(|folder| sweep(folder, several::TWO, somewhere, by_request, Recoverer::Stopped));
}

#[test]
fn a_recoverer_of_a_lease_killed_at_any_instruction_is_followed_by_another() {
    isolated(|folder| sweep(folder, entries::CREATE_UNDER, afterwards, with_leases, Recoverer::Killed));
}
