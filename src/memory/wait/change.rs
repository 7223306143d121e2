//! Sleeping until a record changes, for as long as the caller is willing and never for longer than a slice at a time.
//!
//! A waiter looks, spins for a moment, says that it waits, looks again and sleeps. At the end of a slice it looks once
//! more, finishes what authors have left unfinished since the last slice, and recovers the dead: so a wake-up that never
//! came, because its author was stopped or killed between the change and the wake, costs two slices at most. A process whose
//! waits all end before a slice does (a loop of short ones, or of mere looks) makes such a *round* once a slice as well.

use std::sync::atomic::AtomicU64 as LocalU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::{Deadline, Registration, Version};
use crate::edge::edge;
use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::handle::record::Record;
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::{CommitPhase, Control, Group, Head, JournalWord, Spare, WaitWord};
use crate::memory::liveness::attachment::Attachment;
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, SeqCst};
use crate::memory::sync::atomics::{fence, pause};

/// The longest a waiter sleeps without looking for itself.
pub const WAIT_SLICE: Duration = Duration::from_millis(250);

/// The first slice of a wait for a claim; each is twice the one before, up to [`WAIT_SLICE`].
const FIRST_PROBE: Duration = Duration::from_millis(2);

/// What one attempt of a wait found.
pub(crate) enum WaitStep<T> {
    /// What was waited for.
    Done(T),
    /// Something changed meanwhile: try again at once.
    Again,
    /// Nothing yet: sleep until the head is no longer `head`, or until a moment of the host's clock.
    Wait { head: Head, until: Option<u64> },
}

/// How long the slices are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// [`WAIT_SLICE`].
    Steady,
    /// Short at first, doubling up to [`WAIT_SLICE`]: what is waited for may end by a death that wakes nobody.
    Probing,
    /// The same, for an entry that lives by somebody's lease.
    Leased,
}

/// Turns of the spin before sleeping: at least, at most.
const SPIN: (u32, u32) = (32, 4000);

impl Attachment {
    /// Looks until it is done or the deadline has passed (`None`); a past deadline is one look.
    pub(crate) fn wait_until<T>(
        self: &Arc<Self>,
        record: Record<'_>,
        deadline: &Deadline,
        pace: Pace,
        mut look: impl FnMut() -> Result<WaitStep<T>>,
    ) -> Result<Option<T>> {
        let index = record.index();
        let slot = self.arena.record(index);
        let word = if pace == Pace::Probing { &slot.claim_wait } else { &slot.wait };
        let mut sleeper = Sleeper::new(self, deadline, pace);
        let mut claim_wait = ClaimWait { home: self, record: index, slept: false };
        loop {
            self.check()?;
            let (head, until) = match look()? {
                WaitStep::Done(found) => {
                    claim_wait.taken();
                    return Ok(Some(found));
                }
                WaitStep::Again => continue,
                WaitStep::Wait { head, until } => (head, until),
            };
            if sleeper.is_over()? {
                if self.short_round() {
                    continue;
                }
                return Ok(None);
            }
            if self.spin_while(|| slot.head.load(Relaxed) == head.0) || self.short_round() {
                continue;
            }
            sleeper.listen(move |home| home.bump(index));
            let Some(expected) = self.arena.prepare_sleep(index, word, head) else {
                continue;
            };
            claim_wait.slept = pace == Pace::Probing;
            if sleeper.is_over()? {
                return Ok(None);
            }
            sleeper.sleep(word, expected, until);
        }
    }

    /// [`Record::wait_newer`].
    pub(crate) fn wait_newer(
        self: &Arc<Self>,
        record: Record<'_>,
        seen: Version,
        deadline: &Deadline,
    ) -> Result<Option<Version>> {
        self.wait_until(record, deadline, Pace::Steady, || {
            let now = record.observe_meta()?;
            Ok(match Version(now.meta.version) {
                version if version == seen => WaitStep::Wait { head: now.head, until: None },
                version => WaitStep::Done(version),
            })
        })
    }

