//! One attachment to a segment: its row, its threads' lanes, and the recovery of others that died.
//!
//! A thread takes a lane the first time it changes something and keeps it until it exits; a process keeps its row until
//! its last handle is dropped. A killed one keeps nothing: its row's lock is free at once, and whoever needs the row, a
//! lane, or has an idle moment at the end of a wait slice recovers it.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::fs::File;
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64 as LocalU64;
use std::sync::{Arc, Mutex, Weak};

use super::locks::Locks;
use super::recovery::Reaped;
use crate::error::{Error, Resource, Result, Usage};
use crate::memory::block::arena::Arena;
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::os::fork;
use crate::memory::os::host::{self, HostClock};
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::AtomicU32;
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::memory::sync::error::ProtocolError;
use crate::memory::wait::change::ShortRounds;

/// How often an operation that found the segment full is tried again.
const ATTEMPTS_WHEN_FULL: u32 = 8;

impl Seat {
    fn new(lane: LaneHandle) -> Self {
        let copies = Copies { old: Vec::new(), new: Vec::new(), seen: Observed::NOTHING };
        Self { busy: Cell::new(false), lane: UnsafeCell::new(lane), copies: UnsafeCell::new(copies) }
    }
}

/// What all clones of a [`Segment`](super::Segment) share.
pub(crate) struct Attachment {
    pub(crate) arena: Arena,
    pub(crate) file: File,
    pub(crate) path: Option<PathBuf>,
    pub(crate) me: OwnerWord,
    pub(crate) locks: Locks,
    pub(crate) host: HostClock,
    /// Turns to spin before sleeping; adapts to how soon changes come.
    pub(crate) spin: AtomicU32,
    pub(crate) short_rounds: ShortRounds,
    /// Unlike any other attachment of this process, ever.
    id: u64,
    /// The process generation the attachment was made in.
    generation: u32,
    /// Our own locks do not exclude our own threads.
    recovering: Mutex<()>,
}

/// A thread's lane of one attachment, and the working copies of its updates.
struct Seat {
    /// Whether an operation of the thread is using it: a nested one is refused.
    busy: Cell<bool>,
    lane: UnsafeCell<LaneHandle>,
    copies: UnsafeCell<Copies>,
}

/// The value an update read and the value it is to write; kept, so that updates neither allocate nor clear memory.
pub(crate) struct Copies {
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    pub(crate) seen: Observed,
}

/// What a thread has taken of one attachment.
struct ThreadLane {
    attachment: u64,
    home: Weak<Attachment>,
    /// From `Box::into_raw`; freed when this is dropped.
    seat: NonNull<Seat>,
}

thread_local! {
    /// The seat used last. Needs no destructor, so that finding it is two loads; reset by whoever frees the seat.
    static LAST: Cell<(u64, *const Seat)> = const { Cell::new((0, ptr::null())) };
    static LANES: RefCell<Vec<ThreadLane>> = const { RefCell::new(Vec::new()) };
}

impl Drop for ThreadLane {
    fn drop(&mut self) {
        LAST.set((0, ptr::null()));
        // SAFETY: `seat` came from `Box::into_raw`, this is its only owner, and the one other pointer to it was reset.
        let seat = unsafe { Box::from_raw(self.seat.as_ptr()) };
        if let Some(home) = self.home.upgrade() {
            home.release_lane(seat.lane.into_inner().index);
        }
    }
}

/// A seat in use, given back whatever happens, a panic of the caller's closure included.
struct Lent<'a>(&'a Seat);

impl Drop for Lent<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.busy.set(false);
    }
}

