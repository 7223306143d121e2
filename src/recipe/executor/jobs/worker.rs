//! Taking jobs: the most urgent that can run, by one commit.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::record::{QueueSnapshot, StoredJob};
use super::{Claimed, Jobs};
use crate::Outcome;
use crate::backend::{Backend, Op, Session, Watch};
use crate::clock::{Deadline, Revision};
use crate::recipe::failure::said;
use crate::recipe::waiting::until_session_ends;
use crate::recipe::{Failure, Owner, Result};

/// Old results that one commit deletes at most. More than one, so that they are caught up with.
const MOST_FORGOTTEN: usize = 4;

/// One who takes jobs.
pub struct Worker<B: Backend> {
    pub(super) jobs: Jobs<B>,
    pub(super) session: Arc<Session<B>>,
}

/// What came of a job that was run by [`Worker::work_one`].
#[derive(Debug)]
pub enum Worked {
    /// It was completed.
    Done(String),
    /// It failed; it waits for another attempt, or was put aside after the last.
    Failed(String, Failure),
}

impl<B: Backend> Worker<B> {
    /// Takes the most urgent job that can run now; `None` if there is none.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # When a process dies
    /// Its claims go with its session, and the jobs are taken by others.
    pub fn try_take(&self) -> Result<Option<Claimed<B>>> {
        Ok(self.step()?.ok())
    }

    /// Waits for a job; `None` once the deadline has passed.
    ///
    /// # Errors
    /// As [`try_take`](Worker::try_take); [`LeaseExpired`](crate::Error::LeaseExpired), at the latest when the session's time
    /// is up, if it ends meanwhile.
    pub fn take(&self, deadline: &Deadline) -> Result<Option<Claimed<B>>> {
        let mut watch = None;
        loop {
            let seen = match self.step()? {
                Ok(claimed) => return Ok(Some(claimed)),
                Err(seen) => seen,
            };
            let watch = match &mut watch {
                Some(watch) => watch,
                none => none.insert(self.jobs.store.watch(&format!("{}/", self.jobs.name), Revision(seen.0 + 1))?),
            };
            if until_session_ends(&self.session, deadline, |until| Ok(watch.next(until, &mut |_| {})?))?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Waits for a job, runs it, and completes it with what `run` returns as the result; `None` once the deadline has
    /// passed without one. An error or panic of `run` is a failed attempt.
    ///
    /// # Errors
    /// [`ClaimLost`](crate::recipe::Error::ClaimLost) if the session ended meanwhile; as [`take`](Worker::take).
    pub fn work_one(
        &self,
        deadline: &Deadline,
        run: impl FnOnce(&Claimed<B>) -> Result<Vec<u8>, Failure>,
    ) -> Result<Option<Worked>> {
        let Some(claimed) = self.take(deadline)? else { return Ok(None) };
        let id = claimed.id().to_owned();
        let how = catch_unwind(AssertUnwindSafe(|| run(&claimed))).unwrap_or_else(|panic| Err(said(&*panic).into()));
        Ok(Some(match how {
            Ok(result) => {
                claimed.complete(&result, &[])?;
                Worked::Done(id)
            }
            Err(failure) => {
                claimed.fail(&failure.to_string())?;
                Worked::Failed(id, failure)
            }
        }))
    }

    /// A job, or the moment at which there was none.
    fn step(&self) -> Result<Result<Claimed<B>, Revision>> {
        'look: loop {
            let queue = self.jobs.look()?;
            if self.jobs.bury_lost(&queue)? {
                continue;
            }
            for id in queue.in_order() {
                let job = &queue.jobs[id];
                if queue.claims.contains_key(id) || !queue.can_run(job) {
                    continue;
                }
                if job.attempts >= job.most {
                    self.jobs.bury(
                        id,
                        job,
                        &format!("attempt {} of {} ended without a result", job.attempts, job.most),
                    )?;
                    continue 'look;
                }
                if let Some(claimed) = self.claim(&queue, id, job)? {
                    return Ok(Ok(claimed));
                }
                continue 'look;
            }
            return Ok(Err(queue.at));
        }
    }

    /// Takes a job, and deletes results that need not be kept; `None` if somebody else was first.
    fn claim(&self, queue: &QueueSnapshot, id: &str, job: &StoredJob) -> Result<Option<Claimed<B>>> {
        let (key, claim) = (self.jobs.key("job", id)?, self.jobs.key("claim", id)?);
        // What it depended on is done, and may be forgotten from now on.
        let begun = StoredJob { attempts: job.attempts + 1, after: Vec::new(), ..job.clone() };
        let (value, owner) = (begun.encode(), Owner::me().to_bytes());
        let old = queue.beyond(self.jobs.keep).into_iter().take(MOST_FORGOTTEN);
        let old = old.map(|(id, created)| Ok((self.jobs.key("done", id)?, created))).collect::<Result<Vec<_>>>()?;
        let mut ops = vec![
            self.session.condition(),
            Op::put_leased(&claim, &owner, self.session.lease()).if_absent(),
            Op::put(&key, &value).if_modified_at(job.modified),
        ];
        ops.extend(old.iter().map(|(key, created)| Op::delete(key).if_created_at(*created)));
        match self.jobs.store.commit(&ops)? {
            Outcome::Committed(revision) => {
                let job = StoredJob { modified: revision, ..begun };
                Ok(Some(Claimed::new(self, id, job, key, claim, revision)))
            }
            Outcome::Conflict => {
                let (meta, _) = self.jobs.store.read(self.session.key(), &mut Vec::new())?;
                match meta {
                    Some(meta) if meta.created.0 == self.session.token().0 => Ok(None),
                    _ => Err(crate::Error::LeaseExpired { lease: self.session.lease() }.into()),
                }
            }
        }
    }
}

impl<B: Backend> fmt::Debug for Worker<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("jobs", &self.jobs).field("session", &self.session).finish_non_exhaustive()
    }
}
