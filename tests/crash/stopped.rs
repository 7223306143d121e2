//! A process stopped after any of its instructions keeps nobody waiting, and what it had begun is done once when it goes
//! on.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use slotguard::{Deadline, ErrorKind, Revision, Stamp, Version};

use super::alone::{alone, stay_on_one_processor};
use super::deed::{self, Deed};
use super::plot::Plot;
use super::puppet::{Cue, Puppet};
use super::scale::{Dice, kills};
use super::scene::{LONG, Scene, Stage};
use super::sweep::{Spot, walk};
use super::walk::Walk;

/// Stops the plot's author at points of its way, and gives what there is then to `meanwhile`.
pub fn stop<P: Plot>(folder: &Path, plot: P, walk: &Walk, most: usize, meanwhile: impl Fn(&P::Scene, P::View, Puppet)) {
    let mut dice = Dice::new();
    let began = Instant::now();
    let points = walk.points(&mut dice, most);
    let mut strayed = 0;
    for &point in &points {
        let _spot = Spot::new(format!("{}, stopped after {point} instructions", plot.name()));
        let scene = plot.scene(folder);
        let mut puppet = plot.author(&scene);
        let before = plot.look(&scene);
        strayed += u64::from(!walk.lead(&mut puppet, point));
        // One that went another way may have come to its end there.
        if !puppet.has_ended() {
            meanwhile(&scene, before, puppet);
        }
    }
    println!(
        "{}: stopped at {} points of {} instructions; {strayed} strayed; {:.1} s",
        plot.name(),
        points.len(),
        walk.last(),
        began.elapsed().as_secs_f64()
    );
}

fn stop_anywhere<P: Plot>(plot: P, meanwhile: impl Fn(&P::Scene, P::View, Puppet)) {
    alone(|folder| {
        stay_on_one_processor();
        stop(folder, plot, &walk(folder, plot), kills(), meanwhile);
    });
}

/// The peer changes the record three times, so that every block in play changes hands.
fn the_peer_goes_on(scene: &Scene, before: Stamp, stopped: Puppet) {
    let seen = scene.look();
    let is_in = seen.version != before.version;
    let acknowledged = scene.board.is_acknowledged();
    assert!(is_in || (seen == before && !acknowledged), "old or new, and new if it was acknowledged");
    let newer = |than| scene.record().wait_newer(than, Deadline::now()).expect("a look");
    assert_eq!(newer(before.version), is_in.then_some(seen.version), "a wait sees what a read sees");
    for _ in 0..3 {
        scene.survivor_updates();
    }
    assert_eq!(newer(seen.version), Some(Version(seen.version.0 + 3)), "a wait ends once there is something newer");
    let reaped = scene.segment.reap().expect("a recovery");
    assert_eq!(reaped.participants, 0, "the stopped are not dead");

    stopped.finish();
    assert!(scene.board.is_acknowledged(), "the stopped one completes its change");
    let last = scene.look();
    assert_eq!(last.version.0, before.version.0 + 3 + 1, "the peer's three changes and the stopped one's, each once");
    let revision = if is_in { seen.revision } else { last.revision };
    assert_eq!(Revision(scene.board.revision()), revision, "its author is told the number that others saw");
    scene.all_is_recovered();
}

#[test]
fn an_update_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(deed::UPDATE, the_peer_goes_on);
}

#[test]
fn an_update_of_another_class_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(deed::SMALLER, the_peer_goes_on);
}

#[test]
fn a_first_update_stopped_at_any_instruction_keeps_nobody_waiting_and_is_in_exactly_once() {
    stop_anywhere(deed::FIRST_UPDATE, the_peer_goes_on);
}

/// The helper draws a number, notes it for the author, and dies before it stamps the block with it. Author and readers
/// must come to the same number.
#[test]
fn a_reader_killed_while_it_finishes_for_a_stopped_author_leaves_one_number() {
    fn read(scene: &Scene, cue: &Cue<'_>) {
        let mine = scene.own();
        cue.ready();
        scene.sizes.read(mine.record(0).expect("record 0"));
    }
    alone(|folder| {
        stay_on_one_processor();
        let mut dice = Dice::new();
        let deed = deed::UPDATE;
        let first = walk(folder, deed);
        let mut helped = 0;
        for &stop in &first.changes {
            let author = |scene: &Scene| {
                let mut author = deed.author(scene);
                first.lead(&mut author, stop);
                author
            };
            let second = {
                let scene = deed.scene(folder);
                let _author = author(&scene);
                Walk::of(scene.another_puppet(read), scene.eye())
            };
            for point in second.points(&mut dice, kills() / first.changes.len()) {
                let _spot = Spot::new(format!("author stopped after {stop} instructions, reader killed after {point}"));
                let scene = deed.scene(folder);
                let author = author(&scene);
                let mut reader = scene.another_puppet(read);
                second.lead(&mut reader, point);
                reader.kill();
                let seen = scene.look();
                author.finish();
                assert!(scene.board.is_acknowledged(), "the author completes its change");
                let last = scene.look();
                assert_eq!(Revision(scene.board.revision()), last.revision, "the number the author was told");
                assert!(seen == last || seen.version.0 + 1 == last.version.0, "the number others were told");
                scene.all_is_recovered();
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
    fn commit(scene: &Scene, cue: &Cue<'_>, lease: Duration) {
        let mine = scene.own();
        let record = mine.record(0).expect("record 0");
        let next = scene.sizes.value(scene.sizes.read(record).version.0 + 1);
        let claim = record.claim(Deadline::now(), lease).expect("a claim");
        cue.ready();
        match claim.commit(&next) {
            Ok(stamp) => cue.done_as(stamp),
            Err(error) => assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}"),
        }
    }
    alone(|folder| {
        stay_on_one_processor();
        let walked = Deed { part: |scene, cue| commit(scene, cue, LONG), ..deed::COMMIT };
        // Long enough to be led to a point within it.
        let deed = Deed { part: |scene, cue| commit(scene, cue, Duration::from_millis(25)), ..deed::COMMIT };
        let (in_time, late) = (Cell::new(0), Cell::new(0));
        stop(folder, deed, &walk(folder, walked), kills().div_ceil(10), |scene, before, stopped| {
            let mut claim = scene.record().claim(Deadline::never(), LONG).expect("a claim once the lease has ended");
            let mut value = Vec::new();
            let found = claim.read(&mut value).expect("a value").version;
            let next = scene.sizes.value(found.0 + 1);
            claim.intend(&next).expect("an intent");
            claim.commit(&next).expect("a commit");
            let last = scene.look();
            stopped.finish();
            assert_eq!(scene.look(), last, "nothing is written under a claim that has been taken over");
            let wrote = found.0 - before.version.0;
            assert_eq!(scene.board.is_acknowledged(), wrote == 1, "the late holder is told what is true");
            assert_eq!(last.version.0, before.version.0 + wrote + 1, "each commit once");
            scene.all_is_recovered();
            let outcome = if wrote == 1 { &in_time } else { &late };
            outcome.set(outcome.get() + 1);
        });
        println!("{} commits in time, {} late", in_time.get(), late.get());
        assert!(in_time.get() > 0 && late.get() > 0, "the sweep reaches from before the commit to after it");
    });
}
