//! One entry of a history: an operation with its beginning, its end and what it was told.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::History;

/// What was attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The process attached; `extra` is its pid.
    #[default]
    Attach = 0,
    /// A change by closure.
    Update = 1,
    /// A change by compare-and-swap.
    Swap = 2,
    /// A change through a claim; `extra` is the claim's token.
    Commit = 3,
    /// A logged read: `version` and `revision` as answered.
    Read = 4,
    /// A wait for a version newer than `count`; `version` is the one it returned with.
    Wait = 5,
    /// A claim: `revision` is its token, `version` the version it found ([`Entry::UNKNOWN`] if it was lost before
    /// it looked), `count` the lease in nanoseconds, `extra` the token of an intent left by somebody dead.
    Grant = 6,
    /// An intent announced under a claim; `extra` is the token, `count` the version it would create.
    Intend = 7,
    /// A lease made longer; `extra` is the token, `count` the lease from `begin` on in nanoseconds.
    Renew = 8,
    /// A claim given back; `extra` is the token.
    Release = 9,
    /// A claim or a guard dropped without being released; `extra` is the token.
    Drop = 10,
    /// A value that was not whole, or ran backwards; `extra` says how, see [`crate::anomaly::Anomaly`].
    Anomaly = 11,
    /// bank: a transfer; `record` is its author's ledger, `extra` who pays whom how much.
    Transfer = 12,
    /// A look at many entries at one moment: `revision` is the moment, `version` a sum over what was seen, `count` how
    /// many changes it shows. `record` says of what.
    Snapshot = 13,
    /// churn: `record` names from the one numbered `extra` on, created by one commit if all are absent.
    Create = 14,
    /// churn: the names of one [`Create`](Self::Create), whose author is `previous` and revision `count`, deleted again.
    Delete = 15,
    /// The lease `extra` granted, or made to last its whole time again; or, if `count` is not 0, found to last until then.
    Lease = 16,
    /// A name acquired under the lease `extra`; `revision` is the token. Where a waiter has its token before it has the name,
    /// `version` is the clock when it had the name. `count` says which names in which way, see [`crate::check::holds::Wanted`]; `previous` is
    /// the token of an intent left by somebody dead.
    Acquire = 17,
    /// A write that names the token `extra`.
    GuardedWrite = 18,
    /// A name given back by who held it with the token `extra`.
    ReleaseName = 19,
    /// The lease `extra` ended by its owner; `revision` is the clock after that.
    Revoke = 20,
    /// A name seen held with the token `revision`, under the lease `extra` if it is not 0.
    Observe = 21,
    /// leases: an entry put under somebody else's lease `extra`.
    LeasedPut = 22,
    /// watch: both halves of a pair put by one commit.
    PairPut = 23,
    /// watch: what a watcher was told at once; as [`Snapshot`](Self::Snapshot), `extra` is the number of events.
    WatchBatch = 24,
    /// watch: what a watcher knew when it was told the last word; `extra` is a digest of it.
    LastView = 25,
    /// guard: the holder with the token `extra` counts the change that made the row's version `count`; `version` is the number it got.
    Confirm = 26,
    /// delivery: `record` sends; `version` is the message's number.
    Send = 27,
    /// delivery: what `record` does for a message, acknowledged by the same commit; `extra` is the author of its [`Send`](Self::Send).
    Deliver = 28,
    /// delivery: `record` takes part; `version` is 1 if it goes on where it was.
    Join = 29,
    /// assignment: node `record` gets slot `version`; `revision` is the generation.
    Assign = 30,
    /// assignment: the slot of node `record` is released, whoever has it; found was slot `version`, generation `revision`.
    /// If a [`Sweep`](Self::Sweep) did it, that is `previous`.
    Unassign = 31,
    /// assignment: those who have been away for long are released; `version` is how many were.
    Sweep = 32,
}

impl Kind {
    const ALL: [Self; 33] = [
        Self::Attach,
        Self::Update,
        Self::Swap,
        Self::Commit,
        Self::Read,
        Self::Wait,
        Self::Grant,
        Self::Intend,
        Self::Renew,
        Self::Release,
        Self::Drop,
        Self::Anomaly,
        Self::Transfer,
        Self::Snapshot,
        Self::Create,
        Self::Delete,
        Self::Lease,
        Self::Acquire,
        Self::GuardedWrite,
        Self::ReleaseName,
        Self::Revoke,
        Self::Observe,
        Self::LeasedPut,
        Self::PairPut,
        Self::WatchBatch,
        Self::LastView,
        Self::Confirm,
        Self::Send,
        Self::Deliver,
        Self::Join,
        Self::Assign,
        Self::Unassign,
        Self::Sweep,
    ];

