//! A state shared by processes: one winner, one rollback, each change told once.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Model, Op, Session, SharedMemory};
use slotguard::conformance::{Subject, guarded};
use slotguard::recipe::state_machine::connection::{self, Connection};
use slotguard::recipe::state_machine::{KEPT, LONGEST_REASON, Machine, Manner, News, Rule, Rules, Transition};
use slotguard::recipe::{self, Error, Owner};
use slotguard::{Deadline, ErrorKind, Segment, Token};

use crate::alone::{answer_questions, with_peers};
use crate::delivery::frail::Frail;
use crate::on_every_backend;

on_every_backend! {
    b13_of_many_at_once_exactly_one_wins,
    b13_of_many_at_once_only_the_winner_acts,
    b13_an_action_that_fails_is_rolled_back_once_and_leaves_the_state,
    b13_an_action_or_rollback_that_panics_is_a_failure,
    b13_a_transition_left_in_the_middle_is_undone_once_by_whoever_comes_next,
    b13_of_many_who_come_next_one_undoes,
    b13_who_is_stopped_in_a_rollback_is_followed_by_one_with_a_larger_token,
    b13_a_transition_whose_end_is_refused_is_undone_and_leaves_the_machine_free,
    b13_a_machine_that_could_not_be_freed_is_freed_by_the_next_call_or_its_drop,
    b13_a_rollback_that_could_not_be_run_is_left_to_whoever_comes_next,
    b13_an_end_that_took_place_unheard_is_not_undone,
    b13_nobody_goes_on_before_what_was_abandoned_is_undone,
    b13_an_abandoned_transition_without_a_rollback_is_in_nobodys_way,
    b13_who_waits_longest_goes_first,
    b13_a_newcomer_does_not_overtake_who_waits,
    b13_who_waits_for_what_is_impossible_keeps_nobody,
    b13_clear_sends_away_all_who_wait,
    b13_a_wait_that_ends_in_vain_leaves_the_queue,
    b13_force_is_on_record,
    b13_a_forced_state_stays_and_the_action_that_ran_is_undone,
    b13_each_change_is_told_once_and_in_order,
    b13_changes_that_were_missed_are_counted,
    s2_10_reset_goes_to_the_initial_state,
    s2_12_a_listener_may_change_the_state_and_may_panic,
    a_guard_that_says_no_is_an_answer,
    a_transition_that_does_not_exist_names_what_is_possible,
    a_state_of_another_build_is_refused,
    numbers_that_cannot_be_are_refused,
    bad_rules_and_reasons_are_refused,
    a_machine_whose_session_is_over_changes_nothing,
    the_thirteen_rules_of_a_connection,
}

const TTL: Duration = Duration::from_secs(20);

slotguard::states! {
    /// Of a job.
    enum Job { New = "NEW", Running = "RUNNING", Done = "DONE" }
}
use Job::{Done, New, Running};

fn session<S: Subject>(subject: &S) -> Arc<Session<S::Store>> {
    recipe::join(&Arc::new(subject.client()), TTL).unwrap()
}

fn machine<S: Subject>(subject: &S, rules: Rules<Job>) -> Machine<S::Store, Job> {
    Machine::new(&session(subject), "job/7", rules).unwrap()
}

fn circle() -> Rules<Job> {
    Rules::new(New).allow(New, Running).allow(Running, Done).allow(Done, New)
}

#[track_caller]
fn done<S: std::fmt::Debug>(transition: Transition<S>) -> slotguard::recipe::state_machine::Change<S> {
    match transition {
        Transition::Done(change) => change,
        other => panic!("it did not take place: {other:?}"),
    }
}

