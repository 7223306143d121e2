//! Operations in one process: order, failure, timeouts, rollbacks; nobody is stalled.

mod ending;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use slotguard::conformance::guarded;
use slotguard::recipe::executor::{Executor, Handle, Operation, Priority, Stage, Undone};
use slotguard::recipe::{Error, Failure};
use slotguard::{Cancel, Deadline};

use harness::isolated::isolated;

/// Long enough for what is not to happen in a test.
const LONG: Duration = Duration::from_secs(3_600);
/// A timeout that passes.
const SHORT: Duration = Duration::from_millis(20);

fn one_worker() -> Executor {
    Executor::builder().workers(1).spare(4).build().unwrap()
}

/// An operation that runs until it is let go.
fn held(id: &str) -> (Operation<u32>, Receiver<Cancel>, Sender<Result<u32, Failure>>) {
    let (begun, has_begun) = channel();
    let (go, may_go) = channel::<Result<u32, Failure>>();
    let operation = Operation::new(id, move |stop: &Cancel| {
        begun.send(stop.clone()).unwrap();
        may_go.recv().unwrap_or(Ok(0))
    });
    (operation, has_begun, go)
}

/// Keeps the only worker busy until the answer is used.
fn keep_busy(executor: &Executor) -> Sender<Result<u32, Failure>> {
    let (operation, has_begun, go) = held("busy");
    executor.submit(operation).unwrap();
    has_begun.recv().unwrap();
    go
}

type Notes = Arc<Mutex<Vec<String>>>;

/// An operation that writes down its id.
fn noted(id: &str, notes: &Notes) -> Operation<()> {
    let (name, notes) = (id.to_owned(), Arc::clone(notes));
    Operation::new(id, move |_| {
        notes.lock().unwrap().push(name);
        Ok(())
    })
}

fn read(notes: &Notes) -> Vec<String> {
    notes.lock().unwrap().clone()
}

/// A rollback that is counted.
fn counted() -> (Arc<AtomicU32>, impl FnMut() -> Result<(), Failure> + Send + 'static) {
    let count = Arc::new(AtomicU32::new(0));
    let inside = Arc::clone(&count);
    (count, move || {
        inside.fetch_add(1, SeqCst);
        Ok(())
    })
}

fn finish(executor: &Executor) {
    assert!(executor.shut_down(&Deadline::never()).unwrap());
}

#[test]
fn b11_the_more_urgent_goes_first_and_inside_a_priority_the_first() {
    guarded("priorities", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let go = keep_busy(&executor);
        let order = [Priority::Low, Priority::Medium, Priority::Critical, Priority::High];
        for (number, priority) in order.iter().cycle().take(12).enumerate() {
            executor.submit(noted(&format!("{priority:?}{number}"), &notes).priority(*priority)).unwrap();
        }
        assert_eq!(executor.status().waiting, 12);
        go.send(Ok(0)).unwrap();
        finish(&executor);
        let expected = "Critical2 Critical6 Critical10 High3 High7 High11 Medium1 Medium5 Medium9 Low0 Low4 Low8";
        assert_eq!(read(&notes).join(" "), expected);
    });
}

/// In source 2 a dependency counted only while it ran, which in a queue of one at a time is never: the dependent ran first
/// if it was more urgent: S2-6.
#[test]
fn s2_6_what_an_operation_depends_on_is_done_first_whatever_the_priorities() {
    guarded("dependencies", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let go = keep_busy(&executor);
        let mut batch = executor.batch();
        // Named before it is added.
        batch.add(noted("dependent", &notes).priority(Priority::Critical).after("dep").after("other"));
        batch.add(noted("dep", &notes).priority(Priority::Low));
        batch.add(noted("other", &notes).after("dep").priority(Priority::Critical));
        batch.submit().unwrap();
        let last = executor.submit(noted("last", &notes).priority(Priority::Critical).after("dependent")).unwrap();
        go.send(Ok(0)).unwrap();
        last.join().unwrap();
        assert_eq!(read(&notes), ["dep", "other", "dependent", "last"]);
        // What is done long ago keeps nobody.
        executor.submit(noted("after all", &notes).after("dep")).unwrap_err();
        executor.submit(noted("after-all", &notes).after("dep")).unwrap().join().unwrap();
    });
}

