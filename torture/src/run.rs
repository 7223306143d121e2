//! A run: phase after phase, each with its own segment and history, its own checks, and nothing left behind.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::gate::Gate;
use harness::scratch::{Place, Scratch};
use slotguard::Segment;

use crate::control;
use crate::examine::{FinishedPhase, PhaseResult};
use crate::history::{History, Layout};
use crate::launcher::{Process, launch};
use crate::nemesis::Schedule;
use crate::nemesis::{self, Fault, FaultKind, Nemesis};
use crate::options::Options;
use crate::plan::{self, Burst, Phase, PhaseWork};
use crate::progress::Progress;
use crate::system;
use crate::worker::{Job, Part, Work};
use crate::workloads::{Round, Scenario, Workload, records};

/// How long the workers may take to come to an end once their time is over.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a wave of processes may take to attach, and to do its work: far longer than any machine needs.
const PATIENCE_FOR_WAVES: Duration = Duration::from_secs(120);

/// Entries for the process that makes the last changes: some are refused until the last claim has ended.
const CLOSING: u64 = 100_000;

/// Runs phases in private directories.
pub struct Run<'o> {
    options: &'o Options,
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
            segments: Scratch::new(Place::SharedMemory, "slotguard-torture-")?,
            histories: Scratch::new(Place::Disk, "slotguard-torture-")?,
        })
    }

    /// Makes one phase; it is the `number`th of the run. What goes wrong inside is told by what it came to.
    pub fn phase(&self, number: usize, phase: &Phase, progress: &Progress) -> io::Result<PhaseResult> {
        let paths = Paths {
            target: self.segments.file(&format!("phase-{number}")),
            history: self.histories.file(&format!("history-{number}")),
            errors: self.histories.file(&format!("errors-{number}")),
        };
        let seed = self.options.seed.wrapping_add(number as u64);
        let result = match &phase.work {
            PhaseWork::Naive(burst) => self.control(&paths, seed, burst, true),
            PhaseWork::Flock(burst) => self.control(&paths, seed, burst, false),
            PhaseWork::Updates(burst) => self.updates(&paths, seed, burst),
            PhaseWork::Workload(workload, round, plan) => {
                self.workload(&paths, seed, workload, *round, plan.as_ref(), progress)
            }
        };
        let mut result =
            result.unwrap_or_else(|error| PhaseResult { trouble: Some(error.to_string()), ..PhaseResult::default() });
        result.name.clone_from(&phase.name);
        self.histories.clear()?;
        self.segments.clear()?;
        Ok(result)
    }

    fn finished<'a>(
        &'a self,
        paths: &'a Paths,
        segment: Segment,
        history: &'a History,
        faults: Vec<Fault>,
        lateness: Vec<(u64, u64)>,
    ) -> FinishedPhase<'a> {
        let (path, errors) = (&paths.target, &paths.errors);
        FinishedPhase { segment, path, folder: &self.segments, history, errors, faults, lateness }
    }

    fn job(&self, paths: &Paths, layout: &Layout, seed: u64, work: Work) -> Job {
        Job {
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
                launch(&job, Some(&gate))
            };
            let mut workers: Vec<Process> = wave.iter().map(start).collect::<io::Result<_>>()?;
            gate.open(wave.len(), PATIENCE_FOR_WAVES)?;
            let begin = system::now();
            for worker in &mut workers {
                let passed = Duration::from_nanos(system::now() - begin);
                faults.extend(worker.end_within(PATIENCE_FOR_WAVES.saturating_sub(passed))?);
            }
            took += system::now() - begin;
        }
        Ok((Duration::from_nanos(took), faults))
    }

    fn control(&self, paths: &Paths, seed: u64, burst: &Burst, naive: bool) -> io::Result<PhaseResult> {
        let slots = burst.processes as usize;
        let layout = Layout { threads: vec![1; slots], capacity: vec![0; slots] };
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
        Ok(PhaseResult {
            workers: u64::from(burst.processes),
            acknowledged,
            found,
            lost,
            milliseconds: took.as_secs_f64() * 1_000.0,
            as_it_must_be: complete && (lost > 0) == naive && found <= acknowledged,
            faults,
            ..PhaseResult::default()
        })
    }

    fn updates(&self, paths: &Paths, seed: u64, burst: &Burst) -> io::Result<PhaseResult> {
        let slots = burst.processes as usize;
        let layout =
            Layout { threads: vec![burst.threads; slots], capacity: vec![u64::from(burst.updates) + 8; slots] };
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
        let mut result = self
            .finished(paths, segment, &history, faults, Vec::new())
            .examine(|segment, execution| Ok(records::examine(segment, execution, None)))?;
        result.workers = u64::from(burst.processes) * u64::from(burst.threads);
        result.milliseconds = took.as_secs_f64() * 1_000.0;
        result.as_it_must_be &= result.acknowledged == burst.total();
        Ok(result)
    }

    fn workload(
        &self,
        paths: &Paths,
        seed: u64,
        workload: &Workload,
        round: Round,
        plan: &dyn Scenario,
        progress: &Progress,
    ) -> io::Result<PhaseResult> {
        let schedule = plan.schedule();
        // One more slot: the process that ends those who go on.
        let closer = schedule.slots.len() as u32;
        let layout = layout(schedule);
        let history = History::create(&paths.history, &layout)?;
        // What this process writes, it writes as somebody who leaves again: it is no participant when all is counted.
        plan.create(&paths.target, self.options.payload).map_err(io::Error::other)?;
        let segment = Segment::open(&paths.target).map_err(io::Error::other)?;
        let job = |part| {
            let work = Work::Workload { name: workload.name.to_owned(), round, part };
            self.job(paths, &layout, seed, work)
        };
        let start = |slot: u32, life: u32| launch(&Job { slot, life, ..job(Part::Slot) }, None);
        let end = |mut nemesis: Nemesis<'_>| {
            nemesis.wait_for(|slot| !plan.goes_on(slot as u32), PATIENCE)?;
            let closed = launch(&Job { slot: closer, ..job(Part::Close) }, None)?.end_within(PATIENCE)?;
            let mut faults = nemesis.finish(PATIENCE)?;
            faults.extend(closed);
            Ok(faults)
        };
        let attack = Attack { schedule, history: &history, layout: &layout, start: &start, progress };
        let (faults, lateness) = attack.run(end)?;
        progress.within(1.0, || "checking the history".into());
        let finished = self.finished(paths, segment, &history, faults, lateness);
        let mut result = finished.examine(|segment, execution| plan.examine(segment, execution))?;
        result.workers = u64::from(schedule.threads());
        result.milliseconds = schedule.length.as_secs_f64() * 1_000.0;
        Ok(result)
    }
}