/// Eight processes, each of which has seen the state before any changes it.
fn race<S: Subject>(subject: &S, rule: impl Fn() -> Rule<Job> + Sync) -> Vec<Transition<Job>> {
    const MANY: usize = 8;
    let together = Arc::new(Barrier::new(MANY));
    thread::scope(|scope| {
        let racers: Vec<_> = (0..MANY)
            .map(|_| {
                let (together, rule) = (Arc::clone(&together), rule());
                scope.spawn(move || {
                    let rule = rule.guard(move |_, _| {
                        together.wait();
                        true
                    });
                    machine(subject, Rules::new(New).rule(rule)).transition(Running).unwrap()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

fn b13_of_many_at_once_exactly_one_wins(subject: &impl Subject) {
    let answers = race(subject, || Rule::new([New], Running));
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| matches!(answer, Transition::Done(_)));
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|answer| *answer == Transition::NotNow { state: Running, acting: None }), "{lost:?}");
    let machine = machine(subject, circle());
    assert_eq!((machine.state().unwrap(), machine.look().unwrap().number), (Running, 1));
    assert_eq!(machine.history().unwrap().len(), 1);
}

fn b13_of_many_at_once_only_the_winner_acts(subject: &impl Subject) {
    let acted = Arc::new(AtomicU32::new(0));
    let answers = race(subject, || {
        let acted = Arc::clone(&acted);
        Rule::new([New], Running).action(move |_| {
            acted.fetch_add(1, SeqCst);
            Ok(())
        })
    });
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Transition::Done(_))).count(), 1);
    assert_eq!(acted.load(SeqCst), 1);
    assert_eq!(machine(subject, circle()).look().unwrap().begun, None);
}

/// A rule whose action and rollback do what they are told and are counted.
fn counted(
    action: impl Fn() -> Result<(), recipe::Failure> + Send + Sync + 'static,
    rollback: impl Fn() -> Result<(), recipe::Failure> + Send + Sync + 'static,
) -> (Rule<Job>, Arc<[AtomicU32; 2]>) {
    let counts: Arc<[AtomicU32; 2]> = Arc::default();
    let (acted, undone) = (Arc::clone(&counts), Arc::clone(&counts));
    let rule = Rule::new([New], Running)
        .action(move |_| {
            acted[0].fetch_add(1, SeqCst);
            action()
        })
        .rollback(move |_| {
            undone[1].fetch_add(1, SeqCst);
            rollback()
        });
    (rule, counts)
}

fn b13_an_action_that_fails_is_rolled_back_once_and_leaves_the_state(subject: &impl Subject) {
    let (rule, counts) = counted(|| Err("no link".into()), || Ok(()));
    let machine_of_one = machine(subject, Rules::new(New).rule(rule));
    let error = machine_of_one.transition(Running).unwrap_err();
    assert!(matches!(&error, Error::ActionFailed { rollback: None, .. }));
    assert_eq!(error.to_string(), "machine \"job/7\": the action from NEW to RUNNING failed: no link");
    assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [1, 1]);
    let look = machine_of_one.look().unwrap();
    assert_eq!((look.state, look.number, look.begun, look.acting), (New, 0, None, None));

    // Both are told together.
    let (rule, counts) = counted(|| Err("no link".into()), || Err("no tool".into()));
    let machine_of_one = machine(subject, Rules::new(New).rule(rule));
    let error = machine_of_one.transition(Running).unwrap_err().to_string();
    assert!(error.contains("no link") && error.contains("the rollback failed as well: no tool"), "{error}");
    assert_eq!(counts[1].load(SeqCst), 1);
    // And nothing is stuck.
    done(machine(subject, circle()).transition(Running).unwrap());
}

fn b13_an_action_or_rollback_that_panics_is_a_failure(subject: &impl Subject) {
    let (rule, counts) = counted(|| panic!("tripped"), || panic!("and fell"));
    let machine = machine(subject, Rules::new(New).rule(rule));
    let error = machine.transition(Running).unwrap_err().to_string();
    assert!(error.contains("tripped") && error.contains("and fell"), "{error}");
    assert_eq!(counts[1].load(SeqCst), 1);
    assert_eq!(machine.look().unwrap().acting, None);
}

/// Ends a session as the death of its process does for everybody else; the process itself does not know.
fn end<B: Backend>(other: &B, session: &Session<B>) {
    other.revoke(session.lease()).unwrap();
}

fn b13_a_transition_left_in_the_middle_is_undone_once_by_whoever_comes_next(subject: &impl Subject) {
    let first = session(subject);
    let undone = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&undone);
    let survivor = machine(
        subject,
        Rules::new(New).rule(Rule::new([New], Running).action(|_| Ok(())).rollback(move |step| {
            notes.lock().unwrap().push((step.from, step.to, step.abandoned, step.token));
            Ok(())
        })),
    );
    let (other, lease_of, kept) = (subject.client(), Arc::clone(&first), Arc::new(Mutex::new(Vec::new())));
    let (begun, own) = (Arc::clone(&kept), Arc::new(AtomicU32::new(0)));
    let rolled = Arc::clone(&own);
    let rule = Rule::new([New], Running)
        .action(move |step| {
            begun.lock().unwrap().push(step.token);
            end(&other, &lease_of);
            // The state is as before, and the next one goes on from there.
            assert_eq!(survivor.state().unwrap(), New);
            assert_eq!(done(survivor.transition(Running).unwrap()).number, 1);
            Ok(())
        })
        .rollback(move |_| {
            rolled.fetch_add(1, SeqCst);
            Ok(())
        });
    let late = Machine::new(&first, "job/7", Rules::new(New).rule(rule)).unwrap();
    assert!(matches!(late.transition(Running), Err(Error::TransitionLost { .. })));
    assert_eq!(own.load(SeqCst), 0, "it was the survivor's to undo");
    let undone = undone.lock().unwrap();
    let [(New, Running, true, token)] = undone[..] else { panic!("{undone:?}") };
    assert!(token > kept.lock().unwrap()[0]);
    assert_eq!(late.history().unwrap().len(), 1);
}

