//! Rate limiters: never more than the burst at once, never more than the rate in the long run, never stuck.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Model, Op};
use slotguard::conformance::Subject;
use slotguard::recipe::rate_limiter::{Clock, Decision};
use slotguard::recipe::{BadCount, RateLimiter, rate_limiter::Error};
use slotguard::{Deadline, ErrorKind};

use crate::member::read;
use crate::on_every_backend;

on_every_backend! {
    no_more_than_the_burst_is_given_out_at_once,
    it_fills_at_its_rate_and_to_its_brim,
    a_clock_that_goes_back_gives_nothing_away_and_keeps_nobody,
    a_clock_that_jumps_ahead_gives_one_burst,
    while_two_bursts_are_in_use_no_more_than_the_larger_is_given_out_at_once,
    who_was_slow_to_look_at_the_clock_takes_nothing_twice,
    who_waits_gets_it_in_time_or_is_told_at_once,
    a_reset_wakes_who_waits,
    the_time_of_another_clock_is_refused,
    what_is_no_rate_is_refused,
}

const SECOND: Duration = Duration::from_secs(1);

/// A clock that stands still until it is moved; the same for all who share it.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::Own(Arc::new(move || Duration::from_nanos(hands.0.load(SeqCst))))
    }

    fn set(&self, time: Duration) {
        self.0.store(time.as_nanos() as u64, SeqCst);
    }
}

/// Ten a second, four at once.
fn limiter<S: Subject>(subject: &S, clock: Clock) -> RateLimiter<S::Store> {
    RateLimiter::new(&Arc::new(subject.client()), "mails", 10, SECOND, 4).expect("a rate").with_clock(clock)
}

/// How many can be had one by one.
fn all_of<B: Backend>(limiter: &RateLimiter<B>) -> u32 {
    (0..).take_while(|_| matches!(limiter.try_take(1), Ok(Decision::Allowed { .. }))).count() as u32
}

