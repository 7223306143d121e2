//! A run: phase after phase, each with its own segment and history, its own checks, and nothing left behind.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slotguard::Segment;

use crate::check::recovery::Recovery;
use crate::check::{self, Counted, Final, Findings, Promise, Scene, Verdicts};
use crate::control;
use crate::fault::{self, Fault, FaultKind, Injector};
use crate::history::{History, Layout};
use crate::options::Options;
use crate::plan::{self, Burst, Phase, PhaseWork, Sustained};
use crate::progress::Progress;
use crate::report::picture::Picture;
use crate::scratch::Scratch;
use crate::stage::{Gate, Process, Stage};
use crate::system;
use crate::value::{self, Evidence};
use crate::worker::{Job, Work};

/// How long the workers may take to come to an end once their time is over.
const PATIENCE: Duration = Duration::from_secs(15);

/// What one phase came to.
pub struct Phased {
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
    pub stats: Option<slotguard::Stats>,
    pub picture: Option<Picture>,
}

impl Phased {
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.faults.iter().filter(|fault| fault.kind == kind).count() as u64
    }

    pub fn per_second(&self) -> f64 {
        self.acknowledged as f64 / (self.milliseconds / 1_000.0).max(1e-9)
    }
}

/// Runs phases in private directories.
pub struct Run<'o> {
    options: &'o Options,
    stage: Stage,
    segments: Scratch,
    histories: Scratch,
}

/// Files of one phase.
struct Paths {
    target: PathBuf,
    history: PathBuf,
    errors: PathBuf,
}

impl<'o> Run<'o> {
    pub fn new(options: &'o Options) -> io::Result<Self> {
        Ok(Self {
            options,
            stage: Stage::new()?,
            segments: Scratch::for_segments()?,
            histories: Scratch::for_histories()?,
        })
    }

    /// Makes one phase; it is the `number`th of the run.
    pub fn phase(&self, number: usize, phase: &Phase, progress: &Progress) -> io::Result<Phased> {
        let paths = Paths {
            target: self.segments.file(&format!("phase-{number}")),
            history: self.histories.file(&format!("history-{number}")),
            errors: self.histories.file(&format!("errors-{number}")),
        };
        let seed = self.options.seed.wrapping_add(number as u64);
        let phased = match &phase.work {
            PhaseWork::Naive(burst) => self.control(&paths, seed, burst, true),
            PhaseWork::Flock(burst) => self.control(&paths, seed, burst, false),
            PhaseWork::Updates(burst) => self.updates(&paths, seed, burst),
            PhaseWork::Sustained(plan) => self.sustained(&paths, seed, plan, progress),
        };
        let mut phased = phased.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", phase.name)))?;
        phased.name.clone_from(&phase.name);
        std::fs::remove_file(&paths.history)?;
        Ok(phased)
    }

    fn job(&self, paths: &Paths, layout: &Layout, seed: u64, work: Work) -> Job {
        Job {
            parent: std::process::id(),
            history: paths.history.clone(),
            layout: layout.clone(),
            errors: paths.errors.clone(),
            target: paths.target.clone(),
            slot: 0,
            life: 0,
            seed,
            payload: self.options.payload,
            work,
        }
    }

    /// Starts processes in waves that are let go together; answers how long the waves took, without starting them.
    fn waves(&self, job: &Job, processes: u32) -> io::Result<(Duration, Vec<Fault>)> {
        let mut took = 0;
        let mut faults = Vec::new();
        let slots: Vec<u32> = (0..processes).collect();
        for wave in slots.chunks(plan::WAVE as usize) {
            let gate = Gate::new()?;
            let start = |slot: &u32| {
                let job = Job { slot: *slot, ..job.clone() };
                self.stage.start(&job, Some(&gate))
            };
            let mut workers: Vec<Process> = wave.iter().map(start).collect::<io::Result<_>>()?;
            let begin = gate.open(wave.len() as u32)?;
            for worker in &mut workers {
                if !worker.wait()?.success() {
                    faults.push(Fault {
                        kind: FaultKind::Died,
                        slot: worker.slot,
                        life: 0,
                        at: begin,
                        until: system::now(),
                    });
                }
            }
            took += system::now() - begin;
        }
        Ok((Duration::from_nanos(took), faults))
    }

