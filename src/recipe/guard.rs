//! Changing something outside the store (a row, a file, a machine) that many processes change: one at a time, each change
//! announced before it is made, so that whoever comes after a death knows what may have happened.
//!
//! ```
//! use slotguard::Deadline;
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Guarded};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let sql = rusqlite::Connection::open_in_memory()?;
//! # sql.execute_batch("CREATE TABLE caps (id, cap, version, token); INSERT INTO caps VALUES (7, 100, 0, 0)")?;
//! # let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let caps = Guarded::new(&session, "caps/7")?;
//!
//! let mut turn = caps.enter(&Deadline::after(Duration::from_secs(5)))?;
//! let (cap, version, last): (i64, i64, i64) = sql.query_row(
//!     "SELECT cap, version, token FROM caps WHERE id = 7",
//!     [],
//!     |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
//! )?;
//! for intent in turn.unsettled() {
//!     // Somebody's turn ended in the midst. The row carries its token if the change was made, else it was not.
//!     let _was_made = last as u64 == intent.token.0;
//! }
//! let token = turn.token().0 as i64;
//! let new = (cap + 10).to_le_bytes();
//! turn.intend(&new)?;
//! let changed = sql.execute(
//!     "UPDATE caps SET cap = ?1, version = version + 1, token = ?2 WHERE id = 7 AND version = ?3 AND token <= ?2",
//!     (cap + 10, token, version),
//! )?;
//! if changed == 1 {
//!     turn.commit(&new)?;
//! } else {
//!     // The row was changed outside of any turn, or we are late and another has had its turn. Begin again.
//!     turn.withdraw()?;
//! }
//! # assert_eq!(caps.read()?.version, 1);
//! # Ok(())
//! # }
//! ```
//! **The guard makes conflicts rare and cheap; your `WHERE version = ?` makes them impossible.** Swapping in the store and
//! writing elsewhere are two steps, and a process can die between them. What the guard adds is that the steps of two
//! processes do not mix, and that the next one is told of a step that may or may not have been made.
//!
//! With PostgreSQL it is the same statement: `client.execute("UPDATE caps SET cap = $1, version = version + 1, token = $2
//! WHERE id = $3 AND version = $4 AND token <= $2", …)?` answers how many rows were changed. The whole loop for both, with
//! the abandoned case and a row that remembers a segment from before a reboot, is `examples/cap_guard/src/guard.rs`.
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME` | 32 bytes (version, token of the last commit, token and fingerprint of an intent; each 8 bytes, little-endian), then what was last committed | for ever |
//! | `NAME/i/TOKEN` | an intent that a later one was announced over: its fingerprint (8 bytes); the token in 16 hexadecimal digits | until the next commit |
//! | `NAME/t/…` | the queue: see [`lock`](super::lock) | by the session's lease |
//!
//! # Why it holds
//! ```text
//!  enter ──► read the row ──► intend ──► write the row ──► commit ──► the next one's turn
//!    │                           │            │
//!    │                           │            └─ dies here: the row carries its token: it happened
//!    └─ dies here: nothing       └─ dies here: the row does not: it did not happen
//! ```
//! Only the first in the queue writes `NAME`, by commits that check its ticket; so a late holder changes nothing.
//! `commit` puts the new value and gives the turn back in one commit: there is no moment at which the next one is in
//! and the change is not. The intent lies in `NAME`, which outlives its author.
//!
//! An intent over one that nobody has settled moves that one to `NAME/i/…`, in the same commit. Whoever announces over
//! the dead and dies as well takes nothing with it: the next one is told of both ([`Turn::unsettled`]), of
//! [`MOST_EARLIER`] and the newest at most, and then of none new before these are settled ([`Error::TooManyIntents`]).
//!
//! # When a process dies
//! The next one has its turn at once where the store can prove the death, else when the lease ends, and finds the intent.
//! A statement of the dead one may still be on its way to the database: it asks for the same version as ours, so one of
//! the two changes no row.

use std::fmt;
use std::sync::Arc;

use super::lock::Lock;
use super::queue::{HeldTickets, InUse, Lost, Mode, from_queue};
use crate::backend::{Backend, Op, Session};
use crate::clock::{Deadline, Intent, Revision, Token, Version};
use crate::error::{Kind, next_moves};
use crate::fnv1a64;

/// The result of a call at something guarded.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with something guarded. Nothing is written to the store then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// Others are ahead in the queue, and the deadline has passed.
    #[error(transparent)]
    InUse(Box<InUse>),
    /// The turn, or the place in the queue, is not ours any more.
    #[error(transparent)]
    Lost(Lost),
    /// The entry holds what no guard wrote.
    #[error("{name:?} holds {length} bytes that no guard wrote; use a name that nobody else uses")]
    NotARecord {
        /// Its name.
        name: String,
        /// How many bytes it holds.
        length: usize,
    },
    /// As many intents are neither committed nor withdrawn as can be kept. Nothing was announced.
    #[error(
        "{name:?} has {count} unsettled intents, of the turns {}; look which of them happened, have the thing refuse those turns' tokens, then commit what is there",
        listed(tokens),
        count = tokens.len()
    )]
    TooManyIntents {
        /// Of what.
        name: String,
        /// The tokens of their turns, newest first.
        tokens: Vec<Token>,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::InUse(_) => Kind::Busy,
            Self::Lost(_) => Kind::Lost,
            Self::NotARecord { .. } => Kind::Damaged,
            Self::TooManyIntents { .. } => Kind::Indeterminate,
        }
    }
}

