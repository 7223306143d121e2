//! Jobs shared by processes: one worker at a time, effects once, none lost with its worker.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Model, Op, Session, SharedMemory};
use slotguard::conformance::{Subject, guarded};
use slotguard::recipe::executor::Priority;
use slotguard::recipe::executor::jobs::{Ended, Job, Jobs, MOST_DEPENDENCIES, MOST_EFFECTS, Worked, Worker};
use slotguard::recipe::{self, Error};
use slotguard::{Deadline, Segment};

use crate::delivery::frail::Frail;
use crate::on_every_backend;
use harness::peer::{answer_questions, with_peers};

on_every_backend! {
    b11_a_job_runs_once_among_many_workers,
    b11_of_workers_who_look_at_once_one_has_the_job,
    b11_a_job_survives_its_worker_whose_late_end_is_refused,
    b11_effects_and_completion_are_one_commit,
    b11_a_job_that_kills_its_workers_is_put_aside,
    b11_a_failed_attempt_is_followed_by_another,
    b11_jobs_are_taken_by_priority_and_first_come_first_served,
    s2_6_a_job_runs_after_what_it_depends_on_whatever_the_priorities,
    s2_6_jobs_with_impossible_dependencies_are_refused,
    s2_5_what_depends_on_a_dead_job_is_dead,
    b11_an_id_is_used_once_as_long_as_anything_of_it_is_kept,
    b11_results_are_kept_and_the_oldest_forgotten,
    b11_a_waiting_worker_is_woken_by_a_job_and_by_a_death,
    b11_who_waits_for_a_job_is_told_its_end,
    b11_a_waiting_job_can_be_cancelled,
    b11_what_depends_on_a_cancelled_job_is_put_aside_with_it,
    b11_who_forgets_the_dead_forgets_no_namesake_that_died_since,
    b11_a_full_queue_of_jobs_refuses,
    a_claim_that_is_dropped_is_given_back,
    what_is_no_job_of_ours_stops_only_what_depends_on_it,
    a_worker_whose_session_is_over_takes_nothing,
    a_worker_that_waits_is_told_that_its_session_is_over,
}

const TTL: Duration = Duration::from_secs(20);

fn jobs<S: Subject>(subject: &S) -> Jobs<S::Store> {
    Jobs::new(&Arc::new(subject.client()), "work")
}

fn worker<S: Subject>(subject: &S) -> Worker<S::Store> {
    let store = Arc::new(subject.client());
    Jobs::new(&store, "work").worker(&recipe::join(&store, TTL).unwrap())
}

/// A worker and how to end its session, as its death would for everybody else.
fn mortal<S: Subject>(subject: &S) -> (Worker<S::Store>, impl Fn() + Send + 'static) {
    let store = Arc::new(subject.client());
    let session = recipe::join(&store, TTL).unwrap();
    let (other, lease) = (subject.client(), session.lease());
    (Jobs::new(&store, "work").worker(&session), move || other.revoke(lease).unwrap())
}

fn value<B: Backend>(store: &B, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let (meta, _) = store.read(&store.key(name).unwrap(), &mut value).unwrap();
    meta.map(|_| value)
}

fn b11_a_job_runs_once_among_many_workers(subject: &impl Subject) {
    const JOBS: usize = 60;
    let queue = jobs(subject);
    for number in 0..JOBS {
        queue.submit(&Job::new(&format!("{number}"), &[number as u8])).unwrap();
    }
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    thread::scope(|scope| {
        for _ in 0..8 {
            let runs = Arc::clone(&runs);
            scope.spawn(move || {
                let (worker, store) = (worker(subject), subject.client());
                while let Some(claimed) = worker.try_take().unwrap() {
                    assert_eq!(claimed.attempt(), 1);
                    runs[usize::from(claimed.payload()[0])].fetch_add(1, SeqCst);
                    let id = claimed.id().to_owned();
                    let effect = store.key(&format!("effects/{id}")).unwrap();
                    assert!(claimed.complete(id.as_bytes(), &[Op::put(&effect, b"").if_absent()]).unwrap());
                }
            });
        }
    });
    assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1), "{runs:?}");
    let status = queue.status().unwrap();
    assert_eq!((status.waiting, status.running.len(), status.done, status.dead), (0, 0, JOBS, 0));
    for number in 0..JOBS {
        assert_eq!(queue.result(&format!("{number}")).unwrap().unwrap().value, format!("{number}").as_bytes());
    }
}

