//! The byte-by-byte way of the 64-bit hash, by the `fnv` crate.

use std::hash::Hasher;

use fnv::FnvHasher;

/// Byte after byte, on from a running hash.
#[inline]
pub(super) fn serial(state: u64, bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::with_key(state);
    hasher.write(bytes);
    hasher.finish()
}
