//! The table of planted bugs, and whether it agrees with the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::{Result, read, source};

/// `ci/mutants.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// In the order of the file.
    pub bug: Vec<Bug>,
}

/// One planted bug.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What chooses it at run time.
    pub name: String,
    /// `<test binary> <filter>`, each of which must turn red.
    pub tests: Vec<String>,
    /// Where the source is changed; nowhere for the weakening of an edge.
    #[serde(default)]
    pub change: Vec<Change>,
}

/// One place of a planted bug.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Path of the file from the checkout's root.
    pub file: String,
    /// An expression or whole statements of it.
    pub text: String,
    /// What it becomes.
    pub becomes: String,
}

impl Table {
    /// Reads the table of a checkout.
    pub fn read(root: &Path) -> Result<Self> {
        toml::from_str(&read(&root.join("ci/mutants.toml"))?).map_err(|error| format!("ci/mutants.toml: {error}"))
    }

    /// The changes of one file, with their bugs' names.
    pub fn changes_of(&self, file: &str) -> Vec<(&str, &Change)> {
        let all = self.bug.iter().flat_map(|bug| bug.change.iter().map(|change| (bug.name.as_str(), change)));
        all.filter(|(_, change)| change.file == file).collect()
    }

    /// Compares the table with the source and with the names that were there before it.
    pub fn check(&self, root: &Path) -> Result<()> {
        let mut faults = self.own_faults();
        for file in source::files(&root.join("src"))? {
            if read(&file)?.contains("planted(") {
                let file = file.strip_prefix(root).unwrap_or(&file).display();
                faults.push(format!("{file} asks `planted(`: bugs stand in ci/mutants.toml, and only there"));
            }
        }
        let sites = source::names(&root.join("src"))?;
        let names: BTreeSet<&str> = self.bug.iter().map(|bug| bug.name.as_str()).collect();
        for name in sites.keys().filter(|name| !names.contains(name.as_str())) {
            faults.push(format!("{name:?} is an edge of src and has no row in ci/mutants.toml"));
        }
        for bug in self.bug.iter().filter(|bug| bug.change.is_empty() && !sites.contains_key(&bug.name)) {
            faults.push(format!("{:?} changes nothing, and src has no edge of that name", bug.name));
        }
        for name in read(&root.join("ci/mutants.names"))?.lines().filter(|line| !line.starts_with('#')) {
            if !names.contains(name) {
                faults.push(format!("{name:?} of ci/mutants.names is lost: it has no row in ci/mutants.toml"));
            }
        }
        let mut texts = BTreeMap::new();
        for (bug, change) in self.bug.iter().flat_map(|bug| bug.change.iter().map(move |change| (bug, change))) {
            let text = texts.entry(&change.file).or_insert_with(|| read(&root.join(&change.file)));
            let found = text.as_ref().map(|text| source::find(text, &change.text).len());
            match found {
                Ok(1) => {}
                Ok(times) => faults.push(format!(
                    "{:?}: its text matches {times} times in {}, not once:\n    {}",
                    bug.name,
                    change.file,
                    change.text.trim()
                )),
                Err(why) => faults.push(format!("{:?}: {why}", bug.name)),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    /// What is wrong whatever the source says.
    fn own_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        for bug in &self.bug {
            if !seen.insert(&bug.name) {
                faults.push(format!(
                    "{:?} stands twice in ci/mutants.toml; give it one row with all its tests",
                    bug.name
                ));
            }
            if bug.name.contains('|') || bug.name.trim().is_empty() {
                faults.push(format!("{:?} cannot be a name: it is empty or has a |", bug.name));
            }
            if bug.tests.is_empty() {
                faults.push(format!("{:?} has no test that must turn red", bug.name));
            }
            for test in bug.tests.iter().filter(|test| test.split(' ').count() != 2) {
                faults.push(format!("{:?}: a test is \"<test binary> <filter>\", not {test:?}", bug.name));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TABLE: &str = r#"
        [[bug]]
        name = "forget the wake"
        tests = ["waiting a_sleeper"]
        [[bug.change]]
        file = "src/lib.rs"
        text = "wake();"
        becomes = ""
        [[bug]]
        name = "publish"
        tests = ["loom a_reader"]
    "#;

    /// What `check` says of this source, table and list of names.
    fn check(source: &str, table: &str, names: &str) -> Result<()> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("src/lib.rs", source), ("ci/mutants.toml", table), ("ci/mutants.names", names)] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Table::read(root.path())?.check(root.path())
    }

    #[test]
    fn table_and_source_of_this_checkout_agree() {
        let root = crate::root();
        Table::read(&root).unwrap().check(&root).unwrap();
    }

    #[test]
    fn names_that_differ_in_either_direction_are_faults() {
        let source = r#"fn f() { x.load(edge("publish", Acquire)); wake(); }"#;
        check(source, TABLE, "# a comment\npublish\n").unwrap();
        let lost = check(source, TABLE, "keep the turn\n").unwrap_err();
        assert!(lost.contains(r#""keep the turn" of ci/mutants.names is lost"#), "{lost}");
        let unlisted = check(&source.replace("wake();", r#"wake(); edge("sleep", SeqCst);"#), TABLE, "").unwrap_err();
        assert!(unlisted.contains(r#""sleep" is an edge of src"#), "{unlisted}");
        let gone =
            check(&source.replace("publish", "mark"), &TABLE.replace("loom a_reader", "loom b"), "").unwrap_err();
        assert!(gone.contains(r#""publish" changes nothing, and src has no edge of that name"#), "{gone}");
    }

    #[test]
    fn a_bug_planted_in_the_source_itself_is_a_fault() {
        let source = r#"fn f() { x.load(edge("publish", Acquire)); if !planted("forget the wake") { wake(); } }"#;
        let planted = check(source, TABLE, "").unwrap_err();
        assert!(planted.contains("src/lib.rs asks `planted(`"), "{planted}");
    }

    #[test]
    fn a_text_that_does_not_match_exactly_once_is_a_fault() {
        let twice = check(r#"fn f() { edge("publish", Acquire); wake(); wake(); }"#, TABLE, "").unwrap_err();
        assert!(twice.contains("matches 2 times"), "{twice}");
        let never = check(r#"fn f() { edge("publish", Acquire); }"#, TABLE, "").unwrap_err();
        assert!(never.contains("matches 0 times"), "{never}");
    }

    #[test]
    fn a_row_needs_a_name_of_its_own_and_a_test() {
        let source = r#"fn f() { edge("publish", Acquire); wake(); }"#;
        let same = check(source, &TABLE.replace("forget the wake", "publish"), "").unwrap_err();
        assert!(same.contains("stands twice"), "{same}");
        let untested = check(source, &TABLE.replace(r#""loom a_reader""#, ""), "").unwrap_err();
        assert!(untested.contains("has no test"), "{untested}");
        let vague = check(source, &TABLE.replace("loom a_reader", "loom"), "").unwrap_err();
        assert!(vague.contains("<test binary> <filter>"), "{vague}");
    }
}
