//! The file of a segment: created whole before it has a name, validated before it is mapped.
//!
//! * **Create**: a file without a name (`O_TMPFILE`) → reserve every byte (`fallocate`, so that a full disk is an error
//!   here and never a SIGBUS later) → write the header → give it the name (`linkat`). Nobody ever sees it half made, and
//!   a creator killed on the way leaves nothing.
//! * **Open**: no symbolic link is followed at the path, nothing but a regular file is accepted, and the header is read
//!   and checked before a byte is mapped.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{
    self, AtFlags, FallocateFlags, FileType, FlockOperation, Gid, MemfdFlags, Mode, OFlags, SealFlags, Uid,
};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};
use crate::memory::layout::geometry::Geometry;
use crate::memory::layout::header::{self, Identity};

/// Permission bits and group of a new file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
}

/// An [`Error::Io`] about `path`.
pub(crate) fn refused(action: &'static str, path: Option<&Path>, cause: impl Into<io::Error>) -> Error {
    Error::Io { action, path: path.map(Path::to_path_buf), cause: cause.into() }
}

/// A file without a name in the folder of `path`, all its bytes reserved.
pub(crate) fn create_unnamed(path: &Path, size: usize, access: Access) -> Result<File> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = fs::open(folder, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
        Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL => unsupported("O_TMPFILE", folder, errno),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => permission_or_io("create a file in", folder, errno),
        errno => refused("create a file in", Some(folder), errno),
    })?;
    let file = File::from(file);
    reserve(&file, size, folder)?;
    if let Some(group) = access.group {
        fs::fchown(&file, None::<Uid>, Some(Gid::from_raw(group)))
            .map_err(|errno| refused("give the segment its group in", Some(folder), errno))?;
    }
    // The umask has no say.
    fs::fchmod(&file, Mode::from_raw_mode(access.mode))
        .map_err(|errno| refused("give the segment its mode in", Some(folder), errno))?;
    Ok(file)
}

/// Reserves every byte, so that no store can ever find the disk full.
pub(crate) fn reserve(file: &File, size: usize, folder: &Path) -> Result<()> {
    // Past this limit the system does not answer with an error: it ends the process, by SIGXFSZ.
    let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    if size as u64 > most {
        return Err(Error::NoSpace { path: folder.to_path_buf(), needed: size as u64, free: most });
    }
    loop {
        match fs::fallocate(file, FallocateFlags::empty(), 0, size as u64) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
                // What the failed attempt reserved counts as free again once the file is gone.
                let held = fs::fstat(file).map_or(0, |stat| stat.st_blocks as u64 * 512);
                let free = fs::fstatvfs(file).map_or(0, |system| system.f_bavail * system.f_frsize);
                return Err(Error::NoSpace { path: folder.to_path_buf(), needed: size as u64, free: free + held });
            }
            Err(errno @ (Errno::OPNOTSUPP | Errno::NOSYS)) => {
                return Err(unsupported("fallocate", folder, errno));
            }
            Err(errno) => {
                return Err(refused("reserve room for the segment in", Some(folder), errno));
            }
        }
    }
}

/// Gives an unnamed file its name; `false` if the name is taken.
pub(crate) fn publish(file: &File, path: &Path) -> Result<bool> {
    let unnamed = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    match fs::linkat(fs::CWD, &unnamed, fs::CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(refused("give the segment its name", Some(path), errno)),
    }
}

/// A sealed file in memory: it has no name and can be neither cut nor extended.
pub(crate) fn create_sealed(size: usize) -> Result<File> {
    let file = fs::memfd_create("slotguard", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|errno| refused("create an anonymous segment", None, errno))?;
    let file = File::from(file);
    reserve(&file, size, Path::new("memory"))?;
    fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|errno| refused("seal an anonymous segment", None, errno))?;
    Ok(file)
}

/// Opens the segment at `path` and reads its identity; `None` if there is nothing.
pub(crate) fn open(path: &Path) -> Result<Option<(File, Identity)>> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let not = |found: &str| Error::NotASegment { path: path.to_path_buf(), found: found.to_owned() };
    let file = match fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(not("a symbolic link, which is not followed")),
        Err(Errno::ISDIR) => return Err(not("a directory")),
        Err(Errno::NXIO | Errno::NODEV) => return Err(not("a socket, pipe or device")),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
            return Err(permission_or_io("open", path, errno));
        }
        Err(errno) => return Err(refused("open", Some(path), errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| refused("examine", Some(path), errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        _ => return Err(not("a pipe, socket or device")),
    }
    let identity = match header::read_identity(&file) {
        Ok(identity) => identity,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(not(&format!("a file of {} bytes", stat.st_size)));
        }
        Err(error) => return Err(refused("read", Some(path), error)),
    };
    if !header::is_a_segment(&identity) {
        return Err(not(&format!("a file that begins with {:016x}", identity[0])));
    }
    Ok(Some((file, identity)))
}

/// A second open file description of the same file, for the locks of one attachment.
pub(crate) fn open_again(file: impl AsFd) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()));
    fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| refused("open the segment a second time through", Some(&path), errno))
}

/// Bytes of the file.
pub(crate) fn length(file: &File, path: Option<&Path>) -> Result<u64> {
    Ok(fs::fstat(file).map_err(|errno| refused("examine", path, errno))?.st_size as u64)
}

/// Allocates the holes of an existing file: a copy may have become sparse, and a store into a hole can raise SIGBUS.
pub(crate) fn fill_holes(file: &File, geometry: &Geometry, path: Option<&Path>) -> Result<()> {
    let stat = fs::fstat(file).map_err(|errno| refused("examine", path, errno))?;
    if (stat.st_blocks as u64) * 512 < geometry.size as u64 {
        reserve(file, geometry.size, path.and_then(Path::parent).unwrap_or(Path::new("memory")))?;
    }
    Ok(())
}

/// Takes the right to remove `file`, which one remover has at a time, until it is closed.
pub(crate) fn lock_for_removal(file: &File, path: &Path) -> Result<()> {
    loop {
        match fs::flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            done => return done.map_err(|errno| refused("lock for removal", Some(path), errno)),
        }
    }
}

/// Takes the name `path` away.
pub(crate) fn unlink(path: &Path) -> Result<()> {
    fs::unlink(path).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => permission_or_io("remove", path, errno),
        errno => refused("remove", Some(path), errno),
    })
}

/// Whether `path` still names `file`.
pub(crate) fn is_still_at(file: &File, path: &Path) -> Result<bool> {
    let ours = fs::fstat(file).map_err(|errno| refused("examine", Some(path), errno))?;
    match fs::lstat(path) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(refused("examine", Some(path), errno)),
    }
}

/// Maps the whole segment, readable and writable, shared.
pub(crate) fn map(file: &File, geometry: &Geometry, path: Option<&Path>) -> Result<MmapRaw> {
    MmapOptions::new().len(geometry.size).map_raw(file).map_err(|cause| refused("map", path, cause))
}

fn unsupported(what: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Unsupported { what, path: path.to_path_buf(), cause: errno.into() }
}

/// Names the owner where the owner is the reason: of the path, or of the folder that does not let us see it.
fn permission_or_io(action: &'static str, path: &Path, errno: Errno) -> Error {
    match path.ancestors().find_map(|place| fs::stat(place).ok().map(|stat| (place, stat))) {
        Some((place, stat)) if errno != Errno::ROFS => Error::NotPermitted {
            path: place.to_path_buf(),
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            me: rustix::process::geteuid().as_raw(),
        },
        _ => refused(action, Some(path), errno),
    }
}
