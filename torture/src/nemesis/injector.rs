//! The nemesis: kills, stops and starts again, as the plan has drawn it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::history::{History, Layout};
use crate::launcher::Process;
use crate::nemesis::{Aim, Schedule, Stops};
use crate::system;

/// What was done to a process, or what it did to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub kind: FaultKind,
    pub slot: u32,
    pub life: u32,
    pub at: u64,
    /// A stop: when it was continued.
    pub until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FaultKind {
    /// SIGKILL from us.
    Kill,
    /// SIGSTOP from us, SIGCONT at `until`.
    Stop,
    /// It ended before its time, not by us.
    Died,
    /// It did not end when it should have, and was killed then.
    Stuck,
}

/// How long the nemesis sleeps when nothing is due.
const STEP: Duration = Duration::from_micros(50);
/// How long before a kill or stop a thread is warned: longer than its rest.
const HEAD_START: Duration = Duration::from_micros(150);
/// How long it looks for somebody who holds a claim before it stops anybody.
const LOOK_FOR_HOLDER: u64 = 40_000_000;
/// Processes that die by themselves are started again so many times, then no more.
const MOST_DEATHS: usize = 20;
/// So many are stopped at a time, so that somebody is always there to go on.
const MOST_STOPPED: usize = 3;

struct Place {
    process: Option<Process>,
    /// When it is to be killed.
    kill_at: Option<u64>,
    /// Whether it has been told that it will be.
    warned: bool,
    /// Since when it is stopped, and until when.
    stopped: Option<(u64, u64)>,
}

/// All process slots of one phase.
pub struct Nemesis<'a> {
    plan: &'a Schedule,
    history: &'a History,
    layout: &'a Layout,
    start: &'a dyn Fn(u32, u32) -> io::Result<Process>,
    places: Vec<Place>,
    faults: Vec<Fault>,
    streams: [Stream; 2],
}

/// One stream of stops: which is next, and when.
#[derive(Clone, Copy)]
struct Stream {
    stops: Stops,
    number: u32,
    due: u64,
}

impl<'a> Nemesis<'a> {
    /// Starts every slot's first life with `start(slot, life)`.
    pub fn new(
        plan: &'a Schedule,
        history: &'a History,
        layout: &'a Layout,
        start: &'a dyn Fn(u32, u32) -> io::Result<Process>,
    ) -> io::Result<Self> {
        let now = system::now();
        let stream = |stops| Stream { stops, number: 0, due: now + nanoseconds(plan.stop(stops, 0).after) };
        let streams = [stream(Stops::Brief), stream(Stops::Long)];
        let mut nemesis = Self { plan, history, layout, start, places: Vec::new(), faults: Vec::new(), streams };
        for slot in 0..plan.slots.len() as u32 {
            let place = nemesis.live(slot, 0)?;
            nemesis.places.push(place);
        }
        Ok(nemesis)
    }

    fn live(&self, slot: u32, life: u32) -> io::Result<Place> {
        let process = (self.start)(slot, life)?;
        let after = self.plan.killed_after(slot, life);
        Ok(Place {
            kill_at: after.map(|after| process.started + nanoseconds(after)),
            process: Some(process),
            warned: false,
            stopped: None,
        })
    }

    /// Kills, stops and starts until the time is over; `tick` is called often.
    pub fn run(&mut self, mut tick: impl FnMut(&[Fault])) -> io::Result<()> {
        let mut look_at = 0;
        loop {
            let now = system::now();
            if now >= self.history.time().1 {
                break;
            }
            for slot in 0..self.places.len() {
                self.resume_if_due(slot, now)?;
                if self.places[slot].kill_at.is_some_and(|at| at <= now) {
                    self.warn_or_kill(slot, now)?;
                }
            }
            for stream in 0..self.streams.len() {
                if now >= self.streams[stream].due {
                    self.stop_somebody(stream, now)?;
                }
            }
            if now >= look_at {
                self.look_for_deaths()?;
                tick(&self.faults);
                look_at = now + 20_000_000;
            }
            std::thread::sleep(STEP);
        }
        for slot in 0..self.places.len() {
            self.resume_if_due(slot, u64::MAX)?;
        }
        Ok(())
    }

    /// Waits until all have ended, but not for ever: who has not ended after `patience` is stuck.
    pub fn finish(mut self, patience: Duration) -> io::Result<Vec<Fault>> {
        self.wait_for(|_| true, patience)?;
        Ok(self.faults)
    }

