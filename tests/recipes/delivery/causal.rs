//! Causal order by itself: whatever arrives when, nothing is gone on with before what caused it.

use std::collections::BTreeSet;

use harness::random::Random;
use slotguard::recipe::delivery::Error;
use slotguard::recipe::delivery::{Causal, Gap, Message, Received};
use slotguard::{Causality, VectorClock};

type Told = Message<usize>;

fn node(members: u32) -> Causal<usize> {
    Causal::new(0..members, 100).unwrap()
}

fn send(from: &mut Causal<usize>, sender: u32, body: usize) -> Told {
    Message { sender, clock: from.stamp(sender).unwrap(), body }
}

fn bodies(messages: &[Told]) -> Vec<usize> {
    messages.iter().map(|message| message.body).collect()
}

#[track_caller]
fn delivered(received: Received<usize>) -> Vec<usize> {
    match received {
        Received::Delivered(messages) => bodies(&messages),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_held(received: Received<usize>) {
    assert!(matches!(received, Received::Held { .. }), "{received:?}");
}

/// All orders of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = orders(n - 1);
    let with = |order: &Vec<usize>, at| {
        let mut order = order.clone();
        order.insert(at, n - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..n).map(move |at| with(order, at))).collect()
}

/// What three nodes may have sent: at each step one sends, having been given some of what was under way to it.
fn history(seed: u64, messages: usize) -> Vec<Told> {
    let mut random = Random::from_seed(seed);
    let mut nodes = [node(3), node(3), node(3)];
    let mut sent: Vec<Told> = Vec::new();
    while sent.len() < messages {
        let sender = random.index(3);
        for earlier in &sent {
            if random.one_in(2) {
                nodes[sender].receive(earlier.clone()).unwrap();
            }
        }
        let message = send(&mut nodes[sender], sender as u32, sent.len());
        sent.push(message);
    }
    sent
}

#[test]
fn b12_whatever_the_order_of_arrival_causes_come_first() {
    let mut chains = 0;
    for messages in 1..=6 {
        for seed in 0..120 {
            let sent = history(seed, messages);
            let caused = |one: &Told, other: &Told| one.clock.compare(&other.clock) == Causality::Before;
            chains += sent
                .iter()
                .filter(|a| {
                    sent.iter().any(|b| {
                        caused(a, b)
                            && b.sender != a.sender
                            && sent.iter().any(|c| caused(b, c) && c.sender != b.sender && c.sender != a.sender)
                    })
                })
                .count();
            for order in orders(messages) {
                // One who only listens.
                let mut listener = node(4);
                let mut told: Vec<Told> = Vec::new();
                for &at in &order {
                    if let Received::Delivered(messages) = listener.receive(sent[at].clone()).unwrap() {
                        told.extend(messages);
                    }
                    // Nothing is kept that could be told.
                    let known: BTreeSet<_> = told.iter().map(|message| message.body).collect();
                    let arrived = order.iter().take_while(|other| **other != at).chain([&at]);
                    for &waiting in arrived.filter(|at| !known.contains(at)) {
                        let ready =
                            sent.iter().all(|cause| !caused(cause, &sent[waiting]) || known.contains(&cause.body));
                        assert!(!ready, "seed {seed}, {order:?}: {waiting} was kept, told {known:?}");
                    }
                }
                assert_eq!(told.len(), messages, "seed {seed}, {order:?}: told {:?}", bodies(&told));
                for (at, message) in told.iter().enumerate() {
                    for later in &told[at + 1..] {
                        assert!(!caused(later, message), "seed {seed}, {order:?}: told {:?}", bodies(&told));
                    }
                }
                assert_eq!((listener.waiting(), listener.missing()), (0, vec![]));
            }
        }
    }
    assert!(chains > 50, "only {chains} messages that reached a third node by way of a second");
}

/// Source 2 merged a message's clock before it looked whether its causes had been delivered, so causes of third parties
/// always looked as if they had: S2-7.
#[test]
fn s2_7_what_a_third_party_caused_is_waited_for() {
    let [mut a, mut b, mut c] = [node(3), node(3), node(3)];
    let question = send(&mut a, 0, 1);
    b.receive(question.clone()).unwrap();
    let answer = send(&mut b, 1, 2);
    let waiting_for = vec![Gap { sender: 0, from: 1, to: 1 }];
    assert_eq!(c.receive(answer.clone()).unwrap(), Received::Held { waiting_for: waiting_for.clone() });
    // Being here is not being delivered.
    assert_eq!((c.clock(), c.missing()), (&VectorClock::new(), waiting_for));
    assert_eq!(delivered(c.receive(question).unwrap()), [1, 2]);
    assert_eq!(c.clock(), &answer.clock);
}

/// Source 2 marked what it released as delivered and handed it to nobody: S2-8.
#[test]
fn s2_8_what_is_released_is_returned_in_order() {
    let mut a = node(2);
    let sent: Vec<_> = (0..5).map(|n| send(&mut a, 0, n)).collect();
    let mut b = node(2);
    for late in sent[1..].iter().rev() {
        is_held(b.receive(late.clone()).unwrap());
    }
    assert_eq!((b.waiting(), b.missing()), (4, vec![Gap { sender: 0, from: 1, to: 1 }]));
    assert_eq!(delivered(b.receive(sent[0].clone()).unwrap()), [0, 1, 2, 3, 4]);
    assert_eq!(b.waiting(), 0);
}

#[test]
fn a_duplicate_is_told_once_whether_it_waits_or_not() {
    let mut a = node(2);
    let sent: Vec<_> = (0..3).map(|n| send(&mut a, 0, n)).collect();
    let mut b = node(2);
    is_held(b.receive(sent[2].clone()).unwrap());
    assert_eq!(b.receive(sent[2].clone()).unwrap(), Received::Duplicate);
    assert_eq!(delivered(b.receive(sent[0].clone()).unwrap()), [0]);
    assert_eq!(b.receive(sent[0].clone()).unwrap(), Received::Duplicate);
    assert_eq!(delivered(b.receive(sent[1].clone()).unwrap()), [1, 2]);
    for message in sent {
        assert_eq!(b.receive(message).unwrap(), Received::Duplicate);
    }
    assert_eq!(
        a.receive(Message { sender: 0, clock: [(0, 1)].into_iter().collect(), body: 0 }).unwrap(),
        Received::Duplicate
    );
}

/// Source 2 waited for message 1 of everybody, for ever, also where it had come late and 1 was long gone: S2-9.
#[test]
fn s2_9_a_late_joiner_begins_with_the_clock_of_its_time() {
    let [mut a, mut b] = [node(3), node(3)];
    let old: Vec<_> = (0..5).map(|n| send(&mut a, 0, n)).collect();
    for message in &old {
        b.receive(message.clone()).unwrap();
    }
    let mut late = Causal::resume(0..3, b.clock().clone(), 100).unwrap();
    let new = send(&mut b, 1, 5);
    let newer = send(&mut a, 0, 6);
    assert_eq!(delivered(late.receive(newer).unwrap()), [6]);
    assert_eq!(delivered(late.receive(new).unwrap()), [5]);
    for message in old {
        assert_eq!(late.receive(message).unwrap(), Received::Duplicate);
    }
    // The others learn of it.
    let first = send(&mut late, 2, 7);
    assert!(matches!(b.receive(first.clone()).unwrap(), Received::Held { .. }), "it knew of 6");
    let mut two = Causal::new([0, 1], 10).unwrap();
    assert!(matches!(two.receive(first.clone()), Err(Error::UnknownSender { sender: 2 })));
    two.add(2, 0);
    is_held(two.receive(first).unwrap());
}

/// Source 2's buffer grew without end, or dropped the oldest: S2-9.
#[test]
fn a_full_buffer_is_told_and_loses_nothing() {
    let mut a = node(2);
    let sent: Vec<_> = (0..6).map(|n| send(&mut a, 0, n)).collect();
    let mut b = Causal::new(0..2, 3).unwrap();
    for late in [1, 3, 4] {
        is_held(b.receive(sent[late].clone()).unwrap());
    }
    let error = b.receive(sent[5].clone()).unwrap_err();
    let Error::BufferFull { most: 3, sender: 0, sequence: 6, waiting_for } = &error else { panic!("{error}") };
    assert_eq!(waiting_for, &[Gap { sender: 0, from: 1, to: 3 }]);
    assert!(error.to_string().contains("messages 1 to 3 of 0"), "{error}");
    assert_eq!(b.receive(sent[4].clone()).unwrap(), Received::Duplicate, "what waits is known though it is full");
    // What is waited for is taken though it is full.
    assert_eq!(delivered(b.receive(sent[0].clone()).unwrap()), [0, 1]);
    is_held(b.receive(sent[5].clone()).unwrap());
    assert_eq!(delivered(b.receive(sent[2].clone()).unwrap()), [2, 3, 4, 5]);
    assert!(matches!(Causal::<()>::new([1], 0), Err(Error::NoRoom)));
}

#[test]
fn who_leaves_is_waited_for_no_more() {
    let [mut a, mut b, mut c] = [node(4), node(4), node(4)];
    let lost = send(&mut a, 0, 1);
    b.receive(lost).unwrap();
    let caused = send(&mut b, 1, 2);
    is_held(c.receive(caused).unwrap());
    let second = send(&mut a, 0, 3);
    is_held(c.receive(second).unwrap());
    let left = c.remove(0).unwrap();
    assert_eq!((bodies(&left.dropped), bodies(&left.delivered)), (vec![3], vec![2]));
    assert!(matches!(c.remove(0), Err(Error::UnknownSender { sender: 0 })));
    assert!(matches!(c.receive(send(&mut a, 0, 4)), Err(Error::UnknownSender { sender: 0 })));
    // What others have heard of it is no obstacle.
    assert_eq!(delivered(c.receive(send(&mut b, 1, 5)).unwrap()), [5]);
    // Coming back, it counts on from where it says.
    c.add(0, 3);
    assert_eq!(delivered(c.receive(send(&mut a, 0, 6)).unwrap_or_else(|error| panic!("{error}"))), [6]);
}

#[test]
fn who_is_unknown_or_counts_strangers_is_refused() {
    let mut b = Causal::new([0, 1], 10).unwrap();
    let message = |sender, counts: &[(u32, u64)]| Message { sender, clock: counts.iter().copied().collect(), body: 1 };
    assert!(matches!(b.receive(message(7, &[(7, 1)])), Err(Error::UnknownSender { sender: 7 })));
    for counts in [&[][..], &[(1, 1)], &[(0, 1), (9, 4)]] {
        let error = b.receive(message(0, counts)).unwrap_err();
        assert!(matches!(error, Error::OtherShape { sender: 0, .. }), "{error}");
    }
    assert!(matches!(b.stamp(7), Err(Error::UnknownSender { sender: 7 })));
    assert_eq!((b.clock(), b.waiting()), (&VectorClock::new(), 0));
    let mut last = Causal::<()>::resume([0], [(0, u64::MAX)].into_iter().collect(), 10).unwrap();
    assert!(matches!(last.stamp(0), Err(Error::Count(_))));
    assert_eq!(last.clock().get(0), u64::MAX);
    // The largest clock there is waits, and overflows nothing.
    is_held(b.receive(message(0, &[(0, u64::MAX), (1, u64::MAX)])).unwrap());
    assert_eq!(b.missing(), [Gap { sender: 0, from: 1, to: u64::MAX - 1 }, Gap { sender: 1, from: 1, to: u64::MAX }]);
}

#[test]
fn what_was_delivered_is_not_waited_for_however_large_its_number() {
    let mut causal = Causal::resume([1, 2], [(1, u64::MAX)].into_iter().collect(), 10).unwrap();
    let after_the_last = Message { sender: 2, clock: [(1, u64::MAX), (2, 1)].into_iter().collect(), body: () };
    assert!(matches!(causal.receive(after_the_last).unwrap(), Received::Delivered(all) if all.len() == 1));
}
