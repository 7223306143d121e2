//! A thread's lane: taken at the thread's first change of a segment, kept until the thread exits.
//!
//! The lane used last is found by two loads of thread-local memory; a nested operation of one thread is refused.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Weak};

use super::attachment::Attachment;
use crate::error::{Error, Resource, Result};
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::word::OwnerWord;
use crate::memory::os::fork;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{AcqRel, Relaxed, Release};
use crate::memory::sync::error::ProtocolError;

/// A thread's lane of one attachment, and the working copies of its updates.
struct Seat {
    /// Whether an operation of the thread is using it: a nested one is refused.
    busy: Cell<bool>,
    lane: UnsafeCell<LaneHandle>,
    copies: UnsafeCell<Copies>,
}

impl Seat {
    fn new(lane: LaneHandle) -> Self {
        let copies = Copies { old: Vec::new(), new: Vec::new(), seen: Observed::NOTHING };
        Self { busy: Cell::new(false), lane: UnsafeCell::new(lane), copies: UnsafeCell::new(copies) }
    }
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
    /// The seat used last. Needs no destructor, so that finding it is two loads; reset when the seat is freed.
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
                            return Err(error.into());
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
            Some(error) => Err(error.into()),
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
}
