//! Orders the slots that a node tries: by hash probing, as sbd-operator does, and then all others.
//!
//! ```
//! use slotguard::recipe::assignment::{node_hash, probe};
//! let hash = node_hash("test-cluster", "node-1");
//! assert_eq!(hash, 0x4cb8_69e9);
//! assert_eq!([0, 1, 2].map(|attempt| probe(hash, attempt, 255)), [28, 103, 186]);
//! ```
//!
//! sbd-operator stops after [`PROBES`] and so refuses nodes while slots are free. Here the probes are only the
//! beginning of an order of all slots.

use super::digest::{crc32, sha256};

/// How many probes by hash are tried before the other slots.
pub const PROBES: u32 = 10;

/// Hashes a node's name in a cluster: the first four bytes, little-endian, of SHA-256 over `sbd-cluster-`, the
/// cluster's name and the node's name.
///
/// The two names are not separated: `("a", "bc")` and `("ab", "c")` have one hash, and so one order of slots.
pub fn node_hash(cluster: &str, node: &str) -> u32 {
    let digest = sha256(format!("sbd-cluster-{cluster}{node}").as_bytes());
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Returns the slot, 1 to `slots`, for a hash and an attempt counted from 0: CRC-32 (IEEE) of `hash-attempt` in
/// decimal, modulo the number of slots, plus one.
///
/// # Panics
/// If `slots` is 0.
pub fn probe(hash: u32, attempt: u32, slots: u16) -> u16 {
    let sum = crc32(format!("{hash}-{attempt}").as_bytes());
    // Less than `slots`, so it fits.
    (sum % u32::from(slots)) as u16 + 1
}

/// All slots in the order in which a node tries them: its probes, then upwards from its first probe, wrapping around. A
/// slot may come twice; none is left out.
pub(super) fn order(hash: u32, slots: u16) -> impl Iterator<Item = u16> {
    let first = probe(hash, 0, slots);
    let rest = (first + 1..=slots).chain(1..=first);
    (0..PROBES).map(move |attempt| probe(hash, attempt, slots)).chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_comes_by_every_slot_whatever_their_number() {
        for slots in [1, 2, 9, 255, 1000] {
            for hash in [0, 1, 0x4cb8_69e9, u32::MAX] {
                let mut all: Vec<_> = order(hash, slots).collect();
                assert_eq!(all[0], probe(hash, 0, slots));
                all.sort_unstable();
                all.dedup();
                assert_eq!(all, (1..=slots).collect::<Vec<_>>(), "{hash} of {slots}");
            }
        }
    }
}
