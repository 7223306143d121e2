//! Who takes part in the tests of what is held: sessions that only the test ends, and a look at what they left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Meta, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::{Lock, Owner, Result};
use slotguard::{Deadline, Lease, Outcome, Revision};

/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(3600);
/// Long enough to ask for something, short enough to be waited for.
pub const SHORT: Duration = Duration::from_millis(100);

/// A member that stays until the test drops it.
pub fn member<B: Backend>(store: B) -> Arc<Session<B>> {
    member_for(&Arc::new(store), LONG)
}

/// A member whose lease is renewed by the test only.
pub fn member_for<B: Backend>(store: &Arc<B>, time: Duration) -> Arc<Session<B>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sessions/{}", NEXT.fetch_add(1, Relaxed));
    let opened = Session::manual(store, &name, &Owner::me().to_bytes(), time).expect("a session");
    Arc::new(opened.mine().expect("a name that nobody else has"))
}

/// What a member with a short lease could get hold of before its lease was over, and how long that lease is.
///
/// On a machine that stood still meanwhile it is tried again with a longer one.
pub fn held_shortly<S: Subject, T, E>(
    subject: &S,
    mut get: impl FnMut(&Arc<Session<S::Store>>) -> Result<T, E>,
) -> (T, Arc<Session<S::Store>>, Duration) {
    let mut time = SHORT;
    loop {
        let session = member_for(&Arc::new(subject.client()), time);
        match get(&session) {
            Ok(held) if session.is_alive() => return (held, session, time),
            _ => time *= 2,
        }
    }
}

/// The names that begin so.
pub fn names<B: Backend>(store: &B, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    store.range(prefix, &mut |key, _, _| names.push(key.as_ref().to_owned())).expect("a range");
    names
}

pub fn read<B: Backend>(store: &B, name: &str) -> Option<(Vec<u8>, Meta)> {
    let mut value = Vec::new();
    let (meta, _) = store.read(&store.key(name).expect("a name"), &mut value).expect("a read");
    meta.map(|meta| (value, meta))
}

#[track_caller]
pub fn committed(outcome: slotguard::Result<Outcome>) -> Revision {
    match outcome.expect("a commit") {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a condition was false"),
    }
}

/// Puts an entry under a lease of its own, as another program would that keeps to the layout.
pub fn put_as_another<B: Backend>(store: &B, name: &str, value: &[u8]) -> (Lease, Revision) {
    let lease = store.grant(LONG).expect("a lease");
    let key = store.key(name).expect("a name");
    (lease, committed(store.commit(&[Op::put_leased(&key, value, lease).if_absent()])))
}

/// Waits until so many tickets are there.
pub fn until_there<S: Subject>(subject: &S, prefix: &str, count: usize) {
    while names(&subject.client(), prefix).len() != count {
        thread::yield_now();
    }
}

/// Waits until so many stand behind the holders.
pub fn until_waiting<B: Backend>(lock: &Lock<B>, count: usize) {
    while lock.status().expect("a look").waiting.len() != count {
        thread::yield_now();
    }
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(5))
}