#[test]
fn b11_several_workers_keep_the_order_of_dependencies() {
    guarded("a lattice", || {
        let executor = Executor::builder().workers(4).build().unwrap();
        let notes = Notes::default();
        let mut batch = executor.batch();
        // Every row waits for all of the row before.
        for (row, id) in (0..10).rev().flat_map(|row| (0..5).map(move |id| (row, id))) {
            let mut operation = noted(&format!("{row}-{id}"), &notes);
            if row > 0 {
                operation = (0..5).fold(operation, |operation, id| operation.after(format!("{}-{id}", row - 1)));
            }
            batch.add(operation);
        }
        batch.submit().unwrap();
        finish(&executor);
        let rows: Vec<_> = read(&notes).iter().map(|id| id[..1].to_owned()).collect();
        assert!(rows.is_sorted() && rows.len() == 50, "{rows:?}");
    });
}

/// Source 2 noticed neither: an operation that depends on itself, on a circle, or on nothing known simply ran: S2-6.
#[test]
fn s2_6_unknown_dependencies_and_circles_are_refused_and_nothing_is_submitted() {
    guarded("refusals", || {
        let executor = one_worker();
        let operation = |id: &str| Operation::new(id, |_| Ok(()));
        let unknown = executor.submit(operation("a").after("nobody")).unwrap_err();
        assert!(unknown.to_string().starts_with("\"a\" depends on \"nobody\""), "{unknown}");
        let circle = |error| match error {
            Error::DependencyCycle { path } => path.join(" "),
            other => panic!("{other}"),
        };
        assert_eq!(circle(executor.submit(operation("a").after("a")).unwrap_err()), "a a");
        let mut batch = executor.batch();
        let never = batch.add(operation("x"));
        batch.add(operation("a").after("x").after("b"));
        batch.add(operation("b").after("x").after("c"));
        batch.add(operation("c").after("x").after("a"));
        assert_eq!(circle(batch.submit().unwrap_err()), "a b c a");
        assert!(matches!(never.join(), Err(Error::OperationCancelled { id }) if id == "x"));
        assert_eq!((executor.stage("x"), executor.stage("a"), executor.status().waiting), (None, None, 0));
    });
}

/// In source 2 one operation that failed was the last: S2-5.
#[test]
fn s2_5_a_failure_fails_its_dependants_and_stalls_nobody() {
    guarded("a failure", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let go = keep_busy(&executor);
        let bad = executor.submit(Operation::new("bad", |_| Err::<(), _>("no disk".into()))).unwrap();
        let child = executor.submit(noted("child", &notes).after("bad")).unwrap();
        let grandchild = executor.submit(noted("grandchild", &notes).after("child")).unwrap();
        let other = executor.submit(noted("other", &notes)).unwrap();
        go.send(Ok(0)).unwrap();
        assert_eq!(bad.join().unwrap_err().to_string(), "\"bad\" failed: no disk");
        let lost = |handle: Handle<()>| match handle.join().unwrap_err() {
            Error::DependencyFailed { id, dependency } => format!("{id} {dependency}"),
            other => panic!("{other}"),
        };
        assert_eq!((lost(child), lost(grandchild)), ("child bad".to_owned(), "grandchild child".to_owned()));
        other.join().unwrap();
        // Who comes later is told the same.
        assert_eq!(lost(executor.submit(noted("late", &notes).after("bad")).unwrap()), "late bad");
        assert_eq!(read(&notes), ["other"]);
        let status = executor.status();
        assert_eq!((status.done, status.failed, status.skipped, status.waiting), (2, 1, 3, 0));
    });
}

#[test]
fn b11_a_long_chain_fails_as_a_whole() {
    guarded("a chain", || {
        let executor = Executor::builder().workers(1).limit(50_000).remembered(50_000).build().unwrap();
        let go = keep_busy(&executor);
        let mut batch = executor.batch();
        let handles: Vec<_> = (0..40_000)
            .map(|n| {
                let after = if n == 0 { "busy".to_owned() } else { format!("{}", n - 1) };
                batch.add(Operation::new(format!("{n}"), |_| Ok(())).after(after))
            })
            .collect();
        batch.submit().unwrap();
        go.send(Err("no".into())).unwrap();
        for handle in handles {
            assert!(matches!(handle.join(), Err(Error::DependencyFailed { .. })));
        }
    });
}

