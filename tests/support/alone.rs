//! A test in a process of its own, because it forks, gives up rights, enters namespaces, or could hang or crash.
//!
//! Such a test runs twice: in the harness it starts itself again in a new process and waits for that one; there it does
//! what it is about. What it leaves behind lies in a folder that the first one removes, however the second one ends.
#![allow(dead_code, reason = "each test file uses a part")]

use std::any::type_name;
use std::env;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tempfile::TempDir;

/// Set in the second process: the folder it may use.
const FOLDER: &str = "SLOTGUARD_TEST_FOLDER";
/// Set in a process that a second one starts beside itself.
const PEER: &str = "SLOTGUARD_TEST_PEER";
/// Seconds after which a test that never ends is ended, unless 240. No test waits for it.
const WATCHDOG: &str = "SLOTGUARD_TEST_SECONDS";
/// What a peer's answers begin with, so that they are told from what the harness prints.
const ANSWER: &str = "@ ";

/// A folder in shared memory that is gone when the answer is dropped.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("slotguard-").tempdir_in("/dev/shm").expect("a folder in /dev/shm")
}

/// Runs `body` in a process of its own, with a folder it may use.
pub fn alone<F: FnOnce(&Path)>(body: F) {
    in_namespaces(&[], body);
}

/// Runs `body` in a process of its own and in new namespaces, named by options of `unshare`.
pub fn in_namespaces<F: FnOnce(&Path)>(namespaces: &[&str], body: F) {
    match env::var_os(FOLDER) {
        Some(folder) => body(Path::new(&folder)),
        None => supervise(namespaces, test_of::<F>()),
    }
}

/// Runs `play` in a process of its own, which may start peers: processes that run `serve` until they are told to stop.
pub fn with_peers<F: FnOnce(&Path, &Stage)>(serve: impl FnOnce(&Path), play: F) {
    let test = test_of::<F>();
    match (env::var_os(FOLDER), env::var_os(PEER)) {
        (Some(folder), None) => play(Path::new(&folder), &Stage { test, folder: PathBuf::from(&folder) }),
        (Some(folder), Some(_)) => serve(Path::new(&folder)),
        (None, _) => supervise(&[], test),
    }
}

/// The name by which the harness knows the test whose closure `F` is.
fn test_of<F>() -> &'static str {
    let name = type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").expect("a closure written in a test");
    name.split_once("::").expect("a test in a crate").1
}

/// This test binary, to run one test in new namespaces. Who may not make them becomes root of a user namespace first.
fn again(namespaces: &[&str], test: &str) -> Command {
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

/// Runs a test again and passes its failure on.
fn supervise(namespaces: &[&str], test: &str) {
    let folder = folder();
    let mut log = tempfile::tempfile().expect("a file for what the test prints");
    let copy = || Stdio::from(log.try_clone().expect("a descriptor"));
    let mut child = again(namespaces, test)
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(copy())
        .stderr(copy())
        .process_group(0)
        .spawn()
        .expect("the test's own process (unshare needs root, or a kernel that lets users make namespaces)");
    let group = pid_of(&child);
    let seconds = env::var(WATCHDOG).map_or(240, |seconds| seconds.parse().expect("a number of seconds"));
    let ended = ends(&pidfd_open(group, PidfdFlags::empty()).expect("a process of ours"), Duration::from_secs(seconds));
    // Whatever it started and left running goes with it.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().expect("a process of ours");
    let printed = read_back(&mut log);
    open_up(folder.path());
    assert!(ended, "{test} did not end in {seconds} s; it printed:\n{printed}");
    assert!(
        status.success() && printed.contains("test result: ok. 1 passed"),
        "{test} in a process of its own: {status}; it printed:\n{printed}"
    );
    print!("{printed}");
}

/// Lets a folder be deleted that the test has closed to its owner.
fn open_up(folder: &Path) {
    let _ = std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Waits for the process to end, at most that long.
fn ends(process: &OwnedFd, most: Duration) -> bool {
    let mut ended = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one `pollfd` that lives across the call is passed, with its number.
        let count = unsafe { libc::poll(&raw mut ended, 1, most.as_millis() as i32) };
        if count >= 0 {
            return count > 0;
        }
    }
}

fn read_back(log: &mut File) -> String {
    let mut printed = Vec::new();
    log.rewind().expect("a file");
    log.read_to_end(&mut printed).expect("what the test printed");
    String::from_utf8_lossy(&printed).into_owned()
}

/// Mounts a file system of this type on a new folder, in a mount namespace of our own.
pub fn mount(kind: &str, folder: &Path, options: &str, flags: libc::c_ulong) {
    std::fs::create_dir(folder).expect("a new folder");
    let [folder, kind, options] = [folder.to_str().expect("a plain name"), kind, options]
        .map(|text| CString::new(text).expect("a text without a zero"));
    // SAFETY: four strings that end with a zero and live across the call.
    let result =
        unsafe { libc::mount(c"none".as_ptr(), folder.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    assert_eq!(result, 0, "mount {kind:?}: {}", std::io::Error::last_os_error());
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// What a test with peers starts them from.
pub struct Stage {
    test: &'static str,
    folder: PathBuf,
}

impl Stage {
    /// Starts a peer in new namespaces, named by options of `unshare`.
    pub fn peer(&self, namespaces: &[&str]) -> Peer {
        let mut child = again(namespaces, self.test)
            .env(FOLDER, &self.folder)
            .env(PEER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a peer (unshare needs root, or a kernel that lets users make namespaces)");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Peer { child, questions, answers }
    }
}

/// A process that answers one line to each line; it ends when it is dropped.
pub struct Peer {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Asks for something and waits for the answer.
    pub fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.answer()
    }

    /// Asks for something that takes its time.
    pub fn tell(&mut self, question: &str) {
        let questions = self.questions.as_mut().expect("a peer that listens");
        writeln!(questions, "{question}").expect("a peer that listens");
    }

    /// The answer to what was told.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("a peer's answer");
            assert!(read > 0, "a peer ended before it answered");
            if let Some(answer) = line.strip_prefix(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Kills it, with what it runs in.
    pub fn kill(&mut self) {
        kill_process(pid_of(&self.child), Signal::KILL).expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its questions ends it.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

/// Answers every line of the standard input until it ends.
pub fn answer_questions(mut answer: impl FnMut(&[&str]) -> String) {
    for question in std::io::stdin().lines() {
        let question = question.expect("a question");
        let words: Vec<&str> = question.split_whitespace().collect();
        // The harness may have left a line unfinished.
        println!("\n{ANSWER}{}", answer(&words));
    }
    std::process::exit(0);
}