fn b11_of_workers_who_look_at_once_one_has_the_job(subject: &impl Subject) {
    const ROUNDS: u32 = 400;
    const WORKERS: u32 = 4;
    let together = Barrier::new(WORKERS as usize);
    let taken = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let (together, taken) = (&together, &taken);
            scope.spawn(move || {
                let (worker, queue) = (worker(subject), jobs(subject));
                for round in 0..ROUNDS {
                    if number == 0 {
                        queue.submit(&Job::new(&format!("{round}"), b"")).unwrap();
                    }
                    together.wait();
                    let claimed = worker.try_take().unwrap();
                    taken.fetch_add(u32::from(claimed.is_some()), SeqCst);
                    together.wait();
                    // Not `assert`: the others would wait for ever.
                    if taken.load(SeqCst) != round + 1 {
                        return;
                    }
                    if let Some(claimed) = claimed {
                        assert!(claimed.complete(b"", &[]).unwrap());
                    }
                    together.wait();
                }
            });
        }
    });
    assert_eq!(taken.load(SeqCst), ROUNDS);
}

fn b11_a_job_survives_its_worker_whose_late_end_is_refused(subject: &impl Subject) {
    let (queue, store) = (jobs(subject), subject.client());
    queue.submit(&Job::new("a", b"load")).unwrap();
    let (first, die) = mortal(subject);
    let late = first.try_take().unwrap().unwrap();
    let second = worker(subject);
    assert!(second.try_take().unwrap().is_none(), "one at a time");
    assert_eq!(queue.status().unwrap().running[0].1.pid, std::process::id());
    die();
    let again = second.take(&Deadline::never()).unwrap().unwrap();
    assert_eq!((again.id(), again.payload(), again.attempt()), ("a", &b"load"[..], 2));
    assert!(again.token() > late.token());
    // The first was only stopped for too long.
    let effect = store.key("effect").unwrap();
    let conditional = [late.condition(), Op::put(&effect, b"late")];
    assert_eq!(store.commit(&conditional).unwrap(), slotguard::Outcome::Conflict);
    let lost = late.complete(b"late", &[Op::put(&effect, b"late")]).unwrap_err();
    assert!(matches!(lost, Error::ClaimLost { .. }), "{lost}");
    assert_eq!((value(&store, "effect"), queue.result("a").unwrap()), (None, None));
    assert!(again.complete(b"second", &[Op::put(&effect, b"second")]).unwrap());
    assert_eq!(value(&store, "effect").unwrap(), b"second");
    assert_eq!(queue.result("a").unwrap().unwrap().value, b"second");
}

