//! Messages between processes: each to every member, none before its cause, none lost, none done twice.

mod causal;
mod damage;
pub mod frail;
mod joining;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::delivery::{Behind, DEFAULT_BOUND, Member, foreign, remove_foreign};
use slotguard::recipe::{Damaged, Kind, delivery::Error, join};
use slotguard::{Cancel, Causality, Deadline, ErrorKind, Outcome, VectorClock};

use self::frail::Frail;
use crate::on_every_backend;

const TTL: Duration = Duration::from_secs(3600);

on_every_backend! {
    b12_members_that_answer_each_other_are_told_in_causal_order,
    b12_of_many_who_send_at_once_all_is_told_to_all,
    what_is_not_acknowledged_comes_again,
    the_effect_and_the_acknowledgement_are_one_commit,
    effects_are_acknowledgements_whenever_the_receiver_dies,
    an_effect_whose_condition_is_false_leaves_the_message,
    a_reply_is_sent_when_its_cause_is_acknowledged,
    too_many_under_way_is_an_error_that_names_who_is_behind,
    the_dead_are_waited_for_as_long_as_there_is_room,
    what_all_have_acknowledged_is_removed,
    what_is_kept_can_be_read_and_sent_again,
    a_sleeping_receiver_is_woken_by_a_message,
    a_sender_that_waits_is_woken_by_the_last_acknowledgement,
    a_sender_that_waits_is_woken_by_a_death,
    a_wait_for_messages_ends_with_its_deadline_or_is_cancelled,
    two_inboxes_of_a_member_do_nothing_twice,
    what_was_acknowledged_by_another_inbox_and_removed_is_not_waited_for,
    who_catches_up_while_a_sender_looks_is_not_in_its_way,
}

fn session<S: Subject>(subject: &S) -> Arc<Session<S::Store>> {
    join(&Arc::new(subject.client()), TTL).unwrap()
}

