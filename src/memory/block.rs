//! What a block says: its header as a plain value, and the copies in and out.
//!
//! A block is written by the one lane that owns it and read by anybody at any time, so every word is an atomic and a
//! torn read is harmless: the reader finds out from the fate word and throws the copy away.

use super::arena::Block;
use super::atomics::Ordering::Relaxed;
use super::word::Owner;

/// Who may change the record, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClaimWords {
    pub(crate) owner: Owner,
    /// The revision that created the claim; 0 in the very block that creates it.
    pub(crate) token: u64,
    /// Nanoseconds of the host's monotonic clock.
    pub(crate) until: u64,
    pub(crate) since: u64,
}

impl ClaimWords {
    pub(crate) const NONE: Self = Self {
        owner: Owner::NOBODY,
        token: 0,
        until: 0,
        since: 0,
    };

    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.owner != Owner::NOBODY
    }
}

/// What a holder announced before it acted outside; `token` 0: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct IntentWords {
    pub(crate) token: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// A block's header but for its fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) record: u32,
    pub(crate) length: u32,
    pub(crate) key: u64,
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

impl Meta {
    /// What an absent record looks like.
    pub(crate) fn absent(record: u32) -> Self {
        Self {
            record,
            length: 0,
            key: 0,
            version: 0,
            modified: 0,
            created: 0,
            lease: 0,
            fingerprint: EMPTY_FINGERPRINT,
            kind: 0,
            claim: ClaimWords::NONE,
            intent: IntentWords {
                token: 0,
                before: 0,
                after: 0,
            },
        }
    }
}

/// FNV-1a 64 of nothing: the offset basis.
pub(crate) const EMPTY_FINGERPRINT: u64 = 0xcbf2_9ce4_8422_2325;

impl Block<'_> {
    /// Writes header and payload. The caller owns the block and has put a release fence between its owned word and this.
    #[inline]
    pub(crate) fn fill(&self, meta: &Meta, value: &[u8]) {
        let head = self.head;
        head.place.store(
            u64::from(meta.length) << 32 | u64::from(meta.record),
            Relaxed,
        );
        head.key.store(meta.key, Relaxed);
        head.version.store(meta.version, Relaxed);
        head.modified.store(meta.modified, Relaxed);
        head.created.store(meta.created, Relaxed);
        head.lease.store(meta.lease, Relaxed);
        head.fingerprint.store(meta.fingerprint, Relaxed);
        head.kind.store(meta.kind, Relaxed);
        head.claim_owner.store(meta.claim.owner.0, Relaxed);
        // The other claim words mean nothing while nobody owns the claim.
        if meta.claim.is_some() {
            head.claim_token.store(meta.claim.token, Relaxed);
            head.claim_until.store(meta.claim.until, Relaxed);
            head.claim_since.store(meta.claim.since, Relaxed);
        }
        head.intent_token.store(meta.intent.token, Relaxed);
        if meta.intent.token != 0 {
            head.intent_before.store(meta.intent.before, Relaxed);
            head.intent_after.store(meta.intent.after, Relaxed);
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

    /// Copies the header. Possibly torn: to be used only once the fate was seen unchanged afterwards.
    #[inline]
    pub(crate) fn meta(&self) -> Meta {
        let head = self.head;
        let place = head.place.load(Relaxed);
        let owner = Owner(head.claim_owner.load(Relaxed));
        let claim = if owner == Owner::NOBODY {
            ClaimWords::NONE
        } else {
            ClaimWords {
                owner,
                token: head.claim_token.load(Relaxed),
                until: head.claim_until.load(Relaxed),
                since: head.claim_since.load(Relaxed),
            }
        };
        let token = head.intent_token.load(Relaxed);
        let intent = if token == 0 {
            IntentWords::default()
        } else {
            IntentWords {
                token,
                before: head.intent_before.load(Relaxed),
                after: head.intent_after.load(Relaxed),
            }
        };
        Meta {
            record: place as u32,
            length: (place >> 32) as u32,
            key: head.key.load(Relaxed),
            version: head.version.load(Relaxed),
            modified: head.modified.load(Relaxed),
            created: head.created.load(Relaxed),
            lease: head.lease.load(Relaxed),
            fingerprint: head.fingerprint.load(Relaxed),
            kind: head.kind.load(Relaxed),
            claim,
            intent,
        }
    }

    /// Copies `length` payload bytes, at most the block's capacity. Possibly torn, as [`Block::meta`].
    #[inline]
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