/// Who acknowledges first and acts then loses the effect with whatever comes in between.
fn b11_effects_and_completion_are_one_commit(subject: &impl Subject) {
    let (queue, store, worker) = (jobs(subject), subject.client(), worker(subject));
    queue.submit(&Job::new("a", b"")).unwrap();
    let (stock, sold) = (store.key("stock").unwrap(), store.key("sold").unwrap());
    let claimed = worker.try_take().unwrap().unwrap();
    // The stock is not there: no effect, so no end.
    assert!(!claimed.complete(b"", &[Op::delete(&stock).if_exists(), Op::put(&sold, b"a")]).unwrap());
    assert_eq!((value(&store, "sold"), queue.result("a").unwrap()), (None, None));
    assert_eq!(queue.status().unwrap().waiting, 1);
    store.commit(&[Op::put(&stock, b"one")]).unwrap();
    let claimed = worker.try_take().unwrap().unwrap();
    assert_eq!(claimed.attempt(), 2);
    assert!(claimed.complete(b"", &[Op::delete(&stock).if_exists(), Op::put(&sold, b"a")]).unwrap());
    assert_eq!((value(&store, "stock"), value(&store, "sold").unwrap()), (None, b"a".to_vec()));

    queue.submit(&Job::new("b", b"")).unwrap();
    let many: Vec<_> = (0..=MOST_EFFECTS).map(|n| store.key(&format!("many/{n}")).unwrap()).collect();
    let effects: Vec<_> = many.iter().map(|key| Op::put(key, b"")).collect();
    let claimed = worker.try_take().unwrap().unwrap();
    assert!(matches!(claimed.complete(b"", &effects), Err(Error::Store(slotguard::Error::TooManyOps { .. }))));
    assert!(worker.try_take().unwrap().unwrap().complete(b"", &effects[1..]).unwrap());
}

fn b11_a_job_that_kills_its_workers_is_put_aside(subject: &impl Subject) {
    let queue = jobs(subject);
    queue.submit(&Job::new("poison", b"drink").attempts(2)).unwrap();
    queue.submit(&Job::new("water", b"").priority(Priority::Low)).unwrap();
    for attempt in 1..=2 {
        let (victim, die) = mortal(subject);
        let claimed = victim.try_take().unwrap().unwrap();
        assert_eq!((claimed.id(), claimed.attempt()), ("poison", attempt));
        die();
    }
    assert_eq!(worker(subject).try_take().unwrap().unwrap().id(), "water");
    let dead = queue.dead("poison").unwrap().unwrap();
    assert_eq!((&dead.why[..], &dead.payload[..]), ("attempt 2 of 2 ended without a result", &b"drink"[..]));
    assert_eq!(queue.status().unwrap().dead, 1);
    assert!(queue.forget("poison").unwrap() && !queue.forget("poison").unwrap());
    queue.submit(&Job::new("poison", b"")).unwrap();
}

fn b11_a_failed_attempt_is_followed_by_another(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    queue.submit(&Job::new("a", b"x").attempts(3)).unwrap();
    let now = Deadline::now();
    let failed = worker.work_one(&now, |_| Err("no\ndisk".into())).unwrap().unwrap();
    assert!(matches!(failed, Worked::Failed(id, _) if id == "a"));
    let panicked = worker.work_one(&now, |_| panic!("tripped")).unwrap().unwrap();
    assert!(matches!(panicked, Worked::Failed(_, why) if why.to_string() == "tripped"));
    let done = worker.work_one(&now, |job| Ok(vec![job.attempt() as u8])).unwrap().unwrap();
    assert!(matches!(done, Worked::Done(_)));
    assert_eq!(queue.result("a").unwrap().unwrap().value, [3]);
    assert!(worker.work_one(&now, |_| Ok(Vec::new())).unwrap().is_none());

    queue.submit(&Job::new("b", b"x").attempts(1)).unwrap();
    assert!(worker.work_one(&now, |_| Err("no\ndisk".into())).unwrap().is_some());
    assert_eq!(queue.dead("b").unwrap().unwrap().why, "no disk");
}

fn b11_jobs_are_taken_by_priority_and_first_come_first_served(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    let order = [Priority::Low, Priority::Medium, Priority::Critical, Priority::High];
    // Names tell nothing.
    for (number, priority) in order.iter().cycle().take(8).enumerate() {
        queue.submit(&Job::new(&format!("{}", 9 - number), b"").priority(*priority)).unwrap();
    }
    let mut taken = Vec::new();
    while let Some(claimed) = worker.try_take().unwrap() {
        taken.push(claimed.id().to_owned());
        assert!(claimed.complete(b"", &[]).unwrap());
    }
    assert_eq!(taken.concat(), "73628495");
}

