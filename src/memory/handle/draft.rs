//! Drafts the next value of a record: written anew, or edited from the current one.

use std::fmt;

/// The next value of a record, being written. Left alone, it means "do not write".
pub struct Draft<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a mut Vec<u8>,
    pub(super) touched: bool,
}

impl Draft<'_> {
    /// Makes `value` the next value.
    #[inline]
    pub fn write(&mut self, value: &[u8]) {
        self.touched = true;
        self.new.clear();
        self.new.extend_from_slice(value);
    }

    /// The next value to change in place: a copy of the current one, or what was drafted so far.
    #[inline]
    pub fn edit(&mut self) -> &mut Vec<u8> {
        if !self.touched {
            self.touched = true;
            copy_by_words(self.old, self.new);
        }
        self.new
    }

    /// Takes back what was drafted: the record is left as it is.
    pub fn decline(&mut self) {
        self.touched = false;
    }
}

/// Copies a value that was just stored word by word. A wider load would have to wait for all those stores to leave the
/// store buffer, which costs more than the copy.
#[inline]
fn copy_by_words(from: &[u8], to: &mut Vec<u8>) {
    if from.len() > 256 {
        to.clear();
        to.extend_from_slice(from);
        return;
    }
    to.resize(from.len(), 0);
    let (words, rest) = from.as_chunks::<8>();
    let (places, end) = to.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words) {
        // Opaque, or the loop becomes the wide copy again.
        *place = std::hint::black_box(u64::from_ne_bytes(*word)).to_ne_bytes();
    }
    if !rest.is_empty() {
        end.copy_from_slice(rest);
    }
}

impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("touched", &self.touched).field("length", &self.new.len()).finish()
    }
}
