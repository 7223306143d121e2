//! Claims: one holder, tokens that grow, and no write by a holder that lost its claim (P2, P7).

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use slotguard::{Deadline, Error, LeaseEnd, Outcome, Segment, Version, fnv1a64};

const LONG: Duration = Duration::from_secs(3600);

fn segment() -> Segment {
    Segment::builder().records(4).lanes(64).payload(64).anonymous().unwrap()
}

/// A claim of one nanosecond has ended by the time anybody can look.
const ENDED: Duration = Duration::from_nanos(1);

#[test]
fn a_claim_keeps_everybody_else_out_and_names_its_holder() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    record.update(|_, draft| draft.write(b"before")).unwrap();
    let claim = record.claim(Deadline::now(), LONG).unwrap();

    let Err(Error::Held(holder)) = record.update(|_, draft| draft.write(b"x")) else { panic!() };
    assert_eq!((holder.record, holder.pid, holder.token), (0, std::process::id(), claim.token()));
    assert!(holder.remaining > LONG / 2 && holder.remaining <= LONG);
    assert_eq!(record.holder().unwrap().unwrap().token, claim.token());
    assert!(matches!(record.compare_and_swap(Version(1), b"x"), Err(Error::Held(_))));
    assert_eq!(record.compare_and_swap(Version(9), b"x").unwrap(), Outcome::Conflict, "the version decides first");
    let Err(Error::TimedOut { holder, .. }) = record.claim(Deadline::now(), LONG) else { panic!() };
    assert_eq!(holder.token, claim.token());

    let mut value = Vec::new();
    assert_eq!(record.read(&mut value).unwrap().version, Version(1), "readers are not kept out");
    let stamp = claim.commit(b"after").unwrap();
    assert_eq!(stamp.version, Version(2));
    assert_eq!(record.read(&mut value).unwrap(), stamp);
    assert_eq!((value.as_slice(), record.holder().unwrap()), (&b"after"[..], None));
}

/// P1: claims change neither `version` nor `modified`.
#[test]
fn claiming_renewing_and_releasing_leave_value_version_and_revision_as_they_were() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    let (_, before) = record.update(|_, draft| draft.write(b"value")).unwrap();
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    claim.renew(LONG).unwrap();
    claim.intend(b"other").unwrap();
    claim.release().unwrap();
    drop(record.claim(Deadline::now(), LONG).unwrap());
    let mut value = Vec::new();
    assert_eq!(record.read(&mut value).unwrap(), before);
    assert_eq!((value.as_slice(), record.verify().unwrap()), (&b"value"[..], before));
    // A record that was never written stays at version 0 under claims, and its first change is version 1.
    let fresh = segment.record(1).unwrap();
    fresh.claim(Deadline::now(), LONG).unwrap().release().unwrap();
    let stamp = fresh.read(&mut value).unwrap();
    assert_eq!((stamp.version.0, stamp.revision.0, value.len(), stamp.fingerprint), (0, 0, 0, fnv1a64(b"")));
    assert_eq!(fresh.claim(Deadline::now(), LONG).unwrap().commit(b"1").unwrap().version, Version(1));
}

#[test]
fn tokens_grow_from_claim_to_claim() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    let tokens: Vec<_> = (0..100).map(|_| record.claim(Deadline::now(), LONG).unwrap().token()).collect();
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn renewing_keeps_the_token() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    let token = claim.token();
    claim.renew(2 * LONG).unwrap();
    let holder = record.holder().unwrap().unwrap();
    assert_eq!((holder.token, claim.token()), (token, token));
    assert!(holder.remaining > LONG);
    claim.commit(b"x").unwrap();
}

/// P7: the lease decides, whether or not somebody has taken the record since.
#[test]
fn a_late_holder_cannot_write() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    let lost = |result: Result<_, Error>| match result {
        Err(Error::LeaseLost { why, .. }) => why,
        other => panic!("{other:?}"),
    };

    let claim = record.claim(Deadline::now(), ENDED).unwrap();
    assert!(matches!(lost(claim.commit(b"late").map(drop)), LeaseEnd::Expired(_)));

    let mut claim = record.claim(Deadline::now(), ENDED).unwrap();
    let next = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(lost(claim.renew(LONG)), LeaseEnd::TakenOver(next.token()));
    assert_eq!(lost(claim.intend(b"late").map(drop)), LeaseEnd::TakenOver(next.token()));
    assert_eq!(lost(claim.read(&mut Vec::new()).map(drop)), LeaseEnd::TakenOver(next.token()));
    assert_eq!(lost(claim.release()), LeaseEnd::TakenOver(next.token()));
    next.commit(b"rightful").unwrap();

    let claim = record.claim(Deadline::now(), ENDED).unwrap();
    record.update(|_, draft| draft.write(b"since")).unwrap();
    assert_eq!(lost(claim.commit(b"late").map(drop)), LeaseEnd::Replaced);

    let mut value = Vec::new();
    record.read(&mut value).unwrap();
    assert_eq!(value, b"since");
    assert!(segment.stats().fenced >= 6);
}