fn s2_6_a_job_runs_after_what_it_depends_on_whatever_the_priorities(subject: &impl Subject) {
    let (queue, first, second) = (jobs(subject), worker(subject), worker(subject));
    queue.submit(&Job::new("dep", b"").priority(Priority::Low)).unwrap();
    queue.submit(&Job::new("dependent", b"").priority(Priority::Critical).after("dep")).unwrap();
    let dep = first.try_take().unwrap().unwrap();
    assert_eq!(dep.id(), "dep");
    assert!(second.try_take().unwrap().is_none(), "begun is not done");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| second.take(&Deadline::never()).unwrap().unwrap().id().to_owned());
        assert!(dep.complete(b"", &[]).unwrap());
        assert_eq!(waiting.join().unwrap(), "dependent");
    });
}

fn s2_6_jobs_with_impossible_dependencies_are_refused(subject: &impl Subject) {
    let queue = jobs(subject);
    let refused = |job: Job<'_>| queue.submit(&job).unwrap_err();
    assert!(matches!(refused(Job::new("a", b"").after("nobody")), Error::UnknownDependency { .. }));
    assert!(matches!(refused(Job::new("a", b"").after("a")), Error::DependencyCycle { path } if path == ["a", "a"]));
    assert!(matches!(refused(Job::new("a/b", b"")), Error::BadId { .. }));
    let ids: Vec<_> = (0..=MOST_DEPENDENCIES).map(|n| format!("{n}")).collect();
    ids.iter().for_each(|id| queue.submit(&Job::new(id, b"")).unwrap());
    let many = ids.iter().fold(Job::new("a", b""), |job, id| job.after(id));
    assert!(matches!(refused(many), Error::TooManyDependencies { .. }));
    let most = ids[1..].iter().fold(Job::new("a", b""), |job, id| job.after(id));
    queue.submit(&most).unwrap();
    queue.cancel("3").unwrap();
    assert!(matches!(refused(Job::new("b", b"").after("3")), Error::DependencyFailed { .. }));
}

fn s2_5_what_depends_on_a_dead_job_is_dead(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    queue.submit(&Job::new("bad", b"").attempts(1)).unwrap();
    queue.submit(&Job::new("child", b"c").after("bad")).unwrap();
    queue.submit(&Job::new("grandchild", b"").after("child")).unwrap();
    queue.submit(&Job::new("other", b"").priority(Priority::Low)).unwrap();
    worker.try_take().unwrap().unwrap().fail("no disk").unwrap();
    assert_eq!(worker.try_take().unwrap().unwrap().id(), "other");
    let why = |id| queue.dead(id).unwrap().unwrap().why;
    assert_eq!(why("child"), "\"bad\", which it depends on, is dead");
    assert_eq!(why("grandchild"), "\"child\", which it depends on, is dead");
    assert_eq!(queue.dead("child").unwrap().unwrap().payload, b"c");
    // Who forgets the dead first sees to those who wait for it.
    queue.submit(&Job::new("x", b"")).unwrap();
    queue.submit(&Job::new("y", b"").after("x")).unwrap();
    assert!(queue.cancel("x").unwrap() && queue.forget("x").unwrap());
    assert_eq!(why("y"), "\"x\", which it depends on, is dead");
}

fn b11_an_id_is_used_once_as_long_as_anything_of_it_is_kept(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    let state = || match queue.submit(&Job::new("a", b"").priority(Priority::High)).unwrap_err() {
        Error::IdTwice { state, .. } => state,
        other => panic!("{other}"),
    };
    queue.submit(&Job::new("a", b"")).unwrap();
    assert_eq!(state(), "waiting");
    let claimed = worker.try_take().unwrap().unwrap();
    assert_eq!(state(), "running");
    claimed.complete(b"", &[]).unwrap();
    assert_eq!(state(), "done");
    // Of many who submit one id, one does.
    let submitted: usize = thread::scope(|scope| {
        let submit = || usize::from(jobs(subject).submit(&Job::new("b", b"")).is_ok());
        let all = [(); 6].map(|()| scope.spawn(submit));
        all.into_iter().map(|each| each.join().unwrap()).sum()
    });
    assert_eq!(submitted, 1);
}

