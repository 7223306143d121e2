//! A creator killed after any of its instructions leaves a whole segment or nothing.

use std::path::Path;

use slotguard::{Segment, SegmentBuilder};

use super::alone::{alone, stay_on_one_processor};
use super::board::Board;
use super::puppet::Puppet;
use super::scale::{Dice, kills};
use super::sweep::Spot;
use super::value::Sizes;
use super::walk::Walk;
use super::watch::{Sight, Watch};

fn builder() -> SegmentBuilder {
    Segment::builder().records(3).payloads(&Sizes::Same.classes(8)).participants(4).lanes(3)
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn a_creator_killed_at_any_instruction_leaves_a_whole_segment_or_nothing() {
    alone(|folder| {
        stay_on_one_processor();
        let mut dice = Dice::new();
        let board = Board::new();
        let path = folder.join("segment");
        // Forked from a process that has a segment, as all others are.
        let creator = || {
            board.clear();
            Puppet::new(&board, |cue| {
                cue.ready();
                let segment = builder().create(&path).expect("a segment");
                cue.done();
                std::mem::forget(segment);
            })
        };
        let walk = {
            let mut watch = None;
            let walk = Walk::of(creator(), |asked| match &mut watch {
                Some(watch) => Watch::look(watch, asked),
                None if path.exists() => {
                    watch = Some(Watch::new(&path));
                    Sight::Change
                }
                None => Sight::Nothing,
            });
            Segment::remove(&path).expect("the segment is removed");
            walk
        };
        let (mut nothing, mut whole, mut strayed) = (0, 0, 0);
        for point in walk.points(&mut dice, kills()) {
            let _spot = Spot::new(format!("creator killed after {point} of {} instructions", walk.last()));
            let mut creator = creator();
            strayed += usize::from(!walk.lead(&mut creator, point));
            creator.kill();
            let there = path.exists();
            assert_eq!(names(folder).len(), usize::from(there), "nothing else in the folder: {:?}", names(folder));
            assert!(there || !board.is_acknowledged(), "an acknowledged segment is there");
            let segment = builder().open_or_create(&path).expect("the segment that is there, or a new one");
            let record = segment.record(2).expect("record 2");
            assert_eq!(Sizes::Same.read(record).version.0, 0, "nobody has written to it");
            Sizes::Same.bump(record).expect("an update");
            segment.reap().expect("a recovery");
            let audit = segment.audit().expect("an audit");
            assert_eq!((audit.missing, audit.doubled, audit.rows_taken, audit.lanes_taken), (0, 0, 1, 1), "{audit:?}");
            Segment::remove(&path).expect("the segment is removed");
            assert_eq!(names(folder).len(), 0, "nothing is left: {:?}", names(folder));
            if there { whole += 1 } else { nothing += 1 }
        }
        println!(
            "creation: {} instructions; killed after {}; {nothing} left nothing, {whole} a whole segment; {strayed} strayed",
            walk.last(),
            nothing + whole
        );
        assert!(nothing > 0 && whole > 0, "the sweep reaches from before the creation to after it");
    });
}
