//! Finds names and texts in source files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::{Result, read};

/// Every `.rs` file below `folder`, sorted.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let told = |error| format!("cannot list {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The names that the source asks for, `edge("NAME", …)` or `loom_fence("NAME")`, with the first file of each.
pub fn names(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut names = BTreeMap::new();
    for file in files(folder)? {
        for name in names_in(&read(&file)?) {
            names.entry(name).or_insert_with(|| file.clone());
        }
    }
    Ok(names)
}

fn names_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for call in ["edge(", "loom_fence("] {
        for (at, _) in text.match_indices(call) {
            let argument = text[at + call.len()..].trim_start();
            if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            if let Some((name, _)) = argument.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// Where `wanted` stands in `text`; a run of white space is like any other, and none at the ends counts.
pub fn find(text: &str, wanted: &str) -> Vec<Range<usize>> {
    let words: Vec<&str> = wanted.split_whitespace().collect();
    let Some(first) = words.first() else { return Vec::new() };
    text.match_indices(first).filter_map(|(at, _)| Some(at..end_of_match(text, at, &words)?)).collect()
}

fn end_of_match(text: &str, at: usize, words: &[&str]) -> Option<usize> {
    let mut rest = &text[at..];
    for (nth, word) in words.iter().enumerate() {
        if nth > 0 {
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() {
                return None;
            }
            rest = trimmed;
        }
        rest = rest.strip_prefix(word)?;
    }
    Some(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_whatever_its_white_space() {
        let text = "fn f() {\n    a(b,\n        c);\n    a(b, c)\n}";
        assert_eq!(find(text, "a(b, c);"), vec![13..29]);
        assert_eq!(find(text, "a(b, c)").len(), 2);
        assert_eq!(find(text, "a (b,"), []);
        assert_eq!(find(text, "  "), []);
    }

    #[test]
    fn names_are_those_asked_for() {
        let text = r#"x.load(edge("publish", Acquire)); wedge("no"); edge(
            "sleep", SeqCst); planted(name); loom_fence("mark")"#;
        assert_eq!(names_in(text), ["publish", "sleep", "mark"]);
    }
}