    /// [`Segment::wait_any`](super::Segment::wait_any).
    pub(crate) fn wait_any(self: &Arc<Self>, seen: &[(u32, Version)], deadline: &Deadline) -> Result<Option<u32>> {
        let mut groups = Groups::new(self);
        let mut all: Vec<u32> = seen.iter().map(|(record, _)| record / GROUP).collect();
        all.sort_unstable();
        all.dedup();
        self.wait_for_groups(&mut groups, deadline, |groups, _| {
            groups.arm(&self.arena, all.iter().copied());
            groups.looked();
            for (index, version) in seen {
                let now = self.arena.read(*index, None).map_err(|error| self.explain(error))?;
                if now.meta.version != version.0 {
                    return Ok(Some(*index));
                }
            }
            Ok(None)
        })
    }

    /// Looks until it has found something or the deadline has passed (`None`). `look` arms the groups it depends on before
    /// it looks; it is told whether a slice has ended since the last time. Sleeps on one of the watch words, which the
    /// groups name to whoever changes one of their records.
    pub(crate) fn wait_for_groups<T>(
        self: &Arc<Self>,
        groups: &mut Groups,
        deadline: &Deadline,
        mut look: impl FnMut(&mut Groups, bool) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let bit = groups.bit;
        let watch = self.arena.watch_word(bit);
        let mut sleeper = Sleeper::new(self, deadline, Pace::Steady);
        let mut slice_ended = self.short_round();
        loop {
            self.check()?;
            if let Some(found) = look(groups, std::mem::take(&mut slice_ended))? {
                return Ok(Some(found));
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            let unmarked = || groups.are_unmarked(&self.arena);
            if self.spin_while(unmarked) {
                continue;
            }
            sleeper.listen(move |home| home.bump_watch(bit));
            let word = watch.fetch_or(WaitWord::WAITING, edge("watch.bit", SeqCst)) | WaitWord::WAITING;
            if !unmarked() {
                continue;
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            slice_ended = sleeper.sleep(watch, word, None);
        }
    }

    /// Spins while `same`, for as long as spinning has lately been worth it; answers whether something changed.
    fn spin_while(&self, same: impl Fn() -> bool) -> bool {
        let turns = self.spin.load(Relaxed);
        for turn in 0..turns {
            if !same() {
                let wish = turn.saturating_mul(4).clamp(turns, SPIN.1);
                self.spin.store(wish, Relaxed);
                return true;
            }
            pause();
        }
        self.spin.store((turns / 2).max(SPIN.0), Relaxed);
        false
    }

    /// Changes the words that waiters of the record sleep on and wakes them to look again.
    fn bump(&self, record: u32) {
        let slot = self.arena.record(record);
        for word in [&slot.wait, &slot.claim_wait] {
            word.fetch_add(WaitWord::WAITING + 1, SeqCst);
            futex::wake(word, u32::MAX);
        }
    }

    fn bump_watch(&self, bit: u32) {
        let word = self.arena.watch_word(bit);
        word.fetch_add(WaitWord::WAITING + 1, SeqCst);
        futex::wake(word, u32::MAX);
    }
}

/// The groups of records that a watcher depends on, each with the count it had when the watcher last armed it.
pub(crate) struct Groups {
    bit: u32,
    /// Ascending by group.
    counts: Vec<(u32, u64)>,
    /// Those of which something may have changed since the last look.
    dirty: Bits,
    /// Those that were marked while the last look went on.
    later: Bits,
}

/// A set of groups.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    any: bool,
}

impl Bits {
    fn insert(&mut self, group: u32) {
        let word = group as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (group % 64);
        self.any = true;
    }

    fn contains(&self, group: u32) -> bool {
        self.words.get(group as usize / 64).is_some_and(|word| word >> (group % 64) & 1 != 0)
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.any) {
            self.words.fill(0);
        }
    }

    /// Takes over what is in the other, which is empty then.
    fn append(&mut self, other: &mut Self) {
        if other.any {
            if self.words.len() < other.words.len() {
                self.words.resize(other.words.len(), 0);
            }
            self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
            self.any = true;
            other.clear();
        }
    }
}

impl Groups {
    pub(crate) fn new(home: &Attachment) -> Self {
        let bit = (home.me.0 ^ home.me.0 >> 48) as u32 % Group::WAKE_BITS;
        Self { bit, counts: Vec::new(), dirty: Bits::default(), later: Bits::default() }
    }

