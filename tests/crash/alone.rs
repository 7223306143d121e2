//! Running a test in a process of its own, with a folder that is removed whatever becomes of it.
//!
//! The test harness has many threads, and a child forked from it would inherit their locks. So a test starts this very
//! program again for itself alone, and forks there. The outer process is the watchdog: it alone knows the time.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Tells the inner process that it is one, and where its folder is.
const FOLDER: &str = "CRASH_FOLDER";
/// How long a test may hang before it is ended; CRASH_WATCHDOG sets other seconds.
const WATCHDOG: u64 = 900;

/// Runs `body` alone in a process, with an empty folder on a tmpfs.
pub fn alone(body: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        die_with_parent();
        body(&PathBuf::from(folder));
        return;
    }
    let test = std::thread::current().name().expect("the harness names its threads after the tests").to_owned();
    let folder = tempfile::Builder::new().prefix("slotguard-crash-").tempdir_in("/dev/shm").expect("a folder");
    let (output, into) = std::io::pipe().expect("a pipe");
    let mut inner = Command::new(std::env::current_exe().expect("our own program"))
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(into.try_clone().expect("a second end of the pipe"))
        .stderr(into)
        .spawn()
        .expect("this program once more");

    let pid = rustix::process::Pid::from_child(&inner);
    let (ended, wait) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hung = wait.recv_timeout(Duration::from_secs(seconds())) == Err(mpsc::RecvTimeoutError::Timeout);
        if hung {
            // Not reaped yet: `ended` is dropped before the wait below.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        hung
    });
    let mut ran = false;
    for line in BufReader::new(output).lines() {
        let line = line.unwrap_or_else(|error| format!("({error})"));
        ran |= line.starts_with("test result: ok. 1 passed");
        // What the inner harness says of itself would be counted twice.
        if !line.is_empty() && !line.starts_with("running ") && !line.starts_with("test result: ") {
            println!("{}", line.strip_prefix(&format!("test {test} ... ")).unwrap_or(&line));
        }
    }
    drop(ended);
    let hung = watchdog.join().expect("the watchdog");
    let status = inner.wait().expect("the end of the inner process");
    assert!(!hung, "{test} did not end in {} s", seconds());
    assert!(status.success(), "{test} failed in its own process: {status} (signal {:?})", status.signal());
    assert!(ran, "{test} was not found in its own process");
}

/// In the inner process: the test's folder, for what goes with it.
pub fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("a test in a process of its own").into()
}

/// Keeps this process and its later children on one processor: a child that is stepped through is woken half a million
/// times, and waking a process is several times dearer on another processor.
pub fn stay_on_one_processor() {
    let all = rustix::thread::sched_getaffinity(None).expect("the processors we may use");
    let mut one = rustix::thread::CpuSet::new();
    // Not all tests on the first.
    let usable: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    one.set(usable[std::process::id() as usize % usable.len()]);
    rustix::thread::sched_setaffinity(None, &one).expect("one of them");
}

/// Nobody may outlive the watchdog's kill.
pub fn die_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("prctl");
}

fn seconds() -> u64 {
    std::env::var("CRASH_WATCHDOG")
        .map_or(WATCHDOG, |text| text.parse().expect("CRASH_WATCHDOG is a number of seconds"))
}
