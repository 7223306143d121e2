//! The program as people start it: exit codes, JSON, and nothing left behind however it ends.

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cap_guard::keeper::FOLDER;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use support::PROGRAM;

fn run(arguments: &str) -> Output {
    Command::new(PROGRAM).args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn a_small_run_passes_and_says_so_as_json() {
    let output = run("--database sqlite --processes 4 --updates 10 --kills 4 --json");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with(r#"{"verdict":"PASS","processes":4,"updates":10,"work_us":1000,"runs":[{"#));
    assert_eq!(text.matches(r#""violations":[]"#).count(), 5, "{text}");
    let guard = r#""mode":"guard","acknowledged":36,"effects":38,"lost":0,"#;
    assert!(text.contains(guard), "{text}");
    assert!(text.contains(r#""killed_before_sql":2,"killed_after_sql":2,"#), "{text}");
}

#[test]
fn one_mode_can_be_run_alone_and_the_table_ends_with_the_verdict() {
    let output = run("--database sqlite --mode flock --processes 2 --updates 5");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.lines().any(|line| line.starts_with("SQLite      flock")), "{text}");
    assert!(text.ends_with("verdict: PASS\n"), "{text}");
}

#[test]
fn without_postgresql_the_program_fails_and_names_the_folder_it_looked_in() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().display();
    let output = run(&format!("--postgres-bin {folder} --processes 2 --updates 2"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("no `initdb` and `postgres` in {folder}")), "{text}");
}

#[test]
fn a_wrong_option_is_a_usage_error() {
    assert_eq!(run("--mode best").status.code(), Some(2));
    assert_eq!(run("--help").status.code(), Some(0));
}

/// A long run on PostgreSQL in the middle of its first mode, in a process group and temporary folder of its own.
struct Interrupted {
    program: Child,
    server: PathBuf,
    temporary: tempfile::TempDir,
}

impl Interrupted {
    fn begin() -> Self {
        let temporary = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir_in("/tmp").unwrap();
        // A test run in the background may have been started with SIGINT ignored, which children inherit.
        let mut program = Command::new("env")
            .args(["--default-signal=INT", PROGRAM])
            .args("--database postgres --processes 4 --updates 20000".split(' '))
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = program.stdout.as_mut().unwrap();
        let mut heading = String::new();
        BufReader::with_capacity(1, output).read_line(&mut heading).unwrap();
        assert!(heading.starts_with("4 processes"), "{heading}");
        let folder = fs::read_dir(temporary.path()).unwrap().next().unwrap();
        let text = fs::read_to_string(folder.unwrap().path().join("data/postmaster.pid")).unwrap();
        let server = Path::new("/proc").join(text.lines().next().unwrap());
        assert!(server.exists());
        Interrupted { program, server, temporary }
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.program)
    }

    /// Every process of the run has the pipe open, so it ends when the last of them does.
    fn assert_nothing_is_left(mut self) {
        let errors = self.program.stderr.as_mut().unwrap();
        errors.read_to_end(&mut Vec::new()).unwrap();
        assert!(!self.program.wait().unwrap().success());
        assert!(!self.server.exists(), "the server still runs");
        assert_eq!(fs::read_dir(self.temporary.path()).unwrap().count(), 0);
        let name = format!("{FOLDER}{}-", self.program.id());
        for entry in fs::read_dir("/dev/shm").unwrap() {
            let entry = entry.unwrap().file_name();
            assert!(!entry.to_string_lossy().starts_with(&name), "{entry:?} is left");
        }
    }
}

#[test]
fn ctrl_c_stops_the_server_and_removes_every_folder() {
    let run = Interrupted::begin();
    kill_process_group(run.id(), Signal::INT).unwrap();
    run.assert_nothing_is_left();
}

#[test]
fn killing_the_program_ends_its_workers_and_its_server_too() {
    let run = Interrupted::begin();
    kill_process(run.id(), Signal::KILL).unwrap();
    run.assert_nothing_is_left();
}