/// In source 2 an operation of 300 ms with a timeout of 50 was still pending at 100, was told a success at 400, and was
/// never rolled back: S2-4.
#[test]
fn s2_4_a_timeout_reaches_the_caller_rolls_back_once_and_drops_the_late_result() {
    guarded("a timeout", || {
        for late in [|| Ok(7), || Err("too late".into())] {
            let executor = one_worker();
            let (undone, rollback) = counted();
            let (operation, has_begun, go) = held("slow");
            let slow = executor.submit(operation.timeout(SHORT).rollback(rollback)).unwrap();
            let child = executor.submit(Operation::new("child", |_| Ok(())).after("slow")).unwrap();
            let stop = has_begun.recv().unwrap();
            // It is told while the operation runs, which nobody lets go.
            let error = slow.join().unwrap_err();
            assert!(matches!(error, Error::OperationTimedOut { after: SHORT, .. }), "{error}");
            assert!(stop.is_cancelled());
            assert!(matches!(child.join(), Err(Error::DependencyFailed { .. })));
            // The only worker is stuck, and yet the next one runs, after the rollback.
            executor.submit(Operation::new("next", |_| Ok(()))).unwrap().join().unwrap();
            assert_eq!((undone.load(SeqCst), executor.status().stuck), (1, 1));
            go.send(late()).unwrap();
            while executor.status().stuck > 0 {
                thread::yield_now();
            }
            finish(&executor);
            assert_eq!(undone.load(SeqCst), 1);
            assert_eq!((executor.stage("slow"), executor.undone("slow")), (Some(Stage::TimedOut), Some(Undone::Done)));
            let status = executor.status();
            assert_eq!((status.done, status.failed, status.timed_out, status.rolled_back), (1, 0, 1, 1));
        }
    });
}

#[test]
fn b11_an_operation_that_heeds_its_switch_is_rolled_back_after_it_has_returned() {
    guarded("grace", || {
        let executor = Arc::new(Executor::builder().workers(2).build().unwrap());
        let notes = Notes::default();
        let (running, undoing) = (Arc::clone(&notes), Arc::clone(&notes));
        let ours = Arc::clone(&executor);
        let (done, is_done) = channel();
        let operation = Operation::new("slow", move |stop: &Cancel| {
            let until = Deadline::never().or_cancelled(stop);
            // Waits as any wait of this crate, which the switch ends.
            let executor = one_worker();
            let (operation, _begun, _go) = held("inner");
            executor.submit(operation)?.wait(&until).unwrap_err();
            // The other worker has done what there was to do.
            ours.submit(Operation::new("next", |_: &Cancel| Ok(())))?.join()?;
            done.send(())?;
            running.lock().unwrap().push("stopped".to_owned());
            Ok(())
        });
        let rollback = move || {
            undoing.lock().unwrap().push("rolled back".to_owned());
            Ok(())
        };
        let slow = executor.submit(operation.timeout(SHORT).grace(LONG).rollback(rollback)).unwrap();
        assert!(matches!(slow.join(), Err(Error::OperationTimedOut { .. })));
        is_done.recv().unwrap();
        finish(&executor);
        assert_eq!(read(&notes), ["stopped", "rolled back"]);
    });
}

#[test]
fn b11_grace_ends() {
    guarded("the end of grace", || {
        let executor = one_worker();
        let (undone, rollback) = counted();
        let (operation, _has_begun, _go) = held("slow");
        let slow = executor.submit(operation.timeout(SHORT).grace(SHORT).rollback(rollback)).unwrap();
        assert!(slow.join().is_err());
        finish(&executor);
        assert_eq!((undone.load(SeqCst), executor.status().stuck), (1, 1));
    });
}

