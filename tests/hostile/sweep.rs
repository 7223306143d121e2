//! Every region of the segment damaged in every way, then every operation tried: one after another, and while the damage
//! is being done.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::scope;
use std::time::Duration;

use slotguard::{ErrorKind, Segment};

use crate::battery::{Battery, LARGEST, Tally, fill, small};
use crate::damage::Damage;
use crate::measure::Watchdog;
use crate::memory::Bytes;
use harness::isolated::isolated;
use harness::random::Random;

/// Far longer than any operation takes on the slowest machine; none waits for it.
const LONGEST: Duration = Duration::from_secs(30);
/// Rounds for each region and way, unless another number is asked for.
const ROUNDS: u64 = 4;
const MORE: &str = "SLOTGUARD_HOSTILE_ROUNDS";
/// Chooses one round instead of all: what a failure prints first.
const SEED: &str = "SLOTGUARD_HOSTILE_SEED";

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// The seeds of a run.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let chosen = asked(SEED);
    let all = 0..chosen.map_or(count, |_| 1);
    all.map(move |seed| chosen.unwrap_or(seed))
}

fn damaged_segment(folder: &Path, seed: u64, watchdog: &Watchdog) -> Tally {
    let mut random = Random::from_seed(seed);
    let path = folder.join("segment");
    let segment = small().create(&path).unwrap();
    let mut claim = fill(&segment);
    let bytes = Bytes::of(&path);
    let regions = bytes.regions();
    let (name, region) = &regions[seed as usize % regions.len()];
    let way = Damage::ALL[seed as usize / regions.len() % Damage::ALL.len()];
    let strikes = if way == Damage::Page { 1 } else { 1 << random.below(8) };
    let round = format!("{strikes} × {way:?} in the {name} ({SEED}={seed})");
    // Printed first, so that a crash says what it was.
    println!("{round}");
    let mut battery = Battery { watchdog, tally: Tally::default(), round, counting: true };
    for _ in 0..strikes {
        way.strike(&bytes, region, &mut random);
    }
    battery.segment(&segment);
    battery.claim(&mut claim);
    battery.newcomer(&path);
    battery.run("commit of an old claim", || claim.commit(b"late"));
    battery.run("reopen", || segment.reopen());
    battery.run("remove", || Segment::remove(&path));
    battery.drop(segment);
    let _ = std::fs::remove_file(&path);
    battery.tally
}

#[test]
fn whatever_bytes_a_peer_writes_operations_fail_or_read_wrong_bytes_and_no_worse() {
    isolated(|folder| {
        let watchdog = Watchdog::new(LONGEST);
        let mut tally = Tally::default();
        let regions = {
            let segment = small().create(folder.join("sizes")).unwrap();
            let regions = Bytes::of(segment.path().unwrap()).regions().len() as u64;
            Segment::remove(folder.join("sizes")).unwrap();
            regions
        };
        for seed in seeds(asked(MORE).unwrap_or(ROUNDS) * regions * Damage::ALL.len() as u64) {
            tally.add(damaged_segment(folder, seed, &watchdog));
        }
        println!("{tally}");
        if asked(SEED).is_none() {
            assert!(tally.of(None) > 1000, "much still works");
            assert!(tally.of(Some(ErrorKind::Corrupt)) > 100, "and much damage is noticed");
        }
    });
}

#[test]
fn damage_done_while_others_work_is_no_worse() {
    isolated(|folder| {
        let watchdog = &Watchdog::new(LONGEST);
        for seed in seeds(asked(MORE).unwrap_or(ROUNDS) * 2) {
            println!("{SEED}={seed}");
            let path = folder.join("segment");
            let segment = &small().lanes(16).create(&path).unwrap();
            let claim = fill(segment);
            let bytes = &Bytes::of(&path);
            let (stop, workers_left) = (&AtomicBool::new(false), 3);
            scope(|scope| {
                let peer = scope.spawn(move || {
                    let mut random = Random::from_seed(seed);
                    let regions = bytes.regions();
                    let mut strikes = 0;
                    while strikes < 200_000 && !stop.load(Relaxed) {
                        let (_, region) = &regions[random.index(regions.len())];
                        let way = Damage::ALL[random.index(Damage::ALL.len() - 1)];
                        way.strike(bytes, region, &mut random);
                        // Damage that ends everything at once shows little.
                        bytes.set(bytes.retired(), 0);
                        strikes += 1;
                    }
                    strikes
                });
                let work = |round: u32| {
                    let round = format!("worker {round} ({SEED}={seed})");
                    let mut battery = Battery { watchdog, tally: Tally::default(), round, counting: false };
                    for _ in 0..3 {
                        battery.segment(segment);
                    }
                    battery.tally
                };
                let workers: Vec<_> = (0..workers_left).map(|round| scope.spawn(move || work(round))).collect();
                let mut tally = Tally::default();
                let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
                stop.store(true, Relaxed);
                let strikes = peer.join().unwrap();
                ended.into_iter().for_each(|ended| tally.add(ended.unwrap_or_else(|_| panic!("a panic, seed {seed}"))));
                println!("{strikes} strikes meanwhile, {tally}");
            });
            drop(claim);
            let _ = std::fs::remove_file(&path);
        }
    });
}

/// The one region where damage is not only survived but always noticed by `verify`.
#[test]
fn a_changed_byte_of_a_value_is_found_by_verify() {
    isolated(|folder| {
        let segment = small().create(folder.join("segment")).unwrap();
        let record = segment.record(2).unwrap();
        let value: Vec<u8> = (0..LARGEST).map(|i| i as u8).collect();
        record.compare_and_swap(slotguard::Version(0), &value).unwrap();
        let bytes = Bytes::of(segment.path().unwrap());
        let payload = bytes.payload_of(2);
        for place in 0..LARGEST {
            for bit in 0..8 {
                let changed = [value[place] ^ 1 << bit];
                bytes.write(payload + place, &changed);
                let error = record.verify().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains("do not have its fingerprint"), "{error}");
                bytes.write(payload + place, &value[place..=place]);
            }
        }
        assert_eq!(record.verify().unwrap().fingerprint, slotguard::fnv1a64(&value));
        assert_eq!(segment.stats().corrupt, LARGEST as u64 * 8);
    });
}
