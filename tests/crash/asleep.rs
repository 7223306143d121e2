//! Waiters whose waker dies on the way: between the change and the wake nobody is left to wake them, and they return all
//! the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use slotguard::{Deadline, Stamp, WAIT_SLICE};

use super::fixture::{Fixture, LONG, Records};
use super::operation::{self, Operation};
use super::scale::{isolated, kills, seeded, some_of};
use super::scenario::Scenario;
use super::shared_page::OWN;
use super::sweep::{Context, trace, trace_beside};
use super::trace::Trace;
use super::tracee::Tracee;
use super::tracee::stay_on_one_processor;

/// The version, token or revision that the waiter returned with.
const FOUND: usize = OWN;
/// How often it had been put to sleep by then.
const SLEPT: usize = OWN + 1;

/// What becomes of the process that was to wake the waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waker {
    Killed,
    Stopped,
}

/// Waiting for what a scenario brings about.
pub struct Wait<S: Scenario> {
    pub scenario: S,
    pub waker: Waker,
    /// Waits in a child for something newer than what was seen, for as long as it takes.
    pub wait: fn(&S::Fixture, &S::Observed) -> u64,
    /// The first point of the scenario from which on the waiter waits only for what becomes of the author.
    pub from: fn(&Path, &Self, &Trace) -> usize,
}

impl<S: Scenario> Wait<S> {
    /// A child that waits and sleeps.
    fn sleeper(&self, fixture: &S::Fixture) -> Tracee {
        let seen = self.scenario.observe(fixture);
        fixture.page().word(FOUND).store(0, SeqCst);
        let waiter = Tracee::free(fixture.page(), |sync| {
            let found = (self.wait)(fixture, &seen);
            sync.page.word(SLEPT).store(naps(std::process::id()), SeqCst);
            sync.page.word(FOUND).store(found, SeqCst);
        });
        until_asleep(&waiter);
        waiter
    }
}

/// Returns once the child is in the kernel, asleep on a futex.
fn until_asleep(child: &Tracee) {
    let place = format!("/proc/{}/syscall", child.pid());
    let futex = format!("{} ", libc::SYS_futex);
    child.until(|| fs::read_to_string(&place).expect("a child's state").starts_with(&futex));
}

/// How often a process has gone to sleep by itself.
fn naps(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process's state");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.expect("the kernel counts sleeps").trim().parse().expect("a number")
}

/// The first point at which a change that got no further is found done, once the dead have been recovered.
pub fn published<S: Scenario>(folder: &Path, wait: &Wait<S>, trace: &Trace) -> usize {
    let is_done = |point: &&usize| {
        let fixture = wait.scenario.fixture(folder);
        let mut author = wait.scenario.author(&fixture);
        let before = wait.scenario.observe(&fixture);
        trace.lead(&mut author, **point);
        if wait.waker == Waker::Killed {
            author.kill();
            fixture.segment().reap().expect("a recovery");
        }
        wait.scenario.observe(&fixture) != before
    };
    *trace.changes.iter().find(is_done).expect("the change can be seen some time")
}

/// A waker killed or stopped after its change and before its wake costs the waiter two slices at most. One that got no
/// further than before its change leaves the waiter to whoever makes the next; one that has come to its end has woken it.
pub fn wakers_get_no_further<S: Scenario>(wait: Wait<S>) {
    isolated(|folder| {
        stay_on_one_processor();
        let mut random = seeded();
        let scenario = wait.scenario;
        {
            let fixture = scenario.fixture(folder);
            let waker = wait.scenario.author(&fixture);
            let mut waiter = wait.sleeper(&fixture);
            let wakes = fixture.segment().stats().wakes;
            waker.finish();
            assert!(fixture.segment().stats().wakes > wakes, "an operation that is done has woken who waits for it");
            waiter.join();
        }
        let trace = trace_beside(folder, scenario, |fixture| wait.sleeper(fixture));
        let from = (wait.from)(folder, &wait, &trace);
        let mut points = BTreeSet::from([from, trace.last()]);
        points.extend(some_of(&mut random, 0..trace.changes.len(), kills() / 8).map(|i| trace.changes[i]));
        points.extend(some_of(&mut random, from..trace.length(), kills().div_ceil(50).min(40)));
        let (mut longest, mut sleeps, mut unaided) = (Duration::ZERO, 0, 0);
        for &point in &points {
            let _context = Context::new(format!("{}, {:?} after {point} instructions", scenario.name(), wait.waker));
            let fixture = scenario.fixture(folder);
            let mut waker = wait.scenario.author(&fixture);
            let mut waiter = wait.sleeper(&fixture);
            let wakes = fixture.segment().stats().wakes;
            let on_its_way = trace.lead(&mut waker, point);
            let waker = match wait.waker {
                Waker::Killed => {
                    waker.kill();
                    None
                }
                Waker::Stopped => Some(waker),
            };
            let (got_there, slept) = (Instant::now(), naps(waiter.pid()));
            if fixture.page().is_acknowledged() {
                assert!(
                    fixture.segment().stats().wakes > wakes,
                    "an operation that is done has woken who waits for it"
                );
            }
            // To look at the record would be to finish the author's change and wake the waiter.
            if on_its_way && point >= from {
                waiter.join();
                longest = longest.max(got_there.elapsed());
                // It may have been awake already when it was counted.
                let more = fixture.page().word(SLEPT).load(SeqCst).saturating_sub(slept);
                assert!(more <= 2, "the waiter slept {more} more slices");
                sleeps = sleeps.max(more);
                unaided += 1;
            } else {
                scenario.change(&fixture);
                waiter.join();
            }
            assert!(fixture.page().word(FOUND).load(SeqCst) > 0, "the waiter was told of something");
            scenario.change(&fixture);
            if let Some(waker) = waker.filter(|waker| !waker.has_ended()) {
                waker.finish();
            }
            fixture.all_is_recovered();
        }
        println!(
            "{}: {:?} at {} points with somebody waiting for it, who was left to itself after {unaided}, slept {sleeps} \
             more slices at most and returned after {longest:.1?} at most",
            scenario.name(),
            wait.waker,
            points.len()
        );
    });
}

