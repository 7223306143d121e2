//! Keeps a table in a plain file that processes share, without a segment.
//!
//! ```
//! use slotguard::recipe::assignment::FileTable;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("nodes");
//! // Any number of processes, each with the same path.
//! let file_table = FileTable::open_or_create(&path, "test-cluster")?;
//! assert_eq!(file_table.join("node-1")?, 28);
//! assert_eq!(FileTable::open(&path, "test-cluster")?.node_of(28)?.as_deref(), Some("node-1"));
//! # Ok(())
//! # }
//! ```
//!
//! # How
//! ```text
//!  path.lock   locked during a change of the table; never renamed, never written
//!  path.tmp    the next table: created, written, synced
//!  path        replaced by renaming path.tmp; then the folder is synced
//! ```
//! The lock has a file of its own because each change replaces the table's file: a process that waited for a lock on
//! the table would then hold the lock of the replaced file, beside one that locked the new file. If the lock file is
//! removed, the next writer creates a new one and checks that it is still at the path; a process that holds the removed
//! one excludes nothing any more, so never remove it. Readers take no lock: at every moment the path names a complete
//! table.
//!
//! # Limits
//! * The processes, or machines, share one file system with working `flock`, atomic renames, and one path to the table
//!   once symbolic links are resolved. A hard link to the table is a separate table after the first change.
//! * Ownership only: no liveness, no generations. A node whose slot was released learns so from [`FileTable::lookup`];
//!   its writes are not fenced off.
//! * A change waits for the lock without a deadline: a stopped holder stops all changes. When the holder dies the
//!   kernel unlocks.
//! * Times in the table come from the writers' wall clocks; nothing depends on them.
//! * Each change writes and syncs the whole table into a new file, with the permissions of the old one and owned by the
//!   writer, who needs permission to create files in the folder.
//!
//! [`Assignment`](crate::recipe::Assignment) has none of these limits, except that it, too, is one file.
//!
//! # When a process dies
//! Before the rename nothing has changed, and the next writer removes `path.tmp`; after it the change is complete.
//! After a power failure the file holds the old table or the new one, and the new one if the call had returned. Nothing
//! is read back to verify a write: that would read the kernel's cache and not the disk. A failed write is reported by
//! the sync, a damaged table by its checksum on every read.
//!
//! A forked child does not hold its parent's lock.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::Table;
use crate::recipe::assignment::error::{Error, Result};
use crate::recipe::assignment::table_error::TableError;

/// A file with a [`Table`], shared by all processes that open its path.
#[derive(Clone, Debug)]
pub struct FileTable {
    path: PathBuf,
    cluster: String,
}

impl FileTable {
    /// Creates an empty table. It is durable when this returns.
    ///
    /// # Errors
    /// [`TableError::Exists`] if there is anything at the path, even a dangling link; [`Error::Store`] of
    /// [`Io`](crate::Error::Io), after which the table may exist nevertheless.
    pub fn create(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        let file_table = Self::at(path.as_ref(), cluster)?;
        let _lock = file_table.lock()?;
        if file_table.exists()? {
            return Err(TableError::Exists { path: file_table.path }.into());
        }
        file_table.write(&Table::new(cluster))?;
        Ok(file_table)
    }

    /// Opens a table, and reads it to validate it.
    ///
    /// # Errors
    /// Those of [`table`](FileTable::table).
    pub fn open(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        let file_table = Self::at(path.as_ref(), cluster)?;
        file_table.table()?;
        Ok(file_table)
    }

    /// Opens the table, or creates it if there is nothing at the path. Of several processes that do so at once one
    /// creates it, and the others open it.
    ///
    /// # Errors
    /// Those of [`open`](FileTable::open).
    pub fn open_or_create(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        match Self::create(path.as_ref(), cluster) {
            Err(Error::Table(TableError::Exists { .. })) => Self::open(path, cluster),
            created => created,
        }
    }

    /// Assigns a slot of 1 to 255 to the node, or returns the one it has. The assignment is durable when this returns.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Full`]; those of [`table`](FileTable::table). After [`Io`](crate::Error::Io) the
    /// node may have its slot nevertheless: join again, which returns that slot and makes it durable.
    pub fn join(&self, node: &str) -> Result<u16> {
        self.change(|table| table.assign(node))
    }

