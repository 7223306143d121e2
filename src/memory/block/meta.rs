//! One block: its header as a plain value, and copying header and payload in and out.
//!
//! A block is written by the one lane that owns it and read by anybody at any time, so every word is an atomic and a
//! torn read is harmless: the reader finds out from the state word and throws the copy away.

use crate::edge::edge;
use crate::memory::layout::sections::BlockHead;
use crate::memory::layout::word::{BlockState, OwnerWord};
use crate::memory::sync::atomics::Ordering::{Relaxed, Release};
use crate::memory::sync::atomics::{AtomicU64, fence};

/// One block: its header and the words of its payload.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) head: &'a BlockHead,
    pub(crate) payload: &'a [AtomicU64],
}

/// A claim: its owner alone may change the record, until it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClaimWords {
    pub(crate) owner: OwnerWord,
    /// The revision that created the claim; 0 in the very block that creates it.
    pub(crate) token: u64,
    /// Nanoseconds of the host's monotonic clock.
    pub(crate) until: u64,
    pub(crate) since: u64,
}

impl ClaimWords {
    pub(crate) const NONE: Self = Self { owner: OwnerWord::NOBODY, token: 0, until: 0, since: 0 };

    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.owner != OwnerWord::NOBODY
    }
}

/// The write outside the segment that a claim's holder announced; `token` 0: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct IntentWords {
    pub(crate) token: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// A block's header but for its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockMeta {
    pub(crate) record: u32,
    pub(crate) length: u32,
    pub(crate) incarnation: u64,
    pub(crate) version: u64,
    /// 0: the block's own revision. Anything else: this block changed no value (a claim, its renewal or release).
    pub(crate) modified: u64,
    pub(crate) created: u64,
    pub(crate) lease: u64,
    pub(crate) fingerprint: u64,
    pub(crate) kind: u64,
    pub(crate) claim: ClaimWords,
    pub(crate) intent: IntentWords,
}

impl IntentWords {
    pub(crate) const NONE: Self = Self { token: 0, before: 0, after: 0 };

    /// The words, if they announce something.
    #[inline]
    pub(crate) fn announced(&self) -> Option<&Self> {
        (self.token != 0).then_some(self)
    }
}

impl BlockMeta {
    /// The header of an absent record.
    pub(crate) const ABSENT: Self = Self {
        record: 0,
        length: 0,
        incarnation: 0,
        version: 0,
        modified: 0,
        created: 0,
        lease: 0,
        fingerprint: EMPTY_FINGERPRINT,
        kind: 0,
        claim: ClaimWords::NONE,
        intent: IntentWords::NONE,
    };
}

/// The header of a block to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'a> {
    pub(crate) record: u32,
    pub(crate) incarnation: u64,
    pub(crate) version: u64,
    /// As [`BlockMeta::modified`].
    pub(crate) modified: u64,
    pub(crate) created: u64,
    pub(crate) lease: u64,
    pub(crate) fingerprint: u64,
    pub(crate) kind: u64,
    pub(crate) claim: Option<&'a ClaimWords>,
    pub(crate) intent: Option<&'a IntentWords>,
}

/// FNV-1a 64 of nothing: the offset basis.
pub(crate) const EMPTY_FINGERPRINT: u64 = 0xcbf2_9ce4_8422_2325;

