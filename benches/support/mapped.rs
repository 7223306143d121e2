//! Memory that threads and processes share through a file, for the rivals and for the starting flag: no part of slotguard.

use std::{fs::OpenOptions, io, marker::PhantomData, path::Path};

use memmap2::{MmapOptions, MmapRaw};

/// Says that a type may lie in memory that anyone may write at any time.
///
/// # Safety
/// Every part of the type is an atomic or an `UnsafeCell`, all-zero bytes are a value of it, and so is anything the
/// workers of this bench write there.
pub unsafe trait Shareable {}

/// A `T` in a file's shared mapping.
#[derive(Debug)]
pub struct Mapped<T: Shareable> {
    map: MmapRaw,
    holds: PhantomData<T>,
}

impl<T: Shareable> Mapped<T> {
    /// Maps the file, which is made with zeros if it is not there yet.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // The file is either new or was given this very length by the run it belongs to, so nothing is ever cut off.
        file.set_len(size_of::<T>() as u64)?;
        let map = MmapOptions::new().len(size_of::<T>()).map_raw(&file)?;
        assert!(map.as_ptr().cast::<T>().is_aligned(), "a mapping begins at a page");
        Ok(Self { map, holds: PhantomData })
    }

    /// What lies in the mapping.
    pub fn get(&self) -> &T {
        // SAFETY: the mapping is `size_of::<T>()` bytes, aligned (checked when mapped) and lives as long as `self`; the
        // file is never cut short; `Shareable` vouches that any bytes are a value and that writes by others are allowed.
        unsafe { &*self.map.as_ptr().cast::<T>() }
    }
}

// SAFETY: the mapping belongs to the process, not to a thread; unmapping it from another one is allowed.
unsafe impl<T: Shareable> Send for Mapped<T> {}
// SAFETY: only `&T` is given out, and `Shareable` says that others may use the same memory meanwhile.
unsafe impl<T: Shareable> Sync for Mapped<T> {}
