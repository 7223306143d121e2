//! The 64-bit FNV-1a hash with AVX-512, 512 bytes at a time; [`serial`](super::serial) goes byte by byte.
//!
//! Let `h` be the hash before byte `b`, `l` its low byte, `p` the prime.
//!
//! 1. An xor with a byte changes the low byte only, so it is an addition: `h ^ b = h + d` with `d = (l ^ b) - l`.
//!    A step is then `h' = (h + d) * p`, and `n` steps unroll to `h * p^n + Σ d[i] * p^(n-i)`: a sum of products in
//!    which no term waits for another. What is missing is the low byte before every step.
//! 2. The low byte needs nothing above it: `l' = x * 0xb3 mod 256` with `x = l ^ b`. Bit `j` of a product by an odd
//!    number is `x_j ^ g_j`, where `g_j` comes from the bits of `x` below `j`. So `l'_j = l_j ^ (b_j ^ g_j)`: over the
//!    whole string, bit `j` of the low byte is a running xor of `b_j ^ g_j`. The eight bits are therefore found one
//!    after another, from the lowest, but each of them for all positions at once. For that the bytes are laid out
//!    bit-sliced: a *plane* has one bit of every byte.
//! 3. A running xor over 64 positions is one carry-less multiplication by all ones. The first byte sits in the highest
//!    bit of a plane; then the upper half of the product has at each position the xor of all positions before it, and
//!    upper half xor lower half is, at every bit, the xor of all 64, which is what the next 64 positions start from.
//!
//! A piece shorter than the vectors is filled up with zero bytes *in front*: a zero byte only multiplies by `p`, and as
//! `p` is odd that can be undone beforehand, by starting from `h * p^-k` for `k` zero bytes. Their `d` is 0.

use std::arch::x86_64::*;
use std::sync::LazyLock;

/// The multiplier of every step of the 64-bit hash.
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// Bytes of a word: one bit of each fills a plane of 64 bits.
const WORD: usize = 64;
/// Words of a block: one lane of a 512-bit register each.
const WORDS: usize = 8;
const BLOCK: usize = WORD * WORDS;

/// `PRIME_POWERS[i]` is `p^i`.
const PRIME_POWERS: [u64; BLOCK + 1] = powers(PRIME);
/// `INVERSE_POWERS[i]` is `p^-i`, and undoes `i` zero bytes.
static INVERSE_POWERS: [u64; BLOCK + 1] = powers(inverse(PRIME));

const fn powers(base: u64) -> [u64; BLOCK + 1] {
    let mut table = [1; BLOCK + 1];
    let mut i = 1;
    while i <= BLOCK {
        table[i] = base.wrapping_mul(table[i - 1]);
        i += 1;
    }
    table
}

/// The inverse of an odd number modulo 2^64 by Newton's iteration: every round doubles the bits that are right,
/// and an odd number is its own inverse in the lowest three.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut round = 0;
    while round < 5 {
        guess = guess.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(guess)));
        round += 1;
    }
    guess
}

/// Sixty-four bytes that are loaded as one register.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Register([u8; 64]);

/// The factors `p^(512-i)` of the sum, cut into four signed digits to the base 2^16 for 16-bit multiplications:
/// `FACTORS[word][digit][half]`, where the halves are the orders in which `unpacklo` and `unpackhi` leave bytes.
static FACTORS: [[[Register; 2]; 4]; WORDS] = factors();

const fn factors() -> [[[Register; 2]; 4]; WORDS] {
    let mut table = [[[Register([0; 64]); 2]; 4]; WORDS];
    let mut byte = 0;
    while byte < BLOCK {
        let (word, lane, place) = (byte / WORD, byte % WORD / 16, byte % 16);
        let (half, element) = (place / 8, lane * 8 + place % 8);
        let mut rest = PRIME_POWERS[BLOCK - byte];
        let mut digit = 0;
        while digit < 4 {
            let signed = rest as i16;
            let [low, high] = signed.to_le_bytes();
            table[word][digit][half].0[2 * element] = low;
            table[word][digit][half].0[2 * element + 1] = high;
            rest = rest.wrapping_sub(signed as u64) >> 16;
            digit += 1;
        }
        byte += 1;
    }
    table
}

/// The unit matrix of 8×8 bits with its rows in reverse order, as `gf2p8affine` wants it.
const MIRRORED_UNIT: i64 = 0x0102_0408_1020_4080;

/// From where each byte comes when the 8×8 bytes of a register are mirrored: see [`slice_bits`].
static MIRROR: Register = mirror();

