//! A PostgreSQL of one's own for the length of a run: found, initialised, started on a private socket, stopped by its
//! pid.
//!
//! Nothing of it is durable (`fsync = off`), which is its best case here: only processes die in this example, never
//! the power.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::Result;
use crate::database::Address;

/// The superuser `initdb` makes; as root also the system user the server runs as.
pub const USER: &str = "postgres";
/// The database every cluster starts with.
pub const DATABASE: &str = "postgres";

/// Unix sockets end at 108 bytes; some systems and tools earlier.
const LONGEST_SOCKET_PATH: usize = 100;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const PACKAGED: &str = "/usr/lib/postgresql";
/// How long the server may take to answer, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with `initdb` and `postgres`: the one asked for, else on `PATH`, else the newest Debian packages one.
///
/// # Errors
/// When there is none, naming what to install.
pub fn find_programs(asked: Option<&Path>) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_programs_in(asked, &path, Path::new(PACKAGED))
}

fn find_programs_in(asked: Option<&Path>, path: &OsStr, packaged: &Path) -> Result<PathBuf> {
    let complete = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file());
    if let Some(folder) = asked {
        return Some(folder.to_path_buf())
            .filter(complete)
            .ok_or_else(|| format!("no `initdb` and `postgres` in {}", folder.display()).into());
    }
    let mut versions: Vec<PathBuf> =
        fs::read_dir(packaged).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    versions.sort_by_key(|version| {
        let number = version.file_name().and_then(|name| name.to_str()?.parse::<f64>().ok());
        std::cmp::Reverse((number.unwrap_or(0.0) * 1000.0) as u64)
    });
    env::split_paths(path).chain(versions.into_iter().map(|version| version.join("bin"))).find(complete).ok_or_else(
        || {
            format!(
                "PostgreSQL is missing: no `initdb` and `postgres` on PATH or under {}/*/bin. Install it (Debian, \
                 Ubuntu: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`), name its folder \
                 with --postgres-bin, or leave it out with --database sqlite",
                packaged.display()
            )
            .into()
        },
    )
}

/// Whether a server's socket in this folder would have a path short enough to be used.
pub fn socket_path_fits(folder: &Path) -> bool {
    folder.join(SOCKET_NAME).as_os_str().len() < LONGEST_SOCKET_PATH
}

/// A running server. Dropping it stops the server.
pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Makes a cluster in `folder`, which becomes the server's own, and starts a server on a socket in it.
    pub fn start(programs: &Path, folder: &Path, connections: u32) -> Result<Self> {
        let account = account_for_server()?;
        if let Some((user, group)) = account {
            chown(folder, Some(user), Some(group))?;
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir(folder).stdin(Stdio::null());
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            command
        };

        let data = folder.join("data");
        let made = command("initdb")
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg(format!("--username={USER}"))
            .arg("--pgdata")
            .arg(&data)
            .output()?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            return Err(format!("initdb failed in {}: {}", folder.display(), why.trim()).into());
        }

        let log = fs::File::create(folder.join("log"))?;
        let mut server = command("postgres");
        server.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=",
            &format!("unix_socket_directories={}", folder.display()),
            "unix_socket_permissions=0700",
            &format!("max_connections={connections}"),
            "shared_buffers=16MB",
            // Kept in the folder, so that nothing can stay behind in /dev/shm.
            "dynamic_shared_memory_type=mmap",
            "fsync=off",
            "full_page_writes=off",
        ] {
            server.arg("-c").arg(setting);
        }
        let child = server.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Server { child, folder: folder.to_path_buf() };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Where it can be reached.
    pub fn address(&self) -> Address {
        Address::Postgres(self.folder.clone())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self.address().connect() else {
                return Ok(());
            };
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("the PostgreSQL server did not start: {error}\n{log}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        // A child that has not been waited for keeps its pid, so this can hit nobody else.
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown: it ends the sessions and stops.
        self.signal(Signal::INT);
        let end = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > end {
                self.signal(Signal::QUIT);
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.wait();
    }
}

/// Root may not run a server, so it becomes user `postgres` for it; everybody else runs it as themselves.
fn account_for_server() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let number = |flag: &str| -> Result<u32> {
        let answer = Command::new("id").args([flag, USER]).output()?;
        if !answer.status.success() {
            return Err(format!(
                "root may not run PostgreSQL and there is no user `{USER}` to run it: install the package, or start \
                 this as another user"
            )
            .into());
        }
        Ok(String::from_utf8(answer.stdout)?.trim().parse()?)
    };
    Ok(Some((number("-u")?, number("-g")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with_programs(parent: &Path, name: &str) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir_all(&folder).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(folder.join(program), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_missing_postgresql_is_an_error_that_names_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        let error = find_programs_in(None, empty.path().as_os_str(), empty.path()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("apt-get install postgresql"), "{message}");
        assert!(message.contains("--database sqlite"), "{message}");
        assert!(find_programs_in(Some(empty.path()), OsStr::new(""), empty.path()).is_err());
    }

    #[test]
    fn path_comes_first_and_then_the_newest_packaged_version() {
        let scratch = tempfile::tempdir().unwrap();
        folder_with_programs(scratch.path(), "packaged/9.6/bin");
        let newest = folder_with_programs(scratch.path(), "packaged/15/bin");
        let own = folder_with_programs(scratch.path(), "own");
        let packaged = scratch.path().join("packaged");
        let find = |path: &OsStr| find_programs_in(None, path, &packaged).unwrap();
        assert_eq!(find(OsStr::new("/nowhere")), newest);
        assert_eq!(find(own.as_os_str()), own);
    }

    #[test]
    fn a_socket_path_of_a_hundred_bytes_does_not_fit() {
        let room = LONGEST_SOCKET_PATH - SOCKET_NAME.len() - 1;
        assert!(socket_path_fits(Path::new(&"x".repeat(room - 1))));
        assert!(!socket_path_fits(Path::new(&"x".repeat(room))));
    }
}
