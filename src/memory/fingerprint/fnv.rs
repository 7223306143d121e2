//! FNV-1a, the hash stored beside every value as its fingerprint.
//!
//! ```
//! assert_eq!(slotguard::fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
//! assert_eq!(slotguard::fnv1a32(b"foobar"), 0xbf9c_f968);
//! ```
//!
//! It is true FNV-1a of Fowler, Noll and Vo as RFC 9923 writes it down: from the offset basis, for every byte,
//! xor the byte in, then multiply by the prime. Anyone with any FNV-1a at hand can check a value. It finds accidents,
//! not attackers: it has no key, and who may choose the bytes can choose two that collide.
//!
//! | width | offset basis         | prime                               |
//! |-------|----------------------|-------------------------------------|
//! | 32    | `0x811c9dc5`         | `0x01000193` = 2^24 + 0x193         |
//! | 64    | `0xcbf29ce484222325` | `0x00000100000001b3` = 2^40 + 0x1b3 |
//!
//! # How it works
//! Every step waits for the xor and the multiplication of the step before. Short values go that way, by the `fnv`
//! crate. From [`WIDE_FROM`] bytes on, a processor with AVX-512 and carry-less multiplication goes the way of [`wide`],
//! which answers the same number without walking byte by byte. What the processor can do is asked once.

use super::serial::serial;

#[cfg(target_arch = "x86_64")]
use super::wide;

/// The 64-bit hash of no bytes.
const OFFSET_64: u64 = 0xcbf2_9ce4_8422_2325;
/// The 32-bit hash of no bytes.
const OFFSET_32: u32 = 0x811c_9dc5;
/// The multiplier of every step of the 32-bit hash.
const PRIME_32: u32 = 0x0100_0193;

/// From how many bytes on the wide way is the shorter one. It takes no fewer, and with so many it is already ahead.
#[cfg(target_arch = "x86_64")]
const WIDE_FROM: usize = 64;

/// The 64-bit FNV-1a hash of `bytes`, the fingerprint of every stored value.
///
/// ```
/// assert_eq!(slotguard::fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
/// assert_eq!(slotguard::fnv1a64(b"a"), 0xaf63_dc4c_8601_ec8c);
/// ```
#[inline]
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_FROM {
        return long(bytes);
    }
    serial(OFFSET_64, bytes)
}

/// The 32-bit FNV-1a hash of `bytes`, by which names are spread over shards.
///
/// ```
/// assert_eq!(slotguard::fnv1a32(b"user-12345") % 8192, 1392);
/// ```
#[inline]
pub fn fnv1a32(bytes: &[u8]) -> u32 {
    let mut state = OFFSET_32;
    for &byte in bytes {
        state = (state ^ u32::from(byte)).wrapping_mul(PRIME_32);
    }
    state
}