impl Attachment {
    /// Takes a row of the segment, recovering a dead owner's if need be.
    pub(crate) fn attach(arena: Arena, file: File, path: Option<PathBuf>, locks: Locks) -> Result<Self> {
        static NEXT: LocalU64 = LocalU64::new(1);
        let host = HostClock::read()?;
        let rows = arena.rows();
        let start = std::process::id() % rows;
        let all = (0..rows).map(|i| (start + i) % rows);
        let looks_free = |row: &u32| !RowWord(arena.row(*row).word.load(Relaxed)).is_attached();
        for row in all.clone().filter(looks_free).chain(all) {
            let Some(recovery) = locks.try_recover(row)? else {
                continue;
            };
            let word = &arena.row(row).word;
            if RowWord(word.load(Acquire)).is_attached() {
                arena.recover_row(row);
                arena.counters().recoveries.fetch_add(1, Relaxed);
            }
            let now = RowWord(word.load(Acquire)).attach();
            introduce(&arena, row);
            // The epoch before the lock: whoever finds the row locked must not take it for its last owner.
            word.store(now.0, Release);
            let locked = locks.try_lock(row)?;
            drop(recovery);
            if !locked {
                continue;
            }
            return Ok(Self {
                arena,
                file,
                path,
                me: OwnerWord::new(row, now.epoch()),
                locks,
                host,
                spin: AtomicU32::new(128),
                short_rounds: ShortRounds::default(),
                id: NEXT.fetch_add(1, Relaxed),
                generation: fork::generation(),
                recovering: Mutex::new(()),
            });
        }
        let holders = (0..rows).map(|row| usage(&arena, row, 1)).collect();
        Err(Error::Full { what: Resource::Participants, limit: rows.into(), holders })
    }

