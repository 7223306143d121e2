//! A queue of jobs in a store: each is run by one worker at a time, of any process, and once more if that one dies.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::executor::Priority;
//! use slotguard::recipe::executor::jobs::{Job, Jobs};
//! use slotguard::{Deadline, recipe};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let jobs = Jobs::new(&store, "thumbnails");
//! jobs.submit(&Job::new("cat", b"cat.jpg"))?;
//! jobs.submit(&Job::new("index", b"").after("cat").priority(Priority::Critical))?;
//!
//! // In any process:
//! let worker = jobs.worker(&recipe::join(&store, Duration::from_secs(10))?);
//! let claimed = worker.take(&Deadline::never())?.unwrap();
//! assert_eq!((claimed.id(), claimed.payload()), ("cat", &b"cat.jpg"[..]));
//! // The end of the job, its result and its effects: one commit.
//! let count = store.key("thumbnails-made")?;
//! assert!(claimed.complete(b"cat-small.jpg", &[Op::put(&count, b"1")])?);
//! assert_eq!(jobs.result("cat")?.unwrap().value, b"cat-small.jpg");
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept
//! | entry | what it says | lives |
//! |---|---|---|
//! | `<name>/job/<id>` | one line: priority, attempts so far, most attempts, ids it runs after; then the payload | until the job has ended |
//! | `<name>/claim/<id>` | who runs it; at most 48 bytes | by that worker's session |
//! | `<name>/done/<id>` | the result | while it is among the last [`Jobs::keep`] |
//! | `<name>/dead/<id>` | one line that says why; then the payload | until [`Jobs::forget`] |
//!
//! The line takes 7 bytes, more than that with more than nine attempts (25 at most), and 65 at most for each id in it. A
//! reason that does not fit into a value beside the payload is cut.
//!
//! # Why it is right
//! * **One worker at a time.** A job is taken by one commit: there is no claim, the job is as it was seen, the worker's session
//!   lives; it writes the claim and one attempt more. Of many workers one gets it.
//! * **Effects happen once; execution may happen again.** A job ends by one commit that deletes claim and job, on the
//!   condition that the claim is the worker's own, and writes the result *and the effects that were handed to
//!   [`Claimed::complete`]*. What a job does outside the store may be done in part, and done again, by the next
//!   attempt: let it compare [`Claimed::token`], which grows from attempt to attempt, or do it so that twice is once.
//! * **Death.** A claim goes with its worker's session; that is a change that waiting workers see, and one takes the job.
//!   A worker that was only stopped for too long cannot complete it any more ([`Error::ClaimLost`]).
//! * **Poison.** Attempts are counted when they begin, so a job that kills its worker counts as well. After
//!   [`Job::attempts`] of them it is put aside as dead, payload and all, by whoever would be next.
//! * **Dependencies.** A job may run after jobs that are known when it is submitted; the commit checks that they are. So
//!   there is no circle. It is taken once none of them is left to be done, whatever the priorities. If one of them is
//!   dead, it goes the same way, and so on ([`Dead::why`]).
//! * **Ids** are refused as long as the job, its result or its remains are kept. Results beyond [`Jobs::keep`] are
//!   deleted, oldest first, by the commits that take jobs, unless a waiting job depends on them. Should one go while such a
//!   job is being submitted, it still counts as done, since the dead are deleted only by [`Jobs::forget`], which sees to
//!   their dependants first.
//!
//! * **What somebody else has written** in the place of a job stops nobody but those that depend on it:
//!   [`Status::unreadable`] tells of it, [`Jobs::cancel`] puts it aside with all its bytes, [`Jobs::forget`] deletes these.
//!
//! Looking for a job reads the whole queue (`range`), as does every look after a change: meant for hundreds of waiting jobs,
//! not for millions.

mod claimed;
mod record;
mod worker;

use std::fmt;
use std::sync::Arc;

use self::record::{QueueSnapshot, StoredJob};
use super::{Priority, check_id};
use crate::Outcome;
use crate::backend::{Backend, Op, Session, When};
use crate::clock::Deadline;
use crate::error::Error as StoreError;
use crate::recipe::{Error, Owner, Result};

pub use self::claimed::{Claimed, MOST_EFFECTS};
pub use self::worker::{Worked, Worker};

/// Most jobs that one can depend on: 16.
pub const MOST_DEPENDENCIES: usize = 16;

/// A queue of jobs.
pub struct Jobs<B: Backend> {
    store: Arc<B>,
    name: String,
    limit: usize,
    keep: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    id: &'a str,
    payload: &'a [u8],
    priority: Priority,
    after: Vec<&'a str>,
    attempts: u32,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What the worker left.
    pub value: Vec<u8>,
}

/// A job that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Why: what the last worker said; that it ended without a word; that a job it depends on is dead; that it was cancelled.
    pub why: String,
    /// What it was to do.
    pub payload: Vec<u8>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was completed.
    Done(Done),
    /// It was put aside.
    Dead(Dead),
}

