//! Where a number of processes wait for each other: the last one to come lets all of them go on, again and again.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Barrier};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let worker = || -> slotguard::recipe::Result<bool> {
//!     let session = recipe::join(&store, Duration::from_secs(10))?;
//!     let phase = Barrier::new(&session, "phase", 2)?;
//!     Ok(phase.wait(&Deadline::never())?.last)
//! };
//! std::thread::scope(|scope| {
//!     let other = scope.spawn(worker);
//!     assert_ne!(worker().unwrap(), other.join().unwrap().unwrap(), "one of them was the last");
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/b/…` | a ticket: the generation it came for, who; at most 38 bytes and the digits | from coming to going on, at most by the session's lease |
//! | `NAME/b-arrivals` | `GENERATION PARTIES`: who comes now comes for this one; at most 31 bytes | for ever |
//! | `NAME/b-passed` | the last generation that went on; at most 20 bytes | for ever |
//!
//! # How
//! Whoever comes reads `arrivals`, counts the tickets of its generation, and commits a ticket provided that `arrivals` is
//! still as it was read, writing it again in the same commit. So comings take place one after the other, each knowing of
//! all before it. The one that makes the number full begins the next generation and writes `passed` in that same commit,
//! which is all the others wait for. Exactly the number goes on, of any generation. Whoever gives up writes `arrivals`, too:
//! nobody goes on counting on somebody who has been told that it failed.
//!
//! # When a process dies
//! Having come and waiting, it is not counted any more: its ticket goes with the session's lease, and somebody else can come
//! in its place. The one that makes the number full asks after each of the others before it commits. After that commit
//! all go on, the dead ones excepted. Who was stopped past its lease and wakes when its generation has passed, perhaps with
//! another in its place, is told that its session is over.

use std::fmt;
use std::sync::Arc;

use super::line::{Drawn, Line, over, wait_as};
use super::{Error, Result};
use crate::backend::{Backend, Op, Session, When};
use crate::clock::Deadline;
use crate::mutant::planted;

/// A barrier of this name, for whoever shares the store.
pub struct Barrier<B: Backend>(Gathering<B>);

/// Having passed a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How often the barrier has been passed, this time included.
    pub generation: u64,
    /// Whether this was the last to come, as one of all is: for what one of them is to do.
    pub last: bool,
}

impl<B: Backend> Barrier<B> {
    /// The barrier of this name, for this many.
    ///
    /// # Errors
    /// [`Error::BadCount`] for none. [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty, contains a
    /// NUL, or is longer than the store's names less 36 bytes.
    pub fn new(session: &Arc<Session<B>>, name: &str, parties: u32) -> Result<Self> {
        Gathering::new(session, "barrier", name, "b", parties).map(Self)
    }

    /// Comes, and waits until all are there.
    ///
    /// # Errors
    /// [`Error::NotAllThere`] once the deadline has passed; [`Error::OtherCount`] if the barrier is used for another number;
    /// [`Error::Damaged`]; the store's. We are not counted after any of them, but who is told
    /// [`LeaseExpired`](crate::Error::LeaseExpired) may have been before its session ended.
    pub fn wait(&self, deadline: &Deadline) -> Result<Passed> {
        let (passed, drawn) = self.0.meet(deadline)?;
        drop(drawn);
        Ok(passed)
    }
}

/// A place where a number of tickets come together, generation after generation.
pub(super) struct Gathering<B: Backend> {
    pub(super) line: Line<B>,
    what: &'static str,
    parties: u32,
    arrivals: B::Key,
    passed: B::Key,
}

impl<B: Backend> Gathering<B> {
    pub(super) fn new(
        session: &Arc<Session<B>>,
        what: &'static str,
        name: &str,
        word: &str,
        parties: u32,
    ) -> Result<Self> {
        let line = Line::new(session, what, name, word)?;
        if parties == 0 {
            let why = "there would be nobody to wait for; give it at least 1";
            return Err(Error::BadCount { what, name: name.to_owned(), asked: 0, why });
        }
        let key = |rest: &str| session.store().key(&format!("{name}/{word}-{rest}"));
        Ok(Self { line, what, parties, arrivals: key("arrivals")?, passed: key("passed")? })
    }

    /// Comes, and waits until all are there; the ticket stays until it is dropped.
    pub(super) fn meet(&self, deadline: &Deadline) -> Result<(Passed, Drawn<B>)> {
        let (passed, mut drawn) = self.come()?;
        if passed.last {
            return Ok((passed, drawn));
        }
        let met = self.wait_passed(passed.generation, deadline);
        if matches!(met, Ok(true)) {
            return self.pass(passed, drawn);
        }
        if planted("barrier: who gave up is counted") {
            std::mem::forget(drawn);
        } else if !self.go(passed.generation, &mut drawn)? {
            // The last one came just now.
            return self.pass(passed, drawn);
        }
        met?;
        let (what, name) = (self.what, self.line.name().to_owned());
        let there = self.there(passed.generation)?.len() as u64 + 1;
        Err(Error::NotAllThere { what, name, there, parties: self.parties.into() })
    }

    /// Draws a ticket for the present generation; if it makes the number full, that one passes.
    fn come(&self) -> Result<(Passed, Drawn<B>)> {
        loop {
            let (generation, before) = self.generation()?;
            let there = self.there(generation)?;
            let last = there.len() + 1 >= self.parties as usize;
            if last && !planted("barrier: the dead are counted") {
                let mut gone = false;
                for seen in &there {
                    gone |= self.line.wait_for(seen, &Deadline::now())?;
                }
                if gone {
                    continue;
                }
            }
            let (next, now) = (generation.wrapping_add(u64::from(last)), generation.to_string());
            let next = format!("{next} {}", self.parties);
            let mut besides = vec![Op::put(&self.arrivals, next.as_bytes()).when(before)];
            if last {
                besides.push(Op::put(&self.passed, now.as_bytes()));
            }
            if let Some(drawn) = Drawn::from(&[(&self.line, &now)], &besides)? {
                return Ok((Passed { generation, last }, drawn));
            }
        }
    }

    /// Goes on, the generation having passed: as one of it only if our ticket is there, because it was there then. In place
    /// of one whose lease ended before, somebody else may have come.
    fn pass(&self, passed: Passed, drawn: Drawn<B>) -> Result<(Passed, Drawn<B>)> {
        match drawn.check() {
            Err(Error::NotHolder { .. }) if !planted("barrier: who was replaced goes on") => {
                Err(over(&self.line.session))
            }
            Err(error) if !matches!(error, Error::NotHolder { .. }) => Err(error),
            _ => Ok((passed, drawn)),
        }
    }

    /// Takes our ticket back unless the generation has passed: `false`.
    fn go(&self, generation: u64, drawn: &mut Drawn<B>) -> Result<bool> {
        loop {
            let (now, before) = self.generation()?;
            if now > generation {
                return Ok(false);
            }
            let same = format!("{now} {}", self.parties);
            if drawn.try_give_back(&[Op::put(&self.arrivals, same.as_bytes()).when(before)])? {
                return Ok(true);
            }
            match drawn.check() {
                Ok(()) => {}
                Err(Error::NotHolder { .. }) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// For which generation one comes now, and what holds as long as that and its tickets do not change.
    fn generation(&self) -> Result<(u64, When)> {
        let mut value = Vec::new();
        let (meta, _) = self.line.session.store().read(&self.arrivals, &mut value)?;
        let Some(meta) = meta else { return Ok((1, When::Absent)) };
        let text = std::str::from_utf8(&value).unwrap_or_default();
        let numbers = text.split_once(' ').and_then(|(now, parties)| Some((now.parse().ok()?, parties.parse().ok()?)));
        let Some((now, parties)): Option<(u64, u32)> = numbers else {
            let what = format!("it holds {text:?}, no generation and number");
            return Err(Error::Damaged { entry: self.arrivals.as_ref().to_owned(), what });
        };
        if parties != self.parties {
            let (what, name) = (self.what, self.line.name().to_owned());
            return Err(Error::OtherCount { what, name, asked: self.parties.into(), found: parties.into() });
        }
        Ok((now, When::ModifiedAt(meta.modified)))
    }

    /// The tickets of a generation.
    pub(super) fn there(&self, generation: u64) -> Result<Vec<super::line::Seen<B::Key>>> {
        let (mut line, _) = self.line.look()?;
        line.retain(|seen| seen.ticket.kind == generation.to_string());
        Ok(line)
    }

    /// Waits until a generation has passed.
    fn wait_passed(&self, generation: u64, deadline: &Deadline) -> Result<bool> {
        let session = &self.line.session;
        let mut value = Vec::new();
        loop {
            let (meta, seen_at) = session.store().read(&self.passed, &mut value)?;
            let text = String::from_utf8_lossy(&value);
            let damaged = |_| {
                let what = format!("it holds {text:?}, no generation");
                Error::Damaged { entry: self.passed.as_ref().to_owned(), what }
            };
            let passed: u64 = if meta.is_some() { text.parse().map_err(damaged)? } else { 0 };
            if generation <= passed {
                return Ok(true);
            }
            if !wait_as(session, &self.passed, seen_at, deadline)? {
                return Ok(false);
            }
        }
    }
}

impl<B: Backend> fmt::Debug for Gathering<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, parties, .. } = self;
        f.debug_struct(self.what).field("name", &line.name()).field("parties", parties).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Barrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
