//! Makes the copy of the checkout that has the bugs in it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::table::{Change, Table};
use crate::{Result, read, source};

/// What stands in place of [`EDGE`] in the copy: it chooses the bug at run time.
const CHOOSER: &str = include_str!("../edge.rs");
/// The file whose function every named ordering goes through.
const EDGE: &str = "src/edge.rs";

/// Copies what git knows of the checkout (and what it does not ignore) to `folder`, with the bugs woven in.
///
/// Files that are as they should be are not touched, so that a second run builds little; files that are not of the
/// checkout any more go.
pub fn weave(root: &Path, table: &Table, folder: &Path) -> Result<()> {
    let mut kept = BTreeSet::new();
    for file in tracked(root)? {
        let from = root.join(&file);
        if !from.is_file() {
            continue; // deleted and not committed
        }
        let to = folder.join(&file);
        let changes = table.changes_of(&file);
        if file == EDGE {
            write(&to, CHOOSER.as_bytes())?;
        } else if changes.is_empty() {
            let bytes = fs::read(&from).map_err(|error| format!("cannot read {}: {error}", from.display()))?;
            write(&to, &bytes)?;
            let mode = fs::metadata(&from).map_err(|error| format!("cannot look at {}: {error}", from.display()))?;
            fs::set_permissions(&to, mode.permissions())
                .map_err(|error| format!("cannot chmod {}: {error}", to.display()))?;
        } else {
            write(&to, woven(&read(&from)?, &changes)?.as_bytes())?;
        }
        kept.insert(to);
    }
    remove_others(folder, &kept)
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let git = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| format!("cannot run git ls-files: {error}"))?;
    if !git.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&git.stderr)));
    }
    let names = String::from_utf8(git.stdout).map_err(|error| format!("a file name is no UTF-8: {error}"))?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    let told = |error| format!("cannot clean {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).map_err(told)?;
        }
    }
    Ok(())
}

/// A text with its changes woven in.
fn woven(text: &str, changes: &[(&str, &Change)]) -> Result<String> {
    let mut sites: Vec<(Range<usize>, &str, &Change)> = Vec::new();
    for &(bug, change) in changes {
        let [ref found] = source::find(text, &change.text)[..] else {
            return Err(format!("{bug:?}: its text does not match exactly once in {}", change.file));
        };
        sites.push((found.clone(), bug, change));
    }
    sites.sort_by_key(|(at, ..)| (at.start, at.end));
    let mut out = String::new();
    let mut done = 0;
    let mut rest = &sites[..];
    while let Some((first, ..)) = rest.first() {
        let mut whole = first.clone();
        let mut among = 1;
        while let Some((next, ..)) = rest.get(among).filter(|(next, ..)| next.start < whole.end) {
            whole.end = whole.end.max(next.end);
            among += 1;
        }
        out.push_str(&text[done..whole.start]);
        out.push_str(&choice(text, whole.clone(), &rest[..among]));
        done = whole.end;
        rest = &rest[among..];
    }
    out.push_str(&text[done..]);
    Ok(out)
}

/// The text of `whole`, or what one of these bugs makes of it.
fn choice(text: &str, whole: Range<usize>, sites: &[(Range<usize>, &str, &Change)]) -> String {
    let original = &text[whole.clone()];
    let is_expression = !original.ends_with([';', '}']);
    let mut out = String::new();
    let bugs: BTreeSet<&str> = sites.iter().map(|(_, bug, _)| *bug).collect();
    for bug in bugs {
        let mut variant = String::new();
        let mut done = whole.start;
        for (at, _, change) in sites.iter().filter(|(_, of, _)| *of == bug) {
            variant.push_str(&text[done..at.start]);
            variant.push_str(&change.becomes);
            done = at.end;
        }
        variant.push_str(&text[done..whole.end]);
        out.push_str(&format!("if crate::edge::planted({bug:?}) {{ {variant} }} else "));
    }
    out.push_str(&format!("{{ {original} }}"));
    if is_expression { format!("({out})") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str, becomes: &str) -> Change {
        Change { file: String::new(), text: text.into(), becomes: becomes.into() }
    }

    #[test]
    fn an_expression_and_statements_become_choices() {
        let (call, tail) = (change("b + 1", "b"), change("wake();", ""));
        let text = "let a = b + 1; wake(); a";
        assert_eq!(
            woven(text, &[("late", &tail), ("off by one", &call)]).unwrap(),
            "let a = (if crate::edge::planted(\"off by one\") { b } else { b + 1 }); \
             if crate::edge::planted(\"late\") {  } else { wake(); } a"
        );
    }

    #[test]
    fn texts_that_overlap_become_one_choice() {
        let (inner, outer) = (change("b", "c"), change("a(b)", "0"));
        assert_eq!(
            woven("x = a(b);", &[("inner", &inner), ("outer", &outer)]).unwrap(),
            "x = (if crate::edge::planted(\"inner\") { a(c) } else if crate::edge::planted(\"outer\") { 0 } \
             else { a(b) });"
        );
    }

    #[test]
    fn a_text_that_is_there_twice_is_refused() {
        assert!(woven("a; a;", &[("twice", &change("a;", ""))]).unwrap_err().contains("exactly once"));
        assert!(woven("a;", &[("absent", &change("b;", ""))]).unwrap_err().contains("exactly once"));
    }
}