/// A machine whose session ends in the action from new to running.
fn doomed<S: Subject>(subject: &S) -> Machine<S::Store, Job> {
    let first = session(subject);
    let (other, of) = (subject.client(), Arc::clone(&first));
    let rule = Rule::new([New], Running).action(move |_| {
        end(&other, &of);
        Ok(())
    });
    Machine::new(&first, "job/7", Rules::new(New).rule(rule)).unwrap()
}

/// Leaves a transition from new to running in the middle.
fn abandon(subject: &impl Subject) {
    assert!(matches!(doomed(subject).transition(Running), Err(Error::TransitionLost { .. })));
}

fn b13_of_many_who_come_next_one_undoes(subject: &impl Subject) {
    abandon(subject);
    let undone = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            let undone = Arc::clone(&undone);
            scope.spawn(move || {
                let rule = Rule::new([New], Running).action(|_| Ok(())).rollback(move |_| {
                    undone.fetch_add(1, SeqCst);
                    Ok(())
                });
                let _ = machine(subject, Rules::new(New).rule(rule)).transition(Running).unwrap();
            });
        }
    });
    let look = machine(subject, circle()).look().unwrap();
    assert_eq!((undone.load(SeqCst), look.begun, look.state, look.number), (1, None, Running, 1));
}

/// A second rollback beside, or after, that of a process which was only stopped cannot be helped. What it changes outside
/// can tell which of the two is late.
fn b13_who_is_stopped_in_a_rollback_is_followed_by_one_with_a_larger_token(subject: &impl Subject) {
    abandon(subject);
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let noting = |tokens: &Arc<Mutex<Vec<Token>>>, then: Box<dyn Fn() + Send + Sync>| {
        let tokens = Arc::clone(tokens);
        let rule = Rule::new([New], Running).action(|_| Ok(())).rollback(move |step| {
            tokens.lock().unwrap().push(step.token);
            then();
            Ok(())
        });
        Rules::new(New).rule(rule)
    };
    let stopped = session(subject);
    let (other, of) = (subject.client(), Arc::clone(&stopped));
    let next = machine(subject, noting(&tokens, Box::new(|| ())));
    let while_stopped = move || {
        end(&other, &of);
        done(next.transition(Running).unwrap());
    };
    let late = Machine::new(&stopped, "job/7", noting(&tokens, Box::new(while_stopped))).unwrap();
    let answer = late.transition(Running).unwrap();
    assert!(matches!(answer, Transition::NotNow { state: Running, acting: None }), "{answer:?}");
    let tokens = tokens.lock().unwrap();
    assert!(tokens.len() == 2 && tokens[0] < tokens[1], "{tokens:?}");
}

/// A machine, its store, and how often it acted and undid.
type FrailMachine<B> = (Machine<Frail<B>, Job>, Arc<Frail<B>>, Arc<[AtomicU32; 2]>);

/// A machine whose store does as the action says.
fn frail<S: Subject>(
    subject: &S,
    action: impl Fn(&Frail<S::Store>) -> Result<(), recipe::Failure> + Send + Sync + 'static,
    rollback: impl Fn() -> Result<(), recipe::Failure> + Send + Sync + 'static,
) -> FrailMachine<S::Store> {
    let way = Frail::new(subject.client());
    let inside = Arc::clone(&way);
    let (rule, counts) = counted(move || action(&inside), rollback);
    let machine = Machine::new(&recipe::join(&way, TTL).unwrap(), "job/7", Rules::new(New).rule(rule)).unwrap();
    (machine, way, counts)
}

