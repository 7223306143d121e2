//! Every command that a document shows is run here, shortened where it may be.
//!
//! A shell line that this file does not know is a failure: add how it is run before showing it to anybody.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A documented command, and what is run for it.
const COMMANDS: &[(&str, &[&str])] = &[
    (
        "cargo run --release -p torture",
        &["cargo", "run", "--release", "-p", "torture", "--", "--seconds", "2", "--updates", "20"],
    ),
    // This test is part of it; running it from here would never end.
    ("ci/test", &["bash", "-n", "ci/test"]),
    ("cargo bench --bench throughput", &["cargo", "bench", "--bench", "throughput", "--", "--test"]),
    ("cargo bench --bench waist", &["cargo", "bench", "--bench", "waist", "--", "--test"]),
    // Nothing is left in /dev/shm by a test.
    ("cargo run --example lock", &["bash", "-c", "cargo run --example lock && rm -f /dev/shm/slotguard-demo"]),
    ("cargo run --example cron_leader", &["cargo", "run", "--example", "cron_leader"]),
    ("cargo run --example rate_limiter", &["cargo", "run", "--example", "rate_limiter"]),
    ("cargo run --example circuit_breaker", &["cargo", "run", "--example", "circuit_breaker"]),
    (
        "cargo run --release -p cap_guard",
        &["cargo", "run", "--release", "-p", "cap_guard", "--", "--processes", "4", "--updates", "20"],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a document's `sh` blocks.
fn shell_lines(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_command_the_documents_show_works() {
    let mut shown: Vec<String> = Vec::new();
    for document in ["README.md", "BENCHMARKS.md", "torture/README.md", "examples/cap_guard/README.md"] {
        let lines = shell_lines(document);
        assert!(!lines.is_empty(), "{document} shows no command");
        shown.extend(lines);
    }
    assert_eq!(shown[..2], ["cargo run --release -p torture", "ci/test"], "the README's first two commands");
    shown.sort();
    shown.dedup();
    for line in shown {
        let Some((_, run)) = COMMANDS.iter().find(|(command, _)| *command == line) else {
            panic!("`{line}` is documented and not known here");
        };
        let output = Command::new(run[0]).args(&run[1..]).current_dir(root()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{}` for `{line}` failed:\n{said}", run.join(" "));
    }
}

#[test]
fn every_check_is_a_command() {
    use std::os::unix::fs::PermissionsExt;
    for name in ["ci/check", "ci/test", "ci/loom", "ci/crash", "ci/mutants", "ci/torture", "ci/bench", ".ci/run"] {
        let mode = fs::metadata(root().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name} is not executable");
        assert!(Command::new("bash").arg("-n").arg(name).current_dir(root()).status().unwrap().success(), "{name}");
    }
}

/// A program in the README is all there is to it: GitHub shows what rustdoc hides.
#[test]
fn the_readme_hides_nothing_and_its_lock_is_the_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let hidden = readme.lines().find(|line| line.starts_with("# ") && *line != "# slotguard");
    assert_eq!(hidden, None);
    let example = fs::read_to_string(root().join("examples/lock.rs")).unwrap();
    let (_, program) = example.split_once("\n\n").unwrap();
    assert!(readme.contains(&format!("```rust,no_run\n{program}```")), "the README's lock is not examples/lock.rs");
}

/// Links to files of the repository lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    for document in ["README.md", "torture/README.md", "examples/cap_guard/README.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let folder = root().join(document).parent().unwrap().to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(folder.join(target).exists(), "{document} links to {target}");
            }
        }
    }
}

/// Every test the README cites exists.
#[test]
fn every_test_the_readme_cites_exists() {
    fn rust_files(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                rust_files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut tests = String::new();
    rust_files(&root().join("tests"), &mut tests);
    // Each promise of the contract is a test of every backend.
    rust_files(&root().join("src/conformance"), &mut tests);
    let text = ["README.md", "src/recipe/mod.rs"].map(|path| fs::read_to_string(root().join(path)).unwrap()).join("\n");
    let text = text.replace("//! ```\n", "");
    let cited: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.matches('_').count() >= 3 && code.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()))
        .collect();
    assert!(cited.len() > 8, "{cited:?}");
    for name in cited {
        assert!(tests.contains(&format!("fn {name}(")), "{name} is cited and is no test");
    }
}
