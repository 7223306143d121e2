//! Messages between processes: each to every member, none before its cause, none lost, none done twice.

mod causal;
pub mod frail;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::delivery::{Behind, DEFAULT_BOUND, Member, foreign, remove_foreign};
use slotguard::recipe::{Error, join};
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
    a_member_started_again_goes_on_where_it_was,
    s2_9_a_late_joiner_is_sent_what_is_sent_from_then_on,
    s2_9_a_joiner_and_a_removal_that_cross_lose_nothing,
    s2_9_what_is_removed_while_one_joins_is_not_waited_for,
    too_many_under_way_is_an_error_that_names_who_is_behind,
    the_dead_are_waited_for_as_long_as_there_is_room,
    what_all_have_acknowledged_is_removed,
    what_is_kept_can_be_read_and_sent_again,
    a_sleeping_receiver_is_woken_by_a_message,
    a_sender_that_waits_is_woken_by_the_last_acknowledgement,
    a_sender_that_waits_is_woken_by_a_death,
    a_wait_for_messages_ends_with_its_deadline_or_is_cancelled,
    a_number_is_one_members,
    who_is_no_member_any_more_is_refused_and_told,
    who_leaves_is_waited_for_no_more,
    two_inboxes_of_a_member_do_nothing_twice,
    what_makes_no_sense_is_refused,
    what_nobody_of_us_wrote_stops_nobody_and_is_taken_away,
    a_message_that_cannot_be_read_is_told_and_can_be_taken_away,
    a_damaged_floor_is_told_to_all_and_made_anew,
    what_a_cursor_says_that_cannot_be_read_is_nothing,
    what_was_acknowledged_by_another_inbox_and_removed_is_not_waited_for,
    what_was_sent_and_not_heard_of_is_not_sent_over,
    what_was_done_and_not_heard_of_is_not_done_again,
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
    while let Some(letter) = inbox.next(&Deadline::now()).unwrap() {
        told.push((letter.sender(), text(letter.body())));
        letter.acknowledge().unwrap();
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
            if let Some(letter) = inbox.next(&Deadline::now()).unwrap()
                && chains < 12
            {
                chains += 1;
                let answer = format!("{}>{chains}", text(letter.body()));
                letter.reply(answer.as_bytes(), &[]).unwrap().unwrap();
            }
        }
    }
    let (mut told, mut inbox) = (Vec::new(), listener.inbox().unwrap());
    let mut bodies = Vec::new();
    while let Some(letter) = inbox.next(&Deadline::now()).unwrap() {
        told.push((letter.sender(), letter.clock().clone()));
        bodies.push(text(letter.body()));
        letter.acknowledge().unwrap();
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
                        let letter = inbox.next(&Deadline::never()).unwrap().unwrap();
                        assert_eq!(letter.body(), (letter.sequence() - 1).to_le_bytes());
                        told.push((letter.sender(), letter.clock().clone()));
                        letter.acknowledge().unwrap();
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
        let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
        assert_eq!((letter.sequence(), letter.body()), (1, &b"one"[..]));
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
        let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
        let outcome = letter.commit(&[Op::put(&effect, letter.body())]).unwrap();
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
                while let Some(letter) = inbox.next(&Deadline::now())? {
                    let mut done = Vec::new();
                    way.read(&key, &mut done)?;
                    done.extend(letter.body());
                    letter.commit(&[Op::put(&key, &done)])?;
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
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    let ops = [Op::put(&effect, b"after").if_absent(), Op::put(&other, b"after")];
    assert_eq!(letter.commit(&ops).unwrap(), Outcome::Conflict);
    assert!(letter.reply(b"r", &ops).unwrap().is_none());
    assert_eq!((value(&store, "effect").as_deref(), value(&store, "other")), (Some("before"), None));
    assert_eq!(drain(&a), []);
    // It comes again, and the next attempt may do otherwise.
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    assert_ne!(letter.commit(&[Op::put(&effect, b"after")]).unwrap(), Outcome::Conflict);
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
}

fn a_reply_is_sent_when_its_cause_is_acknowledged(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    a.send(b"question").unwrap();
    let mut inbox = b.inbox().unwrap();
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    // Not caused by it: it is not acknowledged yet.
    let before = b.send(b"by the way").unwrap();
    let reply = letter.reply(b"answer", &[]).unwrap().unwrap();
    assert_eq!((before.sequence, reply.sequence), (1, 2));
    let clock = |sequence| a.message(2, sequence).unwrap().clock;
    assert_eq!((clock(1), clock(2)), ([(2, 1)].into_iter().collect(), [(1, 1), (2, 2)].into_iter().collect()));
    assert_eq!(drain(&a).len(), 2);
}

fn a_member_started_again_goes_on_where_it_was(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    assert!(!b.has_resumed());
    for n in 0..4 {
        a.send(format!("{n}").as_bytes()).unwrap();
    }
    let mut inbox = b.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    drop(inbox);
    b.send(b"b1").unwrap();
    drop(b);
    a.send(b"4").unwrap();
    let b = member(subject, 2);
    assert!(b.has_resumed());
    assert_eq!(b.send(b"b2").unwrap().sequence, 2);
    assert_eq!(drain(&b), [1, 2, 3, 4].map(|n| (1, n.to_string())));
    assert_eq!(drain(&a), [(2, "b1".to_owned()), (2, "b2".to_owned())]);
}

/// Source 2 waited for message 1 of a sender whose 6th came first, for ever: S2-9.
fn s2_9_a_late_joiner_is_sent_what_is_sent_from_then_on(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    for n in 0..5 {
        a.send(format!("{n}").as_bytes()).unwrap();
    }
    drain(&b);
    b.send(b"b").unwrap();
    assert_eq!(a.prune().unwrap(), 5);
    // One message is there still, that all but one have acknowledged.
    let late = member(subject, 3);
    assert_eq!(late.clock(), [(1, 5), (2, 1)].into_iter().collect());
    assert_eq!(drain(&late), []);
    a.send(b"new").unwrap();
    assert_eq!(drain(&late), [(1, "new".to_owned())]);
    late.send(b"hello").unwrap();
    assert_eq!(drain(&b), [(1, "new".to_owned()), (3, "hello".to_owned())]);
}

/// The removal has looked who is a member, the joiner has looked what was sent; then the one joins and the other removes.
fn s2_9_a_joiner_and_a_removal_that_cross_lose_nothing(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let a = Member::join(&join(&way, TTL).unwrap(), "d", 1).unwrap();
    let b = member(subject, 2);
    let late_way = Frail::new(subject.client());
    let late_session = join(&late_way, TTL).unwrap();
    let (looked, has_looked) = channel::<()>();
    let (go, may_go) = channel::<()>();
    let (joined, has_joined) = channel::<()>();
    late_way.before_next_commit(move |_| {
        looked.send(()).unwrap();
        // Also when the other side has panicked.
        let _ = may_go.recv();
    });
    let late = thread::spawn(move || {
        let late = Member::join(&late_session, "d", 3).unwrap();
        let _ = joined.send(());
        late
    });
    has_looked.recv().unwrap();
    // Sent after the joiner has looked, acknowledged by all there are.
    a.send(b"in between").unwrap();
    drain(&b);
    way.before_next_commit(move |_| {
        go.send(()).unwrap();
        let _ = has_joined.recv();
    });
    a.prune().unwrap();
    let late = late.join().unwrap();
    assert_eq!(drain(&late), [(1, "in between".to_owned())], "removed before it was told to all");
    a.send(b"after").unwrap();
    assert_eq!(drain(&late), [(1, "after".to_owned())], "a gap that never closes");
}

/// The joiner has looked what was sent; before it joins, more is sent, acknowledged by all there are, and removed.
fn s2_9_what_is_removed_while_one_joins_is_not_waited_for(subject: &impl Subject) {
    let (a, b) = (Arc::new(member(subject, 1)), Arc::new(member(subject, 2)));
    a.send(b"before").unwrap();
    drain(&b);
    let way = Frail::new(subject.client());
    let session = join(&way, TTL).unwrap();
    let others = (Arc::clone(&a), Arc::clone(&b));
    way.before_next_commit(move |_| {
        let (a, b) = others;
        a.send(b"in between").unwrap();
        drain(&b);
        assert_eq!(a.prune().unwrap(), 2);
    });
    let late = Member::join(&session, "d", 3).unwrap();
    assert_eq!(drain(&late), []);
    a.send(b"after").unwrap();
    assert_eq!(drain(&late), [(1, "after".to_owned())], "a gap that never closes");
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
                let letter = inbox.next(&Deadline::never()).unwrap().unwrap();
                assert_eq!(letter.sequence(), n + 1);
                letter.acknowledge().unwrap();
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

fn a_number_is_one_members(subject: &impl Subject) {
    let first = member(subject, 7);
    let error = Member::join(&session(subject), "d", 7).unwrap_err();
    assert!(matches!(&error, Error::MemberTaken { member: 7, .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    let other = Member::join(&session(subject), "e", 7).unwrap();
    drop(first);
    let second = member(subject, 7);
    assert!(second.has_resumed() && !other.has_resumed());
    // Of many at once, one.
    drop(second);
    let won = thread::scope(|scope| {
        let joins: Vec<_> = (0..6)
            .map(|_| {
                let session = session(subject);
                scope.spawn(move || Member::join(&session, "d", 7))
            })
            .collect();
        let joined: Vec<_> = joins.into_iter().map(|join| join.join().unwrap()).collect();
        joined.iter().filter(|join| join.is_ok()).count()
    });
    assert_eq!(won, 1);
}

fn who_is_no_member_any_more_is_refused_and_told(subject: &impl Subject) {
    let (a, store, doomed) = (member(subject, 1), subject.client(), session(subject));
    let b = Member::join(&doomed, "d", 2).unwrap();
    a.send(b"one").unwrap();
    a.send(b"two").unwrap();
    let mut inbox = b.inbox().unwrap();
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    store.revoke(doomed.lease()).unwrap();
    let effect = store.key("effect").unwrap();
    let is_lost = |error: Error| assert!(matches!(&error, Error::MemberLost { member: 2, .. }), "{error}");
    is_lost(letter.commit(&[Op::put(&effect, b"late")]).unwrap_err());
    is_lost(letter.reply(b"late", &[]).unwrap_err());
    is_lost(letter.acknowledge().unwrap_err());
    is_lost(b.send(b"late").unwrap_err());
    is_lost(b.check().unwrap_err());
    assert_eq!(value(&store, "effect"), None);
    // Its successor does what it has not done.
    let heir = member(subject, 2);
    is_lost(b.send(b"late").unwrap_err());
    assert_eq!(drain(&heir).len(), 2);
    assert_eq!(drain(&a), []);
    drop(inbox);
    is_lost(b.leave().unwrap_err());
    assert!(heir.check().is_ok());
    // Who waits for messages is told as well, by a wait that has no end of its own.
    let doomed = self::session(subject);
    let c = Member::join(&doomed, "d", 3).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| c.inbox().unwrap().next(&Deadline::never()).map(drop).unwrap_err());
        store.revoke(doomed.lease()).unwrap();
        assert!(matches!(waiting.join().unwrap(), Error::MemberLost { member: 3, .. }));
    });
    // And by one that begins afterwards.
    assert!(matches!(c.inbox().unwrap().next(&Deadline::never()), Err(Error::MemberLost { member: 3, .. })));
}

fn who_leaves_is_waited_for_no_more(subject: &impl Subject) {
    let (a, b, c) = (member(subject, 1), member(subject, 2), member(subject, 3));
    b.send(b"farewell").unwrap();
    let sent = a.send(b"m").unwrap().sequence;
    drain(&c);
    b.leave().unwrap();
    a.wait_acknowledged(sent, &Deadline::now()).unwrap();
    assert_eq!(names(&subject.client(), "d/r/"), ["d/r/1", "d/r/3"]);
    assert_eq!(drain(&a), [(2, "farewell".to_owned())]);
    assert_eq!(a.prune().unwrap(), 2);
    let again = member(subject, 2);
    assert!(!again.has_resumed());
    assert_eq!(again.send(b"back").unwrap().sequence, 2);
    assert_eq!(drain(&c), [(2, "back".to_owned())]);
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

fn what_makes_no_sense_is_refused(subject: &impl Subject) {
    let session = session(subject);
    assert!(matches!(Member::join_with(&session, "d", 1, 0), Err(Error::NoRoom)));
    for name in ["", "n\0", &"x".repeat(240)] {
        let error = Member::join(&session, name, 1).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert!(names(&subject.client(), "").iter().all(|name| name.starts_with("sessions/")));
    let a = Member::join(&session, "d", 1).unwrap();
    if let Err(error) = a.send(&vec![0; 1 << 20]) {
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
        assert_eq!(a.send(b"small").unwrap().sequence, 1);
    }
    // Room for the whole commit is asked of the store.
    let b = Member::join(&session, "d", 2).unwrap();
    a.send(b"m").unwrap();
    let store = subject.client();
    let keys: Vec<_> = (0..40).map(|n| store.key(&format!("k{n}")).unwrap()).collect();
    let ops: Vec<_> = keys.iter().map(|key| Op::put(key, b"x")).collect();
    let mut inbox = b.inbox().unwrap();
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    let error = letter.commit(&ops).unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooManyOps), "{error}");
    assert_ne!(letter.commit(&ops[..30]).unwrap(), Outcome::Conflict);
}

/// One such entry under the group's name once stopped every member: none could join, send at its bound, or look.
fn what_nobody_of_us_wrote_stops_nobody_and_is_taken_away(subject: &impl Subject) {
    let anna = Member::join_with(&session(subject), "d", 1, 2).unwrap();
    let (bert, store) = (member(subject, 2), subject.client());
    let strange = [
        ("d/floor/1", &b""[..]),
        ("d/m/1/2", b"\x01\x01\x02body"),
        ("d/m/x", b"\x00"),
        ("d/r/9", b""),
        ("d/m/8", b"me"),
    ];
    strange.iter().for_each(|(name, bytes)| put(&store, name, bytes));
    for n in 0..5 {
        anna.send(&[n]).unwrap();
        assert_eq!(drain(&bert).len(), 1);
        anna.wait_acknowledged(u64::from(n) + 1, &Deadline::never()).unwrap();
    }
    assert!(bert.history().unwrap().len() <= 2);
    drop(member(subject, 3));
    // Whose own entry it is cannot go on before it is gone. A cursor that nobody lives by is in no sender's way.
    put(&store, "d/r/9", b"");
    for (number, entry) in [(9, "d/r/9"), (8, "d/m/8")] {
        let error = Member::join(&session(subject), "d", number).unwrap_err();
        assert!(matches!(&error, Error::Damaged { entry: found, .. } if found == entry), "{error}");
        assert!(error.to_string().contains("remove_foreign"), "{error}");
    }
    let found: Vec<_> = foreign(&store, "d").unwrap().into_iter().map(|foreign| foreign.entry).collect();
    assert_eq!(found, ["d/floor/1", "d/m/1/2", "d/m/8", "d/m/x", "d/r/9"]);
    for entry in &found {
        assert!(remove_foreign(&store, "d", entry).unwrap(), "{entry}");
        assert_eq!(value(&store, entry), None);
    }
    assert_eq!(foreign(&store, "d").unwrap(), []);
    // What is sound stays.
    for entry in names(&store, "d/").iter().map(String::as_str).chain(["d/m/1/00000000000000000099", "elsewhere"]) {
        assert!(!remove_foreign(&store, "d", entry).unwrap(), "{entry}");
    }
    assert_eq!([8, 9].map(|number| member(subject, number).has_resumed()), [false, false]);
}

/// The rest of its sender's waits for it, visibly, until somebody takes it away; then nobody waits for ever.
fn a_message_that_cannot_be_read_is_told_and_can_be_taken_away(subject: &impl Subject) {
    let (anna, bert, carl, store) = (member(subject, 1), member(subject, 2), member(subject, 3), subject.client());
    let [second, fourth] = [2, 4].map(|n| format!("d/m/1/{n:020}"));
    put(&store, &second, b"\x01\x01\x07body");
    anna.send(b"one").unwrap();
    assert_eq!(anna.send(b"three").unwrap().sequence, 3);
    let mut inbox = bert.inbox().unwrap();
    let is_told = |error: Error, entry: &str| {
        assert!(matches!(&error, Error::Damaged { entry: told, .. } if told == entry), "{error}");
    };
    is_told(inbox.next(&Deadline::now()).unwrap_err(), &second);
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    // All others go on.
    carl.send(b"hello").unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    assert_eq!(foreign(&store, "d").unwrap()[0].entry, second);
    assert!(remove_foreign(&store, "d", &second).unwrap() && !remove_foreign(&store, "d", &second).unwrap());
    assert!(matches!(bert.message(1, 2), Err(Error::NoSuchMessage { why, .. }) if why.contains("taken away")));
    let letter = inbox.next(&Deadline::now()).unwrap().expect("what waited for it");
    assert_eq!((letter.sequence(), letter.body()), (3, &b"three"[..]));
    letter.acknowledge().unwrap();
    assert_eq!(drain(&carl), [(1, "one".to_owned()), (1, "three".to_owned())]);
    assert_eq!(anna.prune().unwrap(), 3);

    // As for one that somebody has deleted: who waits for it is told, and by whom it is done it is not asked.
    anna.send(b"four").unwrap();
    anna.send(b"five").unwrap();
    store.commit(&[Op::delete(&store.key(&fourth).unwrap())]).unwrap();
    is_told(inbox.next(&Deadline::now()).unwrap_err(), &fourth);
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    assert!(remove_foreign(&store, "d", &fourth).unwrap());
    assert_eq!(inbox.next(&Deadline::now()).unwrap().unwrap().body(), b"five");
    // One that is the newest is deleted, so that its sender goes on counting from its own.
    let last = format!("d/m/1/{:020}", u64::MAX);
    put(&store, &last, b"");
    assert_eq!(anna.send(b"six").unwrap().sequence, 6);
    drop(anna);
    assert!(matches!(member(subject, 1).send(b"seven"), Err(Error::Unacknowledged { .. })));
    assert!(remove_foreign(&store, "d", &last).unwrap());
    assert_eq!((value(&store, &last), member(subject, 1).send(b"seven").unwrap().sequence), (None, 7));
}

/// What it says all need. Made anew, it loses no message and gives no number twice.
fn a_damaged_floor_is_told_to_all_and_made_anew(subject: &impl Subject) {
    let (anna, bert, store) = (member(subject, 1), member(subject, 2), subject.client());
    for body in [b"one", b"two"] {
        anna.send(body).unwrap();
    }
    drain(&bert);
    bert.send(b"other").unwrap();
    assert_eq!(anna.prune().unwrap(), 2);
    put(&store, "d/floor", b"\xff");
    let is_told =
        |error: Error| assert!(matches!(&error, Error::Damaged { entry, .. } if entry == "d/floor"), "{error}");
    is_told(anna.prune().unwrap_err());
    is_told(Member::join(&session(subject), "d", 3).unwrap_err());
    assert!(remove_foreign(&store, "d", "d/floor").unwrap() && !remove_foreign(&store, "d", "d/floor").unwrap());
    drop(anna);
    let anna = member(subject, 1);
    assert_eq!(anna.send(b"three").unwrap().sequence, 3);
    assert_eq!(drain(&bert), [(1, "three".to_owned())]);
    assert_eq!(drain(&anna), [(2, "other".to_owned())]);
}

/// Taken for no cursor at all, what its member has not acknowledged would be removed.
fn what_a_cursor_says_that_cannot_be_read_is_nothing(subject: &impl Subject) {
    let (anna, bert, store) = (member(subject, 1), member(subject, 2), subject.client());
    anna.send(b"one").unwrap();
    put(&store, "d/r/2", b"\xff");
    assert_eq!(anna.prune().unwrap(), 0);
    assert!(matches!(anna.wait_acknowledged(1, &Deadline::now()), Err(Error::NotAcknowledged { .. })));
    assert!(!remove_foreign(&store, "d", "d/r/2").unwrap(), "its member writes it anew");
    assert_eq!(drain(&bert), [(1, "one".to_owned())]);
    assert_eq!((anna.prune().unwrap(), foreign(&store, "d").unwrap()), (1, vec![]));
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

/// A message whose sending ended in an error was delivered to all and removed. Its number is used up: another message under
/// it would be taken for the first.
fn what_was_sent_and_not_heard_of_is_not_sent_over(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let (anna, bert) = (Member::join(&join(&way, TTL).unwrap(), "d", 1).unwrap(), member(subject, 2));
    way.mishear_next_commit();
    anna.send(b"one").unwrap_err();
    let mut inbox = bert.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert_eq!(bert.prune().unwrap(), 1);
    assert_eq!(anna.send(b"two").unwrap().sequence, 2);
    assert_eq!(inbox.next(&Deadline::now()).unwrap().expect("a message").body(), b"two");
}

/// The effect and the acknowledgement took place, and the receiver was told of an error. It tries again.
fn what_was_done_and_not_heard_of_is_not_done_again(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let (anna, bert) = (member(subject, 1), Member::join(&join(&way, TTL).unwrap(), "d", 2).unwrap());
    anna.send(b"one").unwrap();
    let effect = way.key("effect").unwrap();
    let mut inbox = bert.inbox().unwrap();
    let letter = inbox.next(&Deadline::now()).unwrap().unwrap();
    way.mishear_next_commit();
    letter.commit(&[Op::put(&effect, b"done")]).unwrap_err();
    let again = letter.commit(&[Op::put(&effect, b"done again")]);
    assert!(matches!(again, Err(Error::AlreadyAcknowledged { sender: 1, sequence: 1 })), "{again:?}");
    assert_eq!(value(&way.store, "effect").unwrap(), "done");
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
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
