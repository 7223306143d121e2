//! A claim on a guarded thing: announcing a change, and committing it or taking it back.

use std::fmt;

use super::error::{Error, Result};
use super::state::{MOST_EARLIER, State, earlier};
use crate::backend::{Backend, Op};
use crate::clock::{Intent, Revision, Token, Version};
use crate::fnv1a64;
use crate::recipe::queue::HeldTickets;

/// A guarded thing that is ours: read it, announce a change, make it, commit.
///
/// Dropping it ends the claim. Dropping it after [`intend`](GuardedClaim::intend) and without a commit leaves the intent to
/// the next claim, since the change may have been made.
#[must_use = "a claim that is dropped is released"]
pub struct GuardedClaim<B: Backend> {
    pub(super) held: HeldTickets<B>,
    pub(super) key: B::Key,
    pub(super) state: State,
}

impl<B: Backend> GuardedClaim<B> {
    /// The fencing token: larger than that of every earlier claim. Write it beside the change, and refuse to overwrite a
    /// larger one.
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// Whether the claim may be counted on at this moment, as far as this process knows. Once `false`, always `false`.
    pub fn is_alive(&self) -> bool {
        self.held.is_alive()
    }

    /// Asks the store whether the claim is still ours.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not, naming the holder.
    pub fn check(&self) -> Result<()> {
        Ok(self.held.check()?)
    }

    /// The number of commits before this claim.
    pub fn version(&self) -> Version {
        Version(self.state.version)
    }

    /// The value last committed before this claim; empty if none was.
    pub fn value(&self) -> &[u8] {
        &self.state.value
    }

    /// The intents of earlier holders that are neither committed nor released, newest first: their changes may have been
    /// made. Look outside which; where each write asks for the version it has read, at most one was.
    ///
    /// If one was, [`commit`](GuardedClaim::commit) the value that is there now. If none, go on: an intent announced now
    /// stands beside these until a commit settles all.
    pub fn abandoned(&self) -> Vec<Intent> {
        let others = self.state.intent.filter(|intent| intent.token != self.token());
        others.into_iter().chain(self.state.earlier.iter().rev().copied()).collect()
    }

    /// Announces that the thing is about to become `new`, before it is written: a later holder learns of it if we die.
    ///
    /// # Errors
    /// [`Error::Lost`] if the claim is not ours any more: do not write. [`Error::TooManyIntents`] if as many as can be
    /// kept are abandoned. Those of [`Backend::commit`]; what is too large to be committed later is refused now.
    pub fn intend(&mut self, new: &[u8]) -> Result<Intent> {
        if new.len() > self.state.value.len() {
            // After the write it would be too late to learn it. No entry was ever created at 0: nothing is put.
            let whole = State { value: new.to_vec(), ..self.state.clone() }.to_bytes();
            self.held.commit(&[Op::put(&self.key, &whole).if_created_at(Revision(0))])?;
        }
        let (before, after) = (fnv1a64(&self.state.value), fnv1a64(new));
        let intent = Intent { token: self.token(), before, after };
        let mut state = State { intent: Some(intent), ..self.state.clone() };
        // What was announced before stays announced.
        let moved = self.state.intent.filter(|intent| intent.token != self.token());
        state.earlier.extend(moved);
        if state.earlier.len() > MOST_EARLIER {
            let tokens = self.abandoned().iter().map(|intent| intent.token).collect();
            return Err(Error::TooManyIntents { name: self.key.as_ref().to_owned(), tokens });
        }
        let kept = moved.map(|moved| self.earlier_key(&moved).map(|key| (key, moved.after.to_le_bytes())));
        let kept = kept.transpose()?;
        let whole = state.to_bytes();
        let mut ops = vec![Op::put(&self.key, &whole)];
        ops.extend(kept.as_ref().map(|(key, after)| Op::put(key, after)));
        // The only condition is the claim itself.
        self.held.commit(&ops)?;
        self.state = state;
        Ok(intent)
    }

    /// Puts the value `new`, which the thing now has, counts the change and ends the claim, in one commit. Answers the
    /// number of the change.
    ///
    /// # Errors
    /// [`Error::Lost`] if the claim was not ours any more; nothing has been counted then, and the next holder found the
    /// intent. Those of [`Backend::commit`].
    pub fn commit(mut self, new: &[u8]) -> Result<Version> {
        // Wraps only where another program has written the entry.
        let version = self.state.version.wrapping_add(1);
        let (token, value) = (self.token(), new.to_vec());
        let settled = State { version, token, intent: None, earlier: Vec::new(), value };
        self.end(&settled, self.state.earlier.clone().iter())?;
        Ok(Version(version))
    }

    /// Ends the claim; the value stays. An intent of ours is taken back: nothing was written outside.
    ///
    /// Intents of earlier holders stay: ours may have failed because of their writes.
    ///
    /// # Errors
    /// As [`commit`](GuardedClaim::commit).
    pub fn release(mut self) -> Result<()> {
        if self.state.intent.is_none_or(|intent| intent.token != self.token()) {
            return Ok(self.held.give_back(&[], &[])?);
        }
        let mut before = self.state.clone();
        before.intent = before.earlier.pop();
        self.end(&before, before.intent.iter())
    }

    /// Puts `state`, deletes the entries of these intents, and ends the claim, in one commit.
    fn end<'i>(&mut self, state: &State, gone: impl Iterator<Item = &'i Intent>) -> Result<()> {
        let whole = state.to_bytes();
        let gone = gone.map(|intent| self.earlier_key(intent)).collect::<crate::Result<Vec<_>>>()?;
        let mut ops = vec![Op::put(&self.key, &whole)];
        ops.extend(gone.iter().map(Op::delete));
        Ok(self.held.give_back(&[], &ops)?)
    }

    fn earlier_key(&self, intent: &Intent) -> crate::Result<B::Key> {
        self.held.session().store().key(&earlier(self.key.as_ref(), intent.token))
    }
}

impl<B: Backend> fmt::Debug for GuardedClaim<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClaim").field("key", &self.key).field("token", &self.token()).finish_non_exhaustive()
    }
}
