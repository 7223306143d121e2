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
        let sites = source::names(&root.join("src"))?;
        let names: BTreeSet<&str> = self.bug.iter().map(|bug| bug.name.as_str()).collect();
        for name in sites.keys().filter(|name| !names.contains(name.as_str())) {
            faults.push(format!("{name:?} is planted in src and has no row in ci/mutants.toml"));
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