    /// Has whoever changes a record of these groups (ascending) from now on mark its group: what is looked at after this and
    /// changes is found marked. These are all the groups there are from now on; those marked since they were last armed are
    /// dirty.
    pub(crate) fn arm(&mut self, arena: &Arena, groups: impl Iterator<Item = u32>) {
        self.arm_again(arena, groups);
        self.dirty.append(&mut self.later);
    }

    /// The same at the end of a look: what was marked while it went on is for the next one. Answers whether one of the
    /// groups is new.
    pub(crate) fn arm_again(&mut self, arena: &Arena, groups: impl Iterator<Item = u32>) -> bool {
        let known = std::mem::take(&mut self.counts);
        let mut known = known.iter().peekable();
        let mut new = false;
        for group in groups {
            while known.next_if(|(other, _)| *other < group).is_some() {}
            let before = known.next_if(|(other, _)| *other == group).map(|(_, count)| *count);
            let word = arena.group(group * GROUP);
            let mut now = Group(word.load(edge("watch.look", SeqCst)));
            // Still armed and unchanged: nothing to do, and no line to take from writers.
            if now.wake() >> self.bit & 1 == 0 || before != Some(now.count()) {
                now = Group(word.fetch_or(1 << self.bit, edge("mark.bit", SeqCst)));
            }
            if before != Some(now.count()) {
                self.later.insert(group);
            }
            new |= before.is_none();
            self.counts.push((group, now.count()));
        }
        // Edge `mark`: the bits before the looks at the heads that follow.
        fence(SeqCst);
        new
    }

    /// Whether something may have happened to the record before the groups were last armed.
    pub(crate) fn is_dirty(&self, record: u32) -> bool {
        self.dirty.contains(record / GROUP)
    }

    /// Whether the record's group was marked while the last look went on.
    pub(crate) fn is_marked_since(&self, record: u32) -> bool {
        self.later.contains(record / GROUP)
    }

    /// All that was dirty has been looked at; what was marked meanwhile is dirty now.
    pub(crate) fn looked(&mut self) {
        self.dirty.clear();
        self.dirty.append(&mut self.later);
    }

    fn are_unmarked(&self, arena: &Arena) -> bool {
        let same = |(group, count): &(u32, u64)| {
            Group(arena.group(group * GROUP).load(edge("watch.look", SeqCst))).count() == *count
        };
        !self.dirty.any && self.counts.iter().all(same)
    }
}

/// A place in the queue for a claim. One sleeper is woken a turn, so whoever was woken owes the others the next one.
struct ClaimWait<'a> {
    home: &'a Attachment,
    record: u32,
    /// Whether this waiter has been among those who may be woken.
    slept: bool,
}

impl ClaimWait<'_> {
    /// The claim was taken: its end will wake the next.
    fn taken(&mut self) {
        if self.slept {
            self.home.arena.expect_others(self.record);
            self.slept = false;
        }
    }
}

impl Drop for ClaimWait<'_> {
    fn drop(&mut self) {
        if self.slept {
            self.home.arena.pass_claim_wait(self.record);
        }
    }
}

/// One wait: its deadline, its slices, and what it has slept.
struct Sleeper<'a> {
    home: &'a Arc<Attachment>,
    deadline: &'a Deadline,
    slice: Duration,
    /// When the slice ends, on the monotonic clock: waking in between does not put it off.
    slice_end: Option<Duration>,
    registration: Option<Registration>,
    /// Those of the last slice.
    journals: Journals,
    began: Option<Instant>,
}

impl<'a> Sleeper<'a> {
    fn new(home: &'a Arc<Attachment>, deadline: &'a Deadline, pace: Pace) -> Self {
        let slice = if pace == Pace::Steady { WAIT_SLICE } else { FIRST_PROBE };
        Self { home, deadline, slice, slice_end: None, registration: None, journals: Vec::new(), began: None }
    }

    /// Whether the deadline has passed; an error if the wait was cancelled.
    fn is_over(&self) -> Result<bool> {
        if self.deadline.cancel().is_some_and(crate::clock::Cancel::is_cancelled) {
            return Err(Error::Cancelled);
        }
        Ok(self.deadline.has_passed())
    }

