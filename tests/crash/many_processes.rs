//! Many processes that attach, change something and are killed: each leaves its row, lane and blocks to the next.

use std::sync::atomic::Ordering::SeqCst;

use slotguard::{Segment, Version};

use super::scale::{isolated, kills, seeded};
use super::shared_page::{OWN, SharedPage};
use super::tracee::Tracee;
use super::value::Sizes;

/// Waits in a child until somebody kills it.
fn until_killed() -> ! {
    loop {
        // SAFETY: `pause` takes nothing and returns after a signal that does not kill.
        unsafe { libc::pause() };
    }
}

/// There are fewer rows and lanes than processes in all, and nobody ever calls `reap`: who attaches or needs a lane
/// recovers what the dead left.
#[test]
fn a_thousand_processes_killed_one_after_another_leave_room_for_the_next() {
    isolated(|folder| {
        let mut random = seeded();
        let path = folder.join("segment");
        let sizes = Sizes::Mixed;
        let builder = Segment::builder().records(2).payloads(&sizes.classes(16)).participants(4).lanes(4);
        let segment = builder.create(&path).expect("a segment");
        let page = SharedPage::new();
        let cycles = kills().max(1000);
        let mut acknowledged = 0;
        for cycle in 0..cycles {
            page.clear();
            let patience = random.below(200_000);
            let child = Tracee::free(&page, |sync| {
                let mine = Segment::open(&path).expect("room for one more");
                let record = mine.record(0).expect("record 0");
                let stamp = sizes.bump(record).expect("an update");
                sync.done_as(stamp);
                until_killed();
            });
            // Half of them at any moment of their lives, half of them once they are done.
            if cycle % 2 == 0 {
                (0..patience).for_each(|_| std::hint::spin_loop());
            } else {
                child.until(|| page.is_acknowledged());
            }
            child.send_kill();
            child.join_killed();
            let found = sizes.read(segment.record(0).expect("record 0")).version;
            let told = u64::from(page.is_acknowledged());
            assert!(
                found == Version(acknowledged) || found == Version(acknowledged + 1),
                "cycle {cycle}: {acknowledged} changes became {found:?}"
            );
            assert!(found.0 - acknowledged >= told, "cycle {cycle}: an acknowledged change is there");
            acknowledged = found.0;
        }
        segment.reap().expect("a recovery");
        let audit = segment.audit().expect("an audit");
        assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0), "{audit:?}");
        assert_eq!(audit.under_heads + audit.in_spares + audit.free, audit.blocks, "{audit:?}");
        assert_eq!((audit.rows_taken, audit.lanes_taken), (1, 0), "{audit:?}");
        println!("{cycles} processes killed, {acknowledged} changes; {audit:?}");
        drop(segment);
        Segment::remove(&path).expect("the segment is removed");
    });
}

/// All of them are there at once, and die at once.
#[test]
fn forty_processes_killed_together_leave_nothing() {
    isolated(|folder| {
        let path = folder.join("segment");
        let sizes = Sizes::Same;
        let processes = 40;
        let builder =
            Segment::builder().records(processes).payload(64).participants(processes + 1).lanes(processes + 1);
        let segment = builder.create(&path).expect("a segment");
        let page = SharedPage::new();
        for round in 1..=5 {
            let children: Vec<Tracee> = (0..processes)
                .map(|index| {
                    page.word(OWN + index as usize).store(0, SeqCst);
                    Tracee::free(&page, |sync| {
                        let mine = Segment::open(&path).expect("room for one more");
                        sizes.bump(mine.record(index).expect("a record")).expect("an update");
                        sync.page.word(OWN + index as usize).store(1, SeqCst);
                        until_killed();
                    })
                })
                .collect();
            for (index, child) in children.iter().enumerate() {
                child.until(|| page.word(OWN + index).load(SeqCst) == 1);
            }
            let audit = segment.audit().expect("an audit");
            assert_eq!((audit.rows_taken, audit.lanes_taken), (processes + 1, processes), "all are there: {audit:?}");
            children.iter().for_each(Tracee::send_kill);
            children.into_iter().for_each(Tracee::join_killed);
            let reaped = segment.reap().expect("a recovery");
            assert_eq!((reaped.participants, reaped.lanes), (processes, processes), "all are recovered");
            let audit = segment.audit().expect("an audit");
            assert_eq!((audit.missing, audit.doubled, audit.rows_taken, audit.lanes_taken), (0, 0, 1, 0), "{audit:?}");
            for index in 0..processes {
                let found = sizes.read(segment.record(index).expect("a record")).version;
                assert_eq!(found, Version(round), "each change once");
            }
        }
        drop(segment);
        Segment::remove(&path).expect("the segment is removed");
    });
}
