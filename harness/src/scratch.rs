//! Makes private folders that are gone afterwards, however the program ends.
//!
//! A second process, the keeper, makes the folder and waits for the end of its input. The program holds the other end of
//! that pipe, and the kernel closes it when the program returns, panics, is interrupted or is killed; then the keeper
//! removes the folder. The program has nothing to remember, and no later run has to clear up.
//!
//! The keeper is a role of the program, so `main` must call [`dispatch`](crate::subprocess::dispatch) first. A test has no
//! such `main`: it uses [`folder`], or [`isolated`](crate::isolated::isolated), whose outer process is the keeper.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::subprocess::command;

/// The keeper's role.
pub(crate) const KEEPER: &str = "keeper";

/// Where a folder is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In shared memory (`/dev/shm`, then `$XDG_RUNTIME_DIR`), or where temporary files go if the machine has none.
    SharedMemory,
    /// Where temporary files go: more room than shared memory has.
    Disk,
}

impl Place {
    const NAMES: [(&'static str, Self); 2] = [("shared-memory", Self::SharedMemory), ("disk", Self::Disk)];

    fn folders(self) -> Vec<PathBuf> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let shared = [Some(PathBuf::from("/dev/shm")), runtime];
        let shared = shared.into_iter().flatten().filter(|_| self == Self::SharedMemory);
        shared.chain([env::temp_dir()]).collect()
    }
}

/// A private folder whose name begins with `prefix`. It is removed on drop, so it stays if the process is killed.
pub fn folder(place: Place, prefix: &str) -> io::Result<TempDir> {
    let mut last = io::Error::other("no place for a folder");
    for place in place.folders() {
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&place)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())));
        match made {
            Ok(folder) => return Ok(folder),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A private folder, removed on drop and when this process is gone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keeper: Child,
}

impl Scratch {
    /// Starts a keeper and learns from it where the folder is. The name begins with `prefix` and this process's id.
    pub fn new(place: Place, prefix: &str) -> io::Result<Self> {
        let (place, _) = Place::NAMES.into_iter().find(|(_, known)| *known == place).expect("all places have names");
        let mut keeper = command(KEEPER)?
            .args([place, prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own process group: an interrupt from the terminal ends the program, and the keeper outlives it.
            .process_group(0)
            .spawn()?;
        let mut path = String::new();
        let answer = keeper.stdout.take().expect("the keeper's output is a pipe");
        BufReader::new(answer).read_line(&mut path)?;
        if path.trim().is_empty() {
            return Err(io::Error::other("no folder could be made"));
        }
        Ok(Self { path: PathBuf::from(path.trim_end_matches('\n')), keeper })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Names of what is in it now.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.path)?.map(name).collect()
    }

    /// Removes the files in it.
    pub fn clear(&self) -> io::Result<()> {
        self.names()?.iter().try_for_each(|name| fs::remove_file(self.path.join(name)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("{}: not known to be removed: {error}", self.path.display());
        }
    }
}

/// The keeper: makes a folder, says where it is, waits until the program is gone, removes the folder.
pub(crate) fn keep(arguments: &[OsString]) -> io::Result<()> {
    let [place, prefix] = arguments else {
        return Err(io::Error::other("a place and a prefix are expected"));
    };
    let named = |(name, known): (&str, Place)| (place == name).then_some(known);
    let place = Place::NAMES.into_iter().find_map(named).ok_or_else(|| io::Error::other("no such place"))?;
    let folder = folder(place, &format!("{}{}-", prefix.display(), parent_id()))?;
    let mut out = io::stdout();
    writeln!(out, "{}", folder.path().display())?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    remove(&folder.keep())
}

/// Removes a folder in which children of a killed program may still make files for a moment.
fn remove(folder: &Path) -> io::Result<()> {
    for _ in 0..1_000 {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => thread::sleep(Duration::from_millis(1)),
            other => return other,
        }
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_gone_on_drop() {
        let folder = folder(Place::SharedMemory, "harness-test-").expect("a folder");
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("the folder").permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
