//! Chooses which bugs to plant.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::table::{Bug, Table};
use crate::{Result, read, source};

/// Prints `bug|test binary|filter` for each test of each bug that is named, or of all.
///
/// With a revision, only those whose source file or test has changed since.
pub fn print(root: &Path, table: &Table, since: Option<&str>, names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !table.bug.iter().any(|bug| bug.name == **name)) {
        return Err(format!("ci/mutants.toml has no bug {unknown:?}"));
    }
    let changed = since.map(|revision| Changed::since(root, revision)).transpose()?;
    for bug in table.bug.iter().filter(|bug| names.is_empty() || names.contains(&bug.name.as_str())) {
        for (binary, filter) in bug.tests.iter().filter_map(|test| test.split_once(' ')) {
            if changed.as_ref().is_none_or(|changed| changed.concerns(bug, binary, filter)) {
                println!("{}|{binary}|{filter}", bug.name);
            }
        }
    }
    Ok(())
}

/// What has changed since a revision.
struct Changed {
    files: BTreeSet<String>,
    /// Rust files outside the published source, and those in it that hold tests, with their text.
    tests: Vec<(String, String)>,
    edges: Vec<(String, String)>,
}

impl Changed {
    fn since(root: &Path, revision: &str) -> Result<Self> {
        let mut files = BTreeSet::new();
        for arguments in [&["diff", "--name-only", revision][..], &["ls-files", "--others", "--exclude-standard"]] {
            let git = Command::new("git").current_dir(root).args(arguments).output();
            let git = git.map_err(|error| format!("cannot run git: {error}"))?;
            if !git.status.success() {
                return Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&git.stderr).trim()));
            }
            files.extend(String::from_utf8_lossy(&git.stdout).lines().map(str::to_owned));
        }
        let mut tests = Vec::new();
        for folder in ["src", "tests"] {
            for path in source::files(&root.join(folder))? {
                let text = read(&path)?;
                let path = path.strip_prefix(root).expect("it was found below").display().to_string();
                tests.push((path, text));
            }
        }
        let edges = source::names(&root.join("src"))?.into_iter();
        let edges = edges.map(|(name, path)| (name, path.strip_prefix(root).unwrap_or(&path).display().to_string()));
        Ok(Self { files, tests, edges: edges.collect() })
    }

    fn concerns(&self, bug: &Bug, binary: &str, filter: &str) -> bool {
        let has_changed = |file: &String| self.files.contains(file);
        bug.change.iter().any(|change| has_changed(&change.file))
            || self.edges.iter().any(|(name, file)| *name == bug.name && has_changed(file))
            || self.files_of(binary, filter).into_iter().any(has_changed)
    }

    /// The files that define the tests a filter chooses; all of the binary's if that cannot be told.
    fn files_of(&self, binary: &str, filter: &str) -> Vec<&String> {
        let of_binary = |path: &str| match binary {
            "lib" => path.starts_with("src/"),
            _ => {
                path == format!("tests/{binary}.rs")
                    || path.starts_with(&format!("tests/{binary}/"))
                    || binary == "conformance" && path.starts_with("src/conformance")
            }
        };
        let all: Vec<_> = self.tests.iter().filter(|(path, _)| of_binary(path)).collect();
        let function = filter.rsplit("::").next().unwrap_or(filter);
        let defines = |text: &str| text.contains(&format!("fn {function}"));
        let exact: Vec<_> = all.iter().filter(|(_, text)| defines(text)).map(|(path, _)| path).collect();
        if exact.is_empty() { all.into_iter().map(|(path, _)| path).collect() } else { exact }
    }
}