/// A region for every thread of the phase, and for the process that ends those who go on.
fn layout(schedule: &Schedule) -> Layout {
    let slots = schedule.slots.iter().map(|slot| (slot.threads, slot.capacity));
    let (threads, capacity) = slots.chain([(1, CLOSING)]).unzip();
    Layout { threads, capacity }
}

/// A phase in which processes are killed and stopped all the time.
struct Attack<'a> {
    schedule: &'a Schedule,
    history: &'a History,
    layout: &'a Layout,
    start: &'a dyn Fn(u32, u32) -> io::Result<Process>,
    progress: &'a Progress,
}

/// When the harness itself was woken late: `(moment, nanoseconds)`.
type Lateness = Vec<(u64, u64)>;

impl Attack<'_> {
    /// Kills and stops until the time is over, and tells the workers to come to an end; `end` waits until they have.
    fn run(&self, end: impl FnOnce(Nemesis<'_>) -> io::Result<Vec<Fault>>) -> io::Result<(Vec<Fault>, Lateness)> {
        let begin = system::now();
        self.history.set_time(begin, begin + self.schedule.length.as_nanos() as u64);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| nemesis::watch_lateness(&over));
            let faults = self.inject(end);
            over.store(true, Ordering::Relaxed);
            let lateness = watch.join().unwrap_or_default();
            Ok((faults?, lateness))
        })
    }

    fn inject(&self, end: impl FnOnce(Nemesis<'_>) -> io::Result<Vec<Fault>>) -> io::Result<Vec<Fault>> {
        let mut nemesis = Nemesis::new(self.schedule, self.history, self.layout, self.start)?;
        let (from, until) = self.history.time();
        nemesis.run(|faults| {
            let part = (system::now() - from) as f64 / (until - from) as f64;
            let kills = faults.iter().filter(|fault| fault.kind == FaultKind::Kill);
            self.progress.within(part, || format!("{} changes, {} kills", self.history.acknowledged(), kills.count()));
        })?;
        self.history.stop();
        end(nemesis)
    }
}
