//! A state shared by processes: one winner, one rollback, each change told once.

mod undone;
mod waiting;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Model, Op, Session, SharedMemory};
use slotguard::conformance::{Subject, guarded};
use slotguard::recipe::state_machine::connection::{self, Connection};
use slotguard::recipe::state_machine::{
    ChangeEvent, Error, KEPT, LONGEST_REASON, Machine, Manner, Rule, Rules, Transition,
};
use slotguard::recipe::{self, Owner};
use slotguard::{Deadline, ErrorKind, Segment, Token};

use crate::delivery::frail::Frail;
use crate::on_every_backend;
use harness::peer::{answer_questions, with_peers};

on_every_backend! {
    b13_of_many_at_once_exactly_one_wins,
    b13_of_many_at_once_only_the_winner_acts,
    b13_an_action_that_fails_is_rolled_back_once_and_leaves_the_state,
    b13_an_action_or_rollback_that_panics_is_a_failure,
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
fn done<S: std::fmt::Debug>(transition: Transition<S>) -> slotguard::recipe::state_machine::StateChange<S> {
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

/// Ends a session as the death of its process does for everybody else; the process itself does not know.
fn end<B: Backend>(other: &B, session: &Session<B>) {
    other.revoke(session.lease()).unwrap();
}

/// Returns once so many wait.
fn until_waiting<B: Backend>(machine: &Machine<B, Job>, count: usize) {
    while machine.status().unwrap().waiting < count {
        thread::yield_now();
    }
}

fn b13_of_many_at_once_exactly_one_wins(subject: &impl Subject) {
    let answers = race(subject, || Rule::new([New], Running));
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| matches!(answer, Transition::Done(_)));
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|answer| *answer == Transition::NotNow { state: Running, acting: None }), "{lost:?}");
    let machine = machine(subject, circle());
    assert_eq!((machine.state().unwrap(), machine.status().unwrap().number), (Running, 1));
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
    assert_eq!(machine(subject, circle()).status().unwrap().begun, None);
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
    let status = machine_of_one.status().unwrap();
    assert_eq!((status.state, status.number, status.begun, status.acting), (New, 0, None, None));

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
    assert_eq!(machine.status().unwrap().acting, None);
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
    let status = machine_of_one.status().unwrap();
    assert_eq!((status.state, status.number, status.begun, status.acting), (Done, 1, None, None));
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
        .listen(move |event| {
            let ChangeEvent::Changed(change) = event else { panic!("{event:?}") };
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
    assert_eq!(machine_of_one.status().unwrap().waiting, 0);
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
    assert_eq!(machine.status().unwrap().number, 2);
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
    assert_eq!(machine.status().unwrap().number, 0);
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
    let status = machine.status().unwrap();
    assert_eq!((status.state, status.number, status.waiting), (New, 0, 0));
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
        let status = machine.status().unwrap();
        assert_eq!((status.state, status.begun, status.acting), (New, None, None));
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
        |folder, peers| {
            let session = recipe::join(&open(folder), TTL).unwrap();
            let undone = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&undone);
            let rule = Rule::new([New], Running).action(|_| Ok(())).rollback(move |step| {
                assert!(step.abandoned);
                count.fetch_add(1, SeqCst);
                Ok(())
            });
            let machine = Machine::new(&session, "job/7", Rules::new(New).rule(rule)).unwrap();
            let mut peer = peers.start(&[]);
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
