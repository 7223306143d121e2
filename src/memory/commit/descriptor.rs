//! Several records changed atomically, all of them or none, also if the author is stopped or dies halfway.
//!
//! ```text
//!  lane ── descriptor: control = sequence | FREE → UNDECIDED → COMMITTED → FREE        (or → FAILED → FREE)
//!            │         revision = pending | sequence → the commit's revision
//!            └ entries, ascending by record: (record, expected head, new block and its owned word, spare)
//!
//!  record A: head ─► block          install          release            head ─► new block, count + 1
//!  record B: head ─► block   ─►  head = reference  ─►                   head ─► new block, count + 1
//! ```
//! 1. The author reads the heads, judges its conditions, fills new blocks in spares of its lane, writes the entries and
//!    makes the descriptor UNDECIDED ([`LaneHandle::commit`](crate::memory::block::spares::LaneHandle::commit)).
//! 2. In the order of records, each head is swapped from the expected one to a *reference* to the descriptor. A head that
//!    is another commit's reference: that commit is finished first. Any other head: FAILED.
//! 3. All installed: UNDECIDED → COMMITTED, one compare-and-swap: **this is the moment the commit takes place**.
//! 4. COMMITTED: the groups are marked, the revision is drawn, every new block is stamped with it, and only then the heads
//!    are released to the new blocks. FAILED: the heads are released to the expected blocks. Each release is the record's
//!    next count.
//! 5. The author takes the displaced blocks into its spares; then the descriptor is FREE.
//!
//! A thread that meets a reference (a reader, an updater, another commit, a recoverer) does steps 2 to 4 itself, after
//! spinning for about a microsecond, so nobody waits for the author. This is the multi-word compare-and-swap of Harris,
//! Fraser and Pratt (2002) with sequence numbers for descriptors, so that they need no reclamation.
//!
//! # Why helping ends
//! Helping does not recurse. A commit is blocked only at a record larger than all it has installed, so from blocked to
//! blocker records grow; the last one in the chain is finished, and one begins again with one's own. A put-back at one
//! record stems from a failure at a larger one, so by induction somebody commits. Chains whose records do not grow are
//! damage.
//!
//! # Why a late helper is harmless
//! A helper may have slept for any time between reading an entry and acting on it:
//! * *install*: counts only grow, so the expected head never comes back once the commit was decided: after COMMITTED
//!   every head went on by a count; after FAILED at entry *j* head *j* differs from the expected one for ever, those before
//!   have gone on, those after are out of reach, since entries are installed in order.
//! * *number*: compares the owned word that stands *in the entry*. Nobody loads the state to learn it: the block may have
//!   been numbered, displaced and owned by another lane while the descriptor is still COMMITTED. An owned word that was
//!   ever under a head does not come back, since its tag is the block's last revision.
//! * *release*: compares the whole reference, whose sequence is the commit's.
//! * An entry is used only if the descriptor is still that commit's after it was read (edge `descriptor`), and the same
//!   goes for the revision.
//!
//! # When a process dies
//! Before UNDECIDED: nothing happened, its blocks are in its spares. After: the recoverer of the lane does steps 2 to 5; so
//! an undecided commit of a dead process may still take place, which is what "unacknowledged: at most once" allows.

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::layout::sections::{Descriptor, ENTRIES, SPARES, UPDATE_SPARES};
use crate::memory::layout::word::{CommitPhase, Control, EntryWords, Head, Plan, RevisionWord, Spare};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::memory::sync::atomics::fence;
use crate::memory::sync::error::{ProtocolError, RetryBudget};

/// How far one helper got with one commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drive {
    /// It is decided, and all its records are released.
    Finished,
    /// The descriptor has gone on to something else: the commit was finished by others.
    Gone,
    /// Another commit holds this record.
    Blocked { record: u32, by: Head },
}

impl Arena {
    /// Finishes the commit whose reference was met at `record`, and whichever commits are in its way.
    #[cold]
    pub(crate) fn help(&self, record: u32, reference: Head) -> Result<(), ProtocolError> {
        self.counters().helped.fetch_add(1, Relaxed);
        self.drive_to_end(Some(record), reference).map(|_| ())
    }

    /// Drives a commit until it is decided and released; the author's own, or one met at `record`.
    pub(crate) fn drive_to_end(&self, record: Option<u32>, reference: Head) -> Result<(), ProtocolError> {
        let mut budget = RetryBudget::new();
        loop {
            let (mut current, mut at) = (reference, record);
            let blocked = loop {
                match self.drive(current)? {
                    Drive::Blocked { record, by } => {
                        if at.is_some_and(|at| record <= at) {
                            let what = "commits that block each other";
                            return Err(ProtocolError::Corrupt { what, place: record.into(), found: by.0 });
                        }
                        (current, at) = (by, Some(record));
                    }
                    Drive::Finished | Drive::Gone => break current,
                }
            };
            if blocked == reference {
                return Ok(());
            }
            budget.again("a commit that stays blocked", at.unwrap_or(0), blocked.0, reference.0)?;
        }
    }