    /// Refuses what belongs to another process or to a removed segment.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<()> {
        if fork::generation() != self.generation {
            return Err(Error::Forked);
        }
        if self.arena.header().retired.word.load(Relaxed) != 0 {
            return Err(Error::Retired);
        }
        Ok(())
    }

    /// Whether `owner` may still act; see [`Arena::is_alive`].
    pub(crate) fn is_alive(&self, owner: OwnerWord) -> bool {
        self.arena.is_alive(owner, self.me, &self.locks)
    }

    /// Runs `work` with this thread's lane. An operation nested in another of the same thread is [`Error::Busy`].
    #[inline(always)]
    pub(crate) fn with_lane<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut LaneHandle, &mut Copies) -> Result<R>,
    ) -> Result<R> {
        self.check()?;
        let (id, last) = LAST.get();
        if id == self.id {
            // SAFETY: `LAST` names a seat of this thread that has not been freed: `ThreadLane::drop` resets it first, and
            // runs on this thread. Seats are reached by shared reference only.
            let seat = unsafe { &*last };
            return Self::sit(seat, work);
        }
        self.with_another_lane(work)
    }

    #[inline(always)]
    fn sit<R>(seat: &Seat, work: impl FnOnce(&mut LaneHandle, &mut Copies) -> Result<R>) -> Result<R> {
        if seat.busy.replace(true) {
            return Err(Error::Busy);
        }
        let lent = Lent(seat);
        // SAFETY: the seat belongs to this thread, and `busy` was false: no other reference to the lane exists until
        // `lent` is dropped, after the last use of this one.
        let lane = unsafe { &mut *lent.0.lane.get() };
        // SAFETY: as for the lane.
        let copies = unsafe { &mut *lent.0.copies.get() };
        lane.backoff.reset();
        work(lane, copies)
    }

    /// Finds the thread's lane of this attachment among those of others, or takes its first.
    #[cold]
    fn with_another_lane<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut LaneHandle, &mut Copies) -> Result<R>,
    ) -> Result<R> {
        let known = LANES.try_with(|lanes| {
            let lanes = lanes.borrow();
            lanes.iter().find(|lane| lane.attachment == self.id).map(|lane| lane.seat)
        });
        let seat = match known {
            Ok(Some(seat)) => seat,
            Ok(None) => self.first_seat()?,
            // The thread is past its end and keeps nothing any more.
            Err(_) => {
                let lane = self.take_lane()?;
                let index = lane.index;
                let seat = Seat::new(lane);
                let done = Self::sit(&seat, work);
                self.release_lane(index);
                return done;
            }
        };
        LAST.set((self.id, seat.as_ptr()));
        // SAFETY: the seat is in `LANES`, whose entries only go with the thread or with their attachment, and the caller
        // borrows this one.
        let seat = unsafe { seat.as_ref() };
        Self::sit(seat, work)
    }

    fn first_seat(self: &Arc<Self>) -> Result<NonNull<Seat>> {
        let seat = Box::new(Seat::new(self.take_lane()?));
        let seat = NonNull::from(Box::leak(seat));
        LANES.with(|lanes| {
            let mut lanes = lanes.borrow_mut();
            // What is left of attachments that are gone; not dropped under the borrow of anything they need.
            lanes.retain(|lane| lane.home.strong_count() > 0);
            lanes.push(ThreadLane { attachment: self.id, home: Arc::downgrade(self), seat });
        });
        Ok(seat)
    }

    fn take_lane(&self) -> Result<LaneHandle> {
        let lanes = self.arena.lanes();
        let start = self.me.row().wrapping_mul(31) % lanes;
        let mut damage = None;
        for attempt in 0..2 {
            for index in (0..lanes).map(|i| (start + i) % lanes) {
                let owner = &self.arena.lane(index).expect("a lane of the table").owner;
                if owner.load(Relaxed) != 0
                    // Acquire: edge `lane`, what the last owner left is seen whole.
                    || owner.compare_exchange(OwnerWord::NOBODY.0, self.me.0, AcqRel, Relaxed).is_err()
                {
                    continue;
                }
                let taken =
                    LaneHandle::inherit(&self.arena, index).and_then(|mut lane| lane.stock(&self.arena).map(|()| lane));
                match taken {
                    Ok(lane) => return Ok(lane),
                    Err(error) => {
                        owner.store(OwnerWord::NOBODY.0, Release);
                        if !matches!(error, ProtocolError::Corrupt { .. }) {
                            return Err(self.explain(error));
                        }
                        // One damaged lane is left alone as long as there are others.
                        damage = Some(error);
                    }
                }
            }
            if attempt == 0 {
                self.reap();
            }
        }
        match damage {
            Some(error) => Err(self.explain(error)),
            None => Err(Error::Full { what: Resource::Lanes, limit: lanes.into(), holders: self.lane_users() }),
        }
    }

    fn release_lane(&self, index: u32) {
        // A child's copy of the parent's lane is not the child's to give.
        if fork::generation() == self.generation {
            // Release: edge `lane`.
            self.arena.lane(index).expect("a lane of the table").owner.store(OwnerWord::NOBODY.0, Release);
        }
    }

    /// Runs `work`, and again when the segment is full: once what the dead keep is recovered (`recover` after that), then a few
    /// times more, in which commits under way give back the blocks that they took.
    #[inline]
    pub(crate) fn with_room<R>(&self, recover: impl FnOnce() -> Result<()>, work: impl Fn() -> Result<R>) -> Result<R> {
        let mut done = work();
        let mut recover = Some(recover);
        for _ in 0..ATTEMPTS_WHEN_FULL {
            if !matches!(done, Err(Error::Full { .. })) {
                break;
            }
            if let Some(recover) = recover.take() {
                self.reap();
                recover()?;
            }
            std::thread::yield_now();
            done = work();
        }
        done
    }

    /// Recovers every row whose owner is dead.
    pub(crate) fn reap(&self) -> Reaped {
        let mut reaped = Reaped::default();
        for one in (0..self.arena.rows()).filter_map(|row| self.recover_if_dead(row)) {
            reaped.participants += one.participants;
            reaped.lanes += one.lanes;
            reaped.finished += one.finished;
        }
        reaped
    }

    fn recover_if_dead(&self, row: u32) -> Option<Reaped> {
        let word = &self.arena.row(row).word;
        if row == self.me.row() || !RowWord(word.load(Acquire)).is_attached() || self.locks.is_held_by_another(row) {
            return None;
        }
        // If another thread of ours recovers, that is as good.
        let _one = self.recovering.try_lock().ok()?;
        let _recovery = self.locks.try_recover(row).ok()??;
        RowWord(word.load(Acquire)).is_attached().then(|| {
            self.arena.counters().recoveries.fetch_add(1, Relaxed);
            self.arena.recover_row(row)
        })
    }

    /// The public error of a step of the protocol, accounted for.
    #[cold]
    pub(crate) fn explain(&self, error: ProtocolError) -> Error {
        self.account(error.into())
    }

    /// Counts damage, and names who holds most of the blocks if there are none left.
    #[cold]
    pub(crate) fn account(&self, mut error: Error) -> Error {
        match &mut error {
            Error::Corrupt { .. } => {
                self.arena.counters().corrupt.fetch_add(1, Relaxed);
            }
            Error::Full { what: Resource::Blocks { .. }, holders, .. } => *holders = self.lane_users(),
            _ => {}
        }
        error
    }

    /// Payload bytes of the largest class.
    #[inline]
    pub(crate) fn max_payload(&self) -> usize {
        self.arena.geometry.classes.last().map_or(0, |class| class.payload as usize)
    }

    /// Who holds how many lanes, most first.
    fn lane_users(&self) -> Vec<Usage> {
        let mut counts = vec![0u64; self.arena.rows() as usize];
        for index in 0..self.arena.lanes() {
            let owner = OwnerWord(self.arena.lane(index).expect("a lane of the table").owner.load(Relaxed));
            if let Some(count) = counts.get_mut(owner.row() as usize).filter(|_| owner != OwnerWord::NOBODY) {
                *count += 1;
            }
        }
        let taken = counts.iter().zip(0..).filter(|(count, _)| **count > 0);
        let mut users: Vec<Usage> = taken.map(|(count, row)| usage(&self.arena, row, *count)).collect();
        users.sort_by_key(|user| std::cmp::Reverse(user.count));
        users
    }
}

