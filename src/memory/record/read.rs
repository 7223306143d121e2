//! Reads a record without a lock: a whole value that was current at some moment of the read.
//!
//! A reader that meets a published change without a number waits a moment for the author, then numbers it
//! ([`journal`](super::journal)); it finishes a commit in flight likewise.

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::block::meta::{Block, BlockMeta};
use crate::memory::layout::word::{BlockState, BlockStateKind, Head};
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};
use crate::memory::sync::atomics::{fence, pause};
use crate::memory::sync::error::{ProtocolError, RetryBudget};

/// What one read of a record found: a whole value, current at some moment of the read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) head: Head,
    /// The block's own revision: of the value's change, or of the claim that put the block there. 0: absent.
    pub(crate) revision: u64,
    pub(crate) meta: BlockMeta,
}

impl Observed {
    /// A place for [`Arena::read`] to write to.
    pub(crate) const NOTHING: Self = Self { head: Head(0), revision: 0, meta: BlockMeta::ABSENT };

    /// The revision of the last change of the value; 0 if there has been none.
    #[inline]
    pub(crate) fn modified(&self) -> u64 {
        modified_at(self.meta.version, self.meta.modified, self.revision)
    }

    pub(crate) fn created(&self) -> u64 {
        if self.meta.created == 0 { self.revision } else { self.meta.created }
    }

    /// The token of the claim the block bears.
    pub(crate) fn token(&self) -> u64 {
        if self.meta.claim.token == 0 { self.revision } else { self.meta.claim.token }
    }
}

/// When a value last changed, by what its block says and the block's own revision; 0 if it never did.
#[inline]
pub(crate) fn modified_at(version: u64, modified: u64, own: u64) -> u64 {
    match modified {
        0 => own,
        _ if version == 0 => 0,
        modified => modified,
    }
}

/// How long a reader retries before it completes the update for its author: about a microsecond.
const COURTESY: u32 = if cfg!(loom) { 0 } else { 24 };

/// Why a read has not ended yet.
struct Trouble {
    budget: RetryBudget,
    /// The unnumbered head whose author is being waited for, and for how many turns already.
    waiting_on: Head,
    turns: u32,
}

impl Arena {
    /// Reads a record: its header, and its payload where `payload` asks for it.
    ///
    /// Stores nothing shared unless it meets a change whose author has not finished it for about a microsecond.
    pub(crate) fn read(&self, record: u32, payload: Option<&mut Vec<u8>>) -> Result<Observed, ProtocolError> {
        let mut seen = Observed::NOTHING;
        self.read_into(record, payload, &mut seen)?;
        Ok(seen)
    }

    /// [`Arena::read`] into a place of the caller's; what is there after an error means nothing.
    #[inline(always)]
    pub(crate) fn read_into(
        &self,
        record: u32,
        mut payload: Option<&mut Vec<u8>>,
        seen: &mut Observed,
    ) -> Result<(), ProtocolError> {
        let meta = &mut seen.meta;
        let (head, revision) = self.read_with(record, |block| {
            block.read_meta(meta);
            if let Some(payload) = payload.as_deref_mut() {
                block.copy(meta.length as usize, payload);
            }
            (meta.record, meta.length)
        })?;
        (seen.head, seen.revision) = (head, revision);
        if head.block() == 0 {
            seen.meta = BlockMeta { record, ..BlockMeta::ABSENT };
            if let Some(payload) = payload {
                payload.clear();
            }
        }
        Ok(())
    }

    /// Reads a record through `visit`, which copies what it wants of the block and answers the record and length it
    /// read there; it may run again, and only its last run counts. Answers the head and the block's revision; for an
    /// absent record `visit` does not run and the revision is 0.
    #[inline(always)]
    pub(crate) fn read_with(
        &self,
        record: u32,
        mut visit: impl FnMut(Block<'_>) -> (u32, u32),
    ) -> Result<(Head, u64), ProtocolError> {
        let slot = self.record(record);
        let mut trouble = Trouble { budget: RetryBudget::new(), waiting_on: Head::default(), turns: 0 };
        loop {
            let head = Head(slot.head.load(edge("publish.acquire", Acquire)));
            if head.is_absent() {
                return Ok((head, 0));
            }
            if head.is_reference() {
                self.in_flight(record, head, &mut trouble)?;
                continue;
            }
            let Some(block) = self.block(head.block()) else {
                trouble.budget.again("a head that names no block", record, head.0, head.0)?;
                continue;
            };
            let state = BlockState(block.head.state.load(edge("number.acquire", Acquire)));
            let Some(revision) = state.revision() else {
                self.unnumbered(record, head, state, &mut trouble)?;
                continue;
            };
            let (of, length) = visit(block);
            // Edge `recycle`: if any word above is of the block's next life, the state is seen changed below.
            fence(Acquire);
            let same = block.head.state.load(Relaxed) == state.0;
            if same && of == record && length as usize <= block.capacity() {
                return Ok((head, revision));
            }
            let what = "a block of another record, or longer than its class";
            trouble.budget.again(what, record, head.0, state.0)?;
        }
    }

    /// A read that met a block without a number: waits a moment for the author, then finishes for it.
    #[cold]
    fn unnumbered(
        &self,
        record: u32,
        head: Head,
        state: BlockState,
        trouble: &mut Trouble,
    ) -> Result<(), ProtocolError> {
        if state.kind() == BlockStateKind::Free {
            return trouble.budget.again("a head that names a free block", record, head.0, state.0);
        }
        if trouble.waiting_on != head {
            (trouble.waiting_on, trouble.turns) = (head, 0);
        }
        trouble.turns += 1;
        if trouble.turns <= COURTESY {
            pause();
            return Ok(());
        }
        self.number_for(record, head, state)?;
        trouble.budget.again("a change that cannot be numbered", record, head.0, state.0)
    }

    /// A read that met a commit in flight: waits a moment for its author, then finishes it.
    #[cold]
    fn in_flight(&self, record: u32, head: Head, trouble: &mut Trouble) -> Result<(), ProtocolError> {
        if trouble.waiting_on != head {
            (trouble.waiting_on, trouble.turns) = (head, 0);
        }
        trouble.turns += 1;
        if trouble.turns <= COURTESY {
            pause();
            return Ok(());
        }
        self.help(record, head)?;
        trouble.budget.again("a reference to a commit that is not there", record, head.0, head.0)
    }
}