next_moves!(Error);
from_queue!(Error);

/// Something outside the store that processes change in turns.
pub struct Guarded<B: Backend> {
    lock: Lock<B>,
    session: Arc<Session<B>>,
    key: B::Key,
}

/// One process's turn. Dropped, the turn is over and an intent stays, because nobody knows how far its author came.
pub struct Turn<B: Backend> {
    held: HeldTickets<B>,
    store: Arc<B>,
    key: B::Key,
    state: State,
}

/// What the store knows of the thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// How often it has been committed.
    pub version: u64,
    /// In which turn it was committed last; 0: never.
    pub token: Token,
    /// What somebody has announced and neither committed nor withdrawn; of several the newest.
    pub intent: Option<Intent>,
    /// What was announced before that and not settled either, oldest first.
    pub earlier: Vec<Intent>,
    /// What was last committed.
    pub value: Vec<u8>,
}

/// Bytes before the value.
const HEADER: usize = 32;

/// Most unsettled intents that a new one can be announced over, the newest of them aside: 16.
pub const MOST_EARLIER: usize = 16;

impl<B: Backend> Guarded<B> {
    /// The thing of this name.
    ///
    /// # Errors
    /// As [`Lock::new`].
    pub fn new(session: &Arc<Session<B>>, name: &str) -> crate::Result<Self> {
        let lock = Lock::new(session, name)?;
        let key = session.store().key(name)?;
        Ok(Self { lock, session: Arc::clone(session), key })
    }

    /// The queue of those who wait for their turn: who has it, asking for it back, taking it away.
    pub fn lock(&self) -> &Lock<B> {
        &self.lock
    }

    /// What the store knows now, whoever's turn it is.
    ///
    /// # Errors
    /// [`Error::NotARecord`] if the entry is something else's. Those of [`Backend::read`].
    pub fn read(&self) -> Result<State> {
        State::read(&**self.session.store(), &self.key)
    }

    /// Waits in the queue for a turn, and then has it until it commits or ends otherwise.
    ///
    /// # Errors
    /// Those of [`Lock::acquire`], which name who has the turn, and of [`read`](Guarded::read).
    pub fn enter(&self, deadline: &Deadline) -> Result<Turn<B>> {
        let held = self.lock.queue().acquire(Mode::Exclusive, deadline)?.map_err(Error::InUse)?;
        let (store, state) = (Arc::clone(self.session.store()), self.read()?);
        Ok(Turn { held, store, key: self.key.clone(), state })
    }
}

impl<B: Backend> Turn<B> {
    /// The fencing token: larger than that of every earlier turn. Write it beside the effect, and refuse to overwrite a
    /// larger one.
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// Whether the turn may be counted on at this moment, as far as this process knows.
    pub fn is_alive(&self) -> bool {
        self.held.is_alive()
    }

    /// Asks the store whether the turn is still ours.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not, naming whose it is.
    pub fn check(&self) -> Result<()> {
        Ok(self.held.check()?)
    }

    /// How often the thing had been committed when the turn began.
    pub fn version(&self) -> Version {
        Version(self.state.version)
    }

    /// What was last committed when the turn began; empty if nothing ever was.
    pub fn value(&self) -> &[u8] {
        &self.state.value
    }

    /// The newest of [`unsettled`](Turn::unsettled).
    pub fn abandoned(&self) -> Option<Intent> {
        self.unsettled().first().copied()
    }

    /// What was announced before this turn and neither committed nor withdrawn, newest first: look which of it happened.
    /// Where each write asks for the version it has read, at most one did.
    ///
    /// If one did, [`commit`](Turn::commit) what is there now. If none, go on: what is announced now stands beside these
    /// until a commit settles all.
    pub fn unsettled(&self) -> Vec<Intent> {
        let others = self.state.intent.filter(|intent| intent.token != self.token());
        others.into_iter().chain(self.state.earlier.iter().rev().copied()).collect()
    }

