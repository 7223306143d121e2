//! A row of a database changed in claims: every call is one effect, and nobody overlooks what the dead left open.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::guard::{Error, MOST_EARLIER};
use slotguard::recipe::{self, Guarded};
use slotguard::{Deadline, ErrorKind, Token, Version, fnv1a32, fnv1a64};

use crate::member::names;

const LONG: Duration = Duration::from_secs(60);

fn join<S: Subject>(subject: &S) -> Arc<Session<S::Store>> {
    recipe::join(&Arc::new(subject.client()), LONG).unwrap()
}

/// A table with one row, as far from its callers as a database: reading and writing are two calls, and nothing but the
/// guard keeps them together. It keeps what it was told, in the order in which it was told.
#[derive(Default)]
struct Table {
    value: AtomicU64,
    log: Mutex<Vec<(Version, Token)>>,
    inside: AtomicBool,
}

impl Table {
    /// Adds one in a claim.
    fn add_one<B: Backend>(&self, guarded: &Guarded<B>) {
        let mut claim = guarded.claim(&Deadline::never()).unwrap();
        assert!(!self.inside.swap(true, SeqCst), "two have their claim at once");
        assert_eq!(claim.abandoned(), []);
        let before = self.value.load(SeqCst);
        thread::yield_now();
        claim.intend(&(before + 1).to_le_bytes()).unwrap();
        self.value.store(before + 1, SeqCst);
        self.log.lock().unwrap().push((Version(claim.version().0 + 1), claim.token()));
        self.inside.store(false, SeqCst);
        claim.commit(&(before + 1).to_le_bytes()).unwrap();
    }
}

/// Source 5's compare-and-swap guarded nothing: it read the word it compared with itself, so up to 29 writers were inside at
/// once, and what the memory said was not what the database said (S5-1, S5-5, S5-9).
fn b23_each_of_many_calls_is_one_effect_and_the_order_of_the_table_is_the_order_of_commits(subject: &impl Subject) {
    let table = Table::default();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
                (0..25).for_each(|_| table.add_one(&guarded));
            });
        }
    });
    let state = Guarded::new(&join(subject), "rows/7").unwrap().read().unwrap();
    assert_eq!(table.value.load(SeqCst), 400, "an effect for each call");
    assert_eq!((state.version, state.intent), (400, None));
    assert_eq!(state.value, 400u64.to_le_bytes());
    let log = table.log.into_inner().unwrap();
    assert!(log.iter().map(|(version, _)| version.0).eq(1..=400), "the table was written in the order of commits");
    assert!(log.windows(2).all(|pair| pair[0].1 < pair[1].1), "tokens grow from claim to claim");
    assert_eq!(state.token, log[399].1);
}

/// Source 5 had one word for all users (S5-2), in memory of one process (S5-6).
fn things_of_other_names_are_not_in_the_way(subject: &impl Subject) {
    let (one, other) = (join(subject), join(subject));
    let first = Guarded::new(&one, "rows/1").unwrap();
    let claim = first.claim(&Deadline::now()).unwrap();
    let free = Guarded::new(&other, "rows/2").unwrap().claim(&Deadline::now()).unwrap();
    let taken = Guarded::new(&other, "rows/1").unwrap().claim(&Deadline::now()).unwrap_err();
    let Error::InUse(in_use) = &taken else { panic!("{taken}") };
    assert_eq!(in_use.holders[0].token, claim.token());
    assert!(taken.to_string().contains("rows/1"), "{taken}");
    drop(free);
}

/// Source 5 took equal content for "nothing has changed": the token was a hash of the value (S5-3).
fn a_commit_of_what_was_there_before_counts(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    for count in 1..=3 {
        let claim = guarded.claim(&Deadline::now()).unwrap();
        assert_eq!(claim.version(), Version(count - 1));
        assert_eq!(claim.commit(b"same").unwrap(), Version(count));
    }
}