/// The machine was occupied until the session ended, its action in force and not undone.
fn b13_a_transition_whose_end_is_refused_is_undone_and_leaves_the_machine_free(subject: &impl Subject) {
    let fill = |way: &Frail<_>| {
        way.fill(true);
        Ok(())
    };
    let (machine_of_one, way, counts) = frail(subject, fill, || Err("no tool".into()));
    let error = machine_of_one.transition_because(Running, "go").unwrap_err();
    assert!(matches!(&error, Error::EndRefused { from: "NEW", to: "RUNNING", .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("all 1 keys are in use") && said.contains("no tool"), "{said}");
    assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [1, 1]);
    let other = machine(subject, circle());
    let look = other.look().unwrap();
    assert_eq!((look.state, look.number, look.begun, look.acting), (New, 0, None, None));
    done(other.transition(Running).unwrap());
    way.fill(false);
    assert_eq!(machine_of_one.look().unwrap().state, Running);
}

fn b13_a_machine_that_could_not_be_freed_is_freed_by_the_next_call_or_its_drop(subject: &impl Subject) {
    let refuse = |way: &Frail<_>| {
        way.refuse(1, 0);
        Err("no link".into())
    };
    let other = machine(subject, circle());
    let (machine, _, counts) = frail(subject, refuse, || Ok(()));
    for drops in [false, true] {
        let error = machine.transition(Running).unwrap_err();
        assert!(matches!(&error, Error::NotFreed { why: Some(_), .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("it changed under 1 attempts") && said.contains("no link"), "{said}");
        assert!(other.look().unwrap().acting.is_some());
        if drops {
            break;
        }
        // Another machine of the process may be in use meanwhile, so it is this one's to free.
        assert!(matches!(other.transition(Running).unwrap(), Transition::NotNow { acting: Some(_), .. }));
    }
    drop(machine);
    assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [2, 2]);
    assert_eq!((other.look().unwrap().begun, other.look().unwrap().acting), (None, None));
    done(other.transition(Running).unwrap());
}

fn b13_a_rollback_that_could_not_be_run_is_left_to_whoever_comes_next(subject: &impl Subject) {
    let refuse = |way: &Frail<_>| {
        way.refuse(0, 1);
        Err("no link".into())
    };
    let (machine_of_one, _, counts) = frail(subject, refuse, || Ok(()));
    let error = machine_of_one.transition_because(Running, "go").unwrap_err();
    assert!(matches!(&error, Error::NotFreed { .. }) && error.to_string().contains("no link"), "{error}");
    assert_eq!(counts[1].load(SeqCst), 0, "nobody knows whether it is ours to run");
    drop(machine_of_one);
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reasons);
    let rule = Rule::new([New], Running).rollback(move |step| {
        noted.lock().unwrap().push((step.reason.to_owned(), step.abandoned));
        Ok(())
    });
    done(machine(subject, Rules::new(New).rule(rule)).transition(Running).unwrap());
    assert_eq!(*reasons.lock().unwrap(), [("go".to_owned(), true)]);
}

fn b13_an_end_that_took_place_unheard_is_not_undone(subject: &impl Subject) {
    let mishear = |way: &Frail<_>| {
        way.mishear_next_commit();
        Ok(())
    };
    let (machine_of_one, _, counts) = frail(subject, mishear, || Ok(()));
    assert_eq!(done(machine_of_one.transition(Running).unwrap()).number, 1);
    assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [1, 0]);
    assert_eq!(machine(subject, circle()).state().unwrap(), Running);
}

/// Somebody begins a transition and dies after we have looked and before we change the state, without an action: the
/// rollback would run in a state that its action never saw.
fn b13_nobody_goes_on_before_what_was_abandoned_is_undone(subject: &impl Subject) {
    let (doomed, looks) = (doomed(subject), AtomicU32::new(0));
    let at_once = Rule::new([New], Done).guard(move |_, _| {
        if looks.fetch_add(1, SeqCst) == 0 {
            assert!(doomed.transition(Running).is_err());
        }
        true
    });
    let (seen, witness) = (Arc::new(Mutex::new(Vec::new())), machine(subject, circle()));
    let noted = Arc::clone(&seen);
    let undo = Rule::new([New], Running).rollback(move |_| {
        noted.lock().unwrap().push(witness.state()?);
        Ok(())
    });
    let machine = machine(subject, Rules::new(New).rule(at_once).rule(undo));
    done(machine.transition(Done).unwrap());
    assert_eq!(machine.look().unwrap().begun, None);
    assert_eq!(*seen.lock().unwrap(), [New]);
}

fn b13_an_abandoned_transition_without_a_rollback_is_in_nobodys_way(subject: &impl Subject) {
    abandon(subject);
    let machine = machine(subject, circle());
    let look = machine.look().unwrap();
    assert_eq!((look.state, look.begun, look.acting), (New, Some((New, Running)), None));
    assert_eq!(done(machine.transition(Running).unwrap()).number, 1);
    assert_eq!(machine.look().unwrap().begun, None);
}

/// Returns once so many wait.
fn until_waiting<B: Backend>(machine: &Machine<B, Job>, count: usize) {
    while machine.look().unwrap().waiting < count {
        thread::yield_now();
    }
}