fn no_more_than_the_burst_is_given_out_at_once(subject: &impl Subject) {
    const BURST: u32 = 2000;
    let (hands, start) = (Hands::default(), Barrier::new(4));
    for round in 1..=3 {
        hands.set(round * 1000 * SECOND);
        let taken: u32 = thread::scope(|scope| {
            let all = || {
                let mails = RateLimiter::new(&Arc::new(subject.client()), "mails", 10, SECOND, BURST).unwrap();
                start.wait();
                all_of(&mails.with_clock(hands.clock()))
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(all)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, BURST, "in round {round}");
    }
}

fn it_fills_at_its_rate_and_to_its_brim(subject: &impl Subject) {
    let hands = Hands::default();
    let mails = limiter(subject, hands.clock());
    hands.set(SECOND);
    assert_eq!(mails.try_take(3).unwrap(), Decision::Allowed { left: 1 });
    assert_eq!(mails.try_take(2).unwrap(), Decision::Denied { retry_after: SECOND / 10 });
    assert_eq!(mails.try_take(1).unwrap(), Decision::Allowed { left: 0 });
    assert_eq!(mails.try_take(4).unwrap(), Decision::Denied { retry_after: SECOND * 4 / 10 });
    hands.set(SECOND + SECOND / 10 - Duration::from_nanos(1));
    assert_eq!(mails.try_take(1).unwrap(), Decision::Denied { retry_after: Duration::from_nanos(1) });
    hands.set(SECOND + SECOND / 10);
    assert_eq!(mails.try_take(1).unwrap(), Decision::Allowed { left: 0 });
    // However long nobody takes anything, it does not fill past its brim.
    hands.set(1000 * SECOND);
    assert_eq!(all_of(&mails), 4);
    // In ten seconds, a hundred and no more.
    let taken: u32 = (1..=1000_u32)
        .map(|step| {
            hands.set(1000 * SECOND + step * SECOND / 100);
            all_of(&mails)
        })
        .sum();
    assert_eq!(taken, 100);
}

/// Set back by an hour, the bucket looks as if it were full in an hour only.
fn a_clock_that_goes_back_gives_nothing_away_and_keeps_nobody(subject: &impl Subject) {
    let hands = Hands::default();
    let mails = limiter(subject, hands.clock());
    hands.set(3600 * SECOND);
    assert_eq!(all_of(&mails), 4);
    hands.set(SECOND);
    assert_eq!(mails.try_take(1).unwrap(), Decision::Denied { retry_after: SECOND / 10 });
    assert_eq!(all_of(&mails), 0, "nothing is given away");
    hands.set(SECOND + SECOND / 10);
    assert_eq!(all_of(&mails), 1, "and nobody waits for an hour");
    hands.set(2 * SECOND);
    assert_eq!(all_of(&mails), 4);
}

fn a_clock_that_jumps_ahead_gives_one_burst(subject: &impl Subject) {
    let hands = Hands::default();
    let mails = limiter(subject, hands.clock());
    assert_eq!(all_of(&mails), 4);
    hands.set(Duration::from_nanos(u64::MAX / 2));
    assert_eq!(all_of(&mails), 4);
    hands.set(Duration::from_nanos(u64::MAX));
    assert!(all_of(&mails) <= 4, "at the clock's end, too");
    hands.set(Duration::ZERO);
    assert_eq!(all_of(&mails), 0);
    hands.set(SECOND);
    assert_eq!(all_of(&mails), 4);
}

/// What a larger bucket owes looked to a smaller one like a clock that went back, and was written off.
fn while_two_bursts_are_in_use_no_more_than_the_larger_is_given_out_at_once(subject: &impl Subject) {
    let hands = Hands::default();
    let limiter = |burst| {
        let mails = RateLimiter::new(&Arc::new(subject.client()), "mails", 10, SECOND, burst).unwrap();
        mails.with_clock(hands.clock())
    };
    let (old, new) = (limiter(40), limiter(4));
    hands.set(3600 * SECOND);
    let taken: u32 = (0..5).map(|_| all_of(&old) + all_of(&new)).sum();
    assert_eq!(taken, 40);
    // The smaller bucket has one again when the larger has 37.
    assert_eq!(new.try_take(1).unwrap(), Decision::Denied { retry_after: SECOND * 37 / 10 });
    hands.set(3600 * SECOND + SECOND * 37 / 10);
    assert_eq!(all_of(&new), 1);
    assert_eq!(all_of(&old), 36);
    // A clock that goes back by more than that is noticed all the same.
    hands.set(SECOND);
    assert_eq!(new.try_take(1).unwrap(), Decision::Denied { retry_after: SECOND / 10 });
}

/// Between a look at the clock and what follows, others may take everything, at a later time.
fn who_was_slow_to_look_at_the_clock_takes_nothing_twice(subject: &impl Subject) {
    let hands = Hands::default();
    let other = Mutex::new(Some(limiter(subject, hands.clock())));
    let meanwhile = {
        let hands = hands.clone();
        move || {
            let other = other.lock().unwrap().take();
            let now = hands.0.load(SeqCst);
            if let Some(other) = other {
                hands.set(10 * SECOND);
                assert_eq!(all_of(&other), 4);
            }
            Duration::from_nanos(now)
        }
    };
    let slow = limiter(subject, Clock::Own(Arc::new(meanwhile)));
    let first = all_of(&slow);
    assert_eq!(first + all_of(&limiter(subject, hands.clock())), 0, "the burst of that moment has been given out");
}

fn who_waits_gets_it_in_time_or_is_told_at_once(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let fast = RateLimiter::new(&store, "fast", 1000, SECOND, 2).unwrap();
    for _ in 0..20 {
        assert!(matches!(fast.take(2, &Deadline::never()).unwrap(), Decision::Allowed { .. }));
    }
    let slow = RateLimiter::new(&store, "slow", 1, 3600 * SECOND, 1).unwrap();
    assert_eq!(slow.take(1, &Deadline::now()).unwrap(), Decision::Allowed { left: 0 });
    // Nobody waits for what cannot come: this test would hang.
    match slow.take(1, &Deadline::after(1800 * SECOND)).unwrap() {
        Decision::Denied { retry_after } => assert!(retry_after > 1800 * SECOND && retry_after <= 3600 * SECOND),
        Decision::Allowed { .. } => panic!("there was one"),
    }
}

fn a_reset_wakes_who_waits(subject: &impl Subject) {
    let mails = || RateLimiter::new(&Arc::new(subject.client()), "mails", 1, 3600 * SECOND, 1).unwrap();
    mails().try_take(1).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| mails().take(1, &Deadline::never()));
        mails().reset().unwrap();
        assert!(matches!(waiter.join().unwrap().unwrap(), Decision::Allowed { left: 0 }));
    });
}

