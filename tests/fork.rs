//! Forks, execs, threads that end and several attachments in one process: who is who stays right.
#![cfg(not(loom))]

#[path = "support/forked.rs"]
mod forked;

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use slotguard::{Deadline, Draft, ErrorKind, Life, Result, Segment, SegmentBuilder, Version};

use forked::{Forked, fork};
use harness::isolated::isolated;

/// Longer than any test runs: a claim that ends earlier was ended by something else.
const LEASE: Duration = Duration::from_secs(600);

fn small() -> SegmentBuilder {
    Segment::builder().records(4).lanes(8).participants(8).payload(64)
}

/// Waits until nobody holds the other end of the pipe.
fn hear_the_end(mut of: &PipeReader) {
    assert_eq!(of.read(&mut [0]).expect("a pipe"), 0, "nobody ever writes");
}

fn add(old: &[u8], draft: &mut Draft<'_>) {
    let count = old.try_into().map_or(0, u64::from_le_bytes);
    draft.write(&(count + 1).to_le_bytes());
}

#[track_caller]
fn is_refused<T>(result: Result<T>) {
    let error = result.err().expect("an inherited handle is refused");
    assert_eq!(error.kind(), ErrorKind::Forked, "{error}");
    assert!(error.to_string().contains("Segment::reopen"), "{error}");
}

#[test]
fn every_operation_of_an_inherited_handle_is_refused_and_the_parents_claims_stay() {
    isolated(|folder| {
        for segment in [small().create(folder.join("segment")).unwrap(), small().anonymous().unwrap()] {
            let record = segment.record(0).unwrap();
            let typed = segment.typed::<u64>(1).unwrap();
            typed.update(|count| *count = 7).unwrap();
            let mut claim = record.claim(Deadline::now(), LEASE).unwrap();
            let to_commit = segment.record(2).unwrap().claim(Deadline::now(), LEASE).unwrap();
            let to_release = segment.record(3).unwrap().claim(Deadline::now(), LEASE).unwrap();
            let clone = segment.clone();
            let kept = &mut claim;
            fork(move || {
                let mut value = Vec::new();
                is_refused(record.read(&mut value));
                is_refused(record.verify());
                is_refused(record.update(add));
                is_refused(record.compare_and_swap(Version(0), b"child"));
                is_refused(record.wait_newer(Version(0), Deadline::now()));
                is_refused(clone.wait_any(&[(0, Version(0))], Deadline::now()));
                is_refused(record.claim(Deadline::now(), LEASE));
                is_refused(record.holder());
                is_refused(kept.read(&mut value));
                is_refused(kept.renew(LEASE));
                is_refused(kept.intend(b"child"));
                is_refused(kept.dismiss());
                is_refused(to_commit.commit(b"child"));
                is_refused(to_release.release());
                is_refused(typed.read());
                is_refused(typed.update(|count| *count += 1));
                is_refused(typed.compare_and_swap(Version(1), &8));
                is_refused(clone.typed::<u64>(1));
                is_refused(clone.participants());
                is_refused(clone.reap());
                is_refused(clone.audit());
                is_refused(clone.vector().tick());
                is_refused(clone.vector().snapshot());
                drop(clone);
            })
            .join();
            assert_eq!(typed.read().unwrap().0, 7);
            for index in [0, 2, 3] {
                let holder = segment.record(index).unwrap().holder().unwrap().expect("still claimed");
                assert_eq!(holder.pid, std::process::id());
            }
            assert_eq!(segment.participants().unwrap().len(), 1);
            claim.commit(b"parent").unwrap();
            typed.update(|count| *count += 1).unwrap();
            let audit = segment.audit().unwrap();
            assert_eq!((audit.lanes_taken, audit.missing, audit.doubled, audit.pending), (1, 0, 0, 0));
        }
    });
}

