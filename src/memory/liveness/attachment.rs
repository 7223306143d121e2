//! An attachment to a segment: takes a row of the participants' table, and recovers the rows of dead processes.
//!
//! A process keeps its row until its last handle is dropped. The kernel drops the row's lock when the process dies; the
//! next process that needs the row, a lane or a block, or that ends a wait slice, recovers it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64 as LocalU64;

use super::helping::{Helping, Journals};
use super::locks::Locks;
use super::recovery::Reaped;
use crate::error::{Error, Resource, Result, Usage};
use crate::memory::block::arena::Arena;
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::os::fork;
use crate::memory::os::host::{self, HostClock};
use crate::memory::sync::atomics::AtomicU32;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, Release};

/// How often an operation that found the segment full is tried again.
const ATTEMPTS_WHEN_FULL: u32 = 8;

/// The state that all clones of a [`Segment`](crate::Segment) share.
pub(crate) struct Attachment {
    pub(crate) arena: Arena,
    pub(crate) file: File,
    pub(crate) path: Option<PathBuf>,
    pub(crate) me: OwnerWord,
    pub(crate) locks: Locks,
    pub(crate) host: HostClock,
    /// Turns to spin before sleeping; adapts to how soon changes come.
    pub(crate) spin: AtomicU32,
    helping: Helping,
    /// Unlike any other attachment of this process, ever.
    pub(super) id: u64,
    /// The process generation the attachment was made in.
    pub(super) generation: u32,
    /// Our own locks do not exclude our own threads.
    recovering: Mutex<()>,
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
            // The epoch before the lock: a process that finds the row locked must not take it for its last owner.
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
                helping: Helping::default(),
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

    /// Helps others at the end of a wait slice: completes each change that has not moved since `last`, recovers the dead.
    pub(crate) fn help_stopped(&self, last: &mut Journals) {
        self.arena.help_stopped(last);
        self.reap();
    }

    /// Helps others if this process has not for a slice, since waits may all end before their first slice does; answers
    /// whether it did.
    pub(crate) fn help_when_due(&self) -> bool {
        self.helping.due().map(|mut last| self.help_stopped(&mut last)).is_some()
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

    /// Payload bytes of the largest class.
    #[inline]
    pub(crate) fn max_payload(&self) -> usize {
        self.arena.geometry.classes.last().map_or(0, |class| class.payload as usize)
    }

    /// The processes that hold lanes, those with most first.
    pub(super) fn lane_users(&self) -> Vec<Usage> {
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

/// Writes process id, command and time into our row, for people to read.
fn introduce(arena: &Arena, row: u32) {
    let row = arena.row(row);
    row.pid.store(std::process::id().into(), Relaxed);
    row.pid_namespace.store(host::pid_namespace(), Relaxed);
    row.since.store(host::real_time(), Relaxed);
    for (place, word) in row.command.iter().zip(host::command()) {
        place.store(word, Relaxed);
    }
}

/// The process that a row names, as the holder of `count` things.
pub(crate) fn usage(arena: &Arena, row: u32, count: u64) -> Usage {
    let row = arena.row(row);
    let command = [row.command[0].load(Relaxed), row.command[1].load(Relaxed)];
    Usage { pid: row.pid.load(Relaxed) as u32, command: host::command_name(command), count }
}
