//! Runs one test in a process of its own: a test that forks, gives up rights, enters namespaces, or could hang or crash.
//!
//! Such a test runs twice. The outer run starts the test binary again for this test alone and waits for it; the inner run
//! does what the test is about. The outer one knows the time, ends what hangs, and removes the folder, however the inner
//! one ended.
//!
//! ```no_run
//! #[test]
//! fn a_file_can_be_written() {
//!     harness::isolated::isolated(|folder| std::fs::write(folder.join("file"), b"bytes").unwrap());
//! }
//! ```

use std::any::type_name;
use std::env;
use std::ffi::{CString, OsString};
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, PipeReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

pub use rustix::mount::MountFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::scratch::{self, Place};
use crate::subprocess::{die_with_parent, ends_within};

/// Set in the inner process: the folder it may use.
pub(crate) const FOLDER: &str = "SLOTGUARD_TEST_FOLDER";
/// Seconds after which a test that never ends is ended. No test waits for it.
const WATCHDOG: &str = "SLOTGUARD_TEST_SECONDS";
/// The same, unless the variable says otherwise.
pub(crate) const SECONDS: u64 = 240;

/// Runs `body` in a process of its own, with a folder in shared memory it may use.
pub fn isolated<F: FnOnce(&Path)>(body: F) {
    isolated_for(SECONDS, body);
}

/// Like [`isolated`], but the test may take so many seconds, unless `SLOTGUARD_TEST_SECONDS` says otherwise.
pub fn isolated_for<F: FnOnce(&Path)>(seconds: u64, body: F) {
    isolate(seconds, &[], body);
}

/// Like [`isolated`], in new namespaces, named by options of `unshare`.
pub fn isolated_in<F: FnOnce(&Path)>(namespaces: &[&str], body: F) {
    isolate(SECONDS, namespaces, body);
}

/// In the inner process: the test's folder.
pub fn inner_folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

/// A folder in shared memory for a test that needs no process of its own. It is removed on drop.
pub fn folder() -> TempDir {
    scratch::folder(Place::SharedMemory, "slotguard-test-").expect("a folder")
}

/// In a mount namespace of the test's own: mounts a file system of this type on a new folder.
pub fn mount(kind: &str, folder: &Path, options: &str, flags: MountFlags) {
    fs::create_dir(folder).expect("a new folder");
    let options = CString::new(options).expect("options without a zero");
    rustix::mount::mount("none", folder, kind, flags, options.as_c_str())
        .unwrap_or_else(|error| panic!("mount {kind} on {}: {error}", folder.display()));
}

/// Runs `body` if this is the inner process, else starts that one.
fn isolate<F: FnOnce(&Path)>(seconds: u64, namespaces: &[&str], body: F) {
    match inner_folder() {
        Some(folder) => {
            die_with_parent().expect("prctl");
            body(&folder);
        }
        None => supervise::<F>(seconds, namespaces),
    }
}

/// The name of the running test, whose closure `F` is.
pub(crate) fn test_of<F>() -> String {
    // The test harness names its threads after the tests, but runs a single one in the main thread.
    match thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => {
            let name = type_name::<F>();
            let name = name.trim_end_matches("::{{closure}}");
            name.split_once("::").expect("a test in a crate").1.to_owned()
        }
    }
}

/// This test binary, to run one test in new namespaces. One that may not make them becomes root of a user namespace first.
pub(crate) fn again(namespaces: &[&str], test: &str) -> Command {
    let program = env::current_exe().expect("the test binary's path");
    let mut words: Vec<OsString> = Vec::new();
    if !namespaces.is_empty() {
        words.push("unshare".into());
        let allowed = Command::new("unshare").args(namespaces).arg("true").stderr(Stdio::null()).status();
        if !allowed.expect("unshare, of util-linux").success() {
            words.extend(["--user".into(), "--map-root-user".into()]);
        }
        words.extend(namespaces.iter().map(|word| (*word).into()));
    }
    words.push(program.into());
    words.extend([test, "--exact", "--nocapture", "--test-threads=1"].map(OsString::from));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Runs a test again and passes on what it prints and how it ends.
pub(crate) fn supervise<F>(seconds: u64, namespaces: &[&str]) {
    let test = test_of::<F>();
    let seconds = env::var(WATCHDOG).map_or(seconds, |seconds| seconds.parse().expect("a number of seconds"));
    let folder = folder();
    let (output, into) = io::pipe().expect("a pipe");
    let mut command = again(namespaces, &test);
    command
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(into.try_clone().expect("a second end of the pipe"))
        .stderr(into)
        .process_group(0);
    let mut inner = command
        .spawn()
        .expect("the test's own process (unshare needs root, or a kernel that lets users make namespaces)");
    // Our copies of the pipe's end would keep it open.
    drop(command);
    let group = Pid::from_child(&inner);
    let watchdog = thread::spawn(move || {
        let ended = ends_within(group, Duration::from_secs(seconds)).expect("a process of ours");
        // What it started and left running goes with it. It is not waited for yet, so the group is its own.
        let _ = kill_process_group(group, Signal::KILL);
        ended
    });
    let passed = pass_on(output, &test);
    let ended = watchdog.join().expect("the watchdog");
    let status = inner.wait().expect("a process of ours");
    open_up(folder.path());
    assert!(ended, "{test} did not end in {seconds} s");
    assert!(status.success() && passed, "{test} failed in a process of its own: {status}");
}

/// Prints what the inner process prints, without what its test harness adds; answers whether the one test passed.
fn pass_on(output: PipeReader, test: &str) -> bool {
    let start = format!("test {test} ... ");
    let mut passed = false;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.expect("the test's output");
        let line = String::from_utf8_lossy(&line);
        passed |= line.starts_with("test result: ok. 1 passed");
        if !line.is_empty() && !line.starts_with("running ") && !line.starts_with("test result: ") {
            println!("{}", line.strip_prefix(&start).unwrap_or(&line));
        }
    }
    passed
}

/// Lets a folder be deleted that the test has closed to its owner.
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_test_runs_in_a_process_of_its_own_with_a_folder() {
        let before = inner_folder();
        isolated(|folder| {
            assert_eq!(before.as_deref(), Some(folder), "this is not the inner process");
            fs::write(folder.join("file"), b"bytes").expect("a file");
        });
    }

    #[test]
    fn a_test_that_fails_in_its_own_process_fails() {
        let failed = || isolated(|_| panic!("the test fails"));
        match inner_folder() {
            Some(_) => failed(),
            None => assert!(catch_unwind(failed).is_err()),
        }
    }
}