fn b11_results_are_kept_and_the_oldest_forgotten(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let queue = Jobs::new(&store, "work").keep(3);
    let worker = queue.worker(&recipe::join(&store, TTL).unwrap());
    for number in 0..8 {
        queue.submit(&Job::new(&format!("{number}"), b"")).unwrap();
        if number == 1 {
            // It waits for 0 and comes last, so that result stays.
            queue.submit(&Job::new("late", b"").priority(Priority::Low).after("0")).unwrap();
        }
        assert!(worker.try_take().unwrap().unwrap().complete(b"", &[]).unwrap());
    }
    let kept: Vec<_> = (0..8).filter(|n| queue.result(&format!("{n}")).unwrap().is_some()).collect();
    // The last three when the last one was taken, that one, and the one that is waited for.
    assert_eq!(kept, [0, 4, 5, 6, 7]);
    assert!(worker.try_take().unwrap().unwrap().complete(b"", &[]).unwrap());
    queue.submit(&Job::new("1", b"")).unwrap();
    assert!(matches!(queue.submit(&Job::new("a", b"").after("2")), Err(Error::UnknownDependency { .. })));
}

fn b11_a_waiting_worker_is_woken_by_a_job_and_by_a_death(subject: &impl Subject) {
    let queue = jobs(subject);
    thread::scope(|scope| {
        let (send, taken) = mpsc::channel();
        scope.spawn(move || {
            let worker = worker(subject);
            for _ in 0..21 {
                let claimed = worker.take(&Deadline::never()).unwrap().unwrap();
                let id = claimed.id().to_owned();
                claimed.complete(b"", &[]).unwrap();
                send.send(id).unwrap();
            }
        });
        for round in 0..20 {
            let id = format!("{round}");
            queue.submit(&Job::new(&id, b"")).unwrap();
            assert_eq!(taken.recv().unwrap(), id);
        }
        // It looks on while somebody else has the only job, and dies.
        let (victim, die) = mortal(subject);
        queue.submit(&Job::new("dep", b"")).unwrap();
        assert_eq!(taken.recv().unwrap(), "dep");
        drop((victim, die));
    });
    queue.submit(&Job::new("last", b"")).unwrap();
    let (victim, die) = mortal(subject);
    let _claimed = victim.try_take().unwrap().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| worker(subject).take(&Deadline::never()).unwrap().unwrap().attempt());
        die();
        assert_eq!(waiting.join().unwrap(), 2);
    });
}

fn b11_who_waits_for_a_job_is_told_its_end(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    assert!(matches!(queue.wait("a", &Deadline::never()), Err(Error::UnknownId { .. })));
    queue.submit(&Job::new("a", b"")).unwrap();
    queue.submit(&Job::new("b", b"")).unwrap();
    assert_eq!(queue.wait("a", &Deadline::after(Duration::from_millis(10))).unwrap(), None);
    thread::scope(|scope| {
        let waiting =
            ["a", "b"].map(|id| scope.spawn(move || jobs(subject).wait(id, &Deadline::never()).unwrap().unwrap()));
        worker.try_take().unwrap().unwrap().complete(b"result", &[]).unwrap();
        worker.try_take().unwrap().unwrap().bury("no disk").unwrap();
        let [a, b] = waiting.map(|each| each.join().unwrap());
        assert!(matches!(a, Ended::Done(done) if done.value == b"result"));
        assert!(matches!(b, Ended::Dead(dead) if dead.why == "no disk"));
    });
}

