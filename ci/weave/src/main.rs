//! Weaves the planted bugs of `ci/mutants.toml` into a copy of the source, and says which tests must turn red.
//!
//! ```text
//! weave check                           table and source agree on every name, and every text matches exactly once
//! weave rows [--since REV] [NAME…]      `bug|test binary|filter`, a line for each test of each bug
//! weave tree FOLDER                     a copy of the checkout in which every bug can be chosen at run time
//! ```
//! `ci/mutants` runs all three, `ci/check` the first.

mod rows;
mod source;
mod table;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What goes wrong is told to a person, in one line each.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            for line in why.lines() {
                eprintln!("weave: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let table = table::Table::read(&root)?;
    match words[..] {
        ["check"] => table.check(&root),
        ["rows", "--since", revision, ref names @ ..] => rows::print(&root, &table, Some(revision), names),
        ["rows", ref names @ ..] => rows::print(&root, &table, None, names),
        ["tree", folder] => table.check(&root).and_then(|()| tree::weave(&root, &table, Path::new(folder))),
        _ => Err("usage: weave check | weave rows [--since REV] [NAME…] | weave tree FOLDER".into()),
    }
}

/// The checkout this program was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("ci/weave is two folders deep").to_owned()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
