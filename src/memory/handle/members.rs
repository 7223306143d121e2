//! Who is attached, what the dead left, and where every block is.

use std::time::SystemTime;

use super::segment::Segment;
use crate::error::Result;
use crate::memory::layout::sections::UPDATE_SPARES;
use crate::memory::layout::word::{
    BlockState, BlockStateKind, CommitPhase, Control, Head, JournalWord, OwnerWord, RowWord, Spare,
};
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

/// One attachment, as people want to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its row in the table of participants.
    pub row: u32,
    /// How many attachments the row has had, this one included.
    pub epoch: u64,
    /// Its process id, in its own PID namespace.
    pub pid: u32,
    /// Its command's name, at most 15 bytes.
    pub command: String,
    /// When it attached.
    pub since: SystemTime,
    /// Whether it lives.
    pub life: Life,
    /// How many of its threads have changed records.
    pub lanes: u32,
    /// Whether this is the attachment that asks.
    pub me: bool,
}

/// Whether a member lives.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It holds its row's lock.
    Alive,
    /// It holds its row's lock and is stopped by a signal or a debugger. Known only of processes in our own PID
    /// namespace; elsewhere a stopped process shows as alive.
    Stopped,
    /// The kernel has dropped its lock: it can never store again. [`Segment::reap`] recovers it.
    Dead,
}

/// What [`Segment::reap`] recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Dead participants.
    pub participants: u32,
    /// Their lanes.
    pub lanes: u32,
    /// Changes they had published or were about to, completed.
    pub finished: u32,
}

/// Where a segment's blocks, lanes and rows are. Exact only while nobody changes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// All blocks.
    pub blocks: u64,
    /// Blocks that hold a record's value.
    pub under_heads: u64,
    /// Blocks that lanes keep.
    pub in_spares: u64,
    /// Blocks in the pool.
    pub free: u64,
    /// Blocks that are nowhere: leaked.
    pub missing: u64,
    /// Blocks that are in two places.
    pub doubled: u64,
    /// All lanes.
    pub lanes: u32,
    /// Lanes somebody has taken.
    pub lanes_taken: u32,
    /// All participants' rows.
    pub rows: u32,
    /// Rows somebody has taken, dead or alive.
    pub rows_taken: u32,
    /// Changes begun and not completed.
    pub pending: u32,
}

impl Segment {
    /// Everybody attached, and the dead that nobody has recovered yet.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked), [`Error::Retired`](crate::Error::Retired).
    pub fn members(&self) -> Result<Vec<Member>> {
        let home = &self.inner;
        home.check()?;
        let arena = &home.arena;
        let mut lanes = vec![0; arena.rows() as usize];
        for lane in (0..arena.lanes()).filter_map(|index| arena.lane(index)) {
            let owner = OwnerWord(lane.owner.load(Relaxed));
            if let Some(count) = lanes.get_mut(owner.row() as usize).filter(|_| owner != OwnerWord::NOBODY) {
                *count += 1;
            }
        }
        let ours = host::pid_namespace();
        let member = |index: u32| {
            let row = arena.row(index);
            let word = RowWord(row.word.load(Acquire));
            if !word.is_attached() {
                return None;
            }
            let owner = OwnerWord::new(index, word.epoch());
            let pid = row.pid.load(Relaxed) as u32;
            let alive = home.is_alive(owner);
            let stopped = alive && row.pid_namespace.load(Relaxed) == ours && host::is_stopped(pid);
            Some(Member {
                row: index,
                epoch: word.epoch(),
                pid,
                command: host::command_name([row.command[0].load(Relaxed), row.command[1].load(Relaxed)]),
                since: host::moment(row.since.load(Relaxed)),
                life: match (alive, stopped) {
                    (false, _) => Life::Dead,
                    (true, true) => Life::Stopped,
                    (true, false) => Life::Alive,
                },
                lanes: lanes[index as usize],
                me: owner == home.me,
            })
        };
        Ok((0..arena.rows()).filter_map(member).collect())
    }

    /// Recovers every dead participant now, instead of when somebody needs what it had: its unfinished changes are
    /// completed, its lanes and row are free.
    ///
    /// # Errors
    /// As [`Segment::members`].
    pub fn reap(&self) -> Result<Reaped> {
        self.inner.check()?;
        let (participants, recovered) = self.inner.reap();
        Ok(Reaped { participants, lanes: recovered.lanes, finished: recovered.finished })
    }

    /// Counts where every block is.
    ///
    /// # Errors
    /// As [`Segment::members`].
    pub fn audit(&self) -> Result<Audit> {
        self.inner.check()?;
        let arena = &self.inner.arena;
        let mut places = vec![0u8; arena.blocks() as usize + 1];
        let mut audit =
            Audit { blocks: arena.blocks().into(), lanes: arena.lanes(), rows: arena.rows(), ..Audit::default() };
        let mut place = |block: u32, count: &mut u64| {
            if let Some(places) = places.get_mut(block as usize).filter(|_| block != 0) {
                *places = places.saturating_add(1);
                *count += 1;
            }
        };
        for record in 0..arena.records() {
            let head = Head(arena.record(record).head.load(Acquire));
            if head.is_reference() {
                // Finished here rather than counted in pieces; damage shows as blocks that are missing.
                let _ = arena.help(record, head);
            }
            place(Head(arena.record(record).head.load(Acquire)).block(), &mut audit.under_heads);
        }
        for lane in (0..arena.lanes()).filter_map(|index| arena.lane(index)) {
            let committing = Control(lane.descriptor.control.load(Acquire)).phase() != CommitPhase::Free;
            for (at, spare) in lane.spares.iter().enumerate() {
                // A commit under way has its author's spares full of what is under heads already, or soon.
                if !(committing && at >= UPDATE_SPARES) {
                    place(Spare(spare.load(Acquire)).block(), &mut audit.in_spares);
                }
            }
            audit.pending += u32::from(committing);
            audit.lanes_taken += u32::from(lane.owner.load(Relaxed) != OwnerWord::NOBODY.0);
            audit.pending += u32::from(JournalWord(lane.journal.load(Relaxed)).is_set());
        }
        for block in 1..=arena.blocks() {
            let state = BlockState(arena.block(block).expect("a block of the table").head.state.load(Acquire));
            if state.kind() == BlockStateKind::Free {
                place(block, &mut audit.free);
            }
        }
        audit.rows_taken =
            (0..arena.rows()).filter(|row| RowWord(arena.row(*row).word.load(Relaxed)).is_attached()).count() as u32;
        audit.missing = places[1..].iter().filter(|places| **places == 0).count() as u64;
        audit.doubled = places[1..].iter().filter(|places| **places > 1).count() as u64;
        Ok(audit)
    }
}
