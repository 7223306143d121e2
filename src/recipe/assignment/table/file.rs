//! The table in a plain file that processes share without a segment.
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
//!  path.lock   locked by whoever changes the table; never renamed, never written
//!  path.tmp    the next table: made anew, written, synced
//!  path        renamed over; then the folder is synced
//! ```
//! The lock is a file of its own because the table's own file is another one after every change: who had waited for a
//! lock on it would hold that of a file nobody reads any more, next to whoever locks the new one. Should somebody
//! remove the lock file, the next one makes a new one and notices; who holds the old one at that moment is then no
//! obstacle, so leave it where it is. Readers take no lock: a name means a whole table at every moment.
//!
//! # Limits
//! * The processes, or machines, share one file system with working `flock`, renames that are atomic, and one spelling
//!   of the path once links are resolved. A hard link to the table is another table after the first change.
//! * Ownership only: no liveness, no generations. Who was released is told by [`FileTable::lookup`], and refused by
//!   nobody.
//! * A change waits for the lock as long as its holder lives, without a deadline: a holder that is stopped stops all
//!   changes. When it dies the kernel lets go.
//! * Times in the table are the wall clocks of whoever wrote them; nothing is decided by them.
//! * Every change writes and syncs the whole table, into a new file: it has the permissions of the one before and the
//!   owner of whoever wrote it. Who changes the table must be able to make files in its folder.
//!
//! [`Assignment`](crate::recipe::Assignment) has none of these limits but the one file.
//!
//! # When a process dies
//! Before the rename nothing has changed, and the next writer removes `path.tmp`. After it the change has taken place. A
//! power failure in between leaves the old table or the new one, whichever had been read; what a call has told of, it
//! leaves. Nothing is read back to see that it is there: that would be the kernel's copy and not the disk's. A write that
//! failed is told by the sync, a damaged table by its checksum whenever it is read.
//!
//! A forked child holds no lock of its parent's.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::Table;
use crate::recipe::assignment::error::{Error, Result};
use crate::recipe::assignment::table_error::TableError;

/// A file with a [`Table`], shared by those who open the same path.
#[derive(Clone, Debug)]
pub struct FileTable {
    path: PathBuf,
    cluster: String,
}

impl FileTable {
    /// Makes a new, empty table. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`TableError::Exists`] if there is anything at the path, were it a link that leads nowhere; the system's, after
    /// which the table may be there all the same.
    pub fn create(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        let file_table = Self::at(path.as_ref(), cluster)?;
        let _lock = file_table.lock()?;
        if file_table.exists()? {
            return Err(TableError::Exists { path: file_table.path }.into());
        }
        file_table.write(&Table::new(cluster))?;
        Ok(file_table)
    }

    /// Opens a table, and reads it to see that it is one.
    ///
    /// # Errors
    /// [`TableError::Missing`] if there is nothing at the path; those of [`Table::unmarshal`]; the system's.
    pub fn open(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        let file_table = Self::at(path.as_ref(), cluster)?;
        file_table.table()?;
        Ok(file_table)
    }

    /// Opens the table, or makes it if there is nothing at the path. Of several who do so at once one makes it.
    ///
    /// # Errors
    /// As [`open`](FileTable::open).
    pub fn open_or_create(path: impl AsRef<Path>, cluster: &str) -> Result<Self> {
        match Self::create(path.as_ref(), cluster) {
            Err(Error::Table(TableError::Exists { .. })) => Self::open(path, cluster),
            created => created,
        }
    }

    /// Gives the node a slot of 1 to 255, or says which it has. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`Error::EmptyNode`]; [`Error::Full`]; as [`table`](FileTable::table). The system's, after which it may be
    /// in the table all the same: join again, which answers the same slot and sees to it that it is on the disk.
    pub fn join(&self, node: &str) -> Result<u16> {
        self.change(|table| table.assign(node))
    }

    /// Takes the node's slot away and answers which it was. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`Error::UnknownNode`]; as [`table`](FileTable::table). The system's, after which it may be out of the table all
    /// the same: release again, which then answers `UnknownNode` and sees to it that this is on the disk.
    pub fn release(&self, node: &str) -> Result<u16> {
        self.change(|table| table.remove(node))
    }

    /// Which slot the node has.
    ///
    /// # Errors
    /// As [`table`](FileTable::table).
    pub fn lookup(&self, node: &str) -> Result<Option<u16>> {
        Ok(self.table()?.entries.get(node).map(|entry| entry.slot))
    }

    /// Which node has the slot.
    ///
    /// # Errors
    /// As [`table`](FileTable::table).
    pub fn node_of(&self, slot: u16) -> Result<Option<String>> {
        Ok(self.table()?.usage.get(&slot).cloned())
    }

    /// The table as it is now.
    ///
    /// # Errors
    /// [`TableError::Missing`] if somebody removed it, those of [`Table::unmarshal`], [`Error::Inconsistent`], and the
    /// system's. A table that cannot be read is left as it is, never replaced by an empty one.
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
        // Locked first: what was read before that, somebody else may have replaced.
        let (_lock, before) = (self.lock()?, self.table()?);
        let mut table = before.clone();
        let result = change(&mut table);
        if table == before {
            // Whoever wrote it may have died, or failed, between the rename and this; and an error tells of it as well.
            self.sync_folder().map_err(|error| self.io("sync the table's folder", error))?;
        } else {
            self.write(&table)?;
        }
        result
    }

    /// Waits until nobody else changes the table; dropping the answer lets others.
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
            // What somebody left there may be a link to elsewhere, or closed to us.
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
            // It may be the disk that is full.
            let _ = remove(&next);
            self.io("write the table", error)
        })
    }

    /// A rename is on the disk once the folder is.
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
        // Closing it would not do: a child that was forked meanwhile has it open as well.
        let _ = self.0.unlock();
    }
}

/// Removes a file that may not be there.
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
