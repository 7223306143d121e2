//! Waiters whose waker dies on the way: between the change and the wake nobody is left to wake them, and they return all
//! the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use slotguard::{Deadline, Stamp, WAIT_SLICE};

use super::alone::{alone, stay_on_one_processor};
use super::board::OWN;
use super::deed::{self, Deed};
use super::plot::Plot;
use super::puppet::Puppet;
use super::scale::{Dice, kills};
use super::scene::{LONG, Scene, Stage};
use super::sweep::{Spot, walk, walk_beside};
use super::walk::Walk;

/// The version, token or revision that the waiter returned with.
const FOUND: usize = OWN;
/// How often it had been put to sleep by then.
const SLEPT: usize = OWN + 1;

/// What becomes of whoever was to wake the waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waker {
    Killed,
    Stopped,
}

/// Waiting for what a plot brings about.
pub struct Wait<P: Plot> {
    pub plot: P,
    pub waker: Waker,
    /// Waits in a child for something newer than what was seen, for as long as it takes.
    pub wait: fn(&P::Scene, &P::View) -> u64,
    /// The first point of the plot from which on the fate of its author is all that the waiter waits for.
    pub from: fn(&Path, &Self, &Walk) -> usize,
}

impl<P: Plot> Wait<P> {
    /// A child that waits and sleeps.
    fn sleeper(&self, scene: &P::Scene) -> Puppet {
        let seen = self.plot.look(scene);
        scene.board().word(FOUND).store(0, SeqCst);
        let waiter = Puppet::free(scene.board(), |cue| {
            let found = (self.wait)(scene, &seen);
            cue.board.word(SLEPT).store(naps(std::process::id()), SeqCst);
            cue.board.word(FOUND).store(found, SeqCst);
        });
        until_asleep(&waiter);
        waiter
    }
}

