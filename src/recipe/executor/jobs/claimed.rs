//! A job in hand: completed with its effects, failed, or given back.

use std::fmt;
use std::sync::Arc;

use super::record::StoredJob;
use super::{Jobs, Worker};
use crate::Outcome;
use crate::backend::{Backend, Op, Session, When};
use crate::clock::{Revision, Token};
use crate::recipe::{Error, Result};

/// Most effects of one job: 29, as a commit of 32 operations takes beside those that end the job.
pub const MOST_EFFECTS: usize = 29;

/// A job that this worker has, until it is completed, fails, or its session ends. Dropping it gives it back.
pub struct Claimed<B: Backend> {
    jobs: Jobs<B>,
    session: Arc<Session<B>>,
    id: String,
    job: StoredJob,
    key: B::Key,
    claim: B::Key,
    token: Token,
    has_ended: bool,
}

impl<B: Backend> Claimed<B> {
    pub(super) fn new(
        worker: &Worker<B>,
        id: &str,
        job: StoredJob,
        key: B::Key,
        claim: B::Key,
        revision: Revision,
    ) -> Self {
        let (jobs, session) = (worker.jobs.clone(), Arc::clone(&worker.session));
        Self { jobs, session, id: id.to_owned(), job, key, claim, token: Token(revision.0), has_ended: false }
    }

    /// The job's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is to be done.
    pub fn payload(&self) -> &[u8] {
        &self.job.payload
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.job.attempts
    }

    /// Larger than that of every earlier attempt.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Whether the claim may be counted on at this moment. The store is not asked.
    pub fn is_alive(&self) -> bool {
        self.session.is_alive()
    }

    /// The operation that lets a commit of one's own take place only while the job is ours.
    pub fn condition(&self) -> Op<'_, B::Key> {
        Op::check(&self.claim, When::CreatedAt(Revision(self.token.0)))
    }

    /// Ends the job, leaves the result and writes the effects, all by one commit. `false` if a condition of an effect was
    /// false: then nothing was written, and the job is given back, to be tried again if this was not its last attempt.
    ///
    /// # Errors
    /// [`Error::ClaimLost`]: somebody else has the job, or will. [`TooManyOps`](crate::Error::TooManyOps) if there are more
    /// than [`MOST_EFFECTS`] effects; others of the store.
    pub fn complete(mut self, result: &[u8], effects: &[Op<'_, B::Key>]) -> Result<bool> {
        if effects.len() > MOST_EFFECTS {
            return Err(crate::Error::TooManyOps { ops: effects.len(), limit: MOST_EFFECTS }.into());
        }
        let done = self.jobs.key("done", &self.id)?;
        let mut ops = vec![self.release(), Op::delete(&self.key).if_exists(), Op::put(&done, result)];
        ops.extend(effects);
        let outcome = self.jobs.store.commit(&ops)?;
        self.has_ended = matches!(outcome, Outcome::Committed(_));
        if !self.has_ended && !self.is_ours()? {
            self.has_ended = true;
            return Err(self.lost());
        }
        Ok(self.has_ended)
    }

    /// Ends the attempt: the job waits for the next, or is put aside if this was the last.
    ///
    /// # Errors
    /// [`Error::ClaimLost`]; those of the store.
    pub fn fail(self, why: &str) -> Result<()> {
        if self.job.attempts >= self.job.most { self.bury(why) } else { self.give_back() }
    }

    /// Puts the job aside, however many attempts are left.
    ///
    /// # Errors
    /// As [`fail`](Claimed::fail).
    pub fn bury(mut self, why: &str) -> Result<()> {
        let ops = [self.release(), Op::delete(&self.key)];
        let ended = self.jobs.lay_aside(&self.id, &self.job, why, ops)?;
        self.has_ended = true;
        if ended == Outcome::Conflict { Err(self.lost()) } else { Ok(()) }
    }

    fn give_back(mut self) -> Result<()> {
        let ended = self.jobs.store.commit(&[self.release()])?;
        self.has_ended = true;
        if ended == Outcome::Conflict { Err(self.lost()) } else { Ok(()) }
    }

    /// Deletes the claim, provided that it is this one.
    fn release(&self) -> Op<'_, B::Key> {
        Op::delete(&self.claim).if_created_at(Revision(self.token.0))
    }

    fn is_ours(&self) -> Result<bool> {
        let (meta, _) = self.jobs.store.read(&self.claim, &mut Vec::new())?;
        Ok(meta.is_some_and(|meta| meta.created.0 == self.token.0))
    }

    fn lost(&self) -> Error {
        Error::ClaimLost { id: self.id.clone(), token: self.token }
    }
}

impl<B: Backend> Drop for Claimed<B> {
    fn drop(&mut self) {
        if !self.has_ended {
            // Should this fail, the claim goes with the session.
            let _ = self.jobs.store.commit(&[self.release()]);
        }
    }
}

impl<B: Backend> fmt::Debug for Claimed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("id", &self.id)
            .field("attempt", &self.job.attempts)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
