//! A record that holds one plain type.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use bytemuck::{Pod, bytes_of, pod_read_unaligned};

use super::record::{Outcome, Record, Stamp};
use super::segment::Segment;
use crate::clock::Version;
use crate::error::{Error, Mismatch, Result};
use crate::memory::fingerprint::fnv1a64;

/// A [`Record`] whose value is a `T`: any type without padding, pointers or forbidden bit patterns.
///
/// The type's name and size are stored with each value, and a value of another type is refused, also between builds:
/// programs that share a record share the type's path. A record that was never written reads as all zeros.
///
/// ```
/// # fn main() -> slotguard::Result<()> {
/// # let segment = slotguard::Segment::builder().records(1).anonymous()?;
/// let counter = segment.typed::<u64>(0)?;
/// let (value, stamp) = counter.update(|count| {
///     *count += 1;
///     *count
/// })?;
/// assert_eq!((value, stamp.version.0, counter.read()?.0), (1, 1, 1));
/// assert!(segment.typed::<i64>(0).is_err(), "the record holds a u64");
/// # Ok(())
/// # }
/// ```
pub struct Typed<'s, T> {
    record: Record<'s>,
    kind: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Typed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<'_, T> {}

impl Segment {
    /// The record with this number as a `T`.
    ///
    /// The first value written through it says by its type's name and size which type the record holds.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::TooLarge`] if no class holds a `T`; [`Error::Incompatible`] if the record holds
    /// another type.
    pub fn typed<T: Pod>(&self, index: u32) -> Result<Typed<'_, T>> {
        Typed::new(self.record(index)?)
    }
}

impl<'s, T: Pod> Typed<'s, T> {
    pub(crate) fn new(record: Record<'s>) -> Result<Self> {
        let limit = record.home.max_payload();
        if size_of::<T>() > limit {
            return Err(Error::TooLarge { length: size_of::<T>(), limit });
        }
        let name = format!("{} of {} bytes", type_name::<T>(), size_of::<T>());
        let typed = Self { record, kind: fnv1a64(name.as_bytes()), of: PhantomData };
        record.home.check()?;
        let seen = record.home.counted(record.observe_meta())?;
        typed.check(seen.meta.kind, seen.meta.length as usize, seen.meta.version)?;
        Ok(typed)
    }

    /// The record itself, for waiting and claims.
    pub fn record(&self) -> Record<'s> {
        self.record
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if somebody wrote bytes or another type; else as [`Record::read`].
    pub fn read(&self) -> Result<(T, Stamp)> {
        self.record.home.check()?;
        let mut bytes = Vec::with_capacity(size_of::<T>().next_multiple_of(8));
        let seen = self.record.home.counted(self.record.observe_value(&mut bytes))?;
        self.check(seen.meta.kind, bytes.len(), seen.meta.version)?;
        Ok((value_of(&bytes), super::record::stamp(&seen)))
    }

    /// Changes the value in place; runs again on the newer value if somebody else was first.
    ///
    /// # Errors
    /// As [`Record::update`]; [`Error::Incompatible`] if somebody wrote bytes or another type.
    pub fn update<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<(R, Stamp)> {
        self.record.update_kind(self.kind, |kind, version, old, draft| {
            self.check(kind, old.len(), version)?;
            let mut value = value_of(old);
            let answer = change(&mut value);
            draft.write(bytes_of(&value));
            Ok(answer)
        })
    }

    /// Writes `value` if the record still has this version.
    ///
    /// # Errors
    /// As [`Record::compare_and_swap`]; [`Error::Incompatible`] if somebody wrote bytes or another type.
    pub fn compare_and_swap(&self, expected: Version, value: &T) -> Result<Outcome> {
        let seen = self.record.home.counted(self.record.observe_meta())?;
        self.check(seen.meta.kind, seen.meta.length as usize, seen.meta.version)?;
        self.record.compare_and_swap_kind(expected, bytes_of(value), Some(self.kind))
    }

    #[inline]
    fn check(&self, kind: u64, length: usize, version: u64) -> Result<()> {
        if version == 0 || kind == self.kind && length == size_of::<T>() {
            return Ok(());
        }
        let record = self.record.index();
        let path = self.record.home.path.clone();
        Err(Error::Incompatible { path, mismatch: Mismatch::Type { record, asked: type_name::<T>(), length } })
    }
}

/// The value in `bytes`; zeros if the record was never written.
#[inline]
fn value_of<T: Pod>(bytes: &[u8]) -> T {
    if bytes.len() == size_of::<T>() { pod_read_unaligned(bytes) } else { T::zeroed() }
}

impl<T> fmt::Debug for Typed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("record", &self.record.index()).field("type", &type_name::<T>()).finish()
    }
}