    fn control(&self, paths: &Paths, seed: u64, burst: &Burst, naive: bool) -> io::Result<Phased> {
        let layout = Layout { threads: vec![1; burst.processes as usize], capacity: 0 };
        let history = History::create(&paths.history, &layout)?;
        control::create(&paths.target)?;
        let updates = burst.updates;
        let work = if naive { Work::Naive { updates } } else { Work::Flock { updates } };
        let job = self.job(paths, &layout, seed, work);
        let (took, faults) = self.waves(&job, burst.processes)?;
        let acknowledged = history.acknowledged();
        let found = control::value(&paths.target)?;
        std::fs::remove_file(&paths.target)?;
        let lost = acknowledged.saturating_sub(found);
        let complete = acknowledged == burst.total() && faults.is_empty();
        Ok(Phased {
            workers: u64::from(burst.processes),
            acknowledged,
            found,
            lost,
            milliseconds: took.as_secs_f64() * 1_000.0,
            as_it_must_be: complete && (lost > 0) == naive && found <= acknowledged,
            faults,
            ..Phased::empty()
        })
    }

    fn updates(&self, paths: &Paths, seed: u64, burst: &Burst) -> io::Result<Phased> {
        let layout =
            Layout { threads: vec![burst.threads; burst.processes as usize], capacity: u64::from(burst.updates) + 8 };
        let history = History::create(&paths.history, &layout)?;
        let together = burst.processes.min(plan::WAVE);
        let segment = Segment::builder()
            .records(1)
            .payload(self.options.payload)
            .participants(together + 4)
            .lanes(together * burst.threads + 4)
            .create(&paths.target)
            .map_err(io::Error::other)?;
        let work = Work::Updates { updates: burst.updates };
        let job = self.job(paths, &layout, seed, work);
        let begin = system::now();
        let (took, faults) = self.waves(&job, burst.processes)?;
        history.set_time(begin, system::now());
        let mut phased = self.examine(paths, segment, &history, faults, Vec::new(), None)?;
        phased.workers = u64::from(burst.processes) * u64::from(burst.threads);
        phased.milliseconds = took.as_secs_f64() * 1_000.0;
        phased.as_it_must_be &= phased.acknowledged == burst.total();
        Ok(phased)
    }

