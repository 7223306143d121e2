//! Builds the header of the block that is to follow the one observed.

use super::read::Observed;
use crate::memory::block::meta::Next;
use crate::memory::fingerprint::fnv1a64;

/// The header of the record's next value: under no claim, the intent as it is.
#[inline(always)]
pub(crate) fn next_value<'a>(record: u32, seen: &'a Observed, value: &[u8], kind: u64) -> Next<'a> {
    let meta = &seen.meta;
    Next {
        record,
        incarnation: incarnation(seen),
        version: meta.version.wrapping_add(1),
        modified: 0,
        // A record that came into being as somebody's claim has not been created yet.
        created: if meta.version == 0 { 0 } else { seen.created() },
        lease: meta.lease,
        fingerprint: fnv1a64(value),
        kind,
        claim: None,
        intent: meta.intent.announced(),
    }
}

/// The header of a block that changes no value: a claim, its renewal or release. A record that was never written keeps
/// version 0; its `modified` is then merely not zero.
pub(crate) fn same_value(record: u32, seen: &Observed) -> Next<'_> {
    let meta = &seen.meta;
    Next {
        record,
        incarnation: incarnation(seen),
        version: meta.version,
        modified: seen.modified().max(1),
        created: seen.created().max(1),
        lease: meta.lease,
        fingerprint: meta.fingerprint,
        kind: meta.kind,
        claim: Some(&meta.claim),
        intent: meta.intent.announced(),
    }
}

/// The record's incarnation: the count of its head when it was created, or is to be.
#[inline(always)]
fn incarnation(seen: &Observed) -> u64 {
    if seen.head.block() == 0 { seen.head.next(0).count() } else { seen.meta.incarnation }
}