/// Source 5 took a hash cut to 32 bits for the state itself (S5-3), and called it secure though it has no key (S5-10): these
/// two words have the same.
fn s5_10_what_has_the_same_hash_is_not_taken_for_the_same(subject: &impl Subject) {
    let (one, other) = ("declinate", "macallums");
    assert_eq!(fnv1a32(one.as_bytes()), fnv1a32(other.as_bytes()));
    let session = join(subject);
    let things = [one, other].map(|name| Guarded::new(&session, name).unwrap());
    let claims = things.each_ref().map(|thing| thing.claim(&Deadline::now()).unwrap());
    claims.into_iter().for_each(|claim| assert_eq!(claim.commit(one.as_bytes()).unwrap(), Version(1)));
    let mut claim = things[1].claim(&Deadline::now()).unwrap();
    claim.intend(other.as_bytes()).unwrap();
    assert_eq!(claim.commit(other.as_bytes()).unwrap(), Version(2), "a change is a change");
    let states = things.each_ref().map(|thing| thing.read().unwrap());
    assert_eq!(states.map(|state| (state.version, state.value)), [(1, one.into()), (2, other.into())]);
}

/// Where the write outside failed, source 5's memory said that it was done (S5-7).
fn what_was_not_written_is_taken_back(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    guarded.claim(&Deadline::now()).unwrap().commit(b"one").unwrap();
    let before = guarded.read().unwrap();
    let mut claim = guarded.claim(&Deadline::now()).unwrap();
    let intent = claim.intend(b"two").unwrap();
    assert_eq!((intent.before, intent.after), (fnv1a64(b"one"), fnv1a64(b"two")));
    assert_eq!(guarded.read().unwrap().intent, Some(intent));
    claim.release().unwrap();
    assert_eq!(guarded.read().unwrap(), before);
    assert_eq!(guarded.claim(&Deadline::now()).unwrap().abandoned(), []);
}

/// A write of a killed process arrives after its successor has looked for it, and the successor's own fails for it. Were the
/// first intent gone with the second, nobody would know that it happened.
fn what_was_announced_before_outlives_an_intent_that_is_taken_back(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    let mut killed = guarded.claim(&Deadline::now()).unwrap();
    let intent = killed.intend(b"one").unwrap();
    drop(killed);
    let mut next = guarded.claim(&Deadline::now()).unwrap();
    next.intend(b"two").unwrap();
    next.release().unwrap();
    let last = guarded.claim(&Deadline::now()).unwrap();
    assert_eq!(last.abandoned(), [intent]);
    last.commit(b"one").unwrap();
    assert_eq!(guarded.read().unwrap().intent, None);
}

/// A dies with an intent, and so does B, which has announced its own and not settled the first: A's statement, which was
/// still on its way when B looked, would be a change that nobody is ever told of.
fn of_several_who_die_one_after_the_other_no_intent_is_lost(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    guarded.claim(&Deadline::now()).unwrap().commit(b"old").unwrap();
    let mut intents = Vec::new();
    for new in [b"one", b"two", b"six"] {
        let mut claim = guarded.claim(&Deadline::now()).unwrap();
        // Twice in one claim is one intent.
        claim.intend(b"first thought").unwrap();
        intents.insert(0, claim.intend(new).unwrap());
        assert_eq!(claim.abandoned(), intents[1..]);
    }
    let other = Guarded::new(&join(subject), "rows/7").unwrap();
    let state = other.read().unwrap();
    assert_eq!((state.intent, state.earlier), (Some(intents[0]), vec![intents[2], intents[1]]));
    // Who takes its own back leaves all of them.
    let mut claim = other.claim(&Deadline::now()).unwrap();
    assert_eq!(claim.abandoned(), intents);
    claim.intend(b"new").unwrap();
    claim.release().unwrap();
    let claim = guarded.claim(&Deadline::now()).unwrap();
    assert_eq!(claim.abandoned(), intents);
    assert_eq!(claim.commit(b"one").unwrap(), Version(2));
    assert_eq!(guarded.claim(&Deadline::now()).unwrap().abandoned(), []);
    assert_eq!(names(&subject.client(), "rows/7"), ["rows/7"], "nothing is left of them");
}

fn more_intents_than_can_be_kept_are_refused_until_they_are_settled(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    for _ in 0..=MOST_EARLIER {
        guarded.claim(&Deadline::now()).unwrap().intend(b"new").unwrap();
    }
    let before = guarded.read().unwrap();
    let mut claim = guarded.claim(&Deadline::now()).unwrap();
    let tokens: Vec<_> = claim.abandoned().iter().map(|intent| intent.token).collect();
    let error = claim.intend(b"new").unwrap_err();
    assert!(matches!(&error, Error::TooManyIntents { tokens: named, .. } if *named == tokens), "{error}");
    assert!(error.to_string().starts_with("\"rows/7\" has 17 abandoned intents"), "{error}");
    assert_eq!(guarded.read().unwrap(), before);
    claim.commit(b"new").unwrap();
    guarded.claim(&Deadline::now()).unwrap().intend(b"newer").unwrap();
}