fn b13_who_waits_longest_goes_first(subject: &impl Subject) {
    let machine_of_all = machine(subject, circle());
    thread::scope(|scope| {
        for number in 0..5 {
            scope.spawn(move || {
                let reason = format!("{number}");
                let machine = machine(subject, circle());
                done(machine.transition_when_possible(Done, &reason, &Deadline::never()).unwrap());
            });
            until_waiting(&machine_of_all, number + 1);
        }
        for _ in 0..5 {
            done(machine_of_all.transition_when_possible(Running, "", &Deadline::never()).unwrap());
            done(machine_of_all.transition_when_possible(New, "", &Deadline::never()).unwrap());
        }
    });
    let history = machine_of_all.history().unwrap();
    let served: Vec<_> = history.iter().filter(|change| change.to == Done).map(|change| &change.reason[..]).collect();
    assert_eq!(served, ["0", "1", "2", "3", "4"]);
    assert_eq!(history.iter().map(|change| change.number).collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    assert_eq!(machine_of_all.look().unwrap().waiting, 0);
}

fn b13_a_newcomer_does_not_overtake_who_waits(subject: &impl Subject) {
    let newcomer = machine(subject, circle());
    let (turn, has_turn) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let rule = Rule::new([Running], Done).guard(move |_, _| {
        turn.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        true
    });
    let first = machine(subject, Rules::new(New).allow(New, Running).rule(rule));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| first.transition_when_possible(Done, "first", &Deadline::never()).unwrap());
        until_waiting(&newcomer, 1);
        done(newcomer.transition(Running).unwrap());
        has_turn.recv().unwrap();
        // It is the first one's turn, whatever it takes its time for.
        let answer = newcomer.transition_when_possible(Done, "second", &Deadline::now()).unwrap();
        assert_eq!(answer, Transition::NotNow { state: Running, acting: None });
        go.send(()).unwrap();
        assert_eq!(done(waiting.join().unwrap()).reason, "first");
    });
}

fn b13_who_waits_for_what_is_impossible_keeps_nobody(subject: &impl Subject) {
    let machine_of_one = machine(subject, circle());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let machine = machine(subject, circle());
            machine.transition_when_possible(Done, "", &Deadline::never()).unwrap()
        });
        until_waiting(&machine_of_one, 1);
        done(machine_of_one.transition_when_possible(Running, "", &Deadline::now()).unwrap());
        done(waiting.join().unwrap());
    });
}

fn b13_clear_sends_away_all_who_wait(subject: &impl Subject) {
    let machine_of_one = machine(subject, circle());
    thread::scope(|scope| {
        let wait = || {
            let machine = machine(subject, circle());
            machine.transition_when_possible(Done, "", &Deadline::never())
        };
        let waiting = [(); 3].map(|()| scope.spawn(wait));
        until_waiting(&machine_of_one, 3);
        assert_eq!(machine_of_one.clear().unwrap(), 3);
        for each in waiting {
            assert!(matches!(each.join().unwrap(), Err(Error::Cleared { to: "DONE", .. })));
        }
    });
    assert_eq!((machine_of_one.clear().unwrap(), machine_of_one.state().unwrap()), (0, New));
}

fn b13_a_wait_that_ends_in_vain_leaves_the_queue(subject: &impl Subject) {
    let machine = machine(subject, circle());
    let soon = Deadline::after(Duration::from_millis(20));
    let answer = machine.transition_when_possible(Done, "", &soon).unwrap();
    assert_eq!(answer, Transition::NotNow { state: New, acting: None });
    assert!(soon.has_passed());
    assert_eq!(machine.look().unwrap().waiting, 0);
}

fn b13_force_is_on_record(subject: &impl Subject) {
    let machine_of_one = machine(subject, circle());
    let before = Owner::me();
    let change = machine_of_one.force(Done, "operator says so").unwrap();
    assert_eq!((change.number, change.from, change.to, change.manner), (1, New, Done, Manner::Forced));
    assert_eq!(machine_of_one.state().unwrap(), Done);
    // Whoever asks, from whichever process.
    let history = machine(subject, circle()).history().unwrap();
    assert_eq!(history, [change]);
    let [change] = &history[..] else { unreachable!() };
    assert_eq!(
        (&change.reason[..], change.by.pid, &change.by.command),
        ("operator says so", before.pid, &before.command)
    );
    assert!(change.by.since_ms >= before.since_ms);
    assert!(change.to_string().starts_with("1: NEW -> DONE, forced by "), "{change}");
}

fn b13_a_forced_state_stays_and_the_action_that_ran_is_undone(subject: &impl Subject) {
    let operator = machine(subject, circle());
    let (rule, counts) = counted(move || operator.force(Done, "now").map(drop).map_err(Into::into), || Ok(()));
    let machine_of_one = machine(subject, Rules::new(New).rule(rule));
    let error = machine_of_one.transition(Running).unwrap_err();
    assert!(matches!(error, Error::Overruled { rollback: None, .. }), "{error}");
    assert_eq!(counts[1].load(SeqCst), 1);
    let look = machine_of_one.look().unwrap();
    assert_eq!((look.state, look.number, look.begun, look.acting), (Done, 1, None, None));
    done(machine(subject, circle()).transition(New).unwrap());
}