fn b11_a_waiting_job_can_be_cancelled(subject: &impl Subject) {
    let (queue, worker) = (jobs(subject), worker(subject));
    queue.submit(&Job::new("runs", b"")).unwrap();
    let claimed = worker.try_take().unwrap().unwrap();
    queue.submit(&Job::new("waits", b"")).unwrap();
    assert!(queue.cancel("waits").unwrap() && !queue.cancel("waits").unwrap() && !queue.cancel("runs").unwrap());
    assert!(matches!(queue.cancel("nobody"), Err(Error::UnknownId { .. })));
    assert_eq!(queue.dead("waits").unwrap().unwrap().why, "it was cancelled");
    claimed.complete(b"", &[]).unwrap();
    assert!(worker.try_take().unwrap().is_none());
}

fn b11_a_full_queue_of_jobs_refuses(subject: &impl Subject) {
    let queue = jobs(subject).limit(2);
    queue.submit(&Job::new("a", b"")).unwrap();
    queue.submit(&Job::new("b", b"")).unwrap();
    assert!(matches!(queue.submit(&Job::new("c", b"")), Err(Error::QueueFull { limit: 2 })));
    worker(subject).try_take().unwrap().unwrap().complete(b"", &[]).unwrap();
    queue.submit(&Job::new("c", b"")).unwrap();
}

fn a_claim_that_is_dropped_is_given_back(subject: &impl Subject) {
    let (queue, first, second) = (jobs(subject), worker(subject), worker(subject));
    queue.submit(&Job::new("a", b"")).unwrap();
    drop(first.try_take().unwrap().unwrap());
    assert_eq!(second.try_take().unwrap().unwrap().attempt(), 2);
}

/// One such entry once stopped the whole queue: every call answered an error.
fn what_is_no_job_of_ours_stops_only_what_depends_on_it(subject: &impl Subject) {
    let (queue, worker, store) = (jobs(subject), worker(subject), subject.client());
    for id in ["a", "b"] {
        queue.submit(&Job::new(id, b"").priority(Priority::High)).unwrap();
    }
    queue.submit(&Job::new("after-a", b"").after("a").priority(Priority::Critical)).unwrap();
    // Somebody writes over one, beside others, and into a queue of a longer name.
    let put = |name: &str, bytes: &[u8]| {
        store.commit(&[Op::put(&store.key(name).unwrap(), bytes)]).unwrap();
    };
    put("work/job/a", b"{priority: 1}");
    put("work/job/no id", b"2 0 3 \n");
    Jobs::new(&Arc::new(subject.client()), "work/job").submit(&Job::new("other", b"")).unwrap();
    assert_eq!(worker.try_take().unwrap().unwrap().id(), "b");
    let taken = worker.try_take().unwrap().unwrap();
    assert_eq!((taken.id(), taken.attempt()), ("b", 2), "what depends on it waits still");
    assert!(taken.complete(b"", &[]).unwrap());
    assert!(worker.try_take().unwrap().is_none());
    let status = queue.status().unwrap();
    let listed = [("a", "{priority: 1}"), ("no id", "2 0 3 \n")].map(|(id, found)| (id.to_owned(), found.to_owned()));
    assert_eq!((status.unreadable, status.waiting, status.done), (listed.to_vec(), 1, 1));
    assert_eq!(value(&store, "work/job/a").unwrap(), b"{priority: 1}", "nothing was changed");
    let error = queue.submit(&Job::new("a", b"")).unwrap_err();
    assert!(matches!(&error, Error::IdTwice { state, .. } if state.contains("none of ours")), "{error}");
    // Somebody looks into it, keeps a copy, and deletes it.
    for (id, bytes) in [("a", &b"{priority: 1}"[..]), ("no id", b"2 0 3 \n")] {
        assert!(queue.cancel(id).unwrap());
        let dead = queue.dead(id).unwrap().unwrap();
        assert_eq!((&dead.why[..], &dead.payload[..]), ("no program of ours wrote it", bytes));
        assert!(queue.forget(id).unwrap());
    }
    assert_eq!(queue.dead("after-a").unwrap().unwrap().why, "\"a\", which it depends on, is dead");
    assert_eq!(queue.status().unwrap().unreadable, []);
    queue.submit(&Job::new("a", b"")).unwrap();
    assert_eq!(worker.try_take().unwrap().unwrap().id(), "a");
}

