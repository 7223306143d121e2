//! Sleeping until a record changes, for as long as the caller is willing and never for longer than a slice at a time.
//!
//! A waiter looks, spins for a moment, says that it waits, looks again and sleeps. At the end of a slice it looks once
//! more, finishes what authors have left unfinished since the last slice, and recovers the dead: so a wake-up that never
//! came, because its author was stopped or killed between the change and the wake, costs two slices at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::atomics::Ordering::{Acquire, Relaxed, SeqCst};
use super::atomics::pause;
use super::attachment::Attachment;
use super::futex;
use super::record::Record;
use super::word::{Cell, Control, Event, Group, Head, Op, Phase};
use crate::clock::{Deadline, Registration, Version};
use crate::error::{Error, Result};
use crate::mutant::{edge, planted};

/// The longest a waiter sleeps without looking for itself.
pub const WAIT_SLICE: Duration = Duration::from_millis(250);

/// The first slice of a wait for a claim; each is twice the one before, up to [`WAIT_SLICE`].
const FIRST_PROBE: Duration = Duration::from_millis(2);

/// What a look at the record found.
pub(crate) enum Look<T> {
    /// What was waited for.
    Done(T),
    /// Something changed under the look: look again at once.
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
}

/// [`WAIT_SLICE`]; with a wake-up planted to be forgotten it is an hour, so that a test that depends on the wake-up hangs
/// and is not merely slow.
fn longest_slice() -> Duration {
    let forgotten = ["forget the wake", "forget the next claimer", "keep the turn", "forget the mark"];
    if forgotten.into_iter().any(planted) { Duration::from_secs(3600) } else { WAIT_SLICE }
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
        mut look: impl FnMut() -> Result<Look<T>>,
    ) -> Result<Option<T>> {
        let index = record.index();
        let slot = self.arena.record(index);
        let word = if pace == Pace::Probing { &slot.turn } else { &slot.event };
        let mut sleeper = Sleeper::new(self, deadline, pace);
        let mut turn = Turn { home: self, record: index, slept: false };
        loop {
            self.check()?;
            let (head, until) = match look()? {
                Look::Done(found) => {
                    turn.taken();
                    return Ok(Some(found));
                }
                Look::Again => continue,
                Look::Wait { head, until } => (head, until),
            };
            if sleeper.is_over()? {
                return Ok(None);
            }
            if self.spin_while(|| slot.head.load(Relaxed) == head.0) {
                continue;
            }
            sleeper.listen(move |home| home.bump(index));
            let Some(expected) = self.arena.prepare_sleep(index, word, head) else {
                continue;
            };
            turn.slept = pace == Pace::Probing;
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
            let now = record.look_at_meta()?;
            Ok(match Version(now.meta.version) {
                version if version == seen => Look::Wait { head: now.head, until: None },
                version => Look::Done(version),
            })
        })
    }

    /// [`Segment::wait_any`](super::Segment::wait_any): sleeps on one of the watch words, which the groups of the records
    /// name to whoever changes one of theirs.
    pub(crate) fn wait_any(self: &Arc<Self>, seen: &[(u32, Version)], deadline: &Deadline) -> Result<Option<u32>> {
        let arena = &self.arena;
        let bit = (self.me.0 ^ self.me.0 >> 48) as u32 % Group::WAKE_BITS;
        let watch = arena.watch_word(bit);
        let mut groups: Vec<(u32, u64)> = Vec::new();
        let mut sleeper = Sleeper::new(self, deadline, Pace::Steady);
        loop {
            self.check()?;
            // Armed before the look: whoever changes a record after the look finds the bit and marks the group.
            groups.clear();
            for (record, _) in seen {
                if !groups.iter().any(|(other, _)| other / super::layout::GROUP == record / super::layout::GROUP) {
                    let group = arena.group(*record);
                    let word = Group(group.fetch_or(1 << bit, edge("mark.bit", SeqCst)));
                    groups.push((*record, word.count()));
                }
            }
            for (index, version) in seen {
                let now = arena.look(*index, None).map_err(|fault| self.explain(fault, *index))?;
                if now.meta.version != version.0 {
                    return Ok(Some(*index));
                }
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            let unmarked = || {
                groups
                    .iter()
                    .all(|(r, count)| Group(arena.group(*r).load(edge("watch.look", SeqCst))).count() == *count)
            };
            if self.spin_while(unmarked) {
                continue;
            }
            sleeper.listen(move |home| home.bump_watch(bit));
            let word = watch.fetch_or(Event::WAITING, edge("watch.bit", SeqCst)) | Event::WAITING;
            if !unmarked() {
                continue;
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            sleeper.sleep(watch, word, None);
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
        for word in [&slot.event, &slot.turn] {
            word.fetch_add(Event::WAITING + 1, SeqCst);
            futex::wake(word, u32::MAX);
        }
    }

    fn bump_watch(&self, bit: u32) {
        let word = self.arena.watch_word(bit);
        word.fetch_add(Event::WAITING + 1, SeqCst);
        futex::wake(word, u32::MAX);
    }
}

/// A place in the queue for a claim. One sleeper is woken a turn, so whoever was woken owes the others the next one.
struct Turn<'a> {
    home: &'a Attachment,
    record: u32,
    /// Whether this waiter has been among those who may be woken.
    slept: bool,
}

impl Turn<'_> {
    /// The claim was taken: its end will wake the next.
    fn taken(&mut self) {
        if self.slept {
            self.home.arena.expect_others(self.record);
            self.slept = false;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.slept && !planted("keep the turn") {
            self.home.arena.pass_turn(self.record);
        }
    }
}

/// One wait: its deadline, its slices, and what it has slept.
struct Sleeper<'a> {
    home: &'a Arc<Attachment>,
    deadline: &'a Deadline,
    slice: Duration,
    registration: Option<Registration>,
    journals: Journals,
    began: Option<Instant>,
}