    /// Announces that the thing is about to become `new`. Do it before you write.
    ///
    /// # Errors
    /// [`Error::Lost`] if the turn is not ours any more: do not write. [`Error::TooManyIntents`] if as many as can be
    /// kept are unsettled. Those of [`Backend::commit`]; what is too large to be committed later is refused now.
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
        let moved = self.abandoned().filter(|found| self.state.intent == Some(*found));
        state.earlier.extend(moved);
        if state.earlier.len() > MOST_EARLIER {
            let tokens = self.unsettled().iter().map(|intent| intent.token).collect();
            return Err(Error::TooManyIntents { name: self.key.as_ref().to_owned(), tokens });
        }
        let kept = moved.map(|moved| self.earlier_key(&moved).map(|key| (key, moved.after.to_le_bytes())));
        let kept = kept.transpose()?;
        let whole = state.to_bytes();
        let mut ops = vec![Op::put(&self.key, &whole)];
        ops.extend(kept.as_ref().map(|(key, after)| Op::put(key, after)));
        // The only condition is the turn itself.
        self.held.commit(&ops)?;
        self.state = state;
        Ok(intent)
    }

    /// The thing has become `new`: counts the change and ends the turn, in one commit. Answers its number.
    ///
    /// # Errors
    /// [`Error::Lost`] if the turn was not ours any more; nothing has been counted then, and whoever had the next one
    /// found the intent. Those of [`Backend::commit`].
    pub fn commit(mut self, new: &[u8]) -> Result<Version> {
        // Wraps only where somebody else has written the entry.
        let version = self.state.version.wrapping_add(1);
        let (token, value) = (self.token(), new.to_vec());
        let settled = State { version, token, intent: None, earlier: Vec::new(), value };
        self.end(&settled, self.state.earlier.clone().iter())?;
        Ok(Version(version))
    }

    /// Nothing was written: takes the intent back and ends the turn.
    ///
    /// What earlier ones had announced is announced still: their statement may be what ours failed for.
    ///
    /// # Errors
    /// As [`commit`](Turn::commit).
    pub fn withdraw(mut self) -> Result<()> {
        if self.state.intent.is_none_or(|intent| intent.token != self.token()) {
            return Ok(self.held.give_back(&[], &[])?);
        }
        let mut before = self.state.clone();
        before.intent = before.earlier.pop();
        self.end(&before, before.intent.iter())
    }

    /// Leaves `state` and ends the turn; these have no entries of their own any more.
    fn end<'i>(&mut self, state: &State, gone: impl Iterator<Item = &'i Intent>) -> Result<()> {
        let whole = state.to_bytes();
        let gone = gone.map(|intent| self.earlier_key(intent)).collect::<crate::Result<Vec<_>>>()?;
        let mut ops = vec![Op::put(&self.key, &whole)];
        ops.extend(gone.iter().map(Op::delete));
        Ok(self.held.give_back(&[], &ops)?)
    }

    fn earlier_key(&self, intent: &Intent) -> crate::Result<B::Key> {
        self.store.key(&earlier(self.key.as_ref(), intent.token))
    }
}

/// The name of an intent that another was announced over.
fn earlier(name: &str, token: Token) -> String {
    format!("{name}/i/{:016x}", token.0)
}

impl State {
    fn read<B: Backend>(store: &B, key: &B::Key) -> Result<Self> {
        let (name, mut bytes) = (key.as_ref(), Vec::new());
        let (mut meta, _) = store.read(key, &mut bytes)?;
        loop {
            let mut state = Self::from_bytes(name, meta.map(|_| &bytes[..]))?;
            if state.intent.is_none() {
                return Ok(state);
            }
            let (prefix, before) = (format!("{name}/i/"), fnv1a64(&state.value));
            store.range(&prefix, &mut |key, value, _| {
                let token = u64::from_str_radix(&key.as_ref()[prefix.len()..], 16).ok();
                let token = token.filter(|token| key.as_ref() == earlier(name, Token(*token)));
                let after = value.try_into().ok().map(u64::from_le_bytes);
                let intent = |(token, after)| Intent { token: Token(token), before, after };
                state.earlier.extend(token.zip(after).map(intent));
            })?;
            let (now, _) = store.read(key, &mut bytes)?;
            if now == meta {
                return Ok(state);
            }
            // Another turn has changed both in between.
            meta = now;
        }
    }

    fn from_bytes(name: &str, bytes: Option<&[u8]>) -> Result<Self> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        let not_ours = || Error::NotARecord { name: name.to_owned(), length: bytes.len() };
        let (header, value) = bytes.split_first_chunk::<HEADER>().ok_or_else(not_ours)?;
        let word = |at: usize| header[at * 8..][..8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let intent = Intent { token: Token(word(2)), before: fnv1a64(value), after: word(3) };
        let intent = (intent.token != Token(0)).then_some(intent);
        Ok(Self { version: word(0), token: Token(word(1)), intent, earlier: Vec::new(), value: value.to_vec() })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let (by, after) = self.intent.map_or((0, 0), |intent| (intent.token.0, intent.after));
        let header = [self.version, self.token.0, by, after];
        header.iter().flat_map(|word| word.to_le_bytes()).chain(self.value.iter().copied()).collect()
    }
}

impl<B: Backend> fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("name", &self.lock.name()).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Turn<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("key", &self.key).field("token", &self.token()).finish_non_exhaustive()
    }
}

fn listed(tokens: &[Token]) -> String {
    tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
