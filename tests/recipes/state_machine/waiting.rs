//! Waiting for one's turn to make a transition.

use super::*;

on_every_backend! {
    b13_who_waits_longest_goes_first,
    b13_a_newcomer_does_not_overtake_who_waits,
    b13_who_waits_for_what_is_impossible_keeps_nobody,
    b13_clear_sends_away_all_who_wait,
    b13_a_wait_that_ends_in_vain_leaves_the_queue,
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
    assert_eq!(machine_of_all.status().unwrap().waiting, 0);
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
    assert_eq!(machine.status().unwrap().waiting, 0);
}
