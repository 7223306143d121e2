//! Values that tell on themselves: a counter, repeated, so that a mix of two values is no value.

use slotguard::{Record, Result, Stamp, Version};

/// How long a record's values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// All alike.
    Same,
    /// By turns of one payload class and of another.
    Mixed,
}

impl Sizes {
    /// The payload classes that such values need, with this many blocks each.
    pub fn classes(self, blocks: u32) -> Vec<(usize, u32)> {
        match self {
            Self::Same => vec![(64, blocks)],
            Self::Mixed => vec![(64, blocks), (256, blocks)],
        }
    }

    fn words(self, counter: u64) -> usize {
        match self {
            Self::Mixed if counter.is_multiple_of(2) => 20,
            _ => 6,
        }
    }

    /// The value of the record's `counter`-th change.
    pub fn value(self, counter: u64) -> Vec<u8> {
        counter.to_le_bytes().repeat(self.words(counter))
    }

    /// Which change made this value; panics if none did.
    pub fn counter(self, value: &[u8]) -> u64 {
        let (words, rest) = value.as_chunks::<8>();
        let Some(first) = words.first() else {
            assert!(value.is_empty(), "half a value: {value:?}");
            return 0;
        };
        let counter = u64::from_le_bytes(*first);
        let whole = rest.is_empty() && words.len() == self.words(counter) && words.iter().all(|word| word == first);
        assert!(whole, "a mix of values: {words:?} {rest:?}");
        counter
    }

    /// One more change of the record.
    pub fn bump(self, record: Record<'_>) -> Result<Stamp> {
        record.update(|old, draft| draft.write(&self.value(self.counter(old) + 1))).map(|((), stamp)| stamp)
    }

    /// Reads the record; every change ever made is in its value exactly once.
    pub fn read(self, record: Record<'_>) -> Stamp {
        let mut value = Vec::new();
        let stamp = record.read(&mut value).expect("a read");
        assert_eq!(stamp, record.verify().expect("a whole value"), "nobody changes the record meanwhile");
        assert_eq!(Version(self.counter(&value)), stamp.version, "as many effects as versions");
        stamp
    }
}
