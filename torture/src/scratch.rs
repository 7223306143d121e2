//! Private directories for segments and histories that are gone when the run is, however it ends.
//!
//! A normal end and a panic drop [`Scratch`]; Ctrl-C and SIGTERM are met by a thread that removes the directories and
//! leaves (the workers die with their parent). Only SIGKILL of the run itself leaves a directory behind: each holds a
//! locked file, so the next run sees that nobody holds the lock and removes what the dead one left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::random::Random;
use crate::system;

const PREFIX: &str = "slotguard-torture-";
const LOCK: &str = "in-use";

static ALIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// One private directory, mode 0700, removed on drop.
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A directory for segments: shared memory if the machine has it.
    pub fn for_segments() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = [Some(PathBuf::from("/dev/shm")), runtime, Some(std::env::temp_dir())];
        let mut last = io::Error::other("no directory for segments");
        for place in places.into_iter().flatten().filter(|place| place.is_dir()) {
            match Self::inside(&place) {
                Ok(made) => return Ok(made),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A directory for histories, which need more room than shared memory has.
    pub fn for_histories() -> io::Result<Self> {
        Self::inside(&std::env::temp_dir())
    }

    fn inside(place: &Path) -> io::Result<Self> {
        remove_what_dead_runs_left(place);
        let me = std::process::id();
        let mut random = Random::of(system::now(), &[u64::from(me)]);
        loop {
            let path = place.join(format!("{PREFIX}{me}-{:016x}", random.next()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    ALIVE.lock().unwrap_or_else(|e| e.into_inner()).push(path.clone());
                    let lock = File::create(path.join(LOCK))?;
                    lock.lock()?;
                    // Another run may have taken it for a dead one's before it was locked.
                    if path.join(LOCK).exists() {
                        return Ok(Self { path, _lock: lock });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes whatever is in the directory.
    pub fn clear(&self) -> io::Result<()> {
        self.left_over()?.iter().try_for_each(|name| fs::remove_file(self.path.join(name)))
    }

    /// Names of what is in the directory now, apart from its own lock.
    pub fn left_over(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK {
                names.push(name);
            }
        }
        Ok(names)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
        ALIVE.lock().unwrap_or_else(|e| e.into_inner()).retain(|path| *path != self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        eprintln!("torture: cannot remove {}: {error}", path.display());
    }
}

/// Directories of runs that were killed: ours by owner and name, and nobody holds the lock inside.
fn remove_what_dead_runs_left(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    let Ok(me) = fs::metadata("/proc/self").map(|data| data.uid()) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir() && data.uid() == me);
        let Some(lock) = File::open(path.join(LOCK)).ok().filter(|_| ours) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            remove(&path);
        }
    }
}

/// Starts the thread that cleans up when somebody ends the run; the signals must be blocked already.
pub fn clean_up_on(signals: system::EndSignals) -> io::Result<()> {
    let wait = move || {
        let signal = signals.wait();
        for path in ALIVE.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
            remove(&path);
        }
        eprintln!("torture: ended by signal {signal}; nothing is left behind");
        std::process::exit(128 + signal);
    };
    std::thread::Builder::new().name("end signals".into()).spawn(wait).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_gone_after_a_panic() {
        let path = Mutex::new(PathBuf::new());
        let end = std::panic::catch_unwind(|| {
            let scratch = Scratch::for_histories().expect("a temporary directory");
            fs::write(scratch.file("segment"), b"bytes").expect("a file in it");
            assert_eq!(scratch.left_over().expect("its names"), ["segment"]);
            path.lock().expect("the path").clone_from(&scratch.path);
            panic!("the run fails");
        });
        assert!(end.is_err());
        let path = path.lock().unwrap_or_else(|e| e.into_inner());
        assert!(!path.as_os_str().is_empty() && !path.exists());
    }

    #[test]
    fn what_a_killed_run_left_is_removed_by_the_next_and_what_a_live_one_uses_is_not() {
        let place = Scratch::for_histories().expect("a temporary directory");
        let dead = place.file(&format!("{PREFIX}dead"));
        fs::create_dir(&dead).expect("a directory");
        fs::write(dead.join(LOCK), b"").expect("a lock nobody holds");
        let live = Scratch::inside(&place.path).expect("a directory in use");
        assert!(!dead.exists());
        remove_what_dead_runs_left(&place.path);
        assert!(live.path.exists());
    }
}
