//! A creator killed after any of its instructions leaves a whole segment or nothing.

use std::path::Path;

use slotguard::{Segment, SegmentBuilder};

use super::diff::{Change, Diff};
use super::scale::{isolated, kills, seeded};
use super::shared_page::SharedPage;
use super::sweep::Context;
use super::trace::Trace;
use super::tracee::Tracee;
use super::tracee::stay_on_one_processor;
use super::value::Sizes;

fn builder() -> SegmentBuilder {
    Segment::builder().records(3).payloads(&Sizes::Same.classes(8)).participants(4).lanes(3)
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn a_creator_killed_at_any_instruction_leaves_a_whole_segment_or_nothing() {
    isolated(|folder| {
        stay_on_one_processor();
        let mut random = seeded();
        let page = SharedPage::new();
        let path = folder.join("segment");
        // Forked from a process that has a segment, as all others are.
        let creator = || {
            page.clear();
            Tracee::new(&page, |sync| {
                sync.ready();
                let segment = builder().create(&path).expect("a segment");
                sync.done();
                std::mem::forget(segment);
            })
        };
        let trace = {
            let mut diff = None;
            let trace = Trace::of(creator(), |asked| match &mut diff {
                Some(diff) => Diff::advance(diff, asked),
                None if path.exists() => {
                    diff = Some(Diff::new(&path));
                    Change::Elsewhere
                }
                None => Change::None,
            });
            Segment::remove(&path).expect("the segment is removed");
            trace
        };
        let (mut nothing, mut whole, mut diverged) = (0, 0, 0);
        for point in trace.points(&mut random, kills()) {
            let _context = Context::new(format!("creator killed after {point} of {} instructions", trace.last()));
            let mut creator = creator();
            diverged += usize::from(!trace.lead(&mut creator, point));
            creator.kill();
            let there = path.exists();
            assert_eq!(names(folder).len(), usize::from(there), "nothing else in the folder: {:?}", names(folder));
            assert!(there || !page.is_acknowledged(), "an acknowledged segment is there");
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
            "creation: {} instructions; killed after {}; {nothing} left nothing, {whole} a whole segment; {diverged} diverged",
            trace.last(),
            nothing + whole
        );
        assert!(nothing > 0 && whole > 0, "the sweep reaches from before the creation to after it");
    });
}