impl From<ProtocolError> for Error {
    #[cold]
    fn from(error: ProtocolError) -> Self {
        let full = |what, limit| Self::Full { what, limit, holders: Vec::new() };
        match error {
            ProtocolError::Corrupt { what, place, found } => Self::Corrupt { what, place, found },
            ProtocolError::TooLarge { length, limit } => Self::TooLarge { length, limit },
            ProtocolError::NoBlock { length, limit } => full(Resource::Blocks { length }, limit),
            ProtocolError::ClockEnded { limit } => full(Resource::Revisions, limit),
            ProtocolError::NoNode { limit } => full(Resource::Directory, limit),
            ProtocolError::Outrun { record, rounds } => Self::Outrun { what: format!("record {record}"), rounds },
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if fork::generation() == self.generation {
            // No operation is running, since each borrows a handle. What the threads' lanes keep stays in the lanes.
            self.arena.recover_row(self.me.row());
            self.locks.unlock(self.me.row());
        }
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("path", &self.path).field("row", &self.me.row()).finish_non_exhaustive()
    }
}

/// Writes into our row what people want to know.
fn introduce(arena: &Arena, row: u32) {
    let row = arena.row(row);
    row.pid.store(std::process::id().into(), Relaxed);
    row.pid_namespace.store(host::pid_namespace(), Relaxed);
    row.since.store(host::real_time(), Relaxed);
    for (place, word) in row.command.iter().zip(host::command()) {
        place.store(word, Relaxed);
    }
}

/// What a row says of its owner.
pub(crate) fn usage(arena: &Arena, row: u32, count: u64) -> Usage {
    let row = arena.row(row);
    let command = [row.command[0].load(Relaxed), row.command[1].load(Relaxed)];
    Usage { pid: row.pid.load(Relaxed) as u32, command: host::command_name(command), count }
}
