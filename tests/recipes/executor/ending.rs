//! How an executor ends: shut down from outside, refused from inside, dropped.

use super::*;

#[test]
fn b11_a_shutdown_refuses_the_new_and_runs_the_old() {
    guarded("a shutdown", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let go = keep_busy(&executor);
        executor.submit(noted("a", &notes)).unwrap();
        let stop = Cancel::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| executor.shut_down(&Deadline::never().or_cancelled(&stop)));
            stop.cancel();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(matches!(executor.submit(noted("b", &notes)), Err(Error::ShutDown)));
        go.send(Ok(0)).unwrap();
        finish(&executor);
        assert_eq!(read(&notes), ["a"]);
    });
}

#[test]
fn b11_a_shutdown_whose_deadline_passes_cancels_the_rest() {
    guarded("a short shutdown", || {
        let (executor, notes) = (one_worker(), Notes::default());
        let (operation, has_begun, _go) = held("runs");
        let runs = executor.submit(operation).unwrap();
        let stop = has_begun.recv().unwrap();
        let waits = executor.submit(noted("waits", &notes)).unwrap();
        let child = executor.submit(noted("child", &notes).after("waits")).unwrap();
        assert!(!executor.shut_down(&Deadline::now()).unwrap());
        assert!(stop.is_cancelled());
        assert!(matches!(runs.join(), Err(Error::OperationCancelled { .. })));
        assert!(matches!(waits.join(), Err(Error::ShutDown)) && matches!(child.join(), Err(Error::ShutDown)));
        finish(&executor);
    });
}

/// It waited for its own end, for ever.
#[test]
fn b11_a_shutdown_from_inside_is_refused() {
    guarded("a shutdown from inside", || {
        let (executor, other) = (Arc::new(one_worker()), one_worker());
        let refused = |executor: &Arc<Executor>, deadline: Deadline| {
            let executor = Arc::clone(executor);
            move || match executor.shut_down(&deadline) {
                Err(Error::ShutDownInside { what }) => what,
                other => panic!("{other:?}"),
            }
        };
        let run = refused(&executor, Deadline::now());
        let operation = Operation::new("a", move |_| {
            // Another one's is no business of ours.
            finish(&other);
            Ok(run())
        });
        assert_eq!(executor.submit(operation).unwrap().join().unwrap(), "operation \"a\"");
        let (tell, told) = channel();
        let undo = refused(&executor, Deadline::never());
        let operation = Operation::new("b", |_| Err::<(), _>("no".into())).rollback(move || Ok(tell.send(undo())?));
        assert!(executor.submit(operation).unwrap().join().is_err());
        assert_eq!(told.recv().unwrap(), "the rollback of \"b\"");
        // As does what is dropped with a rollback that is not needed.
        let (tell, told) = channel();
        let dropped = refused(&executor, Deadline::never());
        let left = AtTheEnd(move || tell.send(dropped()).unwrap());
        let unneeded = move || {
            let _left = &left;
            Ok(())
        };
        executor.submit(Operation::new("c", |_| Ok(())).rollback(unneeded)).unwrap().join().unwrap();
        assert_eq!(told.recv().unwrap(), "the drop of what an operation left");
        executor.submit(Operation::new("d", |_| Ok(()))).unwrap().join().unwrap();
        finish(&executor);
    });
}

/// The operation that drops it is told to stop, and waits for nobody.
#[test]
fn b11_an_executor_may_be_dropped_by_its_own_operation() {
    guarded("a drop from inside", || {
        let executor = one_worker();
        let (give, given) = channel::<Executor>();
        let (tell, told) = channel();
        let operation = Operation::new("a", move |stop: &Cancel| {
            drop(given.recv()?);
            Ok(tell.send(stop.is_cancelled())?)
        });
        let handle = executor.submit(operation).unwrap();
        give.send(executor).unwrap();
        assert!(told.recv().unwrap());
        assert!(matches!(handle.join(), Err(Error::OperationCancelled { .. })));
    });
}

#[test]
fn b11_a_dropped_executor_leaves_nobody_waiting() {
    guarded("a drop", || {
        let executor = one_worker();
        let (operation, has_begun, go) = held("runs");
        let runs = executor.submit(operation).unwrap();
        has_begun.recv().unwrap();
        let waits = executor.submit(Operation::new("waits", |_| Ok(()))).unwrap();
        drop(executor);
        assert!(matches!(runs.join(), Err(Error::OperationCancelled { .. })));
        assert!(matches!(waits.join(), Err(Error::ShutDown)));
        drop(go);
    });
}