    /// Where the revision comes from that the operation answers; `None`: it answers none.
    pub fn revision(self) -> Option<RevisionSource> {
        match self {
            Self::Update | Self::Swap | Self::Commit | Self::Grant => Some(RevisionSource::Own),
            Self::Transfer | Self::Create | Self::Delete => Some(RevisionSource::Own),
            Self::Acquire | Self::GuardedWrite | Self::ReleaseName | Self::LeasedPut | Self::PairPut => {
                Some(RevisionSource::Own)
            }
            Self::Send | Self::Deliver => Some(RevisionSource::Own),
            Self::Read | Self::Observe | Self::Assign | Self::Unassign => Some(RevisionSource::Found),
            Self::Snapshot | Self::WatchBatch | Self::LastView | Self::Revoke => Some(RevisionSource::Clock),
            Self::Attach | Self::Wait | Self::Intend | Self::Renew => None,
            Self::Release | Self::Drop | Self::Anomaly | Self::Lease => None,
            Self::Confirm | Self::Join | Self::Sweep => None,
        }
    }
}

/// Where a revision comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionSource {
    /// It is the operation's own.
    Own,
    /// It was found on what was read.
    Found,
    /// The clock was read: everything that had returned before is older or as old.
    Clock,
}

/// What the engine answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Nothing yet: the process died inside the call, or the call never ended.
    #[default]
    InDoubt = 0,
    /// Done; for a change: acknowledged.
    Done = 1,
    /// A compare-and-swap that met another version.
    Conflict = 2,
    /// An update that met somebody's live claim.
    Held = 3,
    /// A holder that is one no longer.
    LeaseLost = 4,
    /// An update whose closure chose not to write.
    Declined = 5,
    /// A wait that came to its deadline.
    TimedOut = 6,
    /// An error that nothing in the run explains; its text is beside the history.
    Failed = 7,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::InDoubt,
        Self::Done,
        Self::Conflict,
        Self::Held,
        Self::LeaseLost,
        Self::Declined,
        Self::TimedOut,
        Self::Failed,
    ];
}

/// An operation as it was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub outcome: Outcome,
    pub record: u16,
    /// Which life of its process slot did it, from 0.
    pub life: u32,
    /// When the call began, CLOCK_MONOTONIC nanoseconds.
    pub begin: u64,
    /// When it returned; 0 while in doubt.
    pub end: u64,
    pub version: u64,
    pub revision: u64,
    /// A change: the packed author it found before it, at its last attempt.
    pub previous: u64,
    /// A change: the version it would create, at its last attempt. Other kinds: see [`Kind`].
    pub count: u64,
    pub extra: u64,
}

impl Entry {
    /// A version that was not learned.
    pub const UNKNOWN: u64 = u64::MAX;

    /// Whether it is meant to leave a new version of its record, or of the ledger, entry or pair of that number.
    pub fn is_change(&self) -> bool {
        matches!(
            self.kind,
            Kind::Update
                | Kind::Swap
                | Kind::Commit
                | Kind::Transfer
                | Kind::GuardedWrite
                | Kind::PairPut
                | Kind::Deliver
        )
    }

    pub fn is_acknowledged_change(&self) -> bool {
        self.is_change() && self.outcome == Outcome::Done
    }

    pub fn is_in_doubt(&self) -> bool {
        self.outcome == Outcome::InDoubt
    }

    pub fn is_granted(&self) -> bool {
        self.kind == Kind::Grant && self.outcome == Outcome::Done
    }

    /// `kind:8 | outcome:8 | record:16 | life:32`
    pub(super) fn what(&self) -> u64 {
        self.kind as u64 | (self.outcome as u64) << 8 | u64::from(self.record) << 16 | u64::from(self.life) << 32
    }
}

pub(super) const WHAT: usize = 0;
pub(super) const BEGIN: usize = 1;
pub(super) const END: usize = 2;
pub(super) const VERSION: usize = 3;
pub(super) const REVISION: usize = 4;
pub(super) const PREVIOUS: usize = 5;
pub(super) const COUNT: usize = 6;
pub(super) const EXTRA: usize = 7;

/// Reads an entry back. The word that says what it is was written last, so it is read first.
pub(super) fn load(history: &History, writer: u32, sequence: u64) -> Entry {
    let what = history.entry_word(writer, sequence, WHAT).load(Acquire);
    let word = |index| history.entry_word(writer, sequence, index).load(Relaxed);
    let kind = (what & 0xff) as usize;
    let outcome = (what >> 8 & 0xff) as usize;
    Entry {
        kind: *Kind::ALL.get(kind).expect("a kind this program wrote"),
        outcome: *Outcome::ALL.get(outcome).expect("an outcome this program wrote"),
        record: (what >> 16) as u16,
        life: (what >> 32) as u32,
        begin: word(BEGIN),
        end: word(END),
        version: word(VERSION),
        revision: word(REVISION),
        previous: word(PREVIOUS),
        count: word(COUNT),
        extra: word(EXTRA),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_outcome_has_its_own_number_in_the_list() {
        for (number, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
        }
        for (number, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, number);
        }
    }
}
