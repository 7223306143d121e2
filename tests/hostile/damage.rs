//! What a hostile peer does, from a seed.

use std::ops::Range;

use crate::memory::Bytes;

/// A small generator whose every run can be repeated: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A place in the range, at a multiple of eight.
    pub fn place(&mut self, range: &Range<usize>) -> usize {
        range.start + self.below((range.end - range.start) / 8) * 8
    }
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
        let place = random.place(region);
        let word = bytes.word(place);
        let word = match self {
            Self::Bit => word ^ 1 << random.below(64),
            Self::Word => random.next(),
            Self::Plain => [0, u64::MAX][random.below(2)],
            Self::Step => [word.wrapping_add(1), word.wrapping_sub(1)][random.below(2)],
            Self::Elsewhere => bytes.word(random.place(region)),
            Self::Page => {
                let first = place / 4096 * 4096;
                let page = first.max(region.start)..(first + 4096).min(region.end);
                let noise: Vec<u8> = page.clone().map(|_| random.next() as u8).collect();
                return bytes.write(page.start, &noise);
            }
        };
        bytes.set(place, word);
    }
}
