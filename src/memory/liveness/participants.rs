//! Lists the participants of a segment: the attached processes, alive, stopped or dead.

use std::time::SystemTime;

use super::attachment::Attachment;
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

/// One attachment to a segment: which process it is of, and whether that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
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

/// Whether a participant lives.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It holds its row's lock.
    Alive,
    /// It holds its row's lock and is stopped by a signal or a debugger. Known only of processes in our own PID
    /// namespace; elsewhere a stopped process shows as alive.
    Stopped,
    /// The kernel has dropped its lock: it can never store again. [`Segment::reap`](crate::Segment::reap) recovers it.
    Dead,
}

impl Attachment {
    /// All attached, and the dead that are not recovered yet.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        let arena = &self.arena;
        let mut lanes = vec![0; arena.rows() as usize];
        for lane in (0..arena.lanes()).filter_map(|index| arena.lane(index)) {
            let owner = OwnerWord(lane.owner.load(Relaxed));
            if let Some(count) = lanes.get_mut(owner.row() as usize).filter(|_| owner != OwnerWord::NOBODY) {
                *count += 1;
            }
        }
        let ours = host::pid_namespace();
        let participant = |index: u32| {
            let row = arena.row(index);
            let word = RowWord(row.word.load(Acquire));
            if !word.is_attached() {
                return None;
            }
            let owner = OwnerWord::new(index, word.epoch());
            let pid = row.pid.load(Relaxed) as u32;
            let alive = self.is_alive(owner);
            let stopped = alive && row.pid_namespace.load(Relaxed) == ours && host::is_stopped(pid);
            Some(Participant {
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
                me: owner == self.me,
            })
        };
        (0..arena.rows()).filter_map(participant).collect()
    }
}