#[test]
fn a_waiter_whose_waker_is_killed_between_change_and_wake_returns() {
    let wait = |fixture: &Records, seen: &Stamp| {
        let record = fixture.own().record(0).expect("record 0");
        let found = record.wait_newer(seen.version, Deadline::never()).expect("a wait").expect("a wait without an end");
        assert!(found > seen.version, "something newer");
        found.0
    };
    wakers_get_no_further(Wait { scenario: operation::UPDATE, waker: Waker::Killed, wait, from: published });
}

#[test]
fn a_waiter_for_a_claim_whose_holder_is_killed_on_its_way_out_gets_it() {
    let wait = |fixture: &Records, _: &Stamp| {
        let record = fixture.own().record(0).expect("record 0");
        let claim = record.claim(Deadline::never(), LONG).expect("a claim");
        let token = claim.token();
        std::mem::forget(claim);
        token.0
    };
    wakers_get_no_further(Wait::<Operation> {
        scenario: operation::RELEASE,
        waker: Waker::Killed,
        wait,
        from: |_, _, _| 0,
    });
}

/// Who waits for something else altogether recovers the dead all the same.
#[test]
fn a_waiter_recovers_the_dead_at_the_end_of_a_slice() {
    isolated(|folder| {
        stay_on_one_processor();
        let operation = operation::LARGER;
        let trace = trace(folder, operation);
        for &point in &trace.changes {
            let _context = Context::new(format!("killed after {point} instructions"));
            let fixture = operation.fixture(folder);
            let mut tracee = operation.author(&fixture);
            trace.lead(&mut tracee, point);
            tracee.kill();
            let recovered = || fixture.segment.audit().expect("an audit").rows_taken == 1;
            wait_elsewhere_until(&fixture, Duration::from_millis(2), recovered);
            fixture.nothing_is_amiss(1);
        }
    });
}

/// Who waits for something else altogether numbers a change whose author has not moved for a whole slice.
#[test]
fn a_waiter_finishes_what_a_stopped_author_has_published() {
    isolated(|folder| {
        stay_on_one_processor();
        let operation = operation::UPDATE;
        let trace = trace(folder, operation);
        let wait = Wait { scenario: operation, waker: Waker::Stopped, wait: |_, _| 0, from: published };
        let published = published(folder, &wait, &trace);
        let fixture = operation.fixture(folder);
        let mut author = operation.author(&fixture);
        let before = fixture.observe();
        assert!(trace.lead(&mut author, published), "the author takes the path it took before");
        assert_eq!(fixture.segment.revision(), before.revision, "the change has no number yet");
        // The end of one slice notes what is under way, the end of the next finds it as it was.
        let finished = || fixture.segment.stats().helped == 1;
        wait_elsewhere_until(&fixture, WAIT_SLICE + Duration::from_millis(2), finished);
        let found = fixture.observe();
        assert_eq!(found.version.0, before.version.0 + 1, "the stopped author's change");
        author.finish();
        assert_eq!(fixture.page.revision(), found.revision.0, "the author is told the same number");
        fixture.survivor_updates();
        fixture.all_is_recovered();
    });
}

/// Waits for a change of record 1, which nobody makes, and finds that it is `done` then. Where the processor was somewhere
/// else just before the end, a wait may have come to its end without a look; so there are some more.
fn wait_elsewhere_until(fixture: &Records, for_as_long_as: Duration, done: impl Fn() -> bool) {
    let record = fixture.segment.record(1).expect("record 1");
    let seen = fixture.sizes.read(record).version;
    let wait = || record.wait_newer(seen, Deadline::after(for_as_long_as)).expect("a wait");
    let found = (0..20).any(|_| {
        assert_eq!(wait(), None, "nobody changes record 1");
        done()
    });
    assert!(found, "whoever waits does for others what they cannot");
}
