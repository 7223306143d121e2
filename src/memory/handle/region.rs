//! A segment inside a region that the `shared_memory` crate made, for programs that already share one.
//!
//! The crate makes its files with holes, so placing reserves every byte first; it has no notion of who is alive, so the
//! segment opens the region's file for its locks. The region's owner still decides how long the name exists: dropping
//! the owning `Shmem` unlinks it, and attached processes go on with the memory they have.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use shared_memory::Shmem;

use super::segment::{Segment, SegmentBuilder, attach};
use crate::error::{Error, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::header;
use crate::memory::liveness::locks::{Locks, PLACING};
use crate::memory::os::file;
use crate::memory::os::host;

impl SegmentBuilder {
    /// Makes a segment in a region of the `shared_memory` crate and attaches to it. Mode and group stay the region's.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = slotguard::Segment::builder().records(4).lanes(4);
    /// let region = shared_memory::ShmemConf::new().size(builder.size()? as usize).create()?;
    /// let segment = builder.place_in(&region)?;
    /// segment.record(0)?.update(|_, draft| draft.write(b"here"))?;
    /// let same = slotguard::Segment::in_region(&region)?;
    /// assert_eq!(same.record(0)?.verify()?.version.0, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the region is smaller than [`SegmentBuilder::size`] or holds anything but zeros;
    /// [`Error::AlreadyExists`] if it holds a segment, or somebody is just placing one; [`Error::NoSpace`].
    pub fn place_in(self, region: &Shmem) -> Result<Segment> {
        let geometry = self.geometry()?;
        let (file, path) = open(region)?;
        let length = file::length(&file, Some(&path))?;
        if length < geometry.size as u64 {
            let needed = geometry.size;
            return Err(Error::Invalid(format!("the region has {length} bytes and the segment needs {needed}")));
        }
        // One placer at a time; the kernel takes the lock from one that dies, and what it wrote is not yet a segment.
        let placing = Locks::open(|| file::open_again(&file))?;
        if !placing.try_lock(PLACING)? {
            return Err(Error::AlreadyExists { path });
        }
        let identity = header::read_identity(&file).map_err(|cause| file::refused("read", Some(&path), cause))?;
        if header::is_a_segment(&identity) {
            return Err(Error::AlreadyExists { path });
        }
        file::reserve(&file, geometry.size, Path::new("/dev/shm"))?;
        let arena = Arena::new(file::map(&file, &geometry, Some(&path))?, geometry.clone());
        // A placer that was killed has left at most words of a header without the magic number, which go first.
        arena.header().clear_identity();
        if !arena.is_all_zeros() {
            return Err(Error::Invalid(format!("the region {} holds something already", path.display())));
        }
        arena.header().write_identity(&header::identity_of(
            &geometry,
            host::boot()?,
            host::random()?,
            host::real_time(),
        ));
        attach(file, geometry, Some(path))
    }
}

impl Segment {
    /// Attaches to the segment that [`SegmentBuilder::place_in`] made in this region.
    ///
    /// # Errors
    /// [`Error::NotASegment`] if nobody has; else as [`Segment::open`].
    pub fn in_region(region: &Shmem) -> Result<Self> {
        let (file, path) = open(region)?;
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

/// The region's file: on Linux the crate makes it with `shm_open`, under its id.
fn open(region: &Shmem) -> Result<(File, PathBuf)> {
    let path = Path::new("/dev/shm").join(region.get_os_id().trim_start_matches('/'));
    let file = fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| file::refused("open the region", Some(&path), errno))?;
    Ok((File::from(file), path))
}
