//! What a bench measured, as a JSON file, and the page made of the files that are kept in the repository.
//!
//! ```text
//!  page ─ notes.md and the kept files become BENCHMARKS.md
//!    │
//!  goals ─ bounds, and whether they are met       figures ─ every number, by round
//! ```
//! `ci/bench --write` runs the benches, keeps their files here and writes the page. A test compares the two.

pub mod figures;
pub mod goals;
pub mod page;

use std::fs;
use std::io;
use std::path::Path;

use figures::Figures;
use goals::Goal;
use serde::{Deserialize, Serialize};

/// What one run of one bench measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where it ran.
    pub machine: Machine,
    /// When and for how long.
    pub run: Conditions,
    /// Every number.
    pub figures: Figures,
    /// What the numbers should come to.
    pub goals: Vec<Goal>,
}

/// The machine a bench ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Cores the bench could use.
    pub cores: usize,
    /// The processor's name as the kernel gives it.
    pub model: String,
    /// The processor's architecture.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
}

/// The conditions of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Conditions {
    /// The commit measured, as `git describe` names it.
    pub commit: String,
    /// Milliseconds of one timed window.
    pub window_ms: u64,
    /// How often every row was measured.
    pub rounds: usize,
    /// The part of the cores that other programs used meanwhile.
    pub used_by_others: Option<f64>,
    /// Load averages over 1, 5 and 15 minutes before and after.
    pub load: Option<[String; 2]>,
    /// What reading the clock twice costs, taken off every timed operation.
    pub clock_cost_ns: Option<f64>,
    /// The smallest interval the clock tells from none.
    pub clock_step_ns: Option<f64>,
}

impl Machine {
    /// One line of it.
    pub fn in_a_line(&self) -> String {
        format!("{} cores, {}, {}, Linux {}", self.cores, self.model, self.architecture, self.kernel)
    }
}

impl Results {
    /// Reads a file that [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), named(path, &error)))?;
        serde_json::from_str(&text).map_err(|error| io::Error::other(named(path, &error)))
    }

    /// Writes all of it to a file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }
}

fn named(path: &Path, error: &dyn std::error::Error) -> String {
    format!("{}: {error}", path.display())
}