/// How many jobs are where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Not claimed.
    pub waiting: usize,
    /// Claimed, and by whom.
    pub running: Vec<(String, Owner)>,
    /// Results that are kept.
    pub done: usize,
    /// Put aside.
    pub dead: usize,
    /// Entries that lie where a job would and are none, by the id they would have, and how they begin. Nobody takes them,
    /// nor what depends on them; [`Jobs::cancel`] puts them aside.
    pub unreadable: Vec<(String, String)>,
}

impl<'a> Job<'a> {
    /// A job of this id (as [`Operation::new`](super::Operation::new) says), of medium priority and at most three attempts.
    pub fn new(id: &'a str, payload: &'a [u8]) -> Self {
        Self { id, payload, priority: Priority::default(), after: Vec::new(), attempts: 3 }
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Runs only after that one is done. May be said several times, [`MOST_DEPENDENCIES`] at most.
    #[must_use]
    pub fn after(mut self, id: &'a str) -> Self {
        if !self.after.contains(&id) {
            self.after.push(id);
        }
        self
    }

    /// How often it is tried, at least once.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }
}

impl<B: Backend> Jobs<B> {
    /// The queue of this name: 1,024 jobs may wait, the last 256 results are kept. Nothing is stored before the first job.
    pub fn new(store: &Arc<B>, name: &str) -> Self {
        Self { store: Arc::clone(store), name: name.to_owned(), limit: 1_024, keep: 256 }
    }

    /// How many jobs may wait or run. Counted before each submission: those that submit at one moment may go past it, by
    /// one each.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// How many results are kept; let all workers say the same.
    #[must_use]
    pub fn keep(self, keep: usize) -> Self {
        Self { keep, ..self }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// Nothing has been submitted after any of them: [`Error::BadId`], [`Error::IdTwice`], [`Error::TooManyDependencies`],
    /// [`Error::DependencyCycle`] (of a job with itself), [`Error::UnknownDependency`], [`Error::DependencyFailed`] if it is
    /// dead, [`Error::QueueFull`]. Those of the store.
    pub fn submit(&self, job: &Job<'_>) -> Result<()> {
        check_id(job.id)?;
        let id = || job.id.to_owned();
        if job.after.contains(&job.id) {
            return Err(Error::DependencyCycle { path: vec![id(), id()] });
        }
        if job.after.len() > MOST_DEPENDENCIES {
            let (count, limit) = (job.after.len(), MOST_DEPENDENCIES);
            return Err(Error::TooManyDependencies { id: id(), count, limit });
        }
        let waiting = StoredJob::of(job);
        let value = waiting.encode();
        let (key, done, dead) = (self.key("job", job.id)?, self.key("done", job.id)?, self.key("dead", job.id)?);
        loop {
            let queue = self.look()?;
            if let Some(state) = queue.state(job.id) {
                return Err(Error::IdTwice { id: id(), state });
            }
            let mut ops =
                vec![Op::put(&key, &value).if_absent(), Op::check(&done, When::Absent), Op::check(&dead, When::Absent)];
            let mut known = Vec::new();
            for dependency in &job.after {
                let dependency = (*dependency).to_owned();
                known.push(match queue.state(&dependency) {
                    Some("done") => self.key("done", &dependency)?,
                    Some("dead") => return Err(Error::DependencyFailed { id: id(), dependency }),
                    Some(_) => self.key("job", &dependency)?,
                    None => return Err(Error::UnknownDependency { id: id(), dependency }),
                });
            }
            ops.extend(known.iter().map(|key| Op::check(key, When::Exists)));
            if queue.jobs.len() >= self.limit {
                return Err(Error::QueueFull { limit: self.limit });
            }
            if let Outcome::Committed(_) = self.store.commit(&ops)? {
                return Ok(());
            }
            // The id is taken now, or what it depends on has gone on: look again.
        }
    }

    /// One who takes jobs of this queue, under that session.
    pub fn worker(&self, session: &Arc<Session<B>>) -> Worker<B> {
        Worker { jobs: self.clone(), session: Arc::clone(session) }
    }

    /// The result of a job; `None` if it has not been completed, or too long ago.
    ///
    /// # Errors
    /// Those of the store.
    pub fn result(&self, id: &str) -> Result<Option<Done>> {
        check_id(id)?;
        let mut value = Vec::new();
        let (meta, _) = self.store.read(&self.key("done", id)?, &mut value)?;
        Ok(meta.map(|_| Done { value }))
    }

    /// Why a job was put aside; `None` if it was not.
    ///
    /// # Errors
    /// Those of the store.
    pub fn dead(&self, id: &str) -> Result<Option<Dead>> {
        let mut value = Vec::new();
        let (meta, _) = self.store.read(&self.key("dead", id)?, &mut value)?;
        Ok(meta.map(|_| Dead::decode(&value)))
    }

    /// Waits until a job has ended; `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; those of the store.
    pub fn wait(&self, id: &str, deadline: &Deadline) -> Result<Option<Ended>> {
        check_id(id)?;
        let job = self.key("job", id)?;
        loop {
            let (meta, at) = self.store.read(&job, &mut Vec::new())?;
            if meta.is_none() {
                // What ended it has left the one or the other, in the same commit.
                if let Some(done) = self.result(id)? {
                    return Ok(Some(Ended::Done(done)));
                }
                let dead = self.dead(id)?.ok_or_else(|| Error::UnknownId { id: id.to_owned() })?;
                return Ok(Some(Ended::Dead(dead)));
            }
            if !self.store.wait(&job, at, deadline)? {
                return Ok(None);
            }
        }
    }

    /// Puts a job aside that nobody runs, and with it those that depend on it. `false` if it runs or has ended.
    ///
    /// So it does with what lies where a job would and is none ([`Status::unreadable`]): all its bytes are the payload of
    /// what is kept ([`Jobs::dead`]).
    ///
    /// # Errors
    /// [`Error::UnknownId`]; those of the store, among them [`TooLarge`](crate::Error::TooLarge) where such bytes are as
    /// many as a value can have: then delete the entry by its name.
    pub fn cancel(&self, id: &str) -> Result<bool> {
        loop {
            let queue = self.look()?;
            let unreadable = queue.unreadable.get(id);
            let Some(job) = queue.jobs.get(id).or(unreadable) else {
                return queue.state(id).map(|_| false).ok_or_else(|| Error::UnknownId { id: id.to_owned() });
            };
            if queue.claims.contains_key(id) {
                return Ok(false);
            }
            let why = if unreadable.is_some() { "no program of ours wrote it" } else { "it was cancelled" };
            if self.bury(id, job, why)? {
                while self.bury_lost(&self.look()?)? {}
                return Ok(true);
            }
        }
    }

    /// Forgets a dead job: its id is free again. What waits for it is put aside first. `false` if it is not dead.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget(&self, id: &str) -> Result<bool> {
        loop {
            let queue = self.look()?;
            let Some(since) = queue.dead.get(id) else { return Ok(false) };
            // Nobody can begin to depend on it any more.
            if self.bury_lost(&queue)? {
                continue;
            }
            // These remains and no others: a job of that id that died since may have dependants again.
            let dead = self.key("dead", id)?;
            let remains = Op::delete(&dead).if_created_at(*since);
            if let Outcome::Committed(_) = self.store.commit(&[remains])? {
                return Ok(true);
            }
        }
    }