#[test]
fn a_child_that_reopens_is_a_member_of_its_own() {
    isolated(|folder| {
        for segment in [small().create(folder.join("segment")).unwrap(), small().anonymous().unwrap()] {
            segment.record(0).unwrap().update(add).unwrap();
            fork(|| {
                let mine = segment.reopen().unwrap();
                mine.record(0).unwrap().update(add).unwrap();
                is_refused(segment.record(0).unwrap().update(add));
                let members = mine.participants().unwrap();
                assert_eq!(members.len(), 2);
                let me = members.iter().find(|member| member.me).unwrap();
                assert_eq!(me.pid, std::process::id());
                assert!(members.iter().all(|member| member.life == Life::Alive));
                assert!(members.iter().any(|member| member.pid != me.pid && member.lanes == 1));
                // And so on for a child of the child.
                fork(|| {
                    is_refused(mine.record(0).unwrap().update(add));
                    is_refused(segment.record(0).unwrap().update(add));
                    let its_own = mine.reopen().unwrap();
                    its_own.record(0).unwrap().update(add).unwrap();
                    std::mem::forget(its_own);
                })
                .join();
                mine.record(0).unwrap().update(add).unwrap();
                std::mem::forget(mine);
            })
            .join();
            let mut value = Vec::new();
            let stamp = segment.record(0).unwrap().read(&mut value).unwrap();
            assert_eq!((stamp.version, value), (Version(4), 4u64.to_le_bytes().to_vec()));
            // The children ended without a word, as killed ones do.
            let reaped = segment.reap().unwrap();
            assert_eq!((reaped.participants, reaped.lanes), (2, 2));
            assert_eq!(segment.participants().unwrap().len(), 1);
        }
    });
}

/// Forks a process that attaches, claims record 0 and has `offspring` make a child, which outlives it and whose number is
/// told through a pipe once it is on its own. Kills the first; then the claim must be free though its lease runs.
fn dies_with_living_offspring(segment: &Segment, offspring: impl FnOnce(&PipeReader, &PipeWriter)) {
    let (told, tell) = pipe().unwrap();
    let (end, lives) = pipe().unwrap();
    let parent = fork(|| {
        let mine = segment.reopen().unwrap();
        let _claim = mine.record(0).unwrap().claim(Deadline::never(), LEASE).unwrap();
        // Or its child would keep the pipe open by itself.
        drop(lives);
        offspring(&end, &tell);
        hear_the_end(&end);
    });
    let mut child = [0; 4];
    (&told).read_exact(&mut child).unwrap();
    let child = Pid::from_raw(i32::from_ne_bytes(child)).unwrap();
    let claimed = segment.record(0).unwrap().holder().unwrap().expect("the parent lives");
    assert_eq!(claimed.pid, parent.pid.as_raw_nonzero().get() as u32);
    parent.kill();

    let dead: Vec<_> = segment.participants().unwrap().into_iter().filter(|member| member.life == Life::Dead).collect();
    assert_eq!(dead.len(), 1, "the parent's row is found dead");
    assert_eq!(dead[0].pid, claimed.pid);
    test_kill_process(child).expect("while its child lives");
    assert_eq!(segment.record(0).unwrap().holder().unwrap(), None);
    segment.record(0).unwrap().update(add).expect("nobody is in the way");
    assert_eq!(segment.reap().unwrap().participants, 1);
    test_kill_process(child).expect("while its child lives");
}

#[test]
fn the_child_of_a_killed_process_does_not_keep_it_alive() {
    isolated(|folder| {
        for segment in [small().create(folder.join("segment")).unwrap(), small().anonymous().unwrap()] {
            dies_with_living_offspring(&segment, |end, mut tell| {
                fork(|| {
                    tell.write_all(&std::process::id().to_ne_bytes()).unwrap();
                    hear_the_end(end);
                });
            });
        }
    });
}

#[test]
#[allow(clippy::zombie_processes, reason = "the program outlives its parent, which is killed")]
fn a_program_started_by_a_killed_process_does_not_keep_it_alive() {
    isolated(|folder| {
        let segment = small().create(folder.join("segment")).unwrap();
        let cat = |end: &PipeReader| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo; exec cat >/dev/null"]);
            command.stdin(Stdio::from(end.try_clone().unwrap())).stdout(Stdio::piped());
            command
        };
        // `spawn` may return before the kernel has closed what the program is not to have; once the program says
        // something, it has.
        let start = |mut command: Command| {
            let mut program = command.spawn().unwrap();
            program.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            program.id().to_ne_bytes()
        };
        dies_with_living_offspring(&segment, |end, mut tell| tell.write_all(&start(cat(end))).unwrap());
        dies_with_living_offspring(&segment, |end, mut tell| {
            let mut command = cat(end);
            // SAFETY: the hook does nothing; it makes the library fork instead of spawn.
            unsafe { command.pre_exec(|| Ok(())) };
            tell.write_all(&start(command)).unwrap();
        });
    });
}

