//! From a history to a verdict: each promise has a check, each check counts what it looked at and what it found broken.
//!
//! | promise | file | looks for |
//! |---|---|---|
//! | P1 | [`chain`] | acknowledged changes that are not in their record's history exactly once; gaps; refused changes with an effect |
//! | P3 | [`reads`] | mixed values, wrong fingerprints, versions and revisions that run backwards, reads of the past or the future |
//! | P4 | [`recovery`] | operations and waits that never end, late recovery, lost intents, blocks, rows and lanes that leaked |
//! | P6 | [`order`] | revisions against real time and against versions |
//! | P7 | [`claims`] | late writes, overlapping holders, tokens that do not grow |
//!
//! What a promise means for commits over several records, names, leases and watches, P5 among them, is checked beside each
//! [workload](crate::workloads).

pub mod chain;
pub mod claims;
pub mod holds;
pub mod numbers;
pub mod order;
pub mod reads;
pub mod recovery;

use std::collections::BTreeMap;

use serde::Serialize;
use slotguard::Version;

use crate::history::Recorded;
use crate::nemesis::Fault;
use crate::value::{Evidence, Torn};

/// The promises of a segment this harness checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Promise {
    P1,
    P3,
    P4,
    P5,
    P6,
    P7,
}

impl Promise {
    pub const ALL: [Self; 6] = [Self::P1, Self::P3, Self::P4, Self::P5, Self::P6, Self::P7];

    /// The promise in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::P1 => "acknowledged = found, exactly once, versions 1 to N without a gap",
            Self::P3 => "a reader sees a whole value, and nothing runs backwards",
            Self::P4 => "after a kill nothing leaks, every wait ends, the others go on",
            Self::P5 => "what one commit changed is seen whole, at one moment",
            Self::P6 => "revisions respect real time and versions",
            Self::P7 => "who lost a claim cannot write; tokens grow",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How many things were looked at.
    pub checked: u64,
    /// How many of them break the promise.
    pub violations: u64,
    /// The first few, in words.
    pub examples: Vec<String>,
}

const EXAMPLES: usize = 10;

impl Findings {
    /// Counts one thing looked at; `words` say what is wrong if it does not hold.
    pub fn expect(&mut self, holds: bool, words: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violation(words);
        }
    }

    /// Counts a violation of something already counted as looked at.
    pub fn violation(&mut self, words: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }

    pub fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.violations += other.violations;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }
}

/// Findings by promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts(pub BTreeMap<Promise, Findings>);

impl Verdicts {
    pub fn add(&mut self, promise: Promise, findings: Findings) {
        self.0.entry(promise).or_default().add(findings);
    }

    pub fn merge(&mut self, other: Self) {
        for (promise, findings) in other.0 {
            self.add(promise, findings);
        }
    }

    pub fn violations(&self) -> u64 {
        self.0.values().map(|findings| findings.violations).sum()
    }
}

/// A record as it was found when everybody had left.
#[derive(Clone, Copy, Debug)]
pub struct Final {
    pub version: u64,
    pub evidence: Result<Evidence, Torn>,
    /// Whether the stored fingerprint is that of the bytes, by our arithmetic and by the engine's.
    pub fingerprint_agrees: bool,
}

impl Final {
    /// One that was never written.
    pub const NEVER: Self = Self { version: 0, evidence: Ok(Evidence::NONE), fingerprint_agrees: true };

    /// That of an entry with a name, whose fingerprint nobody is shown.
    pub fn of(number: u32, value: &[u8], version: Version) -> Self {
        Self { version: version.0, evidence: Evidence::of(number, value), ..Self::NEVER }
    }
}

/// The segment as counted when everybody had left.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counted {
    pub blocks: u64,
    /// Blocks under a head, in a cell or free.
    pub placed: u64,
    pub missing: u64,
    pub doubled: u64,
    pub lanes_taken: u64,
    /// Rows taken by others than the one who counts.
    pub rows_taken: u64,
    pub pending: u64,
    /// Files left after the segment was removed.
    pub files_left: u64,
}

/// Everything the checks look at.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    pub history: &'a Recorded,
    /// By record.
    pub finals: &'a [Final],
    pub faults: &'a [Fault],
    /// When the harness itself was woken late, and by how much: `(moment, nanoseconds)`.
    pub lateness: &'a [(u64, u64)],
    pub counted: Counted,
}

/// What all checks together found.
pub struct Checked {
    pub verdicts: Verdicts,
    pub chains: chain::Chains,
    pub recoveries: Vec<recovery::Recovery>,
    /// Writes of holders that were refused because the claim was lost.
    pub refused_late: u64,
}

/// Runs all checks, those that are independent at the same time.
pub fn check(execution: &Execution<'_>) -> Checked {
    let chains = chain::walk(execution);
    let ((order, reads), (claims, recovery)) = rayon::join(
        || rayon::join(|| order::check(execution.history), || reads::check(execution)),
        || rayon::join(|| claims::check(execution, &chains), || recovery::check(execution, &chains)),
    );
    let mut verdicts = Verdicts::default();
    verdicts.add(Promise::P1, chains.findings.clone());
    verdicts.add(Promise::P3, reads);
    verdicts.add(Promise::P4, recovery.findings);
    verdicts.add(Promise::P6, order);
    verdicts.add(Promise::P7, claims.findings);
    Checked { verdicts, chains, recoveries: recovery.recoveries, refused_late: claims.refused_late }
}

#[cfg(test)]
pub mod scripted_run;
