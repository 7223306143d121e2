//! A process stopped after any of its instructions keeps nobody waiting, and what it had begun is done once when it goes
//! on.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use slotguard::{Deadline, ErrorKind, Revision, Stamp, Version};

use super::fixture::{Fixture, LONG, Records};
use super::operation::{self, Operation};
use super::scale::{isolated, kills, seeded};
use super::scenario::Scenario;
use super::sweep::{Context, trace};
use super::trace::Trace;
use super::tracee::stay_on_one_processor;
use super::tracee::{SyncPoint, Tracee};

/// Stops the scenario's author at points of its trace, and gives what there is then to `meanwhile`.
pub fn stop<S: Scenario>(
    folder: &Path,
    scenario: S,
    trace: &Trace,
    most: usize,
    meanwhile: impl Fn(&S::Fixture, S::Observed, Tracee),
) {
    let mut random = seeded();
    let began = Instant::now();
    let points = trace.points(&mut random, most);
    let mut diverged = 0;
    for &point in &points {
        let _context = Context::new(format!("{}, stopped after {point} instructions", scenario.name()));
        let fixture = scenario.fixture(folder);
        let mut tracee = scenario.author(&fixture);
        let before = scenario.observe(&fixture);
        diverged += u64::from(!trace.lead(&mut tracee, point));
        // One that went another way may have come to its end there.
        if !tracee.has_ended() {
            meanwhile(&fixture, before, tracee);
        }
    }
    println!(
        "{}: stopped at {} points of {} instructions; {diverged} diverged; {:.1} s",
        scenario.name(),
        points.len(),
        trace.last(),
        began.elapsed().as_secs_f64()
    );
}

fn stop_anywhere<S: Scenario>(scenario: S, meanwhile: impl Fn(&S::Fixture, S::Observed, Tracee)) {
    isolated(|folder| {
        stay_on_one_processor();
        stop(folder, scenario, &trace(folder, scenario), kills(), meanwhile);
    });
}

/// The peer changes the record three times, so that every block in use changes hands.
fn the_peer_goes_on(fixture: &Records, before: Stamp, stopped: Tracee) {
    let seen = fixture.observe();
    let is_in = seen.version != before.version;
    let acknowledged = fixture.page.is_acknowledged();
    assert!(is_in || (seen == before && !acknowledged), "old or new, and new if it was acknowledged");
    let newer = |than| fixture.record().wait_newer(than, Deadline::now()).expect("a look");
    assert_eq!(newer(before.version), is_in.then_some(seen.version), "a wait sees what a read sees");
    for _ in 0..3 {
        fixture.survivor_updates();
    }
    assert_eq!(newer(seen.version), Some(Version(seen.version.0 + 3)), "a wait ends once there is something newer");
    let reaped = fixture.segment.reap().expect("a recovery");
    assert_eq!(reaped.participants, 0, "the stopped are not dead");

    stopped.finish();
    assert!(fixture.page.is_acknowledged(), "the stopped one completes its change");
    let last = fixture.observe();
    assert_eq!(last.version.0, before.version.0 + 3 + 1, "the peer's three changes and the stopped one's, each once");
    let revision = if is_in { seen.revision } else { last.revision };
    assert_eq!(Revision(fixture.page.revision()), revision, "its author is told the number that others saw");
    fixture.all_is_recovered();
}

#[test]
fn an_update_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(operation::UPDATE, the_peer_goes_on);
}

#[test]
fn an_update_of_another_class_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(operation::SMALLER, the_peer_goes_on);
}

#[test]
fn a_first_update_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(operation::FIRST_UPDATE, the_peer_goes_on);
}