fn member<S: Subject>(subject: &S, number: u32) -> Member<S::Store> {
    Member::join(&session(subject), "d", number).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All there is to receive, acknowledged, as sender and body.
fn drain<B: Backend>(member: &Member<B>) -> Vec<(u32, String)> {
    let (mut inbox, mut told) = (member.inbox().unwrap(), Vec::new());
    while let Some(delivery) = inbox.next(&Deadline::now()).unwrap() {
        told.push((delivery.sender(), text(delivery.body())));
        delivery.acknowledge().unwrap();
    }
    told
}

/// The names under a prefix.
fn names<B: Backend>(store: &B, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    store.range(prefix, &mut |key, _, _| names.push(key.as_ref().to_owned())).unwrap();
    names
}

fn put<B: Backend>(store: &B, name: &str, value: &[u8]) {
    assert_ne!(store.commit(&[Op::put(&store.key(name).unwrap(), value)]).unwrap(), Outcome::Conflict);
}

fn value<B: Backend>(store: &B, name: &str) -> Option<String> {
    let mut value = Vec::new();
    let (meta, _) = store.read(&store.key(name).unwrap(), &mut value).unwrap();
    meta.map(|_| text(&value))
}

/// Nothing comes before what caused it, nothing is missing, nothing comes twice.
fn is_causal(told: &[(u32, VectorClock)]) {
    for (at, (sender, clock)) in told.iter().enumerate() {
        let of_sender = told[..at].iter().filter(|(other, _)| other == sender).count();
        assert_eq!(clock.get(*sender), of_sender as u64 + 1, "{told:?}");
        for (_, later) in &told[at + 1..] {
            assert_ne!(later.compare(clock), Causality::Before, "{told:?}");
        }
    }
}

/// Source 2's check of causes could not fail: S2-7.
fn b12_members_that_answer_each_other_are_told_in_causal_order(subject: &impl Subject) {
    let members = [1, 2, 3].map(|number| member(subject, number));
    let listener = member(subject, 4);
    members[0].send(b"1").unwrap();
    let mut inboxes = [0, 1, 2].map(|at| members[at].inbox().unwrap());
    let mut chains = 1;
    while chains < 12 {
        for inbox in &mut inboxes {
            // One message each and its answer, so that all are at different places.
            if let Some(delivery) = inbox.next(&Deadline::now()).unwrap()
                && chains < 12
            {
                chains += 1;
                let answer = format!("{}>{chains}", text(delivery.body()));
                delivery.reply(answer.as_bytes(), &[]).unwrap().unwrap();
            }
        }
    }
    let (mut told, mut inbox) = (Vec::new(), listener.inbox().unwrap());
    let mut bodies = Vec::new();
    while let Some(delivery) = inbox.next(&Deadline::now()).unwrap() {
        told.push((delivery.sender(), delivery.clock().clone()));
        bodies.push(text(delivery.body()));
        delivery.acknowledge().unwrap();
    }
    is_causal(&told);
    assert_eq!(bodies.len(), 12);
    for (at, body) in bodies.iter().enumerate() {
        let cause = body.rsplit_once('>').map(|(cause, _)| cause);
        assert!(cause.is_none_or(|cause| bodies[..at].iter().any(|before| before == cause)), "{bodies:?}");
    }
    drop(inboxes);
    for member in &members {
        drain(member);
        assert_eq!(member.clock(), listener.clock());
    }
}

fn b12_of_many_who_send_at_once_all_is_told_to_all(subject: &impl Subject) {
    const MEMBERS: u32 = 4;
    const EACH: u64 = 25;
    let members: Vec<_> = (1..=MEMBERS).map(|number| member(subject, number)).collect();
    let told: Vec<Vec<(u32, VectorClock)>> = thread::scope(|scope| {
        let receivers: Vec<_> = members
            .iter()
            .map(|member| {
                scope.spawn(move || {
                    for n in 0..EACH {
                        member.send(&n.to_le_bytes()).unwrap();
                    }
                });
                scope.spawn(move || {
                    let (mut inbox, mut told) = (member.inbox().unwrap(), Vec::new());
                    while told.len() < ((MEMBERS - 1) as u64 * EACH) as usize {
                        let delivery = inbox.next(&Deadline::never()).unwrap().unwrap();
                        assert_eq!(delivery.body(), (delivery.sequence() - 1).to_le_bytes());
                        told.push((delivery.sender(), delivery.clock().clone()));
                        delivery.acknowledge().unwrap();
                    }
                    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
                    told
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    told.iter().for_each(|told| is_causal(told));
    let all: VectorClock = (1..=MEMBERS).map(|number| (number, EACH)).collect();
    assert!(members.iter().all(|member| member.clock() == all));
    assert_eq!(members[0].prune().unwrap() as u64, u64::from(MEMBERS) * EACH);
}

/// What source 2 released it handed to nobody, and so it was lost: S2-8.
fn what_is_not_acknowledged_comes_again(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    a.send(b"one").unwrap();
    a.send(b"two").unwrap();
    let mut inbox = b.inbox().unwrap();
    for _ in 0..3 {
        let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
        assert_eq!((delivery.sequence(), delivery.body()), (1, &b"one"[..]));
    }
    drop(inbox);
    let mut inbox = b.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert_eq!(inbox.next(&Deadline::now()).unwrap().unwrap().body(), b"two");
    drop(inbox);
    drop(b);
    // Also by another process.
    assert_eq!(drain(&member(subject, 2)), [(1, "two".to_owned())]);
}

fn the_effect_and_the_acknowledgement_are_one_commit(subject: &impl Subject) {
    let (a, b, store) = (member(subject, 1), member(subject, 2), subject.client());
    let (effect, cursor) = (store.key("effect").unwrap(), store.key("d/r/2").unwrap());
    for n in 0_u8..3 {
        a.send(&[n]).unwrap();
        let mut inbox = b.inbox().unwrap();
        let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
        let outcome = delivery.commit(&[Op::put(&effect, delivery.body())]).unwrap();
        let modified = |key| store.read(key, &mut Vec::new()).unwrap().0.unwrap().modified;
        assert_eq!(modified(&effect), modified(&cursor), "the effect is not of the commit that acknowledges it");
        assert_eq!(outcome, Outcome::Committed(modified(&effect)));
        assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    }
}

/// A receiver that dies at each of its commits in turn, before it takes place or after: what it did for the messages is there
/// once for each, in their order.
fn effects_are_acknowledgements_whenever_the_receiver_dies(subject: &impl Subject) {
    const MESSAGES: usize = 4;
    let store = subject.client();
    for (round, applies) in (0..).flat_map(|round| [(round, false), (round, true)]) {
        let name = format!("x{round}{applies}");
        let sender = Member::join(&session(subject), &name, 1).unwrap();
        let mut lives = 0;
        // The receiver is a member before anything is sent.
        drop(Member::join(&session(subject), &name, 2).unwrap());
        for n in 0..MESSAGES {
            sender.send(n.to_string().as_bytes()).unwrap();
        }
        let (log, wanted) = (format!("{name}-log"), (0..MESSAGES).map(|n| n.to_string()).collect::<String>());
        let mut first_life = None;
        loop {
            lives += 1;
            let way = match lives {
                1 => Frail::dies_at(subject.client(), round, applies),
                _ => Frail::new(subject.client()),
            };
            let mut live = || -> Result<(), Error> {
                let session = Session::manual(&way, &format!("{name}-s{lives}"), b"", TTL)?.mine().unwrap();
                if lives == 1 {
                    first_life = Some(session.lease());
                }
                let member = Member::join(&Arc::new(session), &name, 2)?;
                let mut inbox = member.inbox()?;
                let key = way.key(&log)?;
                while let Some(delivery) = inbox.next(&Deadline::now())? {
                    let mut done = Vec::new();
                    way.read(&key, &mut done)?;
                    done.extend(delivery.body());
                    delivery.commit(&[Op::put(&key, &done)])?;
                }
                Ok(())
            };
            let result = live();
            if !way.is_dead() {
                result.unwrap();
                break;
            }
            // The store notices its death.
            if let Some(lease) = first_life.take() {
                store.revoke(lease).unwrap();
            }
        }
        assert_eq!(
            value(&store, &log).as_deref(),
            Some(wanted.as_str()),
            "killed at commit {round}, applied: {applies}"
        );
        assert_eq!(sender.prune().unwrap(), MESSAGES);
        for used in names(&store, &name) {
            store.commit(&[Op::delete(&store.key(&used).unwrap())]).unwrap();
        }
        if lives == 1 {
            assert!(round as usize > MESSAGES, "only {round} commits");
            break;
        }
    }
}

fn an_effect_whose_condition_is_false_leaves_the_message(subject: &impl Subject) {
    let (a, b, store) = (member(subject, 1), member(subject, 2), subject.client());
    a.send(b"m").unwrap();
    let (effect, other) = (store.key("effect").unwrap(), store.key("other").unwrap());
    put(&store, "effect", b"before");
    let mut inbox = b.inbox().unwrap();
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    let ops = [Op::put(&effect, b"after").if_absent(), Op::put(&other, b"after")];
    assert_eq!(delivery.commit(&ops).unwrap(), Outcome::Conflict);
    assert!(delivery.reply(b"r", &ops).unwrap().is_none());
    assert_eq!((value(&store, "effect").as_deref(), value(&store, "other")), (Some("before"), None));
    assert_eq!(drain(&a), []);
    // It comes again, and the next attempt may do otherwise.
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    assert_ne!(delivery.commit(&[Op::put(&effect, b"after")]).unwrap(), Outcome::Conflict);
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
}

fn a_reply_is_sent_when_its_cause_is_acknowledged(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    a.send(b"question").unwrap();
    let mut inbox = b.inbox().unwrap();
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    // Not caused by it: it is not acknowledged yet.
    let before = b.send(b"by the way").unwrap();
    let reply = delivery.reply(b"answer", &[]).unwrap().unwrap();
    assert_eq!((before.sequence, reply.sequence), (1, 2));
    let clock = |sequence| a.message(2, sequence).unwrap().clock;
    assert_eq!((clock(1), clock(2)), ([(2, 1)].into_iter().collect(), [(1, 1), (2, 2)].into_iter().collect()));
    assert_eq!(drain(&a).len(), 2);
}

fn too_many_under_way_is_an_error_that_names_who_is_behind(subject: &impl Subject) {
    let a = Member::join_with(&session(subject), "d", 1, 3).unwrap();
    let (b, c) = (member(subject, 2), member(subject, 3));
    for n in 0..3 {
        a.send(&[n]).unwrap();
    }
    let mut inbox = b.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    for _ in 0..2 {
        let error = a.send(b"x").unwrap_err();
        let Error::Unacknowledged { sender: 1, most: 3, behind } = &error else { panic!("{error}") };
        assert_eq!(behind, &[Behind { member: 3, acknowledged: 0 }]);
        assert!(error.to_string().contains("member 3 has acknowledged up to 0"), "{error}");
    }
    assert_eq!(drain(&c).len(), 3);
    assert_eq!(a.send(b"x").unwrap().sequence, 4);
    assert!(
        matches!(a.send(b"y").unwrap_err(), Error::Unacknowledged { behind, .. } if behind.len() == 1 && behind[0].member == 2)
    );
    drop(inbox);
    assert_eq!((drain(&b).len(), drain(&c).len()), (3, 1));
    // Nothing is lost, nothing kept that is done with.
    for n in 0..20_u8 {
        a.send(&[n]).unwrap();
        assert_eq!((drain(&b).len(), drain(&c).len()), (1, 1));
    }
    assert!(names(&subject.client(), "d/m/1/").len() <= 3);
}

fn the_dead_are_waited_for_as_long_as_there_is_room(subject: &impl Subject) {
    let a = Member::join_with(&session(subject), "d", 1, 3).unwrap();
    let (b, c) = (member(subject, 2), member(subject, 3));
    a.send(b"0").unwrap();
    drop(b);
    // There is room: it is waited for, and goes on where it was.
    a.send(b"1").unwrap();
    let b = member(subject, 2);
    assert!(b.has_resumed());
    assert_eq!(drain(&b).len(), 2);
    drop(b);
    for n in 2..8 {
        a.send(n.to_string().as_bytes()).unwrap();
        drain(&c);
    }
    // It stood in the way, so nobody waits for it any more; coming back it begins anew.
    assert_eq!(names(&subject.client(), "d/r/"), ["d/r/1", "d/r/3"]);
    let b = member(subject, 2);
    assert!(!b.has_resumed());
    assert_eq!((drain(&b), b.clock().get(1)), (vec![], 8));
    a.send(b"8").unwrap();
    assert_eq!(drain(&b), [(1, "8".to_owned())]);
    // Who lives is never dropped.
    for _ in 0..5 {
        let _ = a.send(b"more");
    }
    assert!(matches!(a.send(b"more"), Err(Error::Unacknowledged { .. })));
    assert_eq!(names(&subject.client(), "d/r/").len(), 3);
}

fn what_all_have_acknowledged_is_removed(subject: &impl Subject) {
    let (a, b, c) = (member(subject, 1), member(subject, 2), member(subject, 3));
    let store = subject.client();
    for n in 0..DEFAULT_BOUND as u8 {
        a.send(&[n]).unwrap();
    }
    let kept = || names(&store, "d/m/1/").len();
    assert_eq!((a.prune().unwrap(), kept()), (0, 100));
    drain(&b);
    assert_eq!((a.prune().unwrap(), kept()), (0, 100));
    let mut inbox = c.inbox().unwrap();
    for _ in 0..40 {
        inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    }
    // Anybody may do it.
    assert_eq!((b.prune().unwrap(), kept()), (40, 60));
    assert_eq!((a.prune().unwrap(), kept()), (0, 60));
    drop(inbox);
    assert_eq!(drain(&c).len(), 60);
    assert_eq!((c.prune().unwrap(), kept()), (60, 0));
    assert_eq!(a.send(b"next").unwrap().sequence, 101);
    // Where nobody else is, there is nothing to wait for.
    let alone = Member::join_with(&session(subject), "alone", 1, 1).unwrap();
    for _ in 0..5 {
        alone.send(b"x").unwrap();
    }
}

fn what_is_kept_can_be_read_and_sent_again(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    a.send(b"a1").unwrap();
    b.send(b"b1").unwrap();
    a.send(b"a2").unwrap();
    let history: Vec<_> = b.history().unwrap().into_iter().map(|message| text(&message.body)).collect();
    assert_eq!(history, ["a1", "b1", "a2"], "in the order in which they were sent");
    let message = b.message(1, 2).unwrap();
    assert_eq!((message.sender, message.sequence(), message.body), (1, 2, b"a2".to_vec()));
    drain(&b);
    assert_eq!(a.resend(1).unwrap().sequence, 3);
    assert_eq!(drain(&b), [(1, "a1".to_owned())]);
    a.prune().unwrap();
    for (sender, sequence, why) in
        [(1, 1, "removed"), (1, 4, "not been sent"), (1, 0, "not been sent"), (9, 1, "not been sent")]
    {
        let error = b.message(sender, sequence).unwrap_err();
        assert!(matches!(error, Error::NoSuchMessage { .. }) && error.to_string().contains(why), "{error}");
    }
    assert!(matches!(a.resend(2), Err(Error::NoSuchMessage { .. })));
}

fn a_sleeping_receiver_is_woken_by_a_message(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    let (asked, is_asked) = channel();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut inbox = b.inbox().unwrap();
            for n in 0..50 {
                asked.send(()).unwrap();
                let delivery = inbox.next(&Deadline::never()).unwrap().unwrap();
                assert_eq!(delivery.sequence(), n + 1);
                delivery.acknowledge().unwrap();
            }
        });
        for _ in 0..50 {
            is_asked.recv().unwrap();
            a.send(b"wake up").unwrap();
        }
        receiver.join().unwrap();
    });
}

fn a_sender_that_waits_is_woken_by_the_last_acknowledgement(subject: &impl Subject) {
    let (a, b, c) = (member(subject, 1), member(subject, 2), member(subject, 3));
    let sent = a.send(b"m").unwrap().sequence;
    let error = a.wait_acknowledged(sent, &Deadline::now()).unwrap_err();
    let Error::NotAcknowledged { sequence: 1, behind } = &error else { panic!("{error}") };
    assert_eq!(error.kind(), Kind::TimedOut);
    assert_eq!(behind.iter().map(|behind| behind.member).collect::<Vec<_>>(), [2, 3]);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| a.wait_acknowledged(sent, &Deadline::never()));
        drain(&b);
        drain(&c);
        waiting.join().unwrap().unwrap();
    });
    a.wait_acknowledged(sent, &Deadline::now()).unwrap();
    a.prune().unwrap();
    a.wait_acknowledged(sent, &Deadline::now()).unwrap();
    for sequence in [0, sent + 1] {
        assert!(matches!(a.wait_acknowledged(sequence, &Deadline::never()), Err(Error::NoSuchMessage { .. })));
    }
}