#[test]
fn a_child_or_program_that_ends_releases_nothing_of_its_parents() {
    isolated(|folder| {
        let path = folder.join("segment");
        let segment = small().create(&path).unwrap();
        let other = Segment::open(&path).unwrap();
        let claim = segment.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap();
        let still_held = |after: &str| {
            let refused = other.record(0).unwrap().update(add).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Held, "after {after}: {refused}");
            assert_eq!(other.reap().unwrap().participants, 0, "after {after}");
            assert!(other.participants().unwrap().iter().all(|member| member.life == Life::Alive), "after {after}");
        };
        fork(|| ()).join();
        still_held("a child that left at once");
        let inherited = (segment.clone(), other.clone());
        fork(move || drop(inherited)).join();
        still_held("a child that dropped its handles");
        fork(|| {
            // SAFETY: runs what the C library runs at the end of a process, and ends it.
            unsafe { libc::exit(0) };
        })
        .join();
        still_held("a child that ended in order");
        fork(|| drop(segment.reopen().unwrap())).join();
        still_held("a child that was a member");
        assert!(Command::new("true").status().unwrap().success());
        still_held("a program");
        drop(std::fs::File::open(&path).unwrap());
        still_held("somebody closed the file");
        claim.commit(b"done").unwrap();
    });
}

#[test]
fn a_fork_inside_an_update_is_refused_in_the_child_and_goes_on_in_the_parent() {
    isolated(|folder| {
        let segment = small().create(folder.join("segment")).unwrap();
        let record = segment.record(0).unwrap();
        let parent = std::process::id();
        let mut pid = 0;
        let done = record.update(|_, draft| {
            draft.write(b"once");
            // SAFETY: the child goes on with what it inherited and leaves by `_exit` below.
            pid = unsafe { libc::fork() };
        });
        if std::process::id() != parent {
            let refused = catch_unwind(AssertUnwindSafe(|| is_refused(done)));
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(refused.is_err())) };
        }
        Forked { pid: Pid::from_raw(pid).expect("a child") }.join();
        assert_eq!(done.unwrap().1.version, Version(1));
        assert_eq!(segment.record(0).unwrap().verify().unwrap().version, Version(1));
        assert_eq!(segment.audit().unwrap().pending, 0);
    });
}

#[test]
fn forks_in_the_midst_of_other_threads_work_lose_nothing() {
    isolated(|folder| {
        let segment = &small().participants(64).lanes(64).create(folder.join("segment")).unwrap();
        let (stop, acknowledged) = (&AtomicBool::new(false), &AtomicU64::new(0));
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        segment.record(0).unwrap().update(add).unwrap();
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let children: Vec<_> = (0..40)
                .map(|_| {
                    fork(|| {
                        is_refused(segment.record(0).unwrap().update(add));
                        let mine = segment.reopen().unwrap();
                        for _ in 0..50 {
                            mine.record(0).unwrap().update(add).unwrap();
                        }
                    })
                })
                .collect();
            children.into_iter().for_each(Forked::join);
            stop.store(true, Ordering::Relaxed);
        });
        let expected = acknowledged.load(Ordering::Relaxed) + 40 * 50;
        let mut value = Vec::new();
        let stamp = segment.record(0).unwrap().read(&mut value).unwrap();
        assert_eq!((stamp.version.0, value), (expected, expected.to_le_bytes().to_vec()));
    });
}

#[test]
fn a_child_forked_while_a_thread_attaches_does_not_keep_the_row_alive() {
    isolated(|folder| {
        const EACH: u32 = 60;
        let path = &folder.join("segment");
        let segment = small().participants(EACH + 1).create(path).unwrap();
        let (mut told, tell) = pipe().unwrap();
        let (end, lives) = pipe().unwrap();
        let parent = fork(|| {
            drop(lives);
            scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        std::mem::forget(Segment::open(path).unwrap());
                        (&tell).write_all(b"+").unwrap();
                    }
                });
                for _ in 0..EACH {
                    fork(|| {
                        (&tell).write_all(b"+").unwrap();
                        hear_the_end(&end);
                    });
                }
            });
            hear_the_end(&end);
        });
        // All are attached, and all children are on their own.
        told.read_exact(&mut [0; 2 * EACH as usize]).unwrap();
        assert_eq!(lives_of(&segment), (EACH as usize + 1, 0));
        parent.kill();
        assert_eq!(lives_of(&segment), (1, EACH as usize));
        assert_eq!(segment.reap().unwrap().participants, EACH);
    });
}

/// How many members are alive, and how many are dead.
fn lives_of(segment: &Segment) -> (usize, usize) {
    let members = segment.participants().unwrap();
    let dead = members.iter().filter(|member| member.life == Life::Dead).count();
    (members.len() - dead, dead)
}