#[test]
fn b11_a_failed_rollback_is_reported_with_the_original() {
    guarded("a failed rollback", || {
        let executor = one_worker();
        let operation = Operation::new("a", |_| Err::<(), _>("no disk".into())).rollback(|| Err("no tool".into()));
        let error = executor.submit(operation).unwrap().join().unwrap_err();
        assert_eq!(error.to_string(), "\"a\" failed: no disk; the rollback failed as well: no tool");
        assert_eq!(executor.undone("a"), Some(Undone::Failed("no tool".to_owned())));
        // After a timeout nobody is kept waiting for it; it is on record.
        let (operation, _has_begun, _go) = held("b");
        let late = executor.submit(operation.timeout(SHORT).rollback(|| panic!("fell"))).unwrap();
        assert!(matches!(late.join(), Err(Error::OperationTimedOut { .. })));
        finish(&executor);
        assert_eq!(executor.undone("b"), Some(Undone::Failed("fell".to_owned())));
        assert_eq!((executor.status().rolled_back, executor.status().rollbacks_failed), (2, 2));
    });
}

#[test]
fn b11_a_panic_is_a_failure_that_says_what_it_said() {
    guarded("a panic", || {
        let executor = one_worker();
        let (undone, rollback) = counted();
        let operation = Operation::new("a", |_| -> Result<(), Failure> { panic!("shelf {}", 7) }).rollback(rollback);
        let error = executor.submit(operation).unwrap().join().unwrap_err();
        assert_eq!(error.to_string(), "\"a\" panicked: shelf 7");
        assert_eq!(undone.load(SeqCst), 1);
        assert_eq!(executor.submit(Operation::new("b", |_| Ok(2))).unwrap().join().unwrap(), 2);
    });
}

#[test]
fn b11_what_waits_can_be_cancelled_and_what_runs_as_well() {
    guarded("cancellations", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let (undone, rollback) = counted();
        let (operation, has_begun, go) = held("runs");
        let runs = executor.submit(operation.rollback(rollback)).unwrap();
        let stop = has_begun.recv().unwrap();
        let waits = executor.submit(noted("waits", &notes).rollback(|| panic!("it has not begun"))).unwrap();
        let child = executor.submit(noted("child", &notes).after("waits")).unwrap();
        assert!(executor.cancel("waits").unwrap());
        assert!(matches!(waits.join(), Err(Error::OperationCancelled { .. })));
        assert!(matches!(child.join(), Err(Error::DependencyFailed { .. })));
        assert!(executor.cancel("runs").unwrap());
        assert!(stop.is_cancelled());
        assert!(matches!(runs.join(), Err(Error::OperationCancelled { .. })));
        assert!(!executor.cancel("runs").unwrap() && !executor.cancel("waits").unwrap());
        assert!(matches!(executor.cancel("nobody"), Err(Error::UnknownId { .. })));
        go.send(Ok(1)).unwrap();
        finish(&executor);
        assert_eq!((undone.load(SeqCst), read(&notes).len()), (1, 0));
        assert_eq!(executor.status().cancelled, 2);
    });
}

#[test]
fn b11_a_full_queue_refuses_and_takes_again() {
    guarded("a full queue", || {
        let executor = Executor::builder().workers(1).limit(2).build().unwrap();
        let operation = |id: &str| Operation::new(id, |_| Ok(()));
        let go = keep_busy(&executor);
        let first = executor.submit(operation("a")).unwrap();
        let mut batch = executor.batch();
        batch.add(operation("b"));
        batch.add(operation("c"));
        assert!(matches!(batch.submit(), Err(Error::QueueFull { limit: 2 })));
        assert_eq!(executor.stage("b"), None, "all or nothing");
        executor.submit(operation("b")).unwrap();
        assert!(matches!(executor.submit(operation("c")), Err(Error::QueueFull { limit: 2 })));
        go.send(Ok(0)).unwrap();
        first.join().unwrap();
        executor.submit(operation("c")).unwrap().join().unwrap();
    });
}

#[test]
fn b11_an_id_is_used_once_as_long_as_it_is_remembered() {
    guarded("ids", || {
        let executor = Executor::builder().workers(1).remembered(2).build().unwrap();
        let run = |id: &str| executor.submit(Operation::new(id, |_| Ok(()))).map(|handle| handle.join().unwrap());
        run("a").unwrap();
        let error = run("a").unwrap_err();
        assert!(error.to_string().starts_with("\"a\" is done already"), "{error}");
        run("b").unwrap();
        run("c").unwrap();
        run("a").unwrap();
        for id in ["", "a b", "a,b", "a/b", "a\n", &"x".repeat(65)] {
            assert!(matches!(run(id), Err(Error::BadId { .. })), "{id:?}");
        }
        let mut batch = executor.batch();
        batch.add(Operation::new("d", |_| Ok(())));
        batch.add(Operation::new("d", |_| Ok(())));
        assert!(matches!(batch.submit(), Err(Error::IdTwice { .. })));
    });
}