const fn mirror() -> Register {
    let mut index = [0; 64];
    let mut i = 0;
    while i < 64 {
        index[i] = (8 * (7 - i % 8) + 7 - i / 8) as u8;
        i += 1;
    }
    Register(index)
}

/// `COUNT[i]` is `i`.
static COUNT: Register = count();

const fn count() -> Register {
    let mut index = [0; 64];
    let mut i = 0;
    while i < 64 {
        index[i] = i as u8;
        i += 1;
    }
    Register(index)
}

/// Up to how many bytes behind the last whole word go one by one: more cost as much as one more word does.
const SHORT_TAIL: usize = 16;

/// Whether this processor has all that [`whole`] is compiled for.
static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("vpclmulqdq")
});

#[cfg(test)]
pub(super) fn is_available() -> bool {
    *AVAILABLE
}

/// The hash after `bytes`, on from `state`; `None` if this processor cannot, or `bytes` are fewer than a word.
#[inline]
pub(super) fn fold(state: u64, bytes: &[u8]) -> Option<u64> {
    let first = bytes.first_chunk()?;
    if !*AVAILABLE {
        return None;
    }
    let behind = bytes.len() % WORD;
    let tail = if behind <= SHORT_TAIL { behind } else { 0 };
    let (body, tail) = bytes.split_at(bytes.len() - tail);
    // SAFETY: the callee requires the seven features it is compiled for, and `AVAILABLE` has asked the processor
    // for each of them. It is safe in all other respects.
    let state = unsafe { whole(state, first, body) };
    Some(super::serial::serial(state, tail))
}

/// `first` is the first word of `bytes`: the proof that there is one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni,gfni,vpclmulqdq")]
fn whole(state: u64, first: &[u8; WORD], bytes: &[u8]) -> u64 {
    // The odd piece goes first, because zeros may stand in front of it but not after it.
    let (head, blocks) = bytes.split_at((bytes.len() - 1) % BLOCK + 1);
    let (mut low, mut sums);
    match head.len().div_ceil(WORD) {
        1 => (low, sums) = piece::<1>(state, first, head),
        2 => (low, sums) = piece::<2>(state, first, head),
        3 | 4 => (low, sums) = piece::<4>(state, first, head),
        _ => (low, sums) = piece::<8>(state, first, head),
    }
    let (blocks, _) = blocks.as_chunks::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks::<WORD>();
        let mut loaded = [_mm512_setzero_si512(); WORDS];
        for (register, word) in loaded.iter_mut().zip(words) {
            *register = load(word);
        }
        sums = advance(&mut low, sums, loaded);
    }
    _mm512_reduce_add_epi64(sums) as u64
}

/// The state after at most `W` words, with zeros in front. What comes out is what [`advance`] takes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni,gfni,vpclmulqdq")]
fn piece<const W: usize>(state: u64, first: &[u8; WORD], bytes: &[u8]) -> ([__m512i; 8], __m512i) {
    let zeros = W * WORD - bytes.len();
    let state = state.wrapping_mul(INVERSE_POWERS[zeros]);
    let broadcast = _mm512_set1_epi64(state as i64);
    let mut low = [_mm512_setzero_si512(); 8];
    for (bit, mask) in low.iter_mut().enumerate() {
        let to_sign = _mm_cvtsi32_si128(63 - bit as i32);
        *mask = _mm512_srai_epi64::<63>(_mm512_sll_epi64(broadcast, to_sign));
    }
    // The word that is zeros in front and bytes behind: its bytes are the first of the piece, moved up.
    let (empty, shift) = (zeros / WORD, zeros % WORD);
    let index = _mm512_sub_epi8(load(&COUNT.0), _mm512_set1_epi8(shift as i8));
    let moved = _mm512_maskz_permutexvar_epi8(!0 << shift, index, load(first));
    let mut words = [_mm512_setzero_si512(); W];
    for (place, word) in words.iter_mut().enumerate() {
        if place == empty {
            *word = moved;
        } else if let Some(whole) = (place * WORD).checked_sub(zeros).and_then(|start| bytes[start..].first_chunk()) {
            *word = load(whole);
        }
    }
    let sums = _mm512_zextsi128_si512(_mm_cvtsi64_si128(state as i64));
    let sums = advance(&mut low, sums, words);
    (low, sums)
}

