//! The command as people and scripts use it: what it prints where, how it ends, and that nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The command, with a target directory of its own.
fn torture(target: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    command.env("CARGO_TARGET_DIR", target_directory(target)).stdin(Stdio::null());
    command
}

fn target_directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn run(target: &str, arguments: &[&str]) -> (Output, String, String) {
    let output = torture(target).args(arguments).output().expect("the command runs");
    let words = String::from_utf8(output.stdout.clone()).expect("text");
    let errors = String::from_utf8(output.stderr.clone()).expect("text");
    (output, words, errors)
}

/// Directories of the run with this process id, wherever runs keep them.
fn directories_of(pid: u32) -> Vec<PathBuf> {
    let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let mine = format!("slotguard-torture-{pid}-");
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&mine)).map(|entry| entry.path()).collect()
}

#[test]
fn a_short_run_passes_says_so_and_leaves_its_files() {
    let (output, words, errors) = run("passes", &["--seconds", "1", "--seed", "17"]);
    assert!(output.status.success(), "{words}{errors}");
    assert!(
        words.starts_with("seed: 17\nreplay: cargo run --release -p torture -- --seed 17 --seconds 1\n"),
        "{words}"
    );
    assert!(words.ends_with("verdict: PASS\n"), "{words}");
    assert!(
        words.contains("naive: ") && words.contains("flock: ") && words.contains("records, kills and stops"),
        "{words}"
    );
    assert!(!errors.contains('\x1b') && !errors.contains('\r'), "a bar although nobody looks: {errors:?}");

    let folder = target_directory("passes").join("torture");
    let summary = fs::read_to_string(folder.join("summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(summary["seed"], 17);
    assert_eq!(summary["operations"]["acknowledged"], summary["operations"]["found"]);
    assert_eq!(summary["operations"]["lost"], 0);
    for promise in ["P1", "P3", "P4", "P5", "P6", "P7"] {
        assert_eq!(summary["promises"][promise]["violations"], 0, "{promise}");
        assert!(summary["promises"][promise]["checked"].as_u64() > Some(0), "{promise}");
    }
    assert!(summary["kills"].as_u64() > Some(0) && summary["stops"].as_u64() > Some(0));
    assert!(summary["phases"][0]["lost"].as_u64() > Some(0), "the naive control lost nothing");

    let workloads = summary["workloads"].as_array().expect("workloads");
    let names: Vec<&str> = workloads.iter().filter_map(|one| one["workload"].as_str()).collect();
    assert_eq!(
        names,
        ["records", "bank", "churn", "leases", "watch", "lock", "election", "guard", "assignment", "delivery"]
    );
    for one in workloads {
        assert!(one["kills"].as_u64() > Some(0) && one["stops"].as_u64() > Some(0), "{one}");
        assert!(one["figures"].as_array().is_some_and(|figures| figures.len() > 5), "{one}");
        let promises = one["promises"].as_object().expect("promises");
        assert!(promises.values().all(|meant| meant["checked"].as_u64() > Some(0)), "{one}");
    }
    assert!(words.contains("distinct names") && words.contains("slowest take-over after a kill"), "{words}");

    let page = fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(names.iter().all(|name| page.contains(&format!("<h2>{name}</h2>"))), "a section is missing");
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("--seed 17 --seconds 1"));
    assert!(!page.contains("http") && !page.contains("src="), "the page loads something from elsewhere");
}

#[test]
fn with_json_the_summary_alone_is_on_the_standard_output() {
    let (output, words, errors) = run("json", &["--json", "--mode", "flock", "--seconds", "1"]);
    assert!(output.status.success(), "{words}{errors}");
    let summary: serde_json::Value = serde_json::from_str(&words).expect("JSON and nothing else");
    assert_eq!(summary["verdict"], "PASS");
    assert_eq!(summary["phases"][0]["lost"], 0);
    assert!(errors.starts_with("seed: ") && errors.ends_with("verdict: PASS\n"), "{errors}");
}

#[test]
fn a_workload_that_is_picked_is_run_alone_and_its_command_repeats_it() {
    let (output, words, errors) =
        run("picked", &["--workload", "leases", "--workload", "bank", "--seconds", "1", "--seed", "3"]);
    assert!(output.status.success(), "{words}{errors}");
    let replay = "replay: cargo run --release -p torture -- --seed 3 --seconds 1 --workload bank,leases\n";
    assert!(words.starts_with(&format!("seed: 3\n{replay}")), "{words}");
    let phases: Vec<&str> = words.lines().filter(|line| line.contains(", kills and stops  ")).collect();
    assert_eq!(phases.len(), 2, "{words}");
    assert!(!words.contains("naive") && !words.contains("records, kills"), "{words}");
}

#[test]
fn a_value_that_cannot_be_meant_is_a_usage_error() {
    let (output, words, errors) = run("usage", &["--threads", "many"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(words.is_empty());
    assert!(
        errors.starts_with("error: invalid value 'many' for '--threads <N>': give a whole number from 8 to 8000\n"),
        "{errors}"
    );
}

#[test]
fn a_run_that_is_ended_in_the_middle_leaves_nothing_and_nobody_behind() {
    end_in_the_middle("ended", 15);
}

#[test]
fn a_run_that_is_killed_in_the_middle_leaves_nothing_and_nobody_behind() {
    end_in_the_middle("killed", 9);
}

fn end_in_the_middle(target: &str, signal: i32) {
    let mut child = torture(target)
        .args(["--mode", "ours", "--seconds", "60", "--threads", "8", "--processes", "20", "--updates", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let pid = child.id();
    let mut first = String::new();
    let mut words = BufReader::new(child.stdout.take().expect("its words"));
    words.read_line(&mut first).expect("a line");
    assert!(first.starts_with("seed: "), "{first}");
    // In the middle: the workers of a workload are there.
    let children = format!("/proc/{pid}/task/{pid}/children");
    let is_of_a_workload = |child: &str| {
        let command = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        command.contains(r#""name":"records""#)
    };
    while !fs::read_to_string(&children).expect("its children").split_whitespace().any(is_of_a_workload) {
        std::thread::yield_now();
    }
    assert_eq!(directories_of(pid).len(), 2);
    let end = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().expect("kill runs");
    assert!(end.success());

    assert_eq!(child.wait().expect("its end").signal(), Some(signal));
    // The pipe ends when the last process that holds it is gone: the workers, and the keepers of the directories.
    let mut errors = String::new();
    child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
    assert_eq!(errors, "");
    assert_eq!(directories_of(pid), Vec::<PathBuf>::new());
}