/// Kept out of line so that a caller with a short value inlines nothing but the short loop.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn long(bytes: &[u8]) -> u64 {
    wide::fold(OFFSET_64, bytes).unwrap_or_else(|| serial(OFFSET_64, bytes))
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use fnv::FnvHasher;

    use super::*;
    use std::collections::HashSet;

    /// Numbers that look random and are the same in every run (Marsaglia 2003, "Xorshift RNGs").
    struct Xorshift(u64);

    impl Xorshift {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn bytes(&mut self, length: usize) -> Vec<u8> {
            (0..length).map(|_| (self.next() >> 32) as u8).collect()
        }
    }

    fn by_the_crate(state: u64, bytes: &[u8]) -> u64 {
        let mut hasher = FnvHasher::with_key(state);
        hasher.write(bytes);
        hasher.finish()
    }

    fn by_the_definition(state: u64, bytes: &[u8]) -> u64 {
        let step = |state: u64, &byte: &u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        bytes.iter().fold(state, step)
    }

    /// Both ways, by name, against the crate; the wide way also from `state` on.
    fn both_ways_agree(state: u64, bytes: &[u8]) {
        let (length, from_start) = (bytes.len(), by_the_crate(OFFSET_64, bytes));
        assert_eq!(serial(OFFSET_64, bytes), from_start, "short way, {length} bytes");
        assert_eq!(fnv1a64(bytes), from_start, "the way it chose, {length} bytes");
        #[cfg(target_arch = "x86_64")]
        match wide::fold(state, bytes) {
            Some(hash) => assert_eq!(hash, by_the_crate(state, bytes), "wide way, {length} bytes"),
            None => assert!(length < WIDE_FROM || !wide::is_available(), "{length} bytes"),
        }
    }

    /// So that a run which could not test the wide way says so.
    fn say_if_the_wide_way_is_missing() {
        #[cfg(target_arch = "x86_64")]
        let available = wide::is_available();
        #[cfg(not(target_arch = "x86_64"))]
        let available = false;
        if !available {
            eprintln!("this processor has only the short way: the wide way was NOT tested");
        }
    }

    #[test]
    fn the_32_bit_hash_answers_the_golden_vectors() {
        for (text, hash, of_64, of_8192) in [
            ("", 0x811c_9dc5, 5, 7621),
            ("user-12345", 0x6674_6570, 48, 1392),
            ("session-abc-def", 0x2fdd_78ec, 44, 6380),
            ("exampleObjectID", 0xf3ab_5fc3, 3, 8131),
            ("test-object-123", 0x730d_55e2, 34, 5602),
            ("a", 0xe40c_292c, 44, 2348),
            ("foobar", 0xbf9c_f968, 40, 6504),
        ] {
            let found = fnv1a32(text.as_bytes());
            assert_eq!((found, found % 64, found % 8192), (hash, of_64, of_8192), "{text:?}");
        }
    }

    /// S5-4: a program that multiplied in doubles, as scripts do, lost the low bits of nearly every product and with them
    /// the claim to be FNV-1a. The number is the hash with its upper half folded into the lower.
    #[test]
    fn no_bit_of_a_product_is_lost() {
        let hash = fnv1a32(br#"[{"id":1}]"#);
        assert_eq!(hash ^ (hash >> 16), 235_142_168);
    }

    #[test]
    fn the_64_bit_hash_answers_the_golden_vectors() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(fnv1a64(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn both_ways_and_the_crate_agree_on_every_length_up_to_600() {
        say_if_the_wide_way_is_missing();
        let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
        for length in 0..=600 {
            let bytes = random.bytes(length);
            both_ways_agree(random.next(), &bytes);
            assert_eq!(fnv1a64(&bytes), by_the_definition(OFFSET_64, &bytes));
        }
    }

    #[test]
    fn both_ways_and_the_crate_agree_on_20000_random_inputs() {
        say_if_the_wide_way_is_missing();
        let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
        let pool = random.bytes(8192);
        for _ in 0..20_000 {
            let length = random.next() as usize % 2101;
            let start = random.next() as usize % (pool.len() - length);
            both_ways_agree(random.next(), &pool[start..start + length]);
        }
    }

    #[test]
    fn both_ways_and_the_crate_agree_on_bytes_that_carry_most_and_least() {
        say_if_the_wide_way_is_missing();
        for filling in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            for length in [64, 128, 192, 256, 511, 512, 513, 600, 1024, 4096, 70_000] {
                for state in [0, 1, OFFSET_64, u64::MAX] {
                    both_ways_agree(state, &vec![filling; length]);
                }
            }
        }
    }

    #[test]
    fn a_hash_goes_on_from_any_place() {
        say_if_the_wide_way_is_missing();
        let mut random = Xorshift(0xd1b5_4a32_d192_ed03);
        let bytes = random.bytes(1500);
        let onward = |state, bytes: &[u8]| {
            #[cfg(target_arch = "x86_64")]
            if let Some(hash) = wide::fold(state, bytes) {
                return hash;
            }
            serial(state, bytes)
        };
        for place in 0..=bytes.len() {
            let (front, back) = bytes.split_at(place);
            let hash = onward(onward(OFFSET_64, front), back);
            assert_eq!(hash, fnv1a64(&bytes), "cut at {place}");
        }
    }

    #[test]
    fn one_input_has_one_hash_and_its_bytes_count_in_their_order() {
        let value = r#"[{"id":1,"caps":["read","write"]},[[],{}]]"#.as_bytes();
        let long = value.repeat(20);
        let (copy, long_copy) = (value.to_vec(), long.clone());
        for _ in 0..100 {
            assert_eq!(fnv1a64(value), fnv1a64(&copy));
            assert_eq!(fnv1a64(&long), fnv1a64(&long_copy));
            assert_eq!(fnv1a32(value), fnv1a32(&copy));
        }
        for (one, other) in
            [("[1,2]", "[2,1]"), ("ab", "ba"), ("[]", ""), ("[]", "[[]]"), ("ü", "u\u{308}"), ("日本", "本日")]
        {
            assert_ne!(fnv1a64(one.as_bytes()), fnv1a64(other.as_bytes()), "{one} {other}");
            assert_ne!(fnv1a32(one.as_bytes()), fnv1a32(other.as_bytes()), "{one} {other}");
        }
        let mut swapped = long.clone();
        swapped.swap(3, 700);
        assert_ne!(swapped, long);
        assert_ne!(fnv1a64(&swapped), fnv1a64(&long));
    }

    #[test]
    fn a_small_change_changes_more_than_five_bits() {
        let (one, two) = (br#"[{"id":1}]"#, br#"[{"id":2}]"#);
        assert!((fnv1a64(one) ^ fnv1a64(two)).count_ones() > 5);
        assert!((fnv1a32(one) ^ fnv1a32(two)).count_ones() > 5);
        let (mut long, mut other) = (vec![b'x'; 300], vec![b'x'; 300]);
        long[150] = b'1';
        other[150] = b'2';
        assert!((fnv1a64(&long) ^ fnv1a64(&other)).count_ones() > 5);
    }

    #[test]
    fn at_least_99_of_100_inputs_have_a_hash_of_their_own() {
        let value = |id: u32| format!(r#"[{{"id":{id},"name":"cap {id}"}}]"#);
        let wide: HashSet<u64> = (0..1000).map(|id| fnv1a64(value(id).repeat(4).as_bytes())).collect();
        let short: HashSet<u64> = (0..1000).map(|id| fnv1a64(value(id).as_bytes())).collect();
        let narrow: HashSet<u32> = (0..1000).map(|id| fnv1a32(value(id).as_bytes())).collect();
        assert!(wide.len() >= 990 && short.len() >= 990 && narrow.len() >= 990);
    }
}