/// The report of an intent outlives everything but a holder that deals with it.
#[test]
fn an_abandoned_intent_reaches_the_next_holder_and_stays_until_it_is_dealt_with() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    record.update(|_, draft| draft.write(b"old")).unwrap();
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    let intent = claim.intend(b"new").unwrap();
    assert_eq!(intent.token, claim.token());
    assert_eq!((intent.before, intent.after), (fnv1a64(b"old"), fnv1a64(b"new")));
    drop(claim);

    let claim = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(claim.abandoned(), Some(&intent), "dropped without a commit");
    claim.release().unwrap();
    let claim = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(claim.abandoned(), Some(&intent), "released without dealing with it");
    drop(claim);
    record.update(|_, draft| draft.edit().push(b'!')).unwrap();
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(claim.abandoned().map(|left| left.token), Some(intent.token), "an update passes it on");
    claim.dismiss().unwrap();
    assert_eq!(claim.abandoned(), None);
    drop(claim);
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(claim.abandoned(), None, "dismissed");
    claim.intend(b"x").unwrap();
    claim.release().unwrap();
    let mut claim = record.claim(Deadline::now(), LONG).unwrap();
    assert_eq!(claim.abandoned(), None, "released: the holder says that nothing was written");
    claim.intend(b"done").unwrap();
    claim.commit(b"done").unwrap();
    assert_eq!(record.claim(Deadline::now(), LONG).unwrap().abandoned(), None, "committed");
}

/// Mutual exclusion the hard way: a plain counter that only the claim protects.
#[test]
fn of_many_threads_one_holds_the_claim() {
    let segment = segment();
    let (inside, entered) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let claim = segment.record(0).unwrap().claim(Deadline::never(), LONG).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders at once");
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    entered.fetch_add(1, Ordering::SeqCst);
                    claim.release().unwrap();
                }
            });
        }
    });
    assert_eq!(entered.load(Ordering::SeqCst), 1600);
}

/// One sleeper is woken a turn. One that is woken, finds that a newcomer was faster, and gives up, hands its turn on: the
/// other sleeper would lie there for a slice, which shows as a hang under the planted bug "forget the next claimer".
#[test]
fn every_claimer_gets_its_turn_though_others_give_up() {
    const ROUNDS: u64 = 2000;
    let segment = segment();
    let round = Barrier::new(3);
    let spin = |turns: u64| (0..turns).for_each(|_| std::hint::spin_loop());
    let claim = |wait: Deadline| segment.record(0).unwrap().claim(wait, LONG);
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..ROUNDS {
                round.wait();
                let impatient = Deadline::after(Duration::from_micros(20 + i * 7 % 300));
                match claim(impatient) {
                    Ok(claim) => claim.release().unwrap(),
                    Err(error) => assert_eq!(error.kind(), slotguard::ErrorKind::TimedOut),
                }
                round.wait();
            }
        });
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                round.wait();
                claim(Deadline::never()).unwrap().release().unwrap();
                round.wait();
            }
        });
        for i in 0..ROUNDS {
            let held = claim(Deadline::now()).unwrap();
            round.wait();
            spin(2000 + i * 31 % 6000);
            held.release().unwrap();
            if let Ok(faster) = claim(Deadline::now()) {
                spin(1000);
                faster.release().unwrap();
            }
            round.wait();
        }
    });
}

/// It may have been woken in place of another, in the very moment that its deadline passed.
#[test]
fn a_claimer_that_has_slept_and_gives_up_wakes_another() {
    let segment = segment();
    let record = segment.record(0).unwrap();
    let _held = record.claim(Deadline::now(), LONG).unwrap();
    while segment.stats().waits == 0 {
        let refused = record.claim(Deadline::after(Duration::from_millis(10)), LONG).unwrap_err();
        assert_eq!(refused.kind(), slotguard::ErrorKind::TimedOut);
    }
    assert!(segment.stats().wakes > 0, "nobody was woken in its place");
}

#[test]
fn a_claimer_that_waits_is_woken_by_the_release() {
    let segment = segment();
    let claim = segment.record(0).unwrap().claim(Deadline::now(), LONG).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| segment.record(0).unwrap().claim(Deadline::never(), LONG).map(|next| next.token()));
        while segment.stats().waits == 0
            && !waiter.is_finished()
            && segment.record(0).unwrap().holder().unwrap().is_none()
        {
            thread::yield_now();
        }
        let first = claim.token();
        claim.release().unwrap();
        assert!(waiter.join().unwrap().unwrap() > first);
    });
}

#[test]
fn a_claim_whose_lease_ends_frees_the_record_for_one_that_waits() {
    let segment = segment();
    let first = segment.record(0).unwrap().claim(Deadline::now(), Duration::from_millis(20)).unwrap();
    let second = segment.record(0).unwrap().claim(Deadline::never(), LONG).unwrap();
    assert!(second.token() > first.token());
    assert!(matches!(first.commit(b"late"), Err(Error::LeaseLost { .. })));
    second.commit(b"on time").unwrap();
}

#[test]
fn a_claim_can_move_to_another_thread() {
    let segment = segment();
    let claim = segment.record(0).unwrap().claim(Deadline::now(), LONG).unwrap();
    thread::scope(|scope| scope.spawn(move || claim.commit(b"there").unwrap()).join().unwrap());
    let mut value = Vec::new();
    segment.record(0).unwrap().read(&mut value).unwrap();
    assert_eq!(value, b"there");
}
