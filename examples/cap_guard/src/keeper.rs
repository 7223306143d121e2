//! A second process that owns what must not stay behind, and clears it away when the first one ends, however it ends.
//!
//! It makes the temporary folders and starts the PostgreSQL server, says where they are, and then reads a pipe that
//! nobody ever writes to. The pipe closes when the first process returns, panics, is interrupted or is killed; then the
//! server is stopped and the folders are removed. It is in a process group of its own, out of Ctrl-C's reach.

use std::env;
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::result::Result as StdResult;

use tempfile::TempDir;

use crate::Result;
use crate::database::Address;
use crate::server::{Server, find_programs, socket_path_fits};

/// The hidden subcommand.
pub const COMMAND: &str = "keeper";
const FAILED: &str = "failed";
/// How the names of all temporary folders begin; the first process's id follows.
pub const FOLDER: &str = "cap_guard-";

/// What a run needs.
#[derive(Clone, Debug)]
pub struct Needs {
    /// An SQLite file.
    pub sqlite: bool,
    /// A PostgreSQL server, from this folder of programs if one is given.
    pub postgres: bool,
    /// See [`Needs::postgres`].
    pub postgres_programs: Option<PathBuf>,
    /// How many may be connected to the server at once.
    pub connections: u32,
}

/// The first process's handle. Dropping it clears everything away and waits until that is done.
pub struct Keeper {
    child: Child,
    /// Where the segment and the lock file go.
    pub shared: PathBuf,
    /// The databases that were asked for.
    pub databases: Vec<Address>,
}

impl Keeper {
    /// Starts `program` again as keeper and waits until everything is ready.
    pub fn start(program: &Path, needs: &Needs) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(COMMAND).arg(needs.connections.to_string());
        command.arg(if needs.sqlite { "sqlite" } else { "" });
        command.arg(if needs.postgres { "postgres" } else { "" });
        command.args(&needs.postgres_programs);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut keeper = Keeper { child, shared: PathBuf::new(), databases: Vec::new() };
        let output = keeper.child.stdout.take().ok_or("no pipe")?;
        let mut output = BufReader::new(output);
        let mut line = || -> Result<String> {
            let mut line = String::new();
            output.read_line(&mut line)?;
            let line = line.trim_end();
            if line == FAILED || line.is_empty() {
                let mut why = String::new();
                output.read_to_string(&mut why)?;
                return Err(why.into());
            }
            Ok(line.to_owned())
        };
        keeper.shared = line()?.into();
        for _ in 0..u8::from(needs.sqlite) + u8::from(needs.postgres) {
            keeper.databases.push(line()?.parse()?);
        }
        Ok(keeper)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The keeper process itself: returns when everything is cleared away.
pub fn serve(arguments: &[String]) -> Result<()> {
    let [connections, sqlite, postgres, programs @ ..] = arguments else {
        return Err("the keeper is started by the program itself".into());
    };
    let needs = Needs {
        sqlite: sqlite == "sqlite",
        postgres: postgres == "postgres",
        postgres_programs: programs.first().map(PathBuf::from),
        connections: connections.parse()?,
    };
    let kept = Kept::make(&needs);
    let mut output = io::stdout().lock();
    match &kept {
        Ok(kept) => {
            writeln!(output, "{}", kept.shared.path().display())?;
            for address in kept.databases() {
                writeln!(output, "{address}")?;
            }
        }
        Err(error) => writeln!(output, "{FAILED}\n{error}")?,
    }
    output.flush()?;
    if kept.is_ok() {
        io::stdin().lock().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// What the keeper owns. The server is named first, so it is gone before its folder is.
struct Kept {
    server: Option<Server>,
    _server_folder: Option<TempDir>,
    sqlite_folder: Option<TempDir>,
    shared: TempDir,
}

impl Kept {
    fn make(needs: &Needs) -> Result<Self> {
        let mut kept = Kept {
            server: None,
            _server_folder: None,
            sqlite_folder: None,
            shared: private_folder(&[PathBuf::from("/dev/shm"), env::temp_dir()], |_| true)?,
        };
        let places = [env::temp_dir(), PathBuf::from("/tmp")];
        if needs.sqlite {
            kept.sqlite_folder = Some(private_folder(&places, |_| true)?);
        }
        if needs.postgres {
            let programs = find_programs(needs.postgres_programs.as_deref())?;
            let folder = private_folder(&places, socket_path_fits)?;
            let server = Server::start(&programs, folder.path(), needs.connections);
            kept._server_folder = Some(folder);
            kept.server = Some(server?);
        }
        Ok(kept)
    }

    fn databases(&self) -> Vec<Address> {
        let sqlite = self.sqlite_folder.as_ref().map(|folder| Address::Sqlite(folder.path().join("caps.db")));
        sqlite.into_iter().chain(self.server.as_ref().map(Server::address)).collect()
    }
}

/// A new folder of mode 0700 in the first of these places where one can be made that suits.
fn private_folder(places: &[PathBuf], suits: impl Fn(&Path) -> bool) -> Result<TempDir> {
    let mut refusals = Vec::new();
    for place in places {
        let made: StdResult<TempDir, String> = tempfile::Builder::new()
            .prefix(&format!("{FOLDER}{}-", parent_id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)
            .map_err(|error| error.to_string());
        match made {
            Ok(folder) if suits(folder.path()) => return Ok(folder),
            Ok(_) => refusals.push(format!("{}: its path is too long", place.display())),
            Err(error) => refusals.push(format!("{}: {error}", place.display())),
        }
    }
    Err(format!("no place for a temporary folder: {}", refusals.join("; ")).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_place_that_does_not_suit_is_passed_over_and_left_clean() {
        let first = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        let places = [first.path().to_path_buf(), second.path().to_path_buf()];
        let folder = private_folder(&places, |path| !path.starts_with(first.path())).unwrap();
        assert!(folder.path().starts_with(second.path()));
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(first.path()).unwrap().count(), 0);
        assert!(private_folder(&places, |_| false).is_err());
    }
}
