//! Processes killed at random times while they work at full speed, and replaced: what was acknowledged is there, what is
//! there was begun, and whoever is left goes on at once.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use slotguard::{Claim, Deadline, Error, Record, Segment, WAIT_SLICE};

use super::fixture::LONG;
use super::scale::{isolated, kills, seeded};
use super::shared_page::{OWN, SharedPage};
use super::sweep::Context;
use super::tracee::Tracee;
use harness::random::Random;

/// Workers at a time. The survivor counts as one more.
const WORKERS: usize = 4;
const SURVIVOR: usize = WORKERS;
const ALL: usize = WORKERS + 1;
/// Records that are updated, and records that are claimed, changed under an intent and committed.
const UPDATED: u32 = 4;
const CLAIMED: u32 = 2;

/// How many changes of a record were made by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts([u64; ALL]);

impl Counts {
    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// By turns short and long, so that two payload classes are in use.
    fn repeats(&self) -> usize {
        if self.total().is_multiple_of(2) { 4 } else { 1 }
    }

    fn of(value: &[u8]) -> Self {
        let (words, rest) = value.as_chunks::<8>();
        let Some(first) = words.first_chunk::<ALL>() else {
            assert!(value.is_empty(), "half a value: {value:?}");
            return Self::default();
        };
        let counts = Self(first.map(u64::from_le_bytes));
        let whole = rest.is_empty() && words == first.repeat(counts.repeats());
        assert!(whole, "a mix of values: {words:?} {rest:?}");
        counts
    }

    fn value(&self) -> Vec<u8> {
        self.0.map(u64::to_le_bytes).concat().repeat(self.repeats())
    }

    /// One more by this one.
    fn and_by(mut self, who: usize) -> Self {
        self.0[who] += 1;
        self
    }

    /// Reads the record; all changes ever made are accounted for.
    fn read(record: Record<'_>) -> Self {
        let mut value = Vec::new();
        let version = record.read(&mut value).expect("a read").version;
        let counts = Self::of(&value);
        assert_eq!(counts.total(), version.0, "as many effects as versions: {counts:?}");
        counts
    }
}

/// What one has begun with one record, and what it was told is done.
struct Account<'a> {
    begun: &'a AtomicU64,
    acknowledged: &'a AtomicU64,
}

impl<'a> Account<'a> {
    fn of(page: &'a SharedPage, who: usize, record: u32) -> Self {
        let place = STOP + 1 + 2 * (who * (UPDATED + CLAIMED) as usize + record as usize);
        Self { begun: page.word(place), acknowledged: page.word(place + 1) }
    }

    fn begin(&self) {
        self.begun.fetch_add(1, SeqCst);
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, SeqCst);
    }

    /// What was begun has not happened.
    fn give_up(&self) {
        self.begun.fetch_sub(1, SeqCst);
    }
}

/// The word that tells the workers to come to an end.
const STOP: usize = OWN;

fn update(record: Record<'_>, who: usize) {
    record.update(|old, draft| draft.write(&Counts::of(old).and_by(who).value())).expect("an update");
}

/// Announces, commits.
fn change(mut claim: Claim<'_>, who: usize) {
    let mut value = Vec::new();
    let stamp = claim.read(&mut value).expect("a value");
    if let Some(left) = claim.abandoned() {
        assert_eq!(left.before, stamp.fingerprint, "an intent is about the value that is there");
    }
    let next = Counts::of(&value).and_by(who).value();
    claim.intend(&next).expect("an intent");
    claim.commit(&next).expect("a commit");
}

fn work(segment: &Segment, page: &SharedPage, who: usize, mut random: Random) {
    let mine = segment.reopen().expect("an attachment of the worker's own");
    while page.word(STOP).load(SeqCst) == 0 {
        let index = random.below((UPDATED + CLAIMED).into()) as u32;
        let (record, account) = (mine.record(index).expect("a record"), Account::of(page, who, index));
        account.begin();
        if index < UPDATED {
            update(record, who);
        } else {
            match record.claim(Deadline::after(Duration::from_millis(5)), LONG) {
                Ok(claim) => change(claim, who),
                Err(Error::TimedOut { .. }) => {
                    account.give_up();
                    continue;
                }
                Err(error) => panic!("a claim: {error}"),
            }
        }
        account.acknowledge();
    }
}