    /// Steps 2 to 4 for one commit, up to the first foreign reference.
    fn drive(&self, reference: Head) -> Result<Drive, ProtocolError> {
        let (index, sequence) = (reference.descriptor(), reference.sequence());
        let damaged = |what, found| Err(ProtocolError::Corrupt { what, place: index.into(), found });
        let Some(lane) = self.lane(index) else {
            return damaged("a reference to a lane that is not there", reference.0);
        };
        let descriptor = &lane.descriptor;
        // Acquire: edge `descriptor`, the entries of this sequence are seen whole.
        let control = Control(descriptor.control.load(Acquire));
        if !control.is_of(sequence) {
            return Ok(Drive::Gone);
        }
        let count = descriptor.count.load(Relaxed) as usize;
        if count > ENTRIES {
            let gone = !Control(descriptor.control.load(Acquire)).is_of(sequence);
            return if gone { Ok(Drive::Gone) } else { damaged("a commit's number of entries", count as u64) };
        }
        if control.phase() == CommitPhase::Undecided
            && let Some(stop) = self.install(descriptor, reference, count)?
        {
            return Ok(stop);
        }
        let decided = Control(descriptor.control.load(Acquire));
        if !decided.is_of(sequence) {
            return Ok(Drive::Gone);
        }
        match decided.phase() {
            CommitPhase::Committed => self.complete(descriptor, reference, count),
            _ => self.put_back(descriptor, reference, count),
        }
    }

    /// Steps 2 and 3; `None` once the commit is decided.
    fn install(&self, descriptor: &Descriptor, reference: Head, count: usize) -> Result<Option<Drive>, ProtocolError> {
        let sequence = reference.sequence();
        let undecided = Control::new(sequence, CommitPhase::Undecided).0;
        let decide = |phase| {
            let decided = Control::new(sequence, phase).0;
            let _ = descriptor.control.compare_exchange(undecided, decided, AcqRel, Relaxed);
        };
        for i in 0..count {
            let Some(entry) = self.entry(descriptor, sequence, i)? else {
                return Ok(Some(Drive::Gone));
            };
            if descriptor.control.load(Acquire) != undecided {
                return Ok(None);
            }
            let record = entry.plan.record();
            // SeqCst: this is the swap that edges `sleep` and `mark` speak of. Its release gives nothing more: a thread that
            // follows the reference reads the control word before the entries, edge `descriptor`. Acquire on failure:
            // edge `publish`, a thread that meets a foreign reference sees its descriptor.
            let head = &self.record(record).head;
            match head.compare_exchange(entry.expected.0, reference.0, SeqCst, Acquire) {
                Ok(_) => {}
                Err(found) if found == reference.0 => {}
                Err(found) if Head(found).is_reference() => {
                    // Looked at again: a decided commit's records may be anybody's by now.
                    if descriptor.control.load(Acquire) != undecided {
                        return Ok(None);
                    }
                    return Ok(Some(Drive::Blocked { record, by: Head(found) }));
                }
                Err(_) => {
                    decide(CommitPhase::Failed);
                    return Ok(None);
                }
            }
        }
        decide(CommitPhase::Committed);
        Ok(None)
    }

    /// Step 4 of a commit that takes place.
    fn complete(&self, descriptor: &Descriptor, reference: Head, count: usize) -> Result<Drive, ProtocolError> {
        let sequence = reference.sequence();
        let mut bits = 0;
        let mut drawn = RevisionWord(descriptor.revision.load(Acquire));
        if drawn.revision().is_none() {
            for i in 0..count {
                let Some(entry) = self.entry(descriptor, sequence, i)? else {
                    return Ok(Drive::Gone);
                };
                if entry.plan.is_change() {
                    bits |= self.mark(entry.plan.record());
                }
            }
            let number = self.clock().fetch_add(1, edge("clock", AcqRel)).wrapping_add(1);
            // AcqRel and Acquire: all agree on the first number, and see the clock at it (edge `number`).
            drawn = match descriptor.revision.compare_exchange(drawn.0, number, AcqRel, Acquire) {
                Ok(_) => RevisionWord(number),
                Err(found) => RevisionWord(found),
            };
        }
        if !self.is_still(descriptor, sequence) {
            return Ok(Drive::Gone);
        }
        let Some(revision) = drawn.revision() else {
            return Err(ProtocolError::Corrupt {
                what: "a commit's revision",
                place: reference.descriptor().into(),
                found: drawn.0,
            });
        };
        let released = self.number_blocks(descriptor, sequence, count, revision)?
            && self.release(descriptor, reference, count, true)?;
        if !released {
            return Ok(Drive::Gone);
        }
        for i in 0..count {
            let Some(entry) = self.entry(descriptor, sequence, i)? else {
                break;
            };
            // Also if another thread released it: that one may have died before its wake.
            if entry.plan.is_change() {
                self.wake_waiters(entry.plan.record(), 0, true);
            }
        }
        self.wake_watchers(bits);
        Ok(Drive::Finished)
    }