/// One block of `W` words. `low` is the low byte of the hash, each of its bits as a mask; the eight `sums` add up
/// to the hash. Both go on independently, so that a block's planes do not wait for the sum of the block before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni,gfni,vpclmulqdq")]
fn advance<const W: usize>(low: &mut [__m512i; 8], sums: __m512i, words: [__m512i; W]) -> __m512i {
    let zero = _mm512_setzero_si512();
    let mut planes = [zero; WORDS];
    let lane = if W == 1 { 1 } else { 0 };
    for (plane, word) in planes[lane..].iter_mut().zip(words) {
        *plane = slice_bits(word);
    }
    // From a register a word to a register a bit.
    let planes = steps::<W>(transpose(planes), low);
    let planes = transpose(planes);

    let signs = _mm512_set1_epi16(i16::from_le_bytes([1, -1i8 as u8]));
    let mut digits = [[zero; 2]; 4];
    for (place, word) in words.into_iter().enumerate() {
        let after = join_bits(planes[lane + place]);
        let before = _mm512_xor_si512(after, word);
        let pairs = [_mm512_unpacklo_epi8(after, before), _mm512_unpackhi_epi8(after, before)];
        for half in 0..2 {
            let difference = _mm512_maddubs_epi16(pairs[half], signs);
            for (digit, total) in digits.iter_mut().enumerate() {
                let factors = load(&FACTORS[WORDS - W + place][digit][half].0);
                total[half] = _mm512_dpwssd_epi32(total[half], difference, factors);
            }
        }
    }
    let mut sums = _mm512_mullo_epi64(sums, _mm512_set1_epi64(PRIME_POWERS[W * WORD] as i64));
    for (digit, total) in digits.into_iter().enumerate() {
        // A product is below 2^23, and a lane adds up two a word of at most eight words, in two halves: below 2^28.
        let total = _mm512_add_epi32(total[0], total[1]);
        let odd = _mm512_srai_epi64::<32>(total);
        let even = _mm512_srai_epi64::<32>(_mm512_slli_epi64::<32>(total));
        let shift = _mm_cvtsi32_si128(16 * digit as i32);
        sums = _mm512_add_epi64(sums, _mm512_sll_epi64(_mm512_add_epi64(odd, even), shift));
    }
    sums
}

/// From the planes of the bytes to the planes of `x`, what a step multiplies; `low` moves on to behind the block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni,gfni,vpclmulqdq")]
fn steps<const W: usize>(bytes: [__m512i; 8], low: &mut [__m512i; 8]) -> [__m512i; 8] {
    let zero = _mm512_setzero_si512();
    // 0xb3 * x = y + 16 * y + 128 * x with y = 3 * x = x + 2 * x: three additions, two of them with carries.
    let (mut x, mut y) = ([zero; 8], [zero; 8]);
    let (mut carry_y, mut carry_z) = (zero, zero);
    for bit in 0..8 {
        let below = if bit >= 1 { x[bit - 1] } else { zero };
        // This bit of byte and product, but for x's own: what is known first is added first.
        let mut toggles = match bit {
            0 => bytes[0],
            1..4 => xor3(bytes[bit], below, carry_y),
            4..7 => xor3(bytes[bit], below, y[bit - 4]),
            _ => xor3(_mm512_xor_si512(bytes[7], x[0]), below, y[3]),
        };
        if bit >= 4 {
            toggles = xor3(toggles, carry_y, carry_z);
        }
        x[bit] = toggle::<W>(bytes[bit], toggles, &mut low[bit]);
        y[bit] = xor3(x[bit], below, carry_y);
        carry_y = majority(x[bit], below, carry_y);
        if bit >= 4 {
            carry_z = majority(y[bit], y[bit - 4], carry_z);
        }
    }
    x
}

/// At every position the bit of `plane` xor all `toggles` before it, on from `start`, which moves on to behind the
/// block. The words of a block follow each other in the order of lanes; a single word is in the second lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni,gfni,vpclmulqdq")]
fn toggle<const W: usize>(plane: __m512i, toggles: __m512i, start: &mut __m512i) -> __m512i {
    let ones = _mm512_set1_epi64(-1);
    // The product of the second word of each pair: its lower half is in the first lane, its upper half in the second,
    // where a single word needs it.
    let second = _mm512_clmulepi64_epi128::<1>(toggles, ones);
    if W == 1 {
        let toggled = xor3(plane, *start, second);
        *start = xor3(*start, spread::<0>(second), spread::<0>(swap(second)));
        return toggled;
    }
    let first = _mm512_clmulepi64_epi128::<0>(toggles, ones);
    let both = _mm512_xor_si512(first, second);
    // The first word has its own upper half, the second its own and both halves of the first word.
    let uppers = in_second_lanes(first, second);
    let toggled = xor3(_mm512_xor_si512(plane, *start), swap(first), uppers);
    // What a pair passes on to the pairs behind it.
    let pair = _mm512_xor_si512(both, swap(both));
    if W == 2 {
        *start = _mm512_xor_si512(*start, spread::<0>(pair));
        return toggled;
    }
    let one_back = _mm512_maskz_shuffle_i64x2::<0b10_01_00_00>(0b1111_1100, pair, pair);
    if W == 4 {
        *start = _mm512_xor_si512(*start, spread::<1>(_mm512_xor_si512(pair, one_back)));
        return _mm512_xor_si512(toggled, one_back);
    }
    let two_back = _mm512_maskz_shuffle_i64x2::<0b01_00_00_00>(0b1111_0000, pair, pair);
    let three_back = _mm512_maskz_shuffle_i64x2::<0>(0b1100_0000, pair, pair);
    let all_back = xor3(one_back, two_back, three_back);
    *start = _mm512_xor_si512(*start, spread::<3>(_mm512_xor_si512(pair, all_back)));
    _mm512_xor_si512(toggled, all_back)
}

