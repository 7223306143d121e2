//! A private folder for this run's segments and mappings that is gone afterwards, however the run ends.
//!
//! A second process makes the folder and waits for the end of its input. The run holds the other end of that pipe, and
//! the kernel closes it when the run returns, panics, is interrupted or is killed; then the folder is removed. Nothing
//! has to be remembered by the run itself.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use super::subprocess;

/// The folder; it is removed when this is dropped and when this process is gone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keeper: Child,
}

impl Scratch {
    /// Starts the keeper and learns from it where the folder is.
    pub fn new() -> io::Result<Self> {
        let mut keeper = subprocess::command(subprocess::KEEP)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own process group: an interrupt from the terminal ends the run, and the keeper outlives it.
            .process_group(0)
            .spawn()?;
        let mut path = String::new();
        let answer = keeper.stdout.take().expect("the keeper's output is a pipe");
        BufReader::new(answer).read_line(&mut path)?;
        if path.trim().is_empty() {
            return Err(io::Error::other("no folder for the run could be made"));
        }
        Ok(Self { path: PathBuf::from(path.trim_end_matches('\n')), keeper })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
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

/// What the keeper does: make a folder, name it, wait until the run is gone, remove it.
pub fn keep() -> io::Result<()> {
    let mut named = tempfile::Builder::new();
    named.prefix("slotguard-bench-");
    let folder = named.tempdir_in("/dev/shm").or_else(|_| named.tempdir())?;
    let mut out = io::stdout();
    writeln!(out, "{}", folder.path().display())?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    folder.close()
}