    /// Gives every new block the commit's revision; `false` if others have finished the commit meanwhile.
    fn number_blocks(
        &self,
        descriptor: &Descriptor,
        sequence: u64,
        count: usize,
        revision: u64,
    ) -> Result<bool, ProtocolError> {
        for i in 0..count {
            let Some(entry) = self.entry(descriptor, sequence, i)? else {
                return Ok(false);
            };
            if let Some(block) = self.block(entry.plan.block()).filter(|_| entry.plan.is_change()) {
                let state = &block.head.state;
                let _ = state.compare_exchange(entry.owned, revision, edge("commit.number", AcqRel), Relaxed);
            }
        }
        Ok(true)
    }

    /// Step 4 of a commit that does not take place. Nobody is woken: nothing has changed.
    fn put_back(&self, descriptor: &Descriptor, reference: Head, count: usize) -> Result<Drive, ProtocolError> {
        let all = self.release(descriptor, reference, count, false)?;
        Ok(if all { Drive::Finished } else { Drive::Gone })
    }

    /// Takes the references away; `false` if others have finished the commit meanwhile.
    fn release(
        &self,
        descriptor: &Descriptor,
        reference: Head,
        count: usize,
        committed: bool,
    ) -> Result<bool, ProtocolError> {
        for i in 0..count {
            let Some(entry) = self.entry(descriptor, reference.sequence(), i)? else {
                return Ok(false);
            };
            let change = committed && entry.plan.is_change();
            let block = if change { entry.plan.block() } else { entry.expected.block() };
            let next = entry.expected.next(block);
            // SeqCst: edge `sleep`, this swap and then a look at the event.
            let head = &self.record(entry.plan.record()).head;
            let _ = head.compare_exchange(reference.0, next.0, edge("release.release", SeqCst), Relaxed);
        }
        Ok(true)
    }

    /// One entry, if the descriptor is still that commit's after it was read; its record is one there is.
    #[inline]
    fn entry(&self, descriptor: &Descriptor, sequence: u64, i: usize) -> Result<Option<EntryWords>, ProtocolError> {
        let words = &descriptor.entries[i];
        let entry = EntryWords {
            plan: Plan(words.plan.load(Relaxed)),
            expected: Head(words.expected.load(Relaxed)),
            owned: words.owned.load(Relaxed),
        };
        if !self.is_still(descriptor, sequence) {
            return Ok(None);
        }
        if entry.plan.record() >= self.records() || entry.expected.is_reference() {
            let what = "an entry of a commit";
            return Err(ProtocolError::Corrupt { what, place: entry.plan.record().into(), found: entry.expected.0 });
        }
        Ok(Some(entry))
    }

    /// Whether the descriptor has been this commit's up to now.
    #[inline]
    fn is_still(&self, descriptor: &Descriptor, sequence: u64) -> bool {
        // Edge `descriptor`: if any word read before is of a later commit, the control word is seen changed.
        fence(Acquire);
        Control(descriptor.control.load(Relaxed)).is_of(sequence)
    }

    /// Steps 2 to 5, for the lane's next owner or its recoverer; answers whether the commit took place, `None` if there was
    /// none. May be repeated from any point.
    pub(crate) fn settle_commit(&self, index: u32) -> Result<Option<bool>, ProtocolError> {
        let lane = self.lane(index).expect("a lane the caller has the right to");
        let descriptor = &lane.descriptor;
        let control = Control(descriptor.control.load(Acquire));
        if control.phase() == CommitPhase::Free {
            return Ok(None);
        }
        let sequence = control.sequence();
        self.drive_to_end(None, Head::reference(index, sequence))?;
        let committed = Control(descriptor.control.load(Acquire)).phase() == CommitPhase::Committed;
        let count = (descriptor.count.load(Relaxed) as usize).min(ENTRIES);
        for words in &descriptor.entries[..count] {
            let plan = Plan(words.plan.load(Relaxed));
            if !plan.is_change() || !(UPDATE_SPARES..SPARES).contains(&plan.spare()) {
                continue;
            }
            let displaced = Head(words.expected.load(Relaxed)).block();
            let block = if committed { displaced } else { plan.block() };
            lane.spares[plan.spare()].store(Spare::keeping(block).0, Relaxed);
        }
        // Release: the spares are written before any of these blocks may be used again; edge `lane` to the next owner.
        descriptor.control.store(Control::new(sequence, CommitPhase::Free).0, Release);
        Ok(Some(committed))
    }
}