    /// Waits until the slots that are meant have ended, but not for ever: who has not after `patience` is stuck.
    pub fn wait_for(&mut self, meant: impl Fn(usize) -> bool, patience: Duration) -> io::Result<()> {
        let end = system::now() + nanoseconds(patience);
        let slots: Vec<usize> = (0..self.places.len()).filter(|slot| meant(*slot)).collect();
        while slots.iter().any(|slot| self.places[*slot].process.is_some()) && system::now() < end {
            for slot in &slots {
                self.see_end(*slot)?;
            }
            std::thread::sleep(STEP);
        }
        for slot in slots {
            if let Some(mut process) = self.places[slot].process.take() {
                let at = process.kill()?;
                self.note(FaultKind::Stuck, slot as u32, process.life, at, at);
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: FaultKind, slot: u32, life: u32, at: u64, until: u64) {
        self.faults.push(Fault { kind, slot, life, at, until });
    }

    /// Warns a slot that is to be warned, and kills it a little later; kills any other at once.
    fn warn_or_kill(&mut self, slot: usize, now: u64) -> io::Result<()> {
        if !self.places[slot].warned && self.warn(slot) {
            self.places[slot].warned = true;
            self.places[slot].kill_at = Some(now + nanoseconds(HEAD_START));
            return Ok(());
        }
        self.kill(slot)
    }

    fn kill(&mut self, slot: usize) -> io::Result<()> {
        let Some(process) = &mut self.places[slot].process else {
            return Ok(());
        };
        let life = process.life;
        let at = process.kill()?;
        if let Some((since, _)) = self.places[slot].stopped.take() {
            self.note(FaultKind::Stop, slot as u32, life, since, at);
        }
        self.note(FaultKind::Kill, slot as u32, life, at, at);
        self.places[slot] = self.live(slot as u32, life + 1)?;
        Ok(())
    }

    fn resume_if_due(&mut self, slot: usize, now: u64) -> io::Result<()> {
        let place = &mut self.places[slot];
        let (Some((since, until)), Some(process)) = (place.stopped, &place.process) else {
            return Ok(());
        };
        if until <= now {
            process.resume()?;
            place.stopped = None;
            let life = process.life;
            for writer in self.writers(slot) {
                self.history.set_warned(writer, false);
            }
            self.note(FaultKind::Stop, slot as u32, life, since, system::now());
        }
        Ok(())
    }

    /// Stops whom the plan means, if one of those is running; a holder is looked for, for a while.
    fn stop_somebody(&mut self, stream: usize, now: u64) -> io::Result<()> {
        let Stream { stops, number, due } = self.streams[stream];
        let stop = self.plan.stop(stops, number);
        let mut candidates = self.running(stop.aim);
        if candidates.is_empty() && stop.aim == Aim::Holder {
            if now < due + LOOK_FOR_HOLDER {
                return Ok(());
            }
            candidates = self.running(Aim::Anybody);
        }
        let stopped = self.places.iter().filter(|place| place.stopped.is_some()).count();
        if stopped < MOST_STOPPED && !candidates.is_empty() {
            let slot = candidates[(stop.draw % candidates.len() as u64) as usize];
            if self.warn(slot) {
                std::thread::sleep(HEAD_START);
            }
            let place = &mut self.places[slot];
            if let Some(process) = &place.process {
                let since = system::now();
                process.stop()?;
                place.stopped = Some((since, system::now() + nanoseconds(stop.lasts)));
            }
        }
        let next = self.plan.stop(stops, number + 1);
        self.streams[stream] = Stream { stops, number: number + 1, due: now + nanoseconds(next.after) };
        Ok(())
    }

    /// Warns the threads of a slot that are to be warned; answers whether there are any.
    fn warn(&self, slot: usize) -> bool {
        let is_warned = self.plan.slots[slot].is_warned && self.places[slot].stopped.is_none();
        for writer in self.writers(slot).filter(|_| is_warned) {
            self.history.set_warned(writer, true);
        }
        is_warned
    }

    fn writers(&self, slot: usize) -> Range<u32> {
        let first = self.layout.first_writer(slot as u32);
        first..first + self.layout.threads[slot]
    }

    fn running(&self, aim: Aim) -> Vec<usize> {
        let is_running = |slot: &usize| self.places[*slot].process.is_some() && self.places[*slot].stopped.is_none();
        (0..self.places.len()).filter(is_running).filter(|slot| self.fits(*slot, aim)).collect()
    }

    fn fits(&self, slot: usize, aim: Aim) -> bool {
        match aim {
            Aim::Anybody => true,
            Aim::Busy => self.plan.slots[slot].is_busy(),
            Aim::Holder => self.is_holding(slot),
        }
    }

    fn is_holding(&self, slot: usize) -> bool {
        self.writers(slot).any(|writer| self.history.is_holding(writer))
    }

    fn look_for_deaths(&mut self) -> io::Result<()> {
        for slot in 0..self.places.len() {
            let Some(life) = self.see_end(slot)? else {
                continue;
            };
            let deaths = self.faults.iter().filter(|fault| fault.kind == FaultKind::Died);
            if deaths.count() < MOST_DEATHS && system::now() < self.history.time().1 {
                self.places[slot] = self.live(slot as u32, life + 1)?;
            }
        }
        Ok(())
    }

    /// Takes note if the slot's process has ended: well, or by itself in some other way. Answers which life it was.
    fn see_end(&mut self, slot: usize) -> io::Result<Option<u32>> {
        let Some(process) = &mut self.places[slot].process else {
            return Ok(None);
        };
        let Some(status) = process.has_ended()? else {
            return Ok(None);
        };
        let life = process.life;
        let place = &mut self.places[slot];
        (place.process, place.kill_at, place.stopped) = (None, None, None);
        if !status.success() {
            let at = system::now();
            self.note(FaultKind::Died, slot as u32, life, at, at);
        }
        Ok(Some(life))
    }
}

/// Watches how late this process is woken, until told to end: what a busy machine does to everybody.
pub fn watch_lateness(end: &AtomicBool) -> Vec<(u64, u64)> {
    const NAP: Duration = Duration::from_millis(5);
    const WORTH_NOTING: u64 = 20_000_000;
    let mut late = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let begin = system::now();
        std::thread::sleep(NAP);
        let by = (system::now() - begin).saturating_sub(nanoseconds(NAP));
        if by > WORTH_NOTING {
            late.push((system::now(), by));
        }
    }
    late
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