    fn sustained(&self, paths: &Paths, seed: u64, plan: &Sustained, progress: &Progress) -> io::Result<Phased> {
        // One more slot for the process that makes the last change of every record.
        let mut threads: Vec<u32> = plan.slots.iter().map(|slot| slot.roles.len() as u32).collect();
        threads.push(1);
        let layout = Layout { threads, capacity: plan.capacity };
        let history = History::create(&paths.history, &layout)?;
        let segment = Segment::builder()
            .records(plan.records.total())
            .payload(self.options.payload)
            .participants(64)
            .lanes(256)
            .create(&paths.target)
            .map_err(io::Error::other)?;
        let closing = self.job(paths, &layout, seed, Work::Closing);
        let start = |slot: u32, life: u32| {
            let work = Work::Sustained { roles: plan.slots[slot as usize].roles.clone(), records: plan.records };
            let job = Job { slot, life, work, ..closing.clone() };
            self.stage.start(&job, None)
        };
        let begin = system::now();
        let end = begin + plan.length.as_nanos() as u64;
        history.set_time(begin, end);
        let over = AtomicBool::new(false);
        let (lateness, faults) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| fault::watch_lateness(&over));
            let faults = self.torment(plan, &history, &layout, &start, &closing, progress);
            over.store(true, Ordering::Relaxed);
            let lateness = watch.join().unwrap_or_default();
            (lateness, faults)
        });
        let name_slots = Some(plan);
        let mut phased = self.examine(paths, segment, &history, faults?, lateness, name_slots)?;
        phased.workers = u64::from(layout.writers()) - 1;
        phased.milliseconds = plan.length.as_secs_f64() * 1_000.0;
        Ok(phased)
    }

    fn torment(
        &self,
        plan: &Sustained,
        history: &History,
        layout: &Layout,
        start: &dyn Fn(u32, u32) -> io::Result<Process>,
        closing: &Job,
        progress: &Progress,
    ) -> io::Result<Vec<Fault>> {
        let mut injector = Injector::new(plan, history, layout, start)?;
        let (begin, end) = history.time();
        injector.torment(|faults| {
            let part = (system::now() - begin) as f64 / (end - begin) as f64;
            let kills = faults.iter().filter(|fault| fault.kind == FaultKind::Kill);
            progress.within(part, || format!("{} changes, {} kills", history.acknowledged(), kills.count()));
        })?;
        history.stop();
        let closing = Job { slot: plan.slots.len() as u32, ..closing.clone() };
        let mut closer = self.stage.start(&closing, None)?;
        let mut faults = injector.finish(PATIENCE)?;
        faults.extend(closer.end_within(PATIENCE)?);
        Ok(faults)
    }

    /// Everybody has left: count the segment, read the last values, remove it, and check the history.
    fn examine(
        &self,
        paths: &Paths,
        segment: Segment,
        history: &History,
        faults: Vec<Fault>,
        lateness: Vec<(u64, u64)>,
        plan: Option<&Sustained>,
    ) -> io::Result<Phased> {
        segment.reap().map_err(io::Error::other)?;
        let mut counted = count(&segment)?;
        let finals = (0..segment.records())
            .map(|record| last_value(&segment, record))
            .collect::<Result<Vec<Final>, slotguard::Error>>()
            .map_err(io::Error::other)?;
        let stats = segment.stats();
        drop(segment);
        Segment::remove(&paths.target).map_err(io::Error::other)?;
        counted.files_left = self.segments.left_over()?.len() as u64;

        let recorded = history.recorded();
        let scene = Scene { history: &recorded, finals: &finals, faults: &faults, lateness: &lateness, counted };
        let mut checked = check::check(&scene);
        checked.verdicts.add(Promise::P4, unexplained(&paths.errors)?);
        let picture = plan.map(|plan| Picture::of(&scene, &checked, plan));
        let lost = checked.chains.acknowledged - checked.chains.found;
        Ok(Phased {
            acknowledged: checked.chains.acknowledged,
            found: checked.chains.found,
            lost,
            as_it_must_be: lost == 0 && checked.verdicts.violations() == 0,
            in_doubt: checked.chains.in_doubt,
            took_effect: checked.chains.took_effect,
            verdicts: checked.verdicts,
            recoveries: checked.recoveries,
            refused_late: checked.refused_late,
            counted: Some(counted),
            stats: Some(stats),
            picture,
            faults,
            ..Phased::empty()
        })
    }
}

impl Phased {
    fn empty() -> Self {
        Self {
            name: String::new(),
            workers: 0,
            acknowledged: 0,
            found: 0,
            lost: 0,
            milliseconds: 0.0,
            as_it_must_be: false,
            in_doubt: 0,
            took_effect: 0,
            verdicts: Verdicts::default(),
            faults: Vec::new(),
            recoveries: Vec::new(),
            refused_late: 0,
            counted: None,
            stats: None,
            picture: None,
        }
    }
}

/// Errors that the workers wrote down because nothing in the workload explains them.
fn unexplained(errors: &std::path::Path) -> io::Result<Findings> {
    let mut findings = Findings::default();
    match std::fs::read_to_string(errors) {
        Ok(text) => {
            for line in text.lines() {
                findings.expect(false, || line.to_owned());
            }
            std::fs::remove_file(errors)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(findings)
}

fn count(segment: &Segment) -> io::Result<Counted> {
    let audit = segment.audit().map_err(io::Error::other)?;
    let members = segment.members().map_err(io::Error::other)?;
    let others = members.iter().filter(|member| !member.me).count() as u64;
    Ok(Counted {
        blocks: audit.blocks,
        placed: audit.under_heads + audit.in_cells + audit.free,
        missing: audit.missing,
        doubled: audit.doubled,
        lanes_taken: u64::from(audit.lanes_taken),
        rows_taken: others.max(u64::from(audit.rows_taken).saturating_sub(1)),
        pending: u64::from(audit.pending),
        files_left: 0,
    })
}

fn last_value(segment: &Segment, index: u32) -> Result<Final, slotguard::Error> {
    let record = segment.record(index)?;
    let mut bytes = Vec::new();
    let stamp = record.read(&mut bytes)?;
    let verified = record.verify().is_ok_and(|again| again == stamp);
    let ours = bytes.is_empty() || value::fingerprint(&bytes) == stamp.fingerprint;
    Ok(Final { version: stamp.version.0, evidence: Evidence::of(index, &bytes), fingerprint_agrees: verified && ours })
}