#[test]
fn b11_so_many_stuck_threads_are_replaced_and_no_more() {
    guarded("spare threads", || {
        let executor = Executor::builder().workers(1).spare(1).build().unwrap();
        let stuck = ["a", "b"].map(|id| {
            let (operation, has_begun, go) = held(id);
            let handle = executor.submit(operation.timeout(SHORT)).unwrap();
            has_begun.recv().unwrap();
            assert!(matches!(handle.join(), Err(Error::OperationTimedOut { .. })));
            go
        });
        let next = executor.submit(Operation::new("next", |_| Ok(()))).unwrap();
        let status = executor.status();
        assert_eq!((status.workers, status.stuck, status.waiting), (2, 2, 1));
        // One returns and takes what waits.
        stuck[0].send(Ok(0)).unwrap();
        next.join().unwrap();
        stuck[1].send(Ok(0)).unwrap();
        while executor.status().workers > 1 {
            thread::yield_now();
        }
        executor.submit(Operation::new("more", |_| Ok(()))).unwrap().join().unwrap();
    });
}

/// Source 2 claimed callbacks may call back, and did not say what then: S2-12.
#[test]
fn s2_12_an_operation_may_submit_and_cancel_others() {
    guarded("re-entrancy", || {
        let executor = Arc::new(one_worker());
        let inside = Arc::clone(&executor);
        let outer = Operation::new("outer", move |_| {
            let inner = inside.submit(Operation::new("inner", |_| Ok(5)))?;
            inside.submit(Operation::new("other", |_| Ok(())))?;
            inside.cancel("other")?;
            Ok(inner)
        });
        let inner = executor.submit(outer).unwrap().join().unwrap();
        assert_eq!(inner.join().unwrap(), 5);
        assert_eq!(executor.stage("other"), Some(Stage::Cancelled));
    });
}

#[test]
fn b11_a_wait_has_a_deadline_of_its_own() {
    guarded("a handle's wait", || {
        let executor = one_worker();
        let (operation, _has_begun, go) = held("slow");
        let slow = executor.submit(operation).unwrap();
        assert!(!slow.wait(&Deadline::now()).unwrap() && !slow.has_ended());
        assert!(!slow.wait(&Deadline::after(SHORT)).unwrap());
        let stop = Cancel::new();
        stop.cancel();
        assert!(slow.wait(&Deadline::never().or_cancelled(&stop)).is_err());
        go.send(Ok(3)).unwrap();
        assert!(slow.wait(&Deadline::never()).unwrap());
        assert_eq!((slow.id(), slow.has_ended()), ("slow", true));
        assert_eq!(slow.join().unwrap(), 3);
    });
}

/// Workers fall asleep between any two of these.
#[test]
fn b11_no_idle_worker_sleeps_through_a_submission() {
    guarded("idle workers", || {
        let executor = Executor::builder().workers(3).build().unwrap();
        thread::scope(|scope| {
            for submitter in 0..3 {
                let executor = &executor;
                scope.spawn(move || {
                    for number in 0..3_000 {
                        let id = format!("{submitter}-{number}");
                        assert_eq!(
                            executor.submit(Operation::new(id, move |_| Ok(number))).unwrap().join().unwrap(),
                            number
                        );
                    }
                });
            }
        });
        assert_eq!(executor.status().done, 9_000);
    });
}

/// What was cancelled leaves its place in the queue, so that another one of its id does not get it.
#[test]
fn b11_a_namesake_of_what_was_cancelled_waits_its_own_turn() {
    guarded("places", || {
        let executor = Executor::builder().workers(1).remembered(0).build().unwrap();
        let (notes, go) = (Notes::default(), keep_busy(&executor));
        executor.submit(noted("x", &notes).priority(Priority::Critical)).unwrap();
        assert!(executor.cancel("x").unwrap());
        executor.submit(noted("y", &notes)).unwrap();
        executor.submit(noted("x", &notes).priority(Priority::Low)).unwrap();
        go.send(Ok(0)).unwrap();
        finish(&executor);
        assert_eq!(read(&notes), ["y", "x"]);
    });
}