/// From 64 bytes to eight planes, one a 64-bit lane, the first byte's bit the highest of each.
///
/// `gf2p8affine` multiplies bit matrices; with the mirrored unit matrix it mirrors the 8×8 bits of each lane along
/// the diagonal from lower left to upper right. [`MIRROR`] does the same to the 8×8 bytes of the register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
fn slice_bits(bytes: __m512i) -> __m512i {
    let mirrored = _mm512_gf2p8affine_epi64_epi8::<0>(_mm512_set1_epi64(MIRRORED_UNIT), bytes);
    _mm512_permutexvar_epi8(load(&MIRROR.0), mirrored)
}

/// Back from planes to bytes: mirrors undo themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
fn join_bits(planes: __m512i) -> __m512i {
    let mirrored = _mm512_permutexvar_epi8(load(&MIRROR.0), planes);
    _mm512_gf2p8affine_epi64_epi8::<0>(_mm512_set1_epi64(MIRRORED_UNIT), mirrored)
}

/// Lane `i` of register `k` becomes lane `k` of register `i`.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let mut columns = rows;
    for parity in 0..2 {
        let mut pairs = rows;
        for k in 0..4 {
            let (upper, lower) = (rows[2 * k], rows[2 * k + 1]);
            pairs[k] = match parity {
                0 => _mm512_unpacklo_epi64(upper, lower),
                _ => _mm512_unpackhi_epi64(upper, lower),
            };
        }
        let left_even = _mm512_shuffle_i64x2::<0b10_00_10_00>(pairs[0], pairs[1]);
        let left_odd = _mm512_shuffle_i64x2::<0b11_01_11_01>(pairs[0], pairs[1]);
        let right_even = _mm512_shuffle_i64x2::<0b10_00_10_00>(pairs[2], pairs[3]);
        let right_odd = _mm512_shuffle_i64x2::<0b11_01_11_01>(pairs[2], pairs[3]);
        columns[parity] = _mm512_shuffle_i64x2::<0b10_00_10_00>(left_even, right_even);
        columns[parity + 2] = _mm512_shuffle_i64x2::<0b10_00_10_00>(left_odd, right_odd);
        columns[parity + 4] = _mm512_shuffle_i64x2::<0b11_01_11_01>(left_even, right_even);
        columns[parity + 6] = _mm512_shuffle_i64x2::<0b11_01_11_01>(left_odd, right_odd);
    }
    columns
}

/// The two 64-bit lanes of every 128 bits change places.
#[inline]
#[target_feature(enable = "avx512f")]
fn swap(lanes: __m512i) -> __m512i {
    _mm512_shuffle_epi32::<0b01_00_11_10>(lanes)
}

/// One pair of lanes, four times.
#[inline]
#[target_feature(enable = "avx512f")]
fn spread<const PAIR: usize>(lanes: __m512i) -> __m512i {
    match PAIR {
        0 => _mm512_shuffle_i64x2::<0b00_00_00_00>(lanes, lanes),
        1 => _mm512_shuffle_i64x2::<0b01_01_01_01>(lanes, lanes),
        _ => _mm512_shuffle_i64x2::<0b11_11_11_11>(lanes, lanes),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0b1001_0110>(a, b, c)
}

/// The xor of two registers in the second lane of each pair, 0 in the first.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_second_lanes(a: __m512i, b: __m512i) -> __m512i {
    let lanes = _mm512_set_epi64(-1, 0, -1, 0, -1, 0, -1, 0);
    _mm512_ternarylogic_epi64::<0b0010_1000>(a, b, lanes)
}

/// The carry of an addition of three bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0b1110_1000>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; WORD]) -> __m512i {
    // SAFETY: the callee reads 64 bytes, at any alignment, and a reference to 64 bytes says they are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
