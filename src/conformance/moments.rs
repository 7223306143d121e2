//! One order of everything, with many at work: nothing lost, nothing torn, every look of one moment.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::asking::Asking;
use super::bank::{self, BANK};
use super::ledger::{Ledger, Sighting, values};
use super::subject::Subject;
use crate::backend::{Backend, Op};
use crate::{Outcome, Revision, Version};

/// N acknowledged increments are N effects, and versions 1 to N.
pub fn every_acknowledged_commit_is_one_effect(subject: &impl Subject) {
    const EACH: u64 = 500;
    let clients: Vec<_> = (0..4).map(|_| subject.client()).collect();
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let key = client.named("count");
                for _ in 0..EACH {
                    increment(client, &[&key]);
                }
            });
        }
    });
    let state = clients[0].state(&clients[0].named("count")).expect("the counter");
    assert_eq!(state.value, (4 * EACH).to_le_bytes());
    assert_eq!(state.meta.version, Version(4 * EACH));
}

/// Adds one to each of several counters in one commit, trying until it succeeds.
fn increment<B: Backend>(store: &B, keys: &[&B::Key]) -> Revision {
    loop {
        let before: Vec<_> = keys.iter().map(|key| store.state(key)).collect();
        let count = |value: &[u8]| u64::from_le_bytes(value.try_into().expect("eight bytes"));
        let after: Vec<_> = before
            .iter()
            .map(|state| (state.as_ref().map_or(0, |state| count(&state.value)) + 1).to_le_bytes())
            .collect();
        let ops: Vec<_> = (0..keys.len())
            .map(|at| match &before[at] {
                Some(state) => Op::put(keys[at], &after[at]).if_modified_at(state.meta.modified),
                None => Op::put(keys[at], &after[at]).if_absent(),
            })
            .collect();
        if let Outcome::Committed(revision) = store.commit(&ops).expect("a commit") {
            return revision;
        }
    }
}

/// Commits that name the same entries in opposite orders block nobody, and all that is acknowledged is there.
pub fn commits_in_opposite_orders_all_take_place(subject: &impl Subject) {
    const EACH: u64 = 100;
    let clients: Vec<_> = (0..6).map(|_| subject.client()).collect();
    thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                let mut keys = ["1", "2", "3"].map(|name| client.named(name));
                keys.rotate_left(number / 2 % 3);
                if number % 2 == 1 {
                    keys.reverse();
                }
                let keys: Vec<_> = keys.iter().collect();
                for _ in 0..EACH {
                    increment(client, &keys);
                }
            });
        }
    });
    let contents = clients[0].contents("").0;
    assert_eq!(contents.len(), 3);
    for state in contents.values() {
        assert_eq!(state.value, (6 * EACH).to_le_bytes(), "acknowledged is not what is there");
        assert_eq!((state.meta.version, state.meta), (Version(6 * EACH), contents["1"].meta));
    }
}

/// Of many who create one entry, one is told that it has, and it is that one's.
pub fn of_many_creators_one_wins(subject: &impl Subject) {
    let clients: Vec<_> = (0..4).map(|_| subject.client()).collect();
    for round in 0..100 {
        let name = format!("key/{}", round % 7);
        let wins = AtomicUsize::new(0);
        let winner = AtomicUsize::new(usize::MAX);
        thread::scope(|scope| {
            for (number, client) in clients.iter().enumerate() {
                let (name, wins, winner) = (&name, &wins, &winner);
                scope.spawn(move || {
                    let key = client.named(name);
                    let outcome = client.commit(&[Op::put(&key, &[number as u8]).if_absent()]).expect("a commit");
                    if let Outcome::Committed(revision) = outcome {
                        assert_eq!(client.meta(&key).created, revision);
                        winner.store(number, SeqCst);
                        wins.fetch_add(1, SeqCst);
                    } else {
                        assert!(client.state(&key).is_some(), "a loser finds the winner's entry");
                    }
                });
            }
        });
        assert_eq!(wins.into_inner(), 1, "in round {round}");
        let key = clients[0].named(&name);
        assert_eq!(clients[0].value(&key), Some(vec![winner.into_inner() as u8]));
        clients[0].apply(&[Op::delete(&key)]);
    }
}

/// A conflict means that a condition was false, never that somebody was in the way.
pub fn a_commit_whose_conditions_hold_never_conflicts(subject: &impl Subject) {
    const EACH: usize = 300;
    let clients: Vec<_> = (0..4).map(|_| subject.client()).collect();
    for name in ["a", "b", "c", "d"] {
        clients[0].set(name, b"");
    }
    thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                let mut keys = ["a", "b", "c", "d"].map(|name| client.named(name));
                keys.rotate_left(number);
                for _ in 0..EACH {
                    client.apply(&[
                        Op::put(&keys[0], b"1").if_exists(),
                        Op::put(&keys[1], b"2"),
                        Op::put(&keys[2], b"3"),
                    ]);
                }
            });
        }
    });
    for state in clients[0].contents("").0.values() {
        assert_eq!(state.meta.version, Version(1 + 3 * EACH as u64), "each is in three of four clients' commits");
    }
}

