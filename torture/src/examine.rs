//! When everybody has left: what is in the segment, what is missing, and what the history says to it.

use std::io;
use std::path::Path;

use serde::Serialize;
use slotguard::{Segment, recipe};

use crate::check::recovery::{self, Recovery};
use crate::check::{Counted, Execution, Findings, Promise, Verdicts};
use crate::history::History;
use crate::nemesis::{Fault, FaultKind};
use crate::report::picture::Picture;
use crate::workloads::{Examined, Figure};
use harness::scratch::Scratch;

/// What one phase came to.
#[derive(Default)]
pub struct PhaseResult {
    pub name: String,
    pub workers: u64,
    pub acknowledged: u64,
    /// Effects found at the end: acknowledged changes in the records' histories, or the controls' number.
    pub found: u64,
    pub lost: u64,
    pub milliseconds: f64,
    /// Whether this phase, taken alone, is as it must be: the naive control loses, everybody else does not.
    pub as_it_must_be: bool,
    pub in_doubt: u64,
    pub took_effect: u64,
    pub verdicts: Verdicts,
    pub faults: Vec<Fault>,
    pub recoveries: Vec<Recovery>,
    pub refused_late: u64,
    pub counted: Option<Counted>,
    pub engine: Option<EngineCounts>,
    pub picture: Option<Picture>,
    /// What the workload counted besides.
    pub figures: Vec<Figure>,
    /// Why it could not be made, if it could not.
    pub trouble: Option<String>,
}

/// What the segment counted about itself.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct EngineCounts {
    pub conflicts: u64,
    pub waits: u64,
    pub wakes: u64,
    pub recoveries: u64,
    pub helped: u64,
    pub fenced: u64,
}

impl EngineCounts {
    fn of(segment: &Segment) -> Self {
        let stats = segment.stats();
        Self {
            conflicts: stats.conflicts,
            waits: stats.waits,
            wakes: stats.wakes,
            recoveries: stats.recoveries,
            helped: stats.helped,
            fenced: stats.fenced,
        }
    }
}

impl PhaseResult {
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.faults.iter().filter(|fault| fault.kind == kind).count() as u64
    }

    pub fn per_second(&self) -> f64 {
        self.acknowledged as f64 / (self.milliseconds / 1_000.0).max(1e-9)
    }
}

/// A segment that everybody but this process has left, and what was written down meanwhile.
pub struct FinishedPhase<'a> {
    pub segment: Segment,
    pub path: &'a Path,
    /// The directory in which nothing is to be left.
    pub folder: &'a Scratch,
    pub history: &'a History,
    pub errors: &'a Path,
    pub faults: Vec<Fault>,
    pub lateness: Vec<(u64, u64)>,
}

impl FinishedPhase<'_> {
    /// Counts where everything is, has `check` hold the segment and the history against each other, and removes the
    /// segment.
    pub fn examine(
        self,
        check: impl FnOnce(&Segment, &Execution<'_>) -> recipe::Result<Examined>,
    ) -> io::Result<PhaseResult> {
        let mut refused = unexplained(self.errors)?;
        let (mut counted, engine) = take_stock(&self.segment, &mut refused);
        let recorded = self.history.recorded();
        let mut examined = Examined::default();
        let execution =
            Execution { history: &recorded, finals: &[], faults: &self.faults, lateness: &self.lateness, counted };
        let looked = check(&self.segment, &execution).map(|found| examined = found);
        hold(looked, "a look at what is left", &mut refused);
        counted.files_left = remove(self.segment, self.path, self.folder, &mut refused)?;
        recovery::aftermath(&Execution { counted, ..execution }, &mut refused);
        // What the workers said themselves comes first: most of the rest follows from it.
        let mut verdicts = Verdicts::default();
        verdicts.add(Promise::P4, refused);
        verdicts.merge(examined.verdicts);
        let lost = examined.acknowledged.saturating_sub(examined.found);
        let exercised = !examined.figures.iter().any(Figure::is_missing);
        Ok(PhaseResult {
            acknowledged: examined.acknowledged,
            found: examined.found,
            lost,
            as_it_must_be: lost == 0 && verdicts.violations() == 0 && exercised,
            in_doubt: examined.in_doubt,
            took_effect: examined.took_effect,
            verdicts,
            recoveries: examined.recoveries,
            refused_late: examined.refused_late,
            counted: Some(counted),
            engine: Some(engine),
            picture: examined.picture,
            figures: examined.figures,
            faults: self.faults,
            ..PhaseResult::default()
        })
    }
}

/// Leaves the segment, removes it, and answers how many files are left.
fn remove(segment: Segment, path: &Path, folder: &Scratch, refused: &mut Findings) -> io::Result<u64> {
    drop(segment);
    hold(Segment::remove(path), "remove", refused);
    Ok(folder.names()?.len() as u64)
}

/// A call that must succeed now that nobody is in the way.
fn hold(answer: Result<(), impl std::fmt::Debug>, what: &str, refused: &mut Findings) {
    let error = answer.err();
    refused.expect(error.is_none(), || format!("{what} when all had left: {error:?}"));
}

/// Recovers whoever was killed last, and counts where everything is.
fn take_stock(segment: &Segment, refused: &mut Findings) -> (Counted, EngineCounts) {
    let mut counted = Counted::default();
    hold(segment.reap().map(drop), "reap", refused);
    hold(count(segment).map(|all| counted = all), "audit", refused);
    (counted, EngineCounts::of(segment))
}

/// Errors that the workers wrote down because nothing in the workload explains them.
fn unexplained(errors: &Path) -> io::Result<Findings> {
    let mut findings = Findings::default();
    match std::fs::read_to_string(errors) {
        Ok(text) => text.lines().for_each(|line| findings.expect(false, || line.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(findings)
}

/// What is where in a segment.
pub fn count(segment: &Segment) -> Result<Counted, slotguard::Error> {
    let audit = segment.audit()?;
    let others = segment.participants()?.iter().filter(|member| !member.me).count() as u64;
    Ok(Counted {
        blocks: audit.blocks,
        placed: audit.under_heads + audit.in_spares + audit.free,
        missing: audit.missing,
        doubled: audit.doubled,
        lanes_taken: u64::from(audit.lanes_taken),
        // One row is ours.
        rows_taken: others.max(u64::from(audit.rows_taken).saturating_sub(1)),
        pending: u64::from(audit.pending),
        files_left: 0,
    })
}