/// The helper draws a number, notes it for the author, and dies before it stamps the block with it. Author and readers
/// must come to the same number.
#[test]
fn a_reader_killed_while_it_finishes_for_a_stopped_author_leaves_one_number() {
    fn read(fixture: &Records, sync: &SyncPoint<'_>) {
        let mine = fixture.own();
        sync.ready();
        fixture.sizes.read(mine.record(0).expect("record 0"));
    }
    isolated(|folder| {
        stay_on_one_processor();
        let mut random = seeded();
        let operation = operation::UPDATE;
        let first = trace(folder, operation);
        let mut helped = 0;
        for &stop in &first.changes {
            let author = |fixture: &Records| {
                let mut author = operation.author(fixture);
                first.lead(&mut author, stop);
                author
            };
            let second = {
                let fixture = operation.fixture(folder);
                let _author = author(&fixture);
                Trace::of(fixture.another_tracee(read), fixture.diff())
            };
            for point in second.points(&mut random, kills() / first.changes.len()) {
                let _context =
                    Context::new(format!("author stopped after {stop} instructions, reader killed after {point}"));
                let fixture = operation.fixture(folder);
                let author = author(&fixture);
                let mut reader = fixture.another_tracee(read);
                second.lead(&mut reader, point);
                reader.kill();
                let seen = fixture.observe();
                author.finish();
                assert!(fixture.page.is_acknowledged(), "the author completes its change");
                let last = fixture.observe();
                assert_eq!(Revision(fixture.page.revision()), last.revision, "the number the author was told");
                assert!(seen == last || seen.version.0 + 1 == last.version.0, "the number others were told");
                fixture.all_is_recovered();
            }
            helped += second.changes.len();
        }
        assert!(helped > 0, "some reader finished for the author");
        println!("reading beside an author stopped at {} points: {helped} steps of helping", first.changes.len());
    });
}

/// The holder is stopped on its way through the commit until its lease has ended and another has taken over.
#[test]
fn a_holder_stopped_past_its_lease_cannot_write() {
    // One piece of code, whatever the lease: the way of the one is the way of the other.
    #[inline(never)]
    fn commit(fixture: &Records, sync: &SyncPoint<'_>, lease: Duration) {
        let mine = fixture.own();
        let record = mine.record(0).expect("record 0");
        let next = fixture.sizes.value(fixture.sizes.read(record).version.0 + 1);
        let claim = record.claim(Deadline::now(), lease).expect("a claim");
        sync.ready();
        match claim.commit(&next) {
            Ok(stamp) => sync.done_as(stamp),
            Err(error) => assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}"),
        }
    }
    isolated(|folder| {
        stay_on_one_processor();
        let traced = Operation { body: |fixture, sync| commit(fixture, sync, LONG), ..operation::COMMIT };
        // Long enough to be led to a point within it.
        let operation =
            Operation { body: |fixture, sync| commit(fixture, sync, Duration::from_millis(25)), ..operation::COMMIT };
        let (in_time, late) = (Cell::new(0), Cell::new(0));
        stop(folder, operation, &trace(folder, traced), kills().div_ceil(10), |fixture, before, stopped| {
            let mut claim = fixture.record().claim(Deadline::never(), LONG).expect("a claim once the lease has ended");
            let mut value = Vec::new();
            let found = claim.read(&mut value).expect("a value").version;
            let next = fixture.sizes.value(found.0 + 1);
            claim.intend(&next).expect("an intent");
            claim.commit(&next).expect("a commit");
            let last = fixture.observe();
            stopped.finish();
            assert_eq!(fixture.observe(), last, "nothing is written under a claim that has been taken over");
            let wrote = found.0 - before.version.0;
            assert_eq!(fixture.page.is_acknowledged(), wrote == 1, "the late holder is told what is true");
            assert_eq!(last.version.0, before.version.0 + wrote + 1, "each commit once");
            fixture.all_is_recovered();
            let outcome = if wrote == 1 { &in_time } else { &late };
            outcome.set(outcome.get() + 1);
        });
        println!("{} commits in time, {} late", in_time.get(), late.get());
        assert!(in_time.get() > 0 && late.get() > 0, "the sweep reaches from before the commit to after it");
    });
}
