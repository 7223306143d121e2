//! The value of a record as evidence: who wrote it, on top of whose change, and whether it is whole.
//!
//! Every change writes its author (writer and sequence number, which name one entry of the history), the author it
//! found before it, how many changes there have been, and a digest chained over all authors so far. The value that is
//! left at the end therefore leads back, author by author, to the first change: an acknowledged update that is not on
//! that way was lost, one that is there twice was applied twice.
//!
//! ```text
//! 0 mark:32 record:32 │ 8 count │ 16 author │ 24 previous │ 32 chain │ 40 length │ 48 filler of the author … │ digest:64
//! ```

use harness::random::mix;

const MARK: u32 = 0x5347_5601;
const HEAD: usize = 48;
const DIGEST: usize = 8;

/// The shortest value that holds the evidence.
pub const SHORTEST: usize = HEAD + DIGEST;

/// One change, named by the history entry that announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author {
    pub writer: u32,
    pub sequence: u64,
}

impl Author {
    /// What a value that nobody wrote has as author.
    pub const NOBODY: u64 = u64::MAX;

    /// `writer:24 | sequence:40`
    pub fn packed(self) -> u64 {
        u64::from(self.writer) << 40 | self.sequence
    }

    pub fn unpack(word: u64) -> Option<Self> {
        (word != Self::NOBODY).then_some(Self { writer: (word >> 40) as u32, sequence: word & ((1 << 40) - 1) })
    }
}

/// What a value says about the history of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Changes so far, this one included.
    pub count: u64,
    /// Packed [`Author`] of this change.
    pub author: u64,
    /// Packed author of the change before.
    pub previous: u64,
    /// Digest over all authors up to this one.
    pub chain: u64,
}

impl Evidence {
    /// A record that was never written.
    pub const NONE: Self = Self { count: 0, author: Author::NOBODY, previous: Author::NOBODY, chain: 0 };

    /// The evidence `author` leaves on top of this one.
    pub fn followed_by(&self, author: Author) -> Self {
        Self {
            count: self.count.wrapping_add(1),
            author: author.packed(),
            previous: self.author,
            chain: chained(self.chain, author),
        }
    }

    /// Reads the evidence of a value of `record`, or says in which way the value is not whole.
    pub fn of(record: u32, bytes: &[u8]) -> Result<Self, Torn> {
        if bytes.is_empty() {
            return Ok(Self::NONE);
        }
        if bytes.len() < SHORTEST {
            return Err(Torn::Length);
        }
        if word(bytes, 0) != u64::from(MARK) | u64::from(record) << 32 {
            return Err(Torn::Record);
        }
        if word(bytes, 40) != bytes.len() as u64 {
            return Err(Torn::Length);
        }
        let (body, digest) = bytes.split_at(bytes.len() - DIGEST);
        if digest != digest_of(body).to_le_bytes() {
            return Err(Torn::Digest);
        }
        let author = word(bytes, 16);
        if !filler_matches(&body[HEAD..], author) {
            return Err(Torn::Filler);
        }
        Ok(Self { count: word(bytes, 8), author, previous: word(bytes, 24), chain: word(bytes, 32) })
    }

    /// Writes the value that carries this evidence: `length` bytes for `record`.
    pub fn write(&self, record: u32, length: usize, into: &mut Vec<u8>) {
        let length = length.max(SHORTEST);
        into.clear();
        into.reserve(length);
        let head = [
            u64::from(MARK) | u64::from(record) << 32,
            self.count,
            self.author,
            self.previous,
            self.chain,
            length as u64,
        ];
        into.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        let mut filler = Filler::of(self.author);
        while into.len() < length - DIGEST {
            let bytes = filler.next_word().to_le_bytes();
            let take = bytes.len().min(length - DIGEST - into.len());
            into.extend_from_slice(&bytes[..take]);
        }
        let digest = digest_of(into);
        into.extend_from_slice(&digest.to_le_bytes());
    }
}

/// In which way a value is a mix or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    Length = 1,
    Record = 2,
    Digest = 3,
    Filler = 4,
    /// The engine refused to read it.
    Unreadable = 5,
}

/// The digest of a chain of authors with one more at its end.
pub fn chained(chain: u64, author: Author) -> u64 {
    mix(chain ^ mix(author.packed()))
}

/// The length of an author's value: any length from the shortest to `longest`, so that tails of words are exercised.
pub fn length_of(author: Author, longest: usize) -> usize {
    SHORTEST + (mix(author.packed() ^ 0xa5a5) % (longest - SHORTEST + 1) as u64) as usize
}

/// 64-bit FNV-1a, written here once more so that the engine's fingerprint is checked against another's arithmetic.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

struct Filler(u64);

impl Filler {
    fn of(author: u64) -> Self {
        Self(mix(author))
    }

    fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.0
    }
}

fn filler_matches(bytes: &[u8], author: u64) -> bool {
    let mut filler = Filler::of(author);
    bytes.chunks(8).all(|chunk| {
        let expected = filler.next_word().to_le_bytes();
        chunk == &expected[..chunk.len()]
    })
}

fn digest_of(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |digest, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (digest ^ u64::from_le_bytes(word)).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29)
    })
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: Author = Author { writer: 5, sequence: 77 };

    fn value(record: u32, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Evidence::NONE.followed_by(AUTHOR).write(record, length, &mut bytes);
        bytes
    }

    #[test]
    fn a_whole_value_of_any_length_tells_its_evidence() {
        for length in SHORTEST..SHORTEST + 40 {
            let bytes = value(3, length);
            assert_eq!(bytes.len(), length);
            assert_eq!(Evidence::of(3, &bytes), Ok(Evidence::NONE.followed_by(AUTHOR)));
        }
    }

    #[test]
    fn a_value_with_any_one_byte_changed_is_torn() {
        let whole = value(3, 90);
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 0x10;
            assert!(Evidence::of(3, &torn).is_err(), "byte {at} changed");
        }
    }

    #[test]
    fn a_mix_of_two_values_is_torn_wherever_it_is_cut() {
        let old = value(3, 200);
        let mut new = Vec::new();
        let later = Author { writer: 6, sequence: 1 };
        Evidence::NONE.followed_by(AUTHOR).followed_by(later).write(3, 200, &mut new);
        for cut in 1..200 {
            let mixed = [&new[..cut], &old[cut..]].concat();
            if mixed != new && mixed != old {
                assert!(Evidence::of(3, &mixed).is_err(), "cut at {cut}");
            }
        }
        assert_eq!(Evidence::of(4, &old), Err(Torn::Record));
        assert_eq!(Evidence::of(3, &old[..199]), Err(Torn::Length));
    }

    #[test]
    fn our_arithmetic_for_the_fingerprint_is_that_of_fnv_1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fingerprint(b"foobar"), slotguard::fnv1a64(b"foobar"));
    }
}