#[test]
fn a_thread_that_ends_gives_its_lane_back() {
    let segment = &small().lanes(2).anonymous().unwrap();
    segment.record(0).unwrap().update(add).unwrap();
    for _ in 0..100 {
        scope(|scope| {
            let thread = scope.spawn(|| segment.record(0).unwrap().update(add).unwrap());
            thread.join().unwrap();
        });
    }
    // And one that ends while it holds a claim.
    let claimer = || std::mem::forget(segment.record(1).unwrap().claim(Deadline::now(), LEASE).unwrap());
    scope(|scope| scope.spawn(claimer).join().unwrap());
    let audit = segment.audit().unwrap();
    assert_eq!((audit.lanes_taken, audit.missing, audit.doubled), (1, 0, 0));
    assert_eq!(segment.record(0).unwrap().verify().unwrap().version, Version(101));
    assert!(segment.record(1).unwrap().holder().unwrap().is_some(), "a claim is the process's, not the thread's");
}

#[test]
fn two_attachments_in_one_process_respect_each_others_claims() {
    isolated(|folder| {
        let path = folder.join("segment");
        let first = small().create(&path).unwrap();
        let second = Segment::open(&path).unwrap();
        let rows: Vec<u32> = first.participants().unwrap().iter().map(|member| member.row).collect();
        assert_eq!(rows.len(), 2);
        for (holder, other) in [(&first, &second), (&second, &first)] {
            let claim = holder.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap();
            assert_eq!(other.record(0).unwrap().update(add).unwrap_err().kind(), ErrorKind::Held);
            let refused = other.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::TimedOut);
            assert_eq!(other.reap().unwrap().participants, 0);
            claim.release().unwrap();
        }
        // An update of one inside an update of the other is no nesting.
        let first_record = first.record(1).unwrap();
        first_record
            .update(|_, draft| {
                second.record(1).unwrap().update(add).unwrap();
                draft.decline();
            })
            .unwrap();
    });
}

#[test]
fn an_attachment_that_is_dropped_takes_no_lock_of_another_with_it() {
    isolated(|folder| {
        let path = folder.join("segment");
        let first = small().create(&path).unwrap();
        let claim = first.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap();
        for _ in 0..3 {
            let second = Segment::open(&path).unwrap();
            let theirs = second.record(1).unwrap().claim(Deadline::now(), LEASE).unwrap();
            drop(theirs);
            drop(second);
            drop(std::fs::read(&path).unwrap());
            // Asked from another process, to which all locks of this one show.
            fork(|| {
                let asking = Segment::open(&path).unwrap();
                let members = asking.participants().unwrap();
                assert_eq!(members.len(), 2, "{members:?}");
                assert!(members.iter().all(|member| member.life == Life::Alive), "{members:?}");
                assert_eq!(asking.record(0).unwrap().update(add).unwrap_err().kind(), ErrorKind::Held);
                assert_eq!(asking.record(1).unwrap().holder().unwrap(), None);
            })
            .join();
            first.reap().unwrap();
        }
        claim.commit(b"done").unwrap();
    });
}

/// Somebody puts another segment in a segment's place, by renaming, while others attach. Who attaches after that attaches
/// to the new one: on the old one it would lock rows and take claims that nobody else respects.
#[test]
fn nobody_attaches_to_a_segment_whose_name_another_has_taken() {
    isolated(|folder| {
        let (path, next) = (&folder.join("segment"), folder.join("next"));
        let make = |generation: u64| {
            let segment = small().create(&next).unwrap();
            segment.typed::<u64>(0).unwrap().update(|value| *value = generation).unwrap();
            segment
        };
        let mut current = make(0);
        std::fs::rename(&next, path).unwrap();
        for generation in 0..400 {
            let successor = make(generation + 1);
            let start = &Barrier::new(2);
            let (opened, at_the_rename) = scope(|scope| {
                let opener = scope.spawn(|| {
                    start.wait();
                    Segment::open(path).unwrap()
                });
                start.wait();
                // Sooner or later during the attachment.
                (0..generation % 40 * 100).for_each(|_| std::hint::spin_loop());
                std::fs::rename(&next, path).unwrap();
                let attached = current.participants().unwrap();
                (opener.join().unwrap(), attached)
            });
            if opened.typed::<u64>(0).unwrap().read().unwrap().0 == generation {
                let me = opened.participants().unwrap().into_iter().find(|member| member.me).unwrap();
                let was_there = at_the_rename.iter().any(|member| (member.row, member.epoch) == (me.row, me.epoch));
                assert!(was_there, "generation {generation}: attached after the name was gone");
            }
            current = successor;
        }
    });
}