/// Returns once the child is in the kernel, asleep on a futex.
fn until_asleep(child: &Puppet) {
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
pub fn published<P: Plot>(folder: &Path, wait: &Wait<P>, walk: &Walk) -> usize {
    let is_done = |point: &&usize| {
        let scene = wait.plot.scene(folder);
        let mut author = wait.plot.author(&scene);
        let before = wait.plot.look(&scene);
        walk.lead(&mut author, **point);
        if wait.waker == Waker::Killed {
            author.kill();
            scene.segment().reap().expect("a recovery");
        }
        wait.plot.look(&scene) != before
    };
    *walk.changes.iter().find(is_done).expect("the change can be seen some time")
}

/// A waker killed or stopped after its change and before its wake costs the waiter two slices at most. One that got no
/// further than before its change leaves the waiter to whoever makes the next; one that has come to its end has woken it.
pub fn wakers_get_no_further<P: Plot>(wait: Wait<P>) {
    alone(|folder| {
        stay_on_one_processor();
        let mut dice = Dice::new();
        let plot = wait.plot;
        {
            let scene = plot.scene(folder);
            let waker = wait.plot.author(&scene);
            let mut waiter = wait.sleeper(&scene);
            let wakes = scene.segment().stats().wakes;
            waker.finish();
            assert!(scene.segment().stats().wakes > wakes, "a deed that is done has woken who waits for it");
            waiter.join();
        }
        let walk = walk_beside(folder, plot, |scene| wait.sleeper(scene));
        let from = (wait.from)(folder, &wait, &walk);
        let mut points = BTreeSet::from([from, walk.last()]);
        points.extend(dice.some_of(0..walk.changes.len(), kills() / 8).map(|i| walk.changes[i]));
        points.extend(dice.some_of(from..walk.length(), kills().div_ceil(50).min(40)));
        let (mut longest, mut sleeps, mut unaided) = (Duration::ZERO, 0, 0);
        for &point in &points {
            let _spot = Spot::new(format!("{}, {:?} after {point} instructions", plot.name(), wait.waker));
            let scene = plot.scene(folder);
            let mut waker = wait.plot.author(&scene);
            let mut waiter = wait.sleeper(&scene);
            let wakes = scene.segment().stats().wakes;
            let on_its_way = walk.lead(&mut waker, point);
            let waker = match wait.waker {
                Waker::Killed => {
                    waker.kill();
                    None
                }
                Waker::Stopped => Some(waker),
            };
            let (got_there, slept) = (Instant::now(), naps(waiter.pid()));
            if scene.board().is_acknowledged() {
                assert!(scene.segment().stats().wakes > wakes, "a deed that is done has woken who waits for it");
            }
            // To look at the record would be to finish the author's change and wake the waiter.
            if on_its_way && point >= from {
                waiter.join();
                longest = longest.max(got_there.elapsed());
                // It may have been awake already when it was counted.
                let more = scene.board().word(SLEPT).load(SeqCst).saturating_sub(slept);
                assert!(more <= 2, "the waiter slept {more} more slices");
                sleeps = sleeps.max(more);
                unaided += 1;
            } else {
                plot.change(&scene);
                waiter.join();
            }
            assert!(scene.board().word(FOUND).load(SeqCst) > 0, "the waiter was told of something");
            plot.change(&scene);
            if let Some(waker) = waker.filter(|waker| !waker.has_ended()) {
                waker.finish();
            }
            scene.all_is_recovered();
        }
        println!(
            "{}: {:?} at {} points with somebody waiting for it, who was left to itself after {unaided}, slept {sleeps} \
             more slices at most and returned after {longest:.1?} at most",
            plot.name(),
            wait.waker,
            points.len()
        );
    });
}

#[test]
fn a_waiter_whose_waker_is_killed_between_change_and_wake_returns() {
    let wait = |scene: &Scene, seen: &Stamp| {
        let record = scene.own().record(0).expect("record 0");
        let found = record.wait_newer(seen.version, Deadline::never()).expect("a wait").expect("a wait without an end");
        assert!(found > seen.version, "something newer");
        found.0
    };
    wakers_get_no_further(Wait { plot: deed::UPDATE, waker: Waker::Killed, wait, from: published });
}

#[test]
fn a_waiter_for_a_claim_whose_holder_is_killed_on_its_way_out_gets_it() {
    let wait = |scene: &Scene, _: &Stamp| {
        let record = scene.own().record(0).expect("record 0");
        let claim = record.claim(Deadline::never(), LONG).expect("a claim");
        let token = claim.token();
        std::mem::forget(claim);
        token.0
    };
    wakers_get_no_further(Wait::<Deed> { plot: deed::RELEASE, waker: Waker::Killed, wait, from: |_, _, _| 0 });
}

/// Who waits for something else altogether recovers the dead all the same.
#[test]
fn a_waiter_recovers_the_dead_at_the_end_of_a_slice() {
    alone(|folder| {
        stay_on_one_processor();
        let deed = deed::LARGER;
        let walk = walk(folder, deed);
        for &point in &walk.changes {
            let _spot = Spot::new(format!("killed after {point} instructions"));
            let scene = deed.scene(folder);
            let mut puppet = deed.author(&scene);
            walk.lead(&mut puppet, point);
            puppet.kill();
            let recovered = || scene.segment.audit().expect("an audit").rows_taken == 1;
            wait_elsewhere_until(&scene, Duration::from_millis(2), recovered);
            scene.nothing_is_amiss(1);
        }
    });
}

/// Who waits for something else altogether numbers a change whose author has not moved for a whole slice.
#[test]
fn a_waiter_finishes_what_a_stopped_author_has_published() {
    alone(|folder| {
        stay_on_one_processor();
        let deed = deed::UPDATE;
        let walk = walk(folder, deed);
        let wait = Wait { plot: deed, waker: Waker::Stopped, wait: |_, _| 0, from: published };
        let published = published(folder, &wait, &walk);
        let scene = deed.scene(folder);
        let mut author = deed.author(&scene);
        let before = scene.look();
        assert!(walk.lead(&mut author, published), "the author goes the way it went before");
        assert_eq!(scene.segment.revision(), before.revision, "the change has no number yet");
        // The end of one slice notes what is under way, the end of the next finds it as it was.
        let finished = || scene.segment.stats().helped == 1;
        wait_elsewhere_until(&scene, WAIT_SLICE + Duration::from_millis(2), finished);
        let found = scene.look();
        assert_eq!(found.version.0, before.version.0 + 1, "the stopped author's change");
        author.finish();
        assert_eq!(scene.board.revision(), found.revision.0, "the author is told the same number");
        scene.survivor_updates();
        scene.all_is_recovered();
    });
}

/// Waits for a change of record 1, which nobody makes, and finds that it is `done` then. Where the processor was somewhere
/// else just before the end, a wait may have come to its end without a look; so there are some more.
fn wait_elsewhere_until(scene: &Scene, for_as_long_as: Duration, done: impl Fn() -> bool) {
    let record = scene.segment.record(1).expect("record 1");
    let seen = scene.sizes.read(record).version;
    let wait = || record.wait_newer(seen, Deadline::after(for_as_long_as)).expect("a wait");
    let found = (0..20).any(|_| {
        assert_eq!(wait(), None, "nobody changes record 1");
        done()
    });
    assert!(found, "whoever waits does for others what they cannot");
}
