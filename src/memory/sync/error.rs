//! Errors of the protocol, and how often a step is retried before it becomes one.

/// Why a step of the protocol failed. It has changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProtocolError {
    /// The segment is damaged: `what` at `place` is `found`.
    Corrupt { what: &'static str, place: u64, found: u64 },
    /// No block holds `length` bytes; the largest has `limit`.
    TooLarge { length: usize, limit: usize },
    /// None of the `limit` blocks that hold `length` bytes is free.
    NoBlock { length: usize, limit: u64 },
    /// The clock has come to its end, the revision `limit`.
    ClockEnded { limit: u64 },
    /// None of the `limit` nodes of the tree of names is free.
    NoNode { limit: u64 },
    /// Others changed the record so often that this one step was never taken.
    Outrun { record: u32, rounds: u64 },
}

/// How often one operation retries before it fails: as damaged if the head never changes, as outrun if it always does.
///
/// An unchanged head with an invalid block is damage: a correct change of the block changes the head first, and a reader
/// that acquires the change sees the new head. A head that changes every time is another's progress.
pub(crate) struct RetryBudget {
    last: u64,
    same: u32,
    rounds: u64,
}

impl RetryBudget {
    /// Looks at one unchanged head before it counts as damaged.
    const SAME: u32 = if cfg!(loom) { 8 } else { 1 << 16 };
    /// Rounds in all before the operation gives up.
    const ROUNDS: u64 = if cfg!(loom) { 32 } else { 1 << 26 };

    #[inline]
    pub(crate) fn new() -> Self {
        Self { last: 0, same: 0, rounds: 0 }
    }

    /// One more look that made no sense, at `head`.
    #[cold]
    pub(crate) fn again(
        &mut self,
        what: &'static str,
        record: u32,
        head: u64,
        found: u64,
    ) -> Result<(), ProtocolError> {
        self.rounds += 1;
        self.same = if self.rounds > 1 && head == self.last { self.same + 1 } else { 0 };
        self.last = head;
        if self.same > Self::SAME {
            return Err(ProtocolError::Corrupt { what, place: record.into(), found });
        }
        if self.rounds > Self::ROUNDS {
            return Err(ProtocolError::Outrun { record, rounds: self.rounds });
        }
        super::atomics::pause();
        Ok(())
    }
}