fn b13_each_change_is_told_once_and_in_order(subject: &impl Subject) {
    const EACH: u64 = 30;
    let listener = machine(subject, circle());
    let mut changes = listener.changes().unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let machine = machine(subject, circle());
                let mut made = 0;
                while made < EACH {
                    let to = machine.possible().unwrap()[0];
                    match machine.transition(to) {
                        Ok(Transition::Done(_)) => made += 1,
                        Ok(_) | Err(Error::NoTransition { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let (mut state, mut next) = (New, 1);
        while next <= 3 * EACH {
            match changes.next(&Deadline::never()) {
                Ok(change) => {
                    let change = change.unwrap();
                    assert_eq!((change.number, change.from), (next, state));
                    (state, next) = (change.to, next + 1);
                }
                Err(Error::Missed { missed, next: oldest, .. }) => {
                    assert_eq!(next + missed, oldest);
                    next = oldest;
                    state =
                        listener.history().unwrap().into_iter().find(|c| c.number == next).map_or(state, |c| c.from);
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(changes.next(&Deadline::now()).unwrap(), None);
}

fn b13_changes_that_were_missed_are_counted(subject: &impl Subject) {
    let machine = machine(subject, circle());
    let mut changes = machine.changes().unwrap();
    for _ in 0..KEPT + 6 {
        let to = machine.possible().unwrap()[0];
        done(machine.transition(to).unwrap());
    }
    let error = changes.next(&Deadline::never()).unwrap_err();
    assert!(matches!(error, Error::Missed { missed: 6, next: 7, .. }), "{error}");
    for number in 7..=KEPT + 6 {
        assert_eq!(changes.next(&Deadline::never()).unwrap().unwrap().number, number);
    }
    assert_eq!(changes.next(&Deadline::now()).unwrap(), None);
    assert_eq!(machine.history().unwrap().len() as u64, KEPT);
}

/// Source 2's `reset` went to where its first rule begins, by a transition that had to be allowed; with the first rule from
/// A and B initial it answered false and stayed: S2-10.
fn s2_10_reset_goes_to_the_initial_state(subject: &impl Subject) {
    let rules = Rules::new(Running).allow(New, Running).allow(Running, Done);
    let machine = machine(subject, rules);
    done(machine.transition(Done).unwrap());
    let change = machine.reset("morning").unwrap();
    assert_eq!((change.from, change.to, change.manner, &change.reason[..]), (Done, Running, Manner::Reset, "morning"));
    assert_eq!(machine.state().unwrap(), Running);
}

/// Source 2 claimed listeners that may do anything; what they did ran in the middle of the transition that told them: S2-12.
fn s2_12_a_listener_may_change_the_state_and_may_panic(subject: &impl Subject) {
    let first = Arc::new(machine(subject, circle()));
    let (tell, told) = mpsc::channel();
    let inside = Arc::clone(&first);
    let listening = first
        .listen(move |news| {
            let News::Changed(change) = news else { panic!("{news:?}") };
            tell.send(change.number).unwrap();
            if change.to == Running {
                done(inside.transition(Done).unwrap());
                panic!("it is not heard any further");
            }
        })
        .unwrap();
    done(first.transition(Running).unwrap());
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [1, 2]);
    done(first.transition(New).unwrap());
    assert_eq!(told.recv().unwrap(), 3);
    assert_eq!(listening.panics(), 1);
    drop(listening);
    done(first.transition(Running).unwrap());
    assert!(told.recv().is_err(), "nobody listens any more");
}

fn a_guard_that_says_no_is_an_answer(subject: &impl Subject) {
    let rules =
        || Rules::new(New).rule(Rule::new([New, Done], Running).guard(|from, reason| from == New && reason == "go"));
    let machine_of_one = machine(subject, rules());
    assert_eq!(machine_of_one.transition(Running).unwrap(), Transition::Refused { state: New });
    let answer = machine_of_one.transition_when_possible(Running, "stay", &Deadline::never()).unwrap();
    assert_eq!(answer, Transition::Refused { state: New });
    assert_eq!(machine_of_one.look().unwrap().waiting, 0);
    assert!(!machine_of_one.can(Running).unwrap());
    assert_eq!(machine_of_one.possible().unwrap(), [Running]);
    assert_eq!(done(machine_of_one.transition_because(Running, "go").unwrap()).reason, "go");
}

fn a_transition_that_does_not_exist_names_what_is_possible(subject: &impl Subject) {
    let machine = machine(subject, Rules::new(New).allow(New, Running).allow(Running, New).allow(Running, Done));
    let error = machine.transition(Done).unwrap_err();
    assert_eq!(error.to_string(), "machine \"job/7\" cannot go from NEW to DONE; possible are RUNNING");
    done(machine.transition(Running).unwrap());
    done(machine.transition(Done).unwrap());
    let error = machine.transition(New).unwrap_err();
    assert_eq!(error.to_string(), "machine \"job/7\" cannot go from DONE to NEW; from DONE it can go nowhere");
    assert_eq!(machine.look().unwrap().number, 2);
}

fn a_state_of_another_build_is_refused(subject: &impl Subject) {
    let machine = machine(subject, circle());
    let store = subject.client();
    store.commit(&[Op::put(&store.key("job/7/now/state").unwrap(), b"4 PAUSED")]).unwrap();
    for error in
        [machine.state().unwrap_err(), machine.transition(Running).unwrap_err(), machine.force(New, "").unwrap_err()]
    {
        let Error::UnknownState { found, known, .. } = error else { panic!("{error}") };
        assert_eq!((&found[..], known), ("4 PAUSED", vec!["NEW", "RUNNING", "DONE"]));
    }
}

/// What counts the changes was damaged by somebody: an error, no panic, and nobody is sent to a change far away.
fn numbers_that_cannot_be_are_refused(subject: &impl Subject) {
    let store = subject.client();
    let put = |name: &str, value: &str| {
        store.commit(&[Op::put(&store.key(name).unwrap(), value.as_bytes())]).unwrap();
    };
    let machine = machine(subject, Rules::new(New).allow(New, Running));
    let mut changes = machine.changes().unwrap();
    // In the entry of change 1: one that is kept elsewhere, one after which there is none, one that is not the next.
    for number in [2, u64::MAX, 2_001] {
        put("job/7/past/1", &format!("{number} NEW RUNNING moved\n1 2 x\n"));
        let told = changes.next(&Deadline::now());
        assert!(matches!(told, Err(Error::UnknownState { .. })), "{number}: {told:?}");
    }
    put("job/7/now/state", &format!("{} NEW", u64::MAX));
    assert!(matches!(machine.transition(Running), Err(Error::UnknownState { .. })));
    assert!(matches!(machine.force(Running, ""), Err(Error::UnknownState { .. })));
    put("job/7/now/state", &format!("0 {}", "?".repeat(60_000)));
    assert!(machine.state().unwrap_err().to_string().len() < 500);
}

fn bad_rules_and_reasons_are_refused(subject: &impl Subject) {
    let session = session(subject);
    let twice = Rules::new(New).allow(New, Done).rule(Rule::new([Running, New], Done));
    let error = Machine::new(&session, "job/7", twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "two rules lead from NEW to DONE; make them one, whose guard or action tells the cases apart"
    );
    assert!(matches!(Machine::new(&session, &"n".repeat(250), circle()), Err(Error::Store(_))));

    let machine = machine(subject, circle());
    let long = "x".repeat(LONGEST_REASON + 1);
    let is_long = |error| matches!(error, Error::LongReason { .. });
    assert!(is_long(machine.force(Done, &long).unwrap_err()) && is_long(machine.reset(&long).unwrap_err()));
    assert!(is_long(machine.transition_because(Running, &long).unwrap_err()));
    assert_eq!(machine.look().unwrap().number, 0);
    assert_eq!(machine.force(Done, &long[1..]).unwrap().reason.len(), LONGEST_REASON);
    assert_eq!(machine.history().unwrap()[0].reason.len(), LONGEST_REASON);
}

fn a_machine_whose_session_is_over_changes_nothing(subject: &impl Subject) {
    let session = session(subject);
    let machine = Machine::new(&session, "job/7", circle()).unwrap();
    end(&subject.client(), &session);
    let is_over = |error| matches!(error, Error::Store(slotguard::Error::LeaseExpired { .. }));
    assert!(is_over(machine.transition(Running).unwrap_err()));
    assert!(is_over(machine.transition_when_possible(Done, "", &Deadline::never()).unwrap_err()));
    assert!(is_over(machine.force(Done, "").unwrap_err()));
    let look = machine.look().unwrap();
    assert_eq!((look.state, look.number, look.waiting), (New, 0, 0));
}

fn the_thirteen_rules_of_a_connection(subject: &impl Subject) {
    use Connection::{Connected, Connecting, Disconnected, Disconnecting, Failed, Reconnecting};
    let pairs: Vec<_> = connection::rules().pairs().collect();
    assert_eq!(pairs.len(), 13);
    let machine = Machine::new(&session(subject), "link", connection::rules()).unwrap();
    assert_eq!(machine.state().unwrap(), Disconnected);
    for from in [Disconnected, Connecting, Connected, Failed, Disconnecting, Reconnecting] {
        for to in [Disconnected, Connecting, Connected, Failed, Disconnecting, Reconnecting] {
            machine.force(from, "").unwrap();
            let allowed = pairs.contains(&(from, to));
            assert_eq!(machine.can(to).unwrap(), allowed);
            match machine.transition(to) {
                Ok(Transition::Done(change)) => assert!(allowed && change.to == to),
                Ok(Transition::NotNow { .. }) => assert_eq!(from, to),
                Err(Error::NoTransition { .. }) => assert!(!allowed && from != to),
                other => panic!("{from:?} {to:?}: {other:?}"),
            }
        }
    }
}

fn open(folder: &Path) -> Arc<SharedMemory> {
    let builder = Segment::builder().keys(200).payloads(&[(64, 500), (512, 300)]);
    Arc::new(SharedMemory::new(builder.open_or_create(folder.join("segment")).unwrap()).unwrap())
}

/// The action uses up the last of the room for names. Freeing the machine needs none.
#[test]
fn b13_a_machine_of_a_full_segment_is_freed() {
    guarded("a full segment", || {
        let segment = Segment::builder().keys(200).payloads(&[(64, 500), (512, 300)]).anonymous().unwrap();
        let store = Arc::new(SharedMemory::new(segment).unwrap());
        let session = recipe::join(&store, TTL).unwrap();
        let filling = Arc::clone(&store);
        let fill = move || {
            for number in 0.. {
                let key = filling.key(&format!("fill/{number}"))?;
                if let Err(full) = filling.commit(&[Op::put(&key, b"")]) {
                    assert_eq!(full.kind(), ErrorKind::Full);
                    break;
                }
            }
            Ok(())
        };
        let (rule, counts) = counted(fill, || Ok(()));
        let machine = Machine::new(&session, "job/7", Rules::new(New).rule(rule)).unwrap();
        let error = machine.transition(Running).unwrap_err();
        assert!(matches!(error, Error::EndRefused { rollback: None, .. }), "{error}");
        assert_eq!(counts[1].load(SeqCst), 1);
        let look = machine.look().unwrap();
        assert_eq!((look.state, look.begun, look.acting), (New, None, None));
    });
}

/// What does not fit into the store is told before the action, and not after it.
#[test]
fn b13_a_change_that_is_too_large_is_refused_before_its_action() {
    guarded("a small store", || {
        let session = recipe::join(&Arc::new(Model::with_value_limit(128)), TTL).unwrap();
        let (rule, counts) = counted(|| Ok(()), || Ok(()));
        let machine = Machine::new(&session, "job/7", Rules::new(New).rule(rule)).unwrap();
        let error = machine.transition_because(Running, &"x".repeat(LONGEST_REASON)).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
        assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [0, 0]);
        done(machine.transition(Running).unwrap());
    });
}

/// A process is killed inside its action. The next one, of another process, undoes it and goes on.
#[test]
fn b13_a_process_killed_in_its_action_is_undone_by_the_next() {
    with_peers(
        |folder| {
            let session = recipe::join(&open(folder), TTL).unwrap();
            answer_questions(|_| {
                let rule = Rule::new([New], Running).action(|_| {
                    println!("\n@ acting");
                    loop {
                        thread::park();
                    }
                });
                let machine = Machine::new(&session, "job/7", Rules::new(New).rule(rule)).unwrap();
                format!("{:?}", machine.transition(Running))
            });
        },
        |folder, stage| {
            let session = recipe::join(&open(folder), TTL).unwrap();
            let undone = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&undone);
            let rule = Rule::new([New], Running).action(|_| Ok(())).rollback(move |step| {
                assert!(step.abandoned);
                count.fetch_add(1, SeqCst);
                Ok(())
            });
            let machine = Machine::new(&session, "job/7", Rules::new(New).rule(rule)).unwrap();
            let mut peer = stage.peer(&[]);
            assert_eq!(peer.ask("go"), "acting");
            let answer = machine.transition(Running).unwrap();
            assert!(matches!(answer, Transition::NotNow { state: New, acting: Some(_) }), "{answer:?}");
            thread::scope(|scope| {
                let waiting =
                    scope.spawn(|| machine.transition_when_possible(Running, "", &Deadline::never()).unwrap());
                until_waiting(&machine, 1);
                peer.kill();
                assert_eq!(done(waiting.join().unwrap()).number, 1);
            });
            assert_eq!(undone.load(SeqCst), 1);
        },
    );
}