fn the_time_of_another_clock_is_refused(subject: &impl Subject) {
    let boot = limiter(subject, Clock::Boot);
    boot.try_take(1).unwrap();
    let (value, _) = read(&subject.client(), "mails/bucket").unwrap();
    assert!(value.len() <= 57, "{} bytes", value.len());
    let wall = limiter(subject, Clock::Wall);
    let error = wall.try_take(1).expect_err("two clocks");
    assert!(matches!(&error, Error::OtherClock { name } if name == "mails"), "{error}");
    wall.reset().unwrap();
    wall.try_take(4).unwrap();
    assert!(boot.try_take(1).is_err());
}

fn what_is_no_rate_is_refused<S: Subject>(subject: &S) {
    let store = Arc::new(subject.client());
    let asked = |tokens, per, burst| match RateLimiter::new(&store, "mails", tokens, per, burst).expect_err("no rate") {
        Error::BadCount(BadCount { what: "rate limiter", asked, .. }) => asked,
        other => panic!("{other}"),
    };
    assert_eq!(asked(0, SECOND, 1), 0);
    assert_eq!(asked(1, SECOND, 0), 0);
    assert_eq!(asked(1, Duration::ZERO, 1), 1);
    assert_eq!(asked(2_000_000_000, SECOND, 1), 2_000_000_000);
    assert_eq!(asked(1, Duration::MAX, 1), 1);
    assert_eq!(asked(1, 24 * 3600 * SECOND, u32::MAX), u64::from(u32::MAX));
    for name in ["", "a\0b", &"x".repeat(S::Store::LIMITS.name - 6)] {
        let error = RateLimiter::new(&store, name, 1, SECOND, 1).expect_err("no name");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    RateLimiter::new(&store, &"x".repeat(S::Store::LIMITS.name - 7), 1, SECOND, 1).unwrap().try_take(1).unwrap();
    let mails = limiter(subject, Clock::Boot);
    for tokens in [0, 5, u32::MAX] {
        let error = mails.take(tokens, &Deadline::never()).expect_err("never to be had");
        assert!(matches!(error, Error::BadCount(BadCount { asked, .. }) if asked == u64::from(tokens)), "{error}");
    }
    assert!(read(&*store, "mails/bucket").is_none(), "nothing has been taken");
    for damaged in [&b"full"[..], b"7 boot", b"7 x boot", b"7 18446744073709551615 boot"] {
        store.commit(&[Op::put(&store.key("mails/bucket").unwrap(), damaged)]).unwrap();
        assert!(matches!(mails.try_take(1), Err(Error::Damaged { .. })));
    }
}

/// By the real clocks, whatever they say: the burst is there, and what follows comes at the rate.
#[test]
fn real_clocks_go_forward() {
    for clock in [Clock::Boot, Clock::Wall] {
        let mails = RateLimiter::new(&Arc::new(Model::new()), "mails", 1000, SECOND, 3).unwrap().with_clock(clock);
        for _ in 0..10 {
            assert!(matches!(mails.take(3, &Deadline::never()).unwrap(), Decision::Allowed { .. }));
        }
    }
}
