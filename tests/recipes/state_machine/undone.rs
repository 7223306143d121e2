//! Transitions that were left in the middle, or whose end the store refused: undone once, and the machine is free.

use super::*;

on_every_backend! {
    b13_a_transition_left_in_the_middle_is_undone_once_by_whoever_comes_next,
    b13_of_many_who_come_next_one_undoes,
    b13_who_is_stopped_in_a_rollback_is_followed_by_one_with_a_larger_token,
    b13_a_transition_whose_end_is_refused_is_undone_and_leaves_the_machine_free,
    b13_a_machine_that_could_not_be_freed_is_freed_by_the_next_call_or_its_drop,
    b13_a_rollback_that_could_not_be_run_is_left_to_whoever_comes_next,
    b13_an_end_that_took_place_unheard_is_not_undone,
    b13_nobody_goes_on_before_what_was_abandoned_is_undone,
    b13_an_abandoned_transition_without_a_rollback_is_in_nobodys_way,
    a_cause_is_told_once_in_a_chain_of_errors,
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
    assert!(matches!(late.transition(Running), Err(Error::Lost { .. })));
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
    assert!(matches!(doomed(subject).transition(Running), Err(Error::Lost { .. })));
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
    let status = machine(subject, circle()).status().unwrap();
    assert_eq!((undone.load(SeqCst), status.begun, status.state, status.number), (1, None, Running, 1));
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
    let status = other.status().unwrap();
    assert_eq!((status.state, status.number, status.begun, status.acting), (New, 0, None, None));
    done(other.transition(Running).unwrap());
    way.fill(false);
    assert_eq!(machine_of_one.status().unwrap().state, Running);
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
        assert!(other.status().unwrap().acting.is_some());
        if drops {
            break;
        }
        // Another machine of the process may be in use meanwhile, so it is this one's to free.
        assert!(matches!(other.transition(Running).unwrap(), Transition::NotNow { acting: Some(_), .. }));
    }
    drop(machine);
    assert_eq!(counts.each_ref().map(|count| count.load(SeqCst)), [2, 2]);
    assert_eq!((other.status().unwrap().begun, other.status().unwrap().acting), (None, None));
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
    assert_eq!(machine.status().unwrap().begun, None);
    assert_eq!(*seen.lock().unwrap(), [New]);
}

fn b13_an_abandoned_transition_without_a_rollback_is_in_nobodys_way(subject: &impl Subject) {
    abandon(subject);
    let machine = machine(subject, circle());
    let status = machine.status().unwrap();
    assert_eq!((status.state, status.begun, status.acting), (New, Some((New, Running)), None));
    assert_eq!(done(machine.transition(Running).unwrap()).number, 1);
    assert_eq!(machine.status().unwrap().begun, None);
}

/// Asserts that an error and its sources say each of these once.
#[track_caller]
fn says_once(error: Error, causes: &[&str]) {
    let error = recipe::Error::from(error);
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let said = chain.map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for cause in causes {
        assert_eq!(said.matches(cause).count(), 1, "{cause:?} in {said}");
    }
}

fn a_cause_is_told_once_in_a_chain_of_errors(subject: &impl Subject) {
    let (rule, _) = counted(|| Err("no link".into()), || Err("no tool".into()));
    let failed = machine(subject, Rules::new(New).rule(rule)).transition(Running).unwrap_err();
    assert!(matches!(failed, Error::ActionFailed { .. }), "{failed}");
    says_once(failed, &["no link", "no tool"]);

    let fill = |way: &Frail<_>| {
        way.fill(true);
        Ok(())
    };
    let (full, _, _) = frail(subject, fill, || Err("no tool".into()));
    let refused = full.transition(Running).unwrap_err();
    assert!(matches!(refused, Error::EndRefused { .. }), "{refused}");
    says_once(refused, &["all 1 keys are in use", "no tool"]);

    let refuse = |way: &Frail<_>| {
        way.refuse(1, 0);
        Err("no link".into())
    };
    let (occupied, _, _) = frail(subject, refuse, || Ok(()));
    let not_freed = occupied.transition(Running).unwrap_err();
    assert!(matches!(not_freed, Error::NotFreed { .. }), "{not_freed}");
    says_once(not_freed, &["it changed under 1 attempts", "no link"]);
    drop(occupied);

    abandon(subject);
    let rule = Rule::new([New], Running).rollback(|_| Err("no tool".into()));
    let stuck = machine(subject, Rules::new(New).rule(rule)).transition(Running).unwrap_err();
    assert!(matches!(stuck, Error::RollbackFailed { .. }), "{stuck}");
    says_once(stuck, &["no tool"]);
}