    /// How many jobs are where.
    ///
    /// # Errors
    /// Those of the store.
    pub fn status(&self) -> Result<Status> {
        let QueueSnapshot { jobs, claims, unreadable, done, dead, .. } = self.look()?;
        let waiting = jobs.keys().filter(|id| !claims.contains_key(*id)).count();
        let unreadable = unreadable.into_iter().map(|(id, job)| (id, job.beginning())).collect();
        let (running, done, dead) = (claims.into_iter().collect(), done.len(), dead.len());
        Ok(Status { waiting, running, done, dead, unreadable })
    }

    fn key(&self, part: &str, id: &str) -> Result<B::Key> {
        Ok(self.store.key(&format!("{}/{part}/{id}", self.name))?)
    }

    /// Puts aside those jobs that depend on dead ones; whether there were any.
    fn bury_lost(&self, queue: &QueueSnapshot) -> Result<bool> {
        let mut found = false;
        for (id, job) in queue.jobs.iter().filter(|(id, _)| !queue.claims.contains_key(*id)) {
            if let Some(lost) = job.after.iter().find(|dependency| queue.dead.contains_key(*dependency)) {
                self.bury(id, job, &format!("{lost:?}, which it depends on, is dead"))?;
                found = true;
            }
        }
        Ok(found)
    }

    /// Puts aside a job that nobody runs; `false` if something about it has changed.
    fn bury(&self, id: &str, job: &StoredJob, why: &str) -> Result<bool> {
        let (key, claim) = (self.key("job", id)?, self.key("claim", id)?);
        let ops = [Op::delete(&key).if_modified_at(job.modified), Op::check(&claim, When::Absent)];
        Ok(matches!(self.lay_aside(id, job, why, ops)?, Outcome::Committed(_)))
    }

    /// Does this and leaves the job's remains. A reason that does not fit is cut: the payload did fit beside the line.
    fn lay_aside(&self, id: &str, job: &StoredJob, why: &str, ops: [Op<'_, B::Key>; 2]) -> Result<Outcome> {
        let dead = self.key("dead", id)?;
        let [first, second] = ops;
        let put = |why: &str| self.store.commit(&[first, second, Op::put(&dead, &job.remains(why))]);
        match put(why) {
            Err(StoreError::TooLarge { limit, .. }) => {
                let room = limit.saturating_sub(job.payload.len() + 1);
                Ok(put(&why[..why.floor_char_boundary(room)])?)
            }
            done => Ok(done?),
        }
    }
}

impl<B: Backend> Clone for Jobs<B> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), name: self.name.clone(), ..*self }
    }
}

impl<B: Backend> fmt::Debug for Jobs<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("name", &self.name).finish_non_exhaustive()
    }
}
