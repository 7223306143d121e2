//! Opens the file of a region that the `shared_memory` crate made, for programs that already share one.
//!
//! The crate makes its files with holes, so placing a segment in one reserves every byte first; it does not know which
//! processes are alive, so the segment opens the region's file for its locks. The region's owner still decides how long
//! the name exists: dropping the owning `Shmem` unlinks it, and attached processes go on with the memory they have.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
pub(crate) use shared_memory::Shmem;

use super::file;
use crate::error::Result;

/// The region's file and its path: on Linux the crate makes it with `shm_open`, under its id.
pub(crate) fn open(region: &Shmem) -> Result<(File, PathBuf)> {
    let path = Path::new("/dev/shm").join(region.get_os_id().trim_start_matches('/'));
    let file = fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| file::refused("open the region", Some(&path), errno))?;
    Ok((File::from(file), path))
}