fn a_worker_whose_session_is_over_takes_nothing(subject: &impl Subject) {
    let (first, die) = mortal(subject);
    jobs(subject).submit(&Job::new("a", b"")).unwrap();
    die();
    assert!(matches!(first.try_take(), Err(Error::Store(slotguard::Error::LeaseExpired { .. }))));
    assert_eq!(worker(subject).try_take().unwrap().unwrap().attempt(), 1);
}

/// It could take no job any more, and would wait for one for ever.
fn a_worker_that_waits_is_told_that_its_session_is_over(subject: &impl Subject) {
    let time = Duration::from_millis(300);
    let store = Arc::new(subject.client());
    // Nobody renews it.
    let session = Session::manual(&store, "workers/1", b"", time).unwrap().mine().unwrap();
    let worker = Jobs::new(&store, "work").worker(&Arc::new(session));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.take(&Deadline::never()));
        subject.pass(time);
        let told = waiting.join().unwrap();
        assert!(matches!(told, Err(Error::Store(slotguard::Error::LeaseExpired { .. }))), "{told:?}");
    });
}

/// Whoever waits for one of them is told, whether there is a worker or not.
fn b11_what_depends_on_a_cancelled_job_is_put_aside_with_it(subject: &impl Subject) {
    let queue = jobs(subject);
    queue.submit(&Job::new("a", b"")).unwrap();
    queue.submit(&Job::new("b", b"").after("a")).unwrap();
    queue.submit(&Job::new("c", b"").after("b")).unwrap();
    assert!(queue.cancel("a").unwrap());
    assert!(matches!(queue.wait("c", &Deadline::never()).unwrap(), Some(Ended::Dead(_))));
    assert_eq!((queue.status().unwrap().waiting, queue.status().unwrap().dead), (0, 3));
}

/// Between the look and the deletion somebody else has forgotten it, and another job of its id has died: that one may have
/// dependants which nobody has put aside.
fn b11_who_forgets_the_dead_forgets_no_namesake_that_died_since(subject: &impl Subject) {
    let (way, others, worker) = (Frail::new(subject.client()), jobs(subject), worker(subject));
    let slow = Jobs::new(&way, "work");
    slow.submit(&Job::new("a", b"first")).unwrap();
    assert!(slow.cancel("a").unwrap());
    let queue = jobs(subject);
    way.before_next_commit(move |_| {
        assert!(others.forget("a").unwrap());
        others.submit(&Job::new("a", b"second")).unwrap();
        others.submit(&Job::new("b", b"").after("a")).unwrap();
        worker.try_take().unwrap().unwrap().bury("no disk").unwrap();
    });
    assert!(slow.forget("a").unwrap());
    assert_eq!(queue.dead("b").unwrap().unwrap().why, "\"a\", which it depends on, is dead");
}