fn a_sender_that_waits_is_woken_by_a_death(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    let doomed = session(subject);
    let c = Member::join(&doomed, "d", 3).unwrap();
    let sent = a.send(b"m").unwrap().sequence;
    drain(&b);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| a.wait_acknowledged(sent, &Deadline::never()));
        subject.client().revoke(doomed.lease()).unwrap();
        waiting.join().unwrap().unwrap();
    });
    // It is not dropped by that.
    drop(c);
    let c = member(subject, 3);
    assert!(c.has_resumed());
    assert_eq!(drain(&c).len(), 1);
}

fn a_wait_for_messages_ends_with_its_deadline_or_is_cancelled(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    let mut inbox = b.inbox().unwrap();
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    assert!(inbox.next(&Deadline::after(Duration::from_millis(20))).unwrap().is_none());
    let stop = Cancel::new();
    stop.cancel();
    let error = inbox.next(&Deadline::never().or_cancelled(&stop)).unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::Cancelled), "{error}");
    a.send(b"m").unwrap();
    assert_eq!(inbox.next(&Deadline::now()).unwrap().unwrap().body(), b"m");
}

fn two_inboxes_of_a_member_do_nothing_twice(subject: &impl Subject) {
    let (a, b, store) = (member(subject, 1), member(subject, 2), subject.client());
    for n in 0..3 {
        a.send(&[n]).unwrap();
    }
    let (mut one, mut two) = (b.inbox().unwrap(), b.inbox().unwrap());
    let (first, same) = (one.next(&Deadline::now()).unwrap().unwrap(), two.next(&Deadline::now()).unwrap().unwrap());
    first.acknowledge().unwrap();
    let effect = store.key("effect").unwrap();
    let error = same.commit(&[Op::put(&effect, b"twice")]).unwrap_err();
    assert!(matches!(error, Error::AlreadyAcknowledged { sender: 1, sequence: 1 }), "{error}");
    assert_eq!(value(&store, "effect"), None);
    two.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert_eq!(one.next(&Deadline::now()).unwrap().unwrap().sequence(), 3);
}

/// What one inbox has acknowledged and is removed since, another one would wait for.
fn what_was_acknowledged_by_another_inbox_and_removed_is_not_waited_for(subject: &impl Subject) {
    let (anna, bert) = (member(subject, 1), member(subject, 2));
    let mut idle = bert.inbox().unwrap();
    anna.send(b"one").unwrap();
    assert_eq!(drain(&bert).len(), 1);
    assert_eq!(anna.prune().unwrap(), 1);
    anna.send(b"two").unwrap();
    assert_eq!(idle.next(&Deadline::now()).unwrap().expect("a message").body(), b"two");
}

/// A sender at its bound removes what it can and looks again. What was acknowledged in between is room as well.
fn who_catches_up_while_a_sender_looks_is_not_in_its_way(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let anna = Member::join_with(&join(&way, TTL).unwrap(), "d", 1, 1).unwrap();
    let bert = member(subject, 2);
    anna.send(b"one").unwrap();
    // After the look of the removal, which finds nothing to remove.
    way.before_look(1, move |_| assert_eq!(drain(&bert).len(), 1));
    assert_eq!(anna.send(b"two").unwrap().sequence, 2);
}