/// Those who change an entry only as they read it cannot bring it back while another deletes it.
pub fn a_deleted_key_stays_deleted_whoever_was_about_to_write(subject: &impl Subject) {
    let clients: Vec<_> = (0..3).map(|_| subject.client()).collect();
    for round in 0..100 {
        clients[0].set("a", b"");
        thread::scope(|scope| {
            for client in &clients[1..] {
                scope.spawn(|| {
                    let key = client.named("a");
                    while let Some(state) = client.state(&key) {
                        let op = Op::put(&key, b"late").if_modified_at(state.meta.modified);
                        client.commit(&[op]).expect("a commit");
                    }
                });
            }
            clients[0].apply(&[Op::delete(&clients[0].named("a")).if_exists()]);
        });
        assert_eq!(clients[0].state(&clients[0].named("a")), None, "back again in round {round}");
    }
}

/// What one client was told has happened, every other finds, by read and range.
pub fn what_one_client_committed_the_others_find(subject: &impl Subject) {
    let clients = [subject.client(), subject.client(), subject.client()];
    for round in 0..100_usize {
        let (writer, reader) = (&clients[round % 3], &clients[(round + 1) % 3]);
        let name = format!("k{}", round % 5);
        let revision = writer.set(&name, &round.to_le_bytes());
        let (state, at) = reader.state_and_revision(&reader.named(&name));
        let state = state.expect("what was put");
        assert_eq!((state.value.as_slice(), state.meta.modified), (&round.to_le_bytes()[..], revision));
        assert!(at >= revision);
        let (contents, at) = reader.contents("");
        assert_eq!(contents[&name], state);
        assert!(at >= revision);
        if round % 4 == 3 {
            reader.apply(&[Op::delete(&reader.named(&name)).if_created_at(state.meta.created)]);
            assert_eq!(writer.state(&writer.named(&name)), None);
            assert!(!writer.contents("").0.contains_key(&name));
        }
    }
}

/// What was acknowledged before a commit began has the smaller revision; before a range, none that is larger.
pub fn revisions_respect_real_time(subject: &impl Subject) {
    let acknowledged = AtomicU64::new(0);
    let clients: Vec<_> = (0..4).map(|_| subject.client()).collect();
    thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let key = client.named(&format!("k{number}"));
                for round in 0..400 {
                    let before = Revision(acknowledged.load(SeqCst));
                    if round % 2 == 0 {
                        let now = client.contents("").1;
                        assert!(now >= before, "a range at {now} that began after {before}");
                    } else {
                        let now = client.apply(&[Op::put(&key, b"")]);
                        assert!(now > before, "a commit at {now} that began after {before}");
                        acknowledged.fetch_max(now.0, SeqCst);
                    }
                }
            });
        }
    });
}

/// Runs transfers beside a look that is repeated until they are done, and checks what was seen against the ledger.
fn beside_transfers<S: Subject>(subject: &S, look: impl Fn(&S::Store) -> Sighting) {
    let ledger = Ledger::default();
    let store = subject.client();
    bank::open(&store, &ledger);
    let writers = [subject.client(), subject.client()];
    let done = AtomicBool::new(false);
    let mut sightings = Vec::new();
    thread::scope(|scope| {
        let ledger = &ledger;
        let running: Vec<_> = writers
            .iter()
            .zip(1..)
            .map(|(writer, seed)| scope.spawn(move || bank::transfer(writer, ledger, 1_500, seed)))
            .collect();
        scope.spawn(|| {
            // Said also if a writer has failed: the look must end.
            let failed = running.into_iter().map(|writer| writer.join()).filter(Result::is_err).count();
            done.store(true, SeqCst);
            assert_eq!(failed, 0, "a writer failed");
        });
        while !done.load(SeqCst) {
            sightings.push(look(&store));
        }
    });
    sightings.push(look(&store));
    assert!(sightings.windows(2).all(|pair| pair[0].0 <= pair[1].0), "looks do not run backwards");
    ledger.check(sightings);
}

/// Money that moves from account to account is in exactly one of them whenever one looks at all.
pub fn a_range_is_one_moment_while_others_transfer(subject: &impl Subject) {
    beside_transfers(subject, |store| {
        let (contents, at) = store.contents(BANK);
        bank::check_total(&contents, at);
        (at, values(&contents))
    });
}

/// The revision that a read returns is one at which the entry was as returned.
pub fn the_revision_of_a_read_is_one_at_which_it_was_so(subject: &impl Subject) {
    const ONE: &str = "one";
    let ledger = Ledger::default();
    let (reader, writer) = (subject.client(), subject.client());
    let done = AtomicBool::new(false);
    let mut sightings = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let key = writer.named(ONE);
            for round in 0..3_000_u64 {
                let value = (round % 3 != 2).then(|| round.to_le_bytes().to_vec());
                let op = value.as_ref().map_or(Op::delete(&key).if_exists(), |value| Op::put(&key, value));
                ledger.enter(writer.apply(&[op]), vec![(ONE.to_owned(), value)]);
            }
            done.store(true, SeqCst);
        });
        let key = reader.named(ONE);
        while !done.load(SeqCst) {
            let (state, revision) = reader.state_and_revision(&key);
            sightings.push((revision, state.map(|state| (ONE.to_owned(), state.value)).into_iter().collect()));
        }
    });
    ledger.check(sightings);
}