/// The payload fits beside the job's line, and the reason does not fit beside the payload. A job that cannot be put aside
/// would be in the way of all others.
#[test]
fn b11_a_job_that_fills_its_value_is_put_aside_with_what_fits_of_the_reason() {
    guarded("full values", || {
        let store = Arc::new(Model::with_value_limit(64));
        let queue = Jobs::new(&store, "work");
        let worker = queue.worker(&recipe::join(&store, TTL).unwrap());
        queue.submit(&Job::new("fails", b"").attempts(1).priority(Priority::Low)).unwrap();
        // For what its worker says, for what it does not say, for what somebody wants, for what it depends on.
        for id in ["told", "found", "cancelled"] {
            queue.submit(&Job::new(id, &[b'x'; 57]).attempts(1)).unwrap();
        }
        queue.submit(&Job::new("lost", &[b'x'; 52]).attempts(1).after("fails")).unwrap();
        queue.submit(&Job::new("last", b"").priority(Priority::Low)).unwrap();
        assert!(queue.cancel("cancelled").unwrap());
        worker.try_take().unwrap().unwrap().fail("full \u{2014} the disk is").unwrap();
        drop(worker.try_take().unwrap().unwrap());
        worker.try_take().unwrap().unwrap().fail("").unwrap();
        assert_eq!(worker.try_take().unwrap().unwrap().id(), "last");
        for (id, why) in [("told", "full "), ("found", "attemp"), ("cancelled", "it was")] {
            let dead = queue.dead(id).unwrap().expect(id);
            assert_eq!((dead.why.as_str(), dead.payload), (why, vec![b'x'; 57]));
        }
        assert_eq!(queue.dead("lost").unwrap().unwrap().payload, [b'x'; 52]);
    });
}

/// Attempts are counted in the job's value, which is as long for the last as for the first.
#[test]
fn b11_a_job_that_fills_its_value_has_all_its_attempts() {
    guarded("many attempts", || {
        let store = Arc::new(Model::with_value_limit(64));
        let queue = Jobs::new(&store, "work");
        let worker = queue.worker(&recipe::join(&store, TTL).unwrap());
        queue.submit(&Job::new("a", &[b'x'; 53]).attempts(101)).unwrap();
        for attempt in 1..=101 {
            assert_eq!(worker.try_take().unwrap().unwrap().attempt(), attempt);
        }
        assert!(worker.try_take().unwrap().is_none());
        assert_eq!(queue.dead("a").unwrap().unwrap().payload, [b'x'; 53]);
        let too_long = queue.submit(&Job::new("b", &[b'x'; 54]).attempts(101));
        assert!(matches!(too_long, Err(Error::Store(slotguard::Error::TooLarge { .. }))), "{too_long:?}");
    });
}

fn open(folder: &Path) -> Arc<SharedMemory> {
    let builder = Segment::builder().keys(200).payloads(&[(64, 500), (512, 300)]);
    Arc::new(SharedMemory::new(builder.open_or_create(folder.join("segment")).unwrap()).unwrap())
}

/// A worker is killed with a job in hand. Another, which waits, has it at once.
#[test]
fn b11_a_job_whose_worker_is_killed_is_taken_by_another() {
    with_peers(
        |folder| {
            let store = open(folder);
            let worker = Jobs::new(&store, "work").worker(&recipe::join(&store, TTL).unwrap());
            let mut hands = Vec::new();
            answer_questions(|_| {
                hands.push(worker.take(&Deadline::never()).unwrap().unwrap());
                hands.last().unwrap().id().to_owned()
            });
        },
        |folder, peers| {
            let store = open(folder);
            let queue = Jobs::new(&store, "work");
            let worker = queue.worker(&recipe::join(&store, TTL).unwrap());
            queue.submit(&Job::new("a", b"load").attempts(4)).unwrap();
            let mut peer = peers.start(&[]);
            assert_eq!(peer.ask("take"), "a");
            assert!(worker.try_take().unwrap().is_none());
            let claimed = thread::scope(|scope| {
                let waiting = scope.spawn(|| worker.take(&Deadline::never()).unwrap().unwrap());
                peer.kill();
                waiting.join().unwrap()
            });
            assert_eq!((claimed.id(), claimed.payload(), claimed.attempt()), ("a", &b"load"[..], 2));
            assert!(claimed.complete(b"done", &[]).unwrap());
            assert_eq!(queue.result("a").unwrap().unwrap().value, b"done");
        },
    );
}