    /// Has a cancellation wake us through `wake`, from the first sleep on.
    fn listen(&mut self, wake: impl Fn(&Attachment) + Send + Sync + 'static) {
        if let (Some(cancel), None) = (self.deadline.cancel(), &self.registration) {
            let home = Arc::clone(self.home);
            self.registration = Some(cancel.register(Box::new(move || wake(&home))));
        }
    }

    /// Sleeps until the word changes, the slice or the deadline ends, or the host's clock reaches `until`; answers whether
    /// the slice has ended.
    fn sleep(&mut self, word: &crate::memory::sync::atomics::AtomicU32, expected: u32, until: Option<u64>) -> bool {
        self.began.get_or_insert_with(Instant::now);
        let now = futex::now();
        let slice_end = *self.slice_end.get_or_insert(now + self.slice);
        let mut end = slice_end;
        if let Some(remaining) = self.deadline.remaining() {
            end = end.min(now + remaining);
        }
        if let Some(until) = until {
            end = end.min(now + Duration::from_nanos(until.saturating_sub(self.home.host.now()).max(1)));
        }
        futex::sleep(word, expected, end);
        let ended = futex::now() >= slice_end;
        if ended {
            self.home.round(&mut self.journals);
            self.slice = (self.slice * 2).min(WAIT_SLICE);
            self.slice_end = None;
        }
        ended
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            self.home.count_wait(began.elapsed());
        }
    }
}

/// The journals that were set at the last round: lane, operation, what it expected (or the control word of its commit).
type Journals = Vec<(u32, u64, u64)>;

/// The last round that this process made whether or not a slice had ended.
#[derive(Default)]
pub(crate) struct ShortRounds {
    /// When: nanoseconds of the monotonic clock, 0 before the first.
    last: LocalU64,
    journals: Mutex<Journals>,
}

impl Attachment {
    /// A round, if the process has made none of these for a slice: waits may all end before their first slice does.
    fn short_round(&self) -> bool {
        let now = futex::now().as_nanos() as u64;
        let since = now.saturating_sub(self.short_rounds.last.load(Relaxed));
        if since < WAIT_SLICE.as_nanos() as u64 {
            return false;
        }
        // Another thread of ours is at it: what it does is as good.
        let Ok(mut journals) = self.short_rounds.journals.try_lock() else {
            return false;
        };
        self.short_rounds.last.store(now, Relaxed);
        self.round(&mut journals);
        true
    }

    /// What a waiter does for others at the end of a slice: it finishes and announces every change whose author has not
    /// moved since the last round, and recovers the dead.
    fn round(&self, last: &mut Journals) {
        let arena = &self.arena;
        let mut now = Vec::new();
        for index in 0..arena.lanes() {
            let lane = arena.lane(index).expect("a lane of the table");
            let control = Control(lane.descriptor.control.load(Acquire));
            if control.phase() != CommitPhase::Free {
                let journal = (index, JournalWord::NONE.0, control.0);
                if last.contains(&journal) {
                    // Damage met here is the business of whoever looks at the records.
                    let _ = arena.drive_to_end(None, Head::reference(index, control.sequence()));
                }
                now.push(journal);
            }
            let op = JournalWord(lane.journal.load(Acquire));
            if !op.is_set() {
                continue;
            }
            let journal = (index, op.0, lane.expected.load(Relaxed));
            if last.contains(&journal) {
                self.finish_for_stopped(index, op, Head(journal.2));
            }
            now.push(journal);
        }
        *last = now;
        self.reap();
    }

    /// Numbers and announces the change of a lane that has not moved for a slice. Damage met here is the business of
    /// whoever looks at the record.
    fn finish_for_stopped(&self, index: u32, op: JournalWord, expected: Head) {
        let arena = &self.arena;
        let (record, spare) = (op.record(), op.spare());
        let lane = arena.lane(index).expect("a lane of the table");
        let Some(spare) = lane.spares.get(spare) else {
            return;
        };
        if record >= arena.records() {
            return;
        }
        let block = Spare(spare.load(Relaxed)).block();
        if Head(arena.record(record).head.load(SeqCst)) == expected.next(block)
            && let Some(words) = arena.block(block)
        {
            let _ = arena.finish_for(
                record,
                expected.next(block),
                crate::memory::layout::word::BlockState(words.head.state.load(Acquire)),
            );
        }
        arena.notify(record);
    }
}
