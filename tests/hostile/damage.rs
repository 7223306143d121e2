//! What a hostile peer does, from a seed.

use std::ops::Range;

use harness::random::Random;

use crate::memory::Bytes;

/// A place in the range, at a multiple of eight.
fn place(random: &mut Random, range: &Range<usize>) -> usize {
    range.start + random.index((range.end - range.start) / 8) * 8
}

/// The ways to damage a word, from one that is hardly noticed to one that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Flips one bit.
    Bit,
    /// Any eight bytes.
    Word,
    /// No bit, or every bit.
    Plain,
    /// Adds or takes away one.
    Step,
    /// Another word of the same region: what is true elsewhere.
    Elsewhere,
    /// A whole page of any bytes.
    Page,
}

impl Damage {
    pub const ALL: [Self; 6] = [Self::Bit, Self::Word, Self::Plain, Self::Step, Self::Elsewhere, Self::Page];

    /// Does it once, somewhere in the region.
    pub fn strike(self, bytes: &Bytes, region: &Range<usize>, random: &mut Random) {
        let at = place(random, region);
        let word = bytes.word(at);
        let word = match self {
            Self::Bit => word ^ 1 << random.below(64),
            Self::Word => random.next(),
            Self::Plain => [0, u64::MAX][random.index(2)],
            Self::Step => [word.wrapping_add(1), word.wrapping_sub(1)][random.index(2)],
            Self::Elsewhere => bytes.word(place(random, region)),
            Self::Page => {
                let first = at / 4096 * 4096;
                let page = first.max(region.start)..(first + 4096).min(region.end);
                let noise: Vec<u8> = page.clone().map(|_| random.next() as u8).collect();
                return bytes.write(page.start, &noise);
            }
        };
        bytes.set(at, word);
    }
}