    /// Releases the node's slot and returns it. The release is durable when this returns.
    ///
    /// # Errors
    /// [`Error::UnknownNode`]; those of [`table`](FileTable::table). After [`Io`](crate::Error::Io) the slot may be
    /// released nevertheless: release again, which then fails with `UnknownNode` and makes the release durable.
    pub fn release(&self, node: &str) -> Result<u16> {
        self.change(|table| table.remove(node))
    }

    /// Reads the node's slot; `None` if it has none.
    ///
    /// # Errors
    /// Those of [`table`](FileTable::table).
    pub fn lookup(&self, node: &str) -> Result<Option<u16>> {
        Ok(self.table()?.entries.get(node).map(|entry| entry.slot))
    }

    /// Reads which node has the slot; `None` if it is free.
    ///
    /// # Errors
    /// Those of [`table`](FileTable::table).
    pub fn node_of(&self, slot: u16) -> Result<Option<String>> {
        Ok(self.table()?.usage.get(&slot).cloned())
    }

    /// Reads the current table.
    ///
    /// # Errors
    /// [`TableError::Missing`] if there is nothing at the path; those of [`Table::unmarshal`]; [`Error::Inconsistent`];
    /// [`Error::Store`] of [`Io`](crate::Error::Io). A damaged table is left as it is, never replaced by an empty one.
    pub fn table(&self) -> Result<Table> {
        let bytes = fs::read(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => TableError::Missing { path: self.path.clone() }.into(),
            _ => self.io("read the table", error),
        })?;
        let table = Table::unmarshal(&bytes, &self.cluster)?;
        table.check()?;
        Ok(table)
    }

    fn at(path: &Path, cluster: &str) -> Result<Self> {
        let failed = |cause| io_error("find the table's folder", path, cause);
        let resolved = match fs::canonicalize(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let name = path.file_name().ok_or_else(|| failed(ErrorKind::InvalidFilename.into()))?;
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                fs::canonicalize(folder).map(|folder| folder.join(name))
            }
            resolved => resolved,
        };
        Ok(Self { path: resolved.map_err(failed)?, cluster: cluster.to_owned() })
    }

    fn change<R>(&self, change: impl FnOnce(&mut Table) -> Result<R>) -> Result<R> {
        // Locked first: a table read before could have been replaced by another process.
        let (_lock, before) = (self.lock()?, self.table()?);
        let mut table = before.clone();
        let result = change(&mut table);
        if table == before {
            // Its writer may have died or failed between the rename and the sync, and an answer of any kind reports it.
            self.sync_folder().map_err(|error| self.io("sync the table's folder", error))?;
        } else {
            self.write(&table)?;
        }
        result
    }

    /// Waits for the lock of the table. Dropping the answer unlocks.
    fn lock(&self) -> Result<Locked> {
        let path = self.beside(".lock");
        let failed = |cause| io_error("lock the table", &path, cause);
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
            file.lock().map_err(failed)?;
            let locked = Locked(file);
            if is_at(&locked.0, &path).map_err(failed)? {
                return Ok(locked);
            }
        }
    }

    /// Replaces the table. The lock must be held.
    fn write(&self, table: &Table) -> Result<()> {
        let next = self.beside(".tmp");
        let put = || -> io::Result<()> {
            // A file left there may be a link to elsewhere, or not writable for us.
            remove(&next)?;
            let mut file = File::create_new(&next)?;
            if let Ok(old) = fs::metadata(&self.path) {
                file.set_permissions(old.permissions())?;
            }
            file.write_all(&table.marshal())?;
            file.sync_all()?;
            fs::rename(&next, &self.path)?;
            self.sync_folder()
        };
        put().map_err(|error| {
            // To free its space: the disk may be full.
            let _ = remove(&next);
            self.io("write the table", error)
        })
    }

    /// Syncs the folder, which makes a rename durable.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    fn exists(&self) -> Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true).map_err(|error| self.io("look for the table", error)),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    fn io(&self, action: &'static str, cause: io::Error) -> Error {
        io_error(action, &self.path, cause)
    }
}

/// The lock file, locked.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it is not enough: a child that was forked meanwhile has it open as well.
        let _ = self.0.unlock();
    }
}

/// Removes a file if it exists.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        found => found.map(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())),
    }
}

fn io_error(action: &'static str, path: &Path, cause: io::Error) -> Error {
    crate::Error::Io { action, path: Some(path.to_owned()), cause }.into()
}