/// What of a dead worker's changes is there; the account is settled accordingly.
fn settle(segment: &Segment, page: &SharedPage, who: usize) -> u64 {
    let mut in_doubt = 0;
    for index in 0..UPDATED + CLAIMED {
        let account = Account::of(page, who, index);
        let (begun, told) = (account.begun.load(SeqCst), account.acknowledged.load(SeqCst));
        let found = Counts::read(segment.record(index).expect("a record")).0[who];
        assert!(told <= found, "record {index}: {told} acknowledged, {found} found");
        assert!(found <= begun, "record {index}: {found} found, {begun} begun");
        in_doubt += begun - told;
        account.begun.store(found, SeqCst);
        account.acknowledged.store(found, SeqCst);
    }
    assert!(in_doubt <= 1, "a worker does one thing at a time");
    in_doubt
}

/// The survivor changes one record of either kind, right after a death. Answers how many slices it waited for the dead.
fn go_on(segment: &Segment, page: &SharedPage, random: &mut Random, dead: u32) -> u64 {
    let index = random.below(UPDATED.into()) as u32;
    Account::of(page, SURVIVOR, index).begin();
    update(segment.record(index).expect("a record"), SURVIVOR);
    Account::of(page, SURVIVOR, index).acknowledge();

    let index = UPDATED + random.below(CLAIMED.into()) as u32;
    let mut slices = 0;
    loop {
        match segment.record(index).expect("a record").claim(Deadline::after(WAIT_SLICE), LONG) {
            Ok(claim) => {
                Account::of(page, SURVIVOR, index).begin();
                change(claim, SURVIVOR);
                Account::of(page, SURVIVOR, index).acknowledge();
                return slices;
            }
            // The living may keep it for as long as they please.
            Err(Error::TimedOut { holder, .. }) => slices += u64::from(holder.pid == dead),
            Err(error) => panic!("a claim: {error}"),
        }
        assert!(slices <= 2, "the survivor still waits for process {dead}, which is dead");
    }
}

#[test]
fn processes_killed_at_random_times_lose_nothing_and_stop_nobody() {
    isolated(|folder| {
        let mut random = seeded();
        let path = folder.join("segment");
        // Two rows more than there are living, so that the dead must be recovered on the way.
        let rows = ALL as u32 + 2;
        let blocks = UPDATED + CLAIMED + 2 * rows;
        let segment = Segment::builder()
            .records(UPDATED + CLAIMED)
            .payloads(&[(64, blocks), (256, blocks)])
            .participants(rows)
            .lanes(rows)
            .create(&path)
            .expect("a segment");
        let page = SharedPage::new();
        let start = |who: usize, random: &mut Random| {
            let own = Random::from_seed(random.below(1 << 40));
            Tracee::free(&page, |_| work(&segment, &page, who, own))
        };
        let mut workers: Vec<Option<Tracee>> = (0..WORKERS).map(|who| Some(start(who, &mut random))).collect();
        let (mut in_doubt, mut slices, mut longest, mut sum) = (0, 0, Duration::ZERO, Duration::ZERO);
        let kills = kills();
        for kill in 0..kills {
            let _context = Context::new(format!("kill {kill} of {kills}"));
            (0..random.below(100_000)).for_each(|_| std::hint::spin_loop());
            let who = random.index(WORKERS);
            let victim = workers[who].take().expect("each place is filled again");
            let (dead, killed) = (victim.pid(), Instant::now());
            victim.send_kill();
            victim.join_killed();
            slices += go_on(&segment, &page, &mut random, dead);
            let took = killed.elapsed();
            (longest, sum) = (longest.max(took), sum + took);
            in_doubt += settle(&segment, &page, who);
            workers[who] = Some(start(who, &mut random));
        }
        page.word(STOP).store(1, SeqCst);
        for worker in workers.iter_mut().flatten() {
            worker.join();
        }
        let mut changes = 0;
        for index in 0..UPDATED + CLAIMED {
            let found = Counts::read(segment.record(index).expect("a record"));
            let told = |who| Account::of(&page, who, index).acknowledged.load(SeqCst);
            assert_eq!(found.0, std::array::from_fn(told), "record {index}: what is there was acknowledged or settled");
            changes += found.total();
        }
        segment.reap().expect("a recovery");
        let audit = segment.audit().expect("an audit");
        assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0), "{audit:?}");
        assert_eq!(audit.under_heads + audit.in_spares + audit.free, audit.blocks, "{audit:?}");
        assert_eq!((audit.rows_taken, audit.lanes_taken), (1, 1), "only the survivor is left: {audit:?}");
        println!(
            "{kills} kills, {in_doubt} of them in the middle of something; {changes} changes, all accounted for; from a kill to \
             the survivor's next success {:.1?} on average, {longest:.1?} at most, {slices} slices waited for the dead",
            sum / kills.max(1) as u32
        );
        drop(segment);
        Segment::remove(&path).expect("the segment is removed");
        assert_eq!(std::fs::read_dir(folder).expect("the folder").count(), 0, "nothing is left behind");
    });
}