/// Does something when it is dropped.
struct AtTheEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Results nobody waits for, and closures that are not run: what they hold may need the executor when it is dropped.
#[test]
fn b11_what_is_dropped_unused_may_use_the_executor() {
    guarded("drops", || {
        let executor = Arc::new(one_worker());
        let (count, go) = (Arc::new(AtomicU32::new(0)), keep_busy(&executor));
        let thing = || {
            let (executor, count) = (Arc::clone(&executor), Arc::clone(&count));
            AtTheEnd(move || {
                executor.status();
                executor.submit(Operation::new(format!("after-{}", count.fetch_add(1, SeqCst)), |_| Ok(()))).unwrap();
            })
        };
        let with = |id: &str, thing: AtTheEnd<_>| {
            Operation::new(id, move |_| {
                let _thing = &thing;
                Ok(())
            })
        };
        executor.submit(with("cancelled", thing())).unwrap();
        assert!(executor.cancel("cancelled").unwrap());
        executor.submit(with("busy", thing())).unwrap_err();
        let late = thing();
        executor.submit(Operation::new("result", move |_| Ok(late))).unwrap();
        let rollback = thing();
        let done = Operation::new("rollback", |_| Ok(())).rollback(move || {
            let _thing = &rollback;
            Ok(())
        });
        let done = executor.submit(done).unwrap();
        go.send(Ok(0)).unwrap();
        done.join().unwrap();
        while count.load(SeqCst) < 4 {
            thread::yield_now();
        }
        finish(&executor);
        assert_eq!(executor.status().done, 7);
    });
}

/// An operation's closures may hold the last handle on their executor.
#[test]
fn b11_an_executor_may_go_with_the_last_of_its_operations() {
    guarded("the last handle", || {
        let executor = Arc::new(one_worker());
        let (go, may_go) = channel::<()>();
        let (gone, is_gone) = channel();
        let mut held = Some((Arc::clone(&executor), AtTheEnd(move || gone.send(()).unwrap())));
        let operation = Operation::new("a", move |_| Ok(may_go.recv()?)).rollback(move || {
            held.take();
            Ok(())
        });
        let handle = executor.submit(operation).unwrap();
        drop(executor);
        go.send(()).unwrap();
        handle.join().unwrap();
        is_gone.recv().unwrap();
    });
}

#[test]
fn b11_a_result_that_panics_when_dropped_costs_no_worker() {
    guarded("a panic in a drop", || {
        let executor = Executor::builder().workers(1).spare(0).build().unwrap();
        let (go, may_go) = channel::<()>();
        let operation = Operation::new("a", move |_| {
            may_go.recv()?;
            Ok(AtTheEnd(|| panic!("dropped")))
        });
        drop(executor.submit(operation).unwrap());
        // The handle is gone, so the result is the worker's to drop.
        go.send(()).unwrap();
        assert_eq!(executor.submit(Operation::new("b", |_| Ok(1))).unwrap().join().unwrap(), 1);
        finish(&executor);
    });
}

/// The threads are the parent's: in a child nothing would ever run, and nobody would be told.
#[test]
fn b11_a_forked_child_is_refused_and_not_kept_waiting() {
    isolated(|_| {
        let executor = one_worker();
        let done = executor.submit(Operation::new("done", |_| Ok(1))).unwrap();
        assert!(done.wait(&Deadline::never()).unwrap());
        let (operation, has_begun, go) = held("held");
        let held = executor.submit(operation).unwrap();
        has_begun.recv().unwrap();
        // SAFETY: the child calls what it is about and then ends, without a way back into the harness.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let forked = |result: Result<bool, Error>| matches!(result, Err(Error::ForkedExecutor));
            let right = [
                forked(executor.submit(Operation::new("a", |_| Ok(()))).map(|_| true)),
                forked(executor.cancel("held")),
                forked(executor.shut_down(&Deadline::never())),
                forked(held.wait(&Deadline::never())),
                done.join().is_ok_and(|value| value == 1),
            ];
            drop(executor);
            let wrong = right.iter().filter(|right| !**right).count();
            // SAFETY: it ends the process.
            unsafe { libc::_exit(wrong as i32) };
        }
        let mut status = 0;
        // SAFETY: a child of ours that nobody has waited for, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        go.send(Ok(7)).unwrap();
        assert_eq!(held.join().unwrap(), 7);
        finish(&executor);
    });
}
