//! Attaches to the segment at a path or in a region, and removes one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::Segment;
use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::geometry::Geometry;
use crate::memory::layout::header;
use crate::memory::liveness::attachment::Attachment;
use crate::memory::liveness::locks::Locks;
use crate::memory::os::file;
use crate::memory::os::host;
#[cfg(feature = "shared_memory")]
use crate::memory::os::region::{self, Shmem};
use crate::memory::sync::atomics::Ordering::{Relaxed, SeqCst};

impl Segment {
    /// Attaches to the segment at `path`, whatever its sizes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotASegment`], [`Error::NotPermitted`], [`Error::Incompatible`],
    /// [`Error::Corrupt`] if its header is damaged, [`Error::Full`] if all participants' rows are taken by the living.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        open_any(path)?.ok_or_else(|| Error::NotFound { path: path.to_path_buf() })
    }

    /// Removes the segment at `path`: attached processes get [`Error::Retired`], the name is free at once, and the
    /// memory goes when the last of them has left.
    ///
    /// Works on segments of other builds and of an earlier boot, and on nothing that is no segment.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotASegment`], [`Error::NotPermitted`].
    pub fn remove(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !take_away(path, Which::Any)? {
            return Err(Error::NotFound { path: path.to_path_buf() });
        }
        Ok(())
    }

    /// A new attachment to the same segment, with a row of its own: the way on for a forked child.
    ///
    /// # Errors
    /// As [`Segment::open`]; [`Error::Retired`] if the segment has been removed.
    pub fn reopen(&self) -> Result<Self> {
        let file = std::fs::File::from(file::open_again(&self.inner.file)?);
        // Wherever the file has been moved since: it is this very segment that is asked for.
        attach(file, self.inner.arena.geometry.clone(), self.inner.path.clone())
    }

    /// Attaches to the segment that [`SegmentBuilder::place_in`] made in this region.
    ///
    /// # Errors
    /// [`Error::NotASegment`] if nobody has; else as [`Segment::open`].
    #[cfg(feature = "shared_memory")]
    pub fn in_region(region: &Shmem) -> Result<Self> {
        let (file, path) = region::open(region)?;
        let identity = header::read_identity(&file).map_err(|cause| file::refused("read", Some(&path), cause))?;
        if !header::is_a_segment(&identity) {
            let found = format!("a region that begins with {:016x}", identity[0]);
            return Err(Error::NotASegment { path, found });
        }
        // The region may be larger than the segment in it.
        let length = file::length(&file, Some(&path))?.min(header::size(&identity));
        let geometry = header::check(&identity, Some(&path), length, host::boot()?)?;
        attach(file, geometry, Some(path))
    }
}

/// Which segment to take away from a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Any,
    /// One whose removal was begun and, if nobody is about to, not completed.
    Retired,
}

/// Marks the segment at `path` and takes its name away; `false` if there is none. A refusal changes nothing.
fn take_away(path: &Path, which: Which) -> Result<bool> {
    let Some((file, identity)) = file::open(path)? else {
        return Ok(false);
    };
    // One remover at a time: another one's name would go to a segment made since this one looked.
    file::lock_for_removal(&file, path)?;
    // Only a segment this build can read is marked; of any other we do not know where the mark is.
    let length = file::length(&file, Some(path))?;
    let geometry = header::check(&identity, Some(path), length, host::boot()?).ok();
    let arena = match geometry {
        Some(geometry) => Some(Arena::new(file::map(&file, &geometry, Some(path))?, geometry)),
        None => None,
    };
    let mark = arena.as_ref().map(|arena| &arena.header().retired.word);
    let begun = mark.is_some_and(|mark| mark.load(SeqCst) != 0);
    if !file::is_still_at(&file, path)? || which == Which::Retired && !begun {
        return Ok(true);
    }
    if let Some(mark) = mark {
        mark.store(1, SeqCst);
    }
    file::unlink(path).inspect_err(|_| {
        if let Some(mark) = mark.filter(|_| !begun) {
            mark.store(0, SeqCst);
        }
    })?;
    Ok(true)
}

/// Attaches to whatever segment is at `path` now; `None` if there is nothing.
pub(super) fn open_any(path: &Path) -> Result<Option<Segment>> {
    for _ in 0..100 {
        let Some((file, identity)) = file::open(path)? else {
            return Ok(None);
        };
        let length = file::length(&file, Some(path))?;
        let geometry = header::check(&identity, Some(path), length, host::boot()?)?;
        match attach_at(path, file, geometry) {
            // Removed since we opened it: the path names another segment, or nothing, or its remover was killed halfway.
            Err(Error::Retired) => {
                take_away(path, Which::Retired)?;
            }
            attached => return attached.map(Some),
        }
    }
    Err(Error::Retired)
}

/// Attaches to `file`, which was found at `path`, and makes sure that it is still what the path names.
fn attach_at(path: &Path, file: std::fs::File, geometry: Geometry) -> Result<Segment> {
    let segment = attach(file, geometry, Some(path.to_path_buf()))?;
    if !file::is_still_at(&segment.inner.file, path)? {
        return Err(Error::Retired);
    }
    Ok(segment)
}

pub(super) fn attach(file: std::fs::File, geometry: Geometry, path: Option<PathBuf>) -> Result<Segment> {
    file::fill_holes(&file, &geometry, path.as_deref())?;
    let map = file::map(&file, &geometry, path.as_deref())?;
    let locks = Locks::open(|| file::open_again(&file))?;
    let attachment = Attachment::attach(Arena::new(map, geometry), file, path, locks)?;
    // Only now: a remover that comes after this load finds our row taken, and its mark reaches us.
    if attachment.arena.header().retired.word.load(Relaxed) != 0 {
        return Err(Error::Retired);
    }
    Ok(Segment { inner: Arc::new(attachment) })
}