impl<'a> Sleeper<'a> {
    fn new(home: &'a Arc<Attachment>, deadline: &'a Deadline, pace: Pace) -> Self {
        let probing = pace == Pace::Probing && longest_slice() == WAIT_SLICE;
        let slice = if probing { FIRST_PROBE } else { longest_slice() };
        Self { home, deadline, slice, registration: None, journals: Journals::default(), began: None }
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

    /// Sleeps until the word changes, the slice or the deadline ends, or the host's clock reaches `until`.
    fn sleep(&mut self, word: &super::atomics::AtomicU32, expected: u32, until: Option<u64>) {
        self.began.get_or_insert_with(Instant::now);
        let mut longest = self.slice;
        if let Some(remaining) = self.deadline.remaining() {
            longest = longest.min(remaining);
        }
        if let Some(until) = until {
            longest = longest.min(Duration::from_nanos(until.saturating_sub(self.home.host.now()).max(1)));
        }
        let end = futex::now() + longest;
        futex::sleep(word, expected, end);
        if futex::now() >= end {
            self.home.end_of_slice(&mut self.journals);
            self.slice = (self.slice * 2).min(longest_slice());
        }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            self.home.count_wait(began.elapsed());
        }
    }
}

/// The journals that were set when a waiter's last slice ended.
#[derive(Default)]
struct Journals(Vec<(u32, u64, u64)>);

impl Attachment {
    /// What a waiter does for others between two slices: it finishes and announces every change whose author has not
    /// moved since the last slice, and recovers the dead.
    fn end_of_slice(&self, last: &mut Journals) {
        if planted("no look at the end of a slice") {
            return;
        }
        let arena = &self.arena;
        let mut now = Vec::new();
        for index in 0..arena.lanes() {
            let lane = arena.lane(index).expect("a lane of the table");
            let control = Control(lane.descriptor.control.load(Acquire));
            if control.phase() != Phase::Free {
                let journal = (index, Op::NONE.0, control.0);
                if last.0.contains(&journal) {
                    // Damage met here is the business of whoever looks at the records.
                    let _ = arena.drive_to_end(None, Head::reference(index, control.sequence()));
                }
                now.push(journal);
            }
            let op = Op(lane.op.load(Acquire));
            if !op.is_set() {
                continue;
            }
            let journal = (index, op.0, lane.expected.load(Relaxed));
            if last.0.contains(&journal) {
                self.finish_for_stopped(index, op, Head(journal.2));
            }
            now.push(journal);
        }
        last.0 = now;
        self.reap();
    }

    /// Numbers and announces the change of a lane that has not moved for a slice. Damage met here is the business of
    /// whoever looks at the record.
    fn finish_for_stopped(&self, index: u32, op: Op, expected: Head) {
        let arena = &self.arena;
        let (record, cell) = (op.record(), op.cell());
        let lane = arena.lane(index).expect("a lane of the table");
        let Some(cell) = lane.cells.get(cell) else {
            return;
        };
        if record >= arena.records() {
            return;
        }
        let block = Cell(cell.load(Relaxed)).block();
        if Head(arena.record(record).head.load(SeqCst)) == expected.next(block)
            && let Some(words) = arena.block(block)
        {
            let _ = arena.finish_for(record, expected.next(block), super::word::Fate(words.head.fate.load(Acquire)));
        }
        let bits = arena.mark(record);
        arena.wake(record);
        arena.wake_next(record);
        arena.wake_watchers(bits);
    }
}