/// Refused after the row has been written, it could never be told, by no claim.
fn what_is_too_large_is_refused_before_it_is_written<S: Subject>(subject: &S) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    let before = guarded.read().unwrap();
    let mut claim = guarded.claim(&Deadline::now()).unwrap();
    let error = claim.intend(&vec![0; S::Store::LIMITS.value]).expect_err("the header does not fit as well");
    assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
    assert_eq!(guarded.read().unwrap(), before);
    claim.intend(b"small").unwrap();
    assert_eq!(claim.commit(b"small").unwrap(), Version(1));
}

fn an_intent_that_was_neither_committed_nor_withdrawn_is_found_until_it_is_settled(subject: &impl Subject) {
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    let mut claim = guarded.claim(&Deadline::now()).unwrap();
    let intent = claim.intend(b"new").unwrap();
    // As when a call in between fails, or panics: nobody knows how far it came.
    drop(claim);
    for _ in 0..2 {
        let found = guarded.claim(&Deadline::now()).unwrap();
        assert_eq!(found.abandoned(), [intent]);
        // It has no intent of its own to take back.
        found.release().unwrap();
    }
    let found = guarded.claim(&Deadline::now()).unwrap();
    found.commit(b"new").unwrap();
    assert_eq!(guarded.claim(&Deadline::now()).unwrap().abandoned(), []);
}

/// The lease has ended while its owner was stopped: what it does then is refused, and the other's change stands.
fn a_late_turn_changes_nothing(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let short = Duration::from_millis(200);
    let session = Session::manual(&store, "sessions/late", b"", short).unwrap().mine().unwrap();
    let late = Guarded::new(&Arc::new(session), "rows/7").unwrap();
    let mut claim = late.claim(&Deadline::now()).unwrap();
    let intent = claim.intend(b"late").unwrap();
    subject.pass(short * 2);
    assert!(!claim.is_alive());
    let guarded = Guarded::new(&join(subject), "rows/7").unwrap();
    let next = guarded.claim(&Deadline::never()).unwrap();
    assert!(next.token() > intent.token);
    assert_eq!(next.abandoned(), [intent]);
    next.commit(b"next").unwrap();
    let state = guarded.read().unwrap();
    assert!(matches!(claim.check(), Err(Error::Lost(_))));
    assert!(matches!(claim.intend(b"later"), Err(Error::Lost(_))));
    assert!(matches!(claim.commit(b"latest"), Err(Error::Lost(_))));
    assert_eq!(guarded.read().unwrap(), state);
}

fn an_entry_of_something_else_is_refused_and_left_alone(subject: &impl Subject) {
    let session = join(subject);
    let key = session.store().key("rows/7").unwrap();
    session.store().commit(&[Op::put(&key, b"not ours")]).unwrap();
    let guarded = Guarded::new(&session, "rows/7").unwrap();
    let error = guarded.claim(&Deadline::now()).unwrap_err();
    assert!(matches!(&error, Error::NotARecord { length: 8, .. }), "{error}");
    assert!(error.to_string().contains("rows/7") && error.to_string().contains("use a name"), "{error}");
    let mut value = Vec::new();
    session.store().read(&key, &mut value).unwrap();
    assert_eq!(value, b"not ours");
    assert!(guarded.lock().status().unwrap().holders.is_empty(), "who was refused does not keep the claim");
    assert!(Guarded::new(&session, "").is_err() && Guarded::new(&session, &"n".repeat(255)).is_err());
}

crate::on_every_backend! {
    b23_each_of_many_calls_is_one_effect_and_the_order_of_the_table_is_the_order_of_commits,
    things_of_other_names_are_not_in_the_way,
    a_commit_of_what_was_there_before_counts,
    s5_10_what_has_the_same_hash_is_not_taken_for_the_same,
    what_was_not_written_is_taken_back,
    what_was_announced_before_outlives_an_intent_that_is_taken_back,
    of_several_who_die_one_after_the_other_no_intent_is_lost,
    more_intents_than_can_be_kept_are_refused_until_they_are_settled,
    what_is_too_large_is_refused_before_it_is_written,
    an_intent_that_was_neither_committed_nor_withdrawn_is_found_until_it_is_settled,
    a_late_turn_changes_nothing,
    an_entry_of_something_else_is_refused_and_left_alone,
}