impl Block<'_> {
    /// How many payload bytes the block can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.payload.len() * 8
    }

    /// Makes the block the lane's to fill: `owned` is its word from now on.
    #[inline(always)]
    pub(crate) fn begin_life(&self, owned: BlockState) {
        // Release: edge `leave`. A thread that meets this word also sees that the block has left its last head.
        self.head.state.store(owned.0, edge("leave.release", Release));
        // Edge `recycle`: a reader that copies any word written below sees the state changed afterwards.
        fence(Release);
    }

    /// Writes header and payload. The caller owns the block and has put a release fence between its owned word and this.
    #[inline(always)]
    pub(crate) fn fill(&self, next: &Next<'_>, value: &[u8]) {
        let head = self.head;
        head.place.store((value.len() as u64) << 32 | u64::from(next.record), Relaxed);
        head.incarnation.store(next.incarnation, Relaxed);
        head.version.store(next.version, Relaxed);
        head.modified.store(next.modified, Relaxed);
        head.created.store(next.created, Relaxed);
        head.lease.store(next.lease, Relaxed);
        head.fingerprint.store(next.fingerprint, Relaxed);
        head.kind.store(next.kind, Relaxed);
        // The other claim words mean nothing while nobody owns the claim; likewise the intent's.
        head.claim_owner.store(next.claim.map_or(0, |claim| claim.owner.0), Relaxed);
        if let Some(claim) = next.claim {
            head.claim_token.store(claim.token, Relaxed);
            head.claim_until.store(claim.until, Relaxed);
            head.claim_since.store(claim.since, Relaxed);
        }
        head.intent_token.store(next.intent.map_or(0, |intent| intent.token), Relaxed);
        if let Some(intent) = next.intent {
            head.intent_before.store(intent.before, Relaxed);
            head.intent_after.store(intent.after, Relaxed);
        }
        let (words, rest) = value.as_chunks::<8>();
        for (place, word) in self.payload.iter().zip(words) {
            place.store(u64::from_ne_bytes(*word), Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.payload[words.len()].store(u64::from_ne_bytes(last), Relaxed);
        }
    }

    /// The record and length the block bears. Possibly torn, as all that follows.
    #[inline(always)]
    pub(crate) fn place(&self) -> (u32, u32) {
        let place = self.head.place.load(Relaxed);
        (place as u32, (place >> 32) as u32)
    }

    /// Version, `modified` and fingerprint.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> (u64, u64, u64) {
        let head = self.head;
        (head.version.load(Relaxed), head.modified.load(Relaxed), head.fingerprint.load(Relaxed))
    }

    /// Copies the header. Possibly torn: to be used only once the state was seen unchanged afterwards.
    ///
    /// Written in place, word by word: a struct of this size moved about would be read back in larger pieces than it was
    /// stored in, which stalls.
    #[inline(always)]
    pub(crate) fn read_meta(&self, meta: &mut BlockMeta) {
        let head = self.head;
        (meta.record, meta.length) = self.place();
        meta.incarnation = head.incarnation.load(Relaxed);
        meta.version = head.version.load(Relaxed);
        meta.modified = head.modified.load(Relaxed);
        meta.created = head.created.load(Relaxed);
        meta.lease = head.lease.load(Relaxed);
        meta.fingerprint = head.fingerprint.load(Relaxed);
        meta.kind = head.kind.load(Relaxed);
        meta.claim.owner = OwnerWord(head.claim_owner.load(Relaxed));
        if meta.claim.is_some() {
            meta.claim.token = head.claim_token.load(Relaxed);
            meta.claim.until = head.claim_until.load(Relaxed);
            meta.claim.since = head.claim_since.load(Relaxed);
        }
        meta.intent.token = head.intent_token.load(Relaxed);
        if meta.intent.token != 0 {
            meta.intent.before = head.intent_before.load(Relaxed);
            meta.intent.after = head.intent_after.load(Relaxed);
        }
    }

    /// Copies `length` payload bytes, at most the block's capacity. Possibly torn, as [`Block::read_meta`].
    #[inline(always)]
    pub(crate) fn copy(&self, length: usize, into: &mut Vec<u8>) {
        let length = length.min(self.capacity());
        let padded = length.next_multiple_of(8);
        // Same length as last time: no byte is written twice.
        if into.len() != length || into.capacity() < padded {
            into.clear();
            into.reserve(padded);
        }
        into.resize(padded, 0);
        let (words, _) = into.as_chunks_mut::<8>();
        for (word, place) in words.iter_mut().zip(self.payload) {
            *word = place.load(Relaxed).to_ne_bytes();
        }
        into.truncate(length);
    }
}
