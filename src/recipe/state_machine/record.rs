//! The stored form of a machine: its state, its changes, and the claim of a process that carries one out.

use std::fmt;

use super::error::{Error, Result};
use super::rules::State;
use crate::backend::Backend;
use crate::clock::Revision;
use crate::recipe::Owner;

/// How many changes are kept: 64.
pub const KEPT: u64 = 64;

/// Most bytes of a reason: 200.
pub const LONGEST_REASON: usize = 200;

/// One change of a machine's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange<S> {
    /// 1 for the machine's first, then without a gap.
    pub number: u64,
    /// The state before.
    pub from: S,
    /// The state after.
    pub to: S,
    /// By a transition, or by force.
    pub manner: Manner,
    /// The process that made it, and when ([`Owner::since_ms`]).
    pub by: Owner,
    /// The reason its caller gave.
    pub reason: String,
}

/// How a state was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By a transition of the rules.
    Moved,
    /// By [`Machine::force`](super::Machine::force).
    Forced,
    /// By [`Machine::reset`](super::Machine::reset).
    Reset,
}

/// The claim of a process that carries out a transition or its rollback.
#[derive(Clone, Copy)]
pub(super) struct ActingClaim {
    /// The revision that created `acting`.
    pub acting: Revision,
    /// The revision that created `begun`.
    pub begun: Revision,
    /// Whether the rollback has run: freeing the machine deletes `begun` as well.
    pub is_settled: bool,
}

impl<S: State> StateChange<S> {
    /// The value of `now/state` after this change: `number state`.
    pub(super) fn encode_state(&self) -> Vec<u8> {
        format!("{} {}", self.number, self.to.name()).into_bytes()
    }

    /// The value of `past/…` and of `now/begun`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (from, to) = (self.from.name(), self.to.name());
        let by = String::from_utf8_lossy(&self.by.to_bytes()).replace('\n', " ");
        format!("{} {from} {to} {}\n{by}\n{}", self.number, self.manner.word(), self.reason).into_bytes()
    }

    pub(super) fn decode(machine: &str, value: &[u8]) -> Result<Self> {
        let parse = || {
            let mut lines = str::from_utf8(value).ok()?.splitn(3, '\n');
            let mut words = lines.next()?.split(' ');
            let number = number(words.next()?)?;
            let (from, to) = (S::from_name(words.next()?)?, S::from_name(words.next()?)?);
            let manner = Manner::from_word(words.next()?)?;
            let by = Owner::from_bytes(lines.next()?.as_bytes());
            Some(Self { number, from, to, manner, by, reason: lines.next()?.to_owned() })
        };
        parse().ok_or_else(|| unknown::<S>(machine, value))
    }
}

/// The number of changes and the state that a value of `now/state` holds.
pub(super) fn decode_state<S: State>(machine: &str, value: &[u8]) -> Result<(u64, S)> {
    let parse = || {
        let (count, state) = str::from_utf8(value).ok()?.split_once(' ')?;
        Some((number(count)?, S::from_name(state)?))
    };
    parse().ok_or_else(|| unknown::<S>(machine, value))
}

/// A number of changes, unless no change could follow it.
fn number(word: &str) -> Option<u64> {
    word.parse().ok().filter(|number| *number < u64::MAX)
}

/// The error about a value that this program cannot read; it quotes the first 128 bytes.
pub(super) fn unknown<S: State>(machine: &str, value: &[u8]) -> Error {
    let value = &value[..value.len().min(128)];
    let known = S::TABLE.iter().map(|(_, name)| *name).collect();
    Error::UnknownState { machine: machine.to_owned(), found: String::from_utf8_lossy(value).into_owned(), known }
}

/// Answers the reason, if it is short enough to be kept.
pub(super) fn checked_reason(reason: &str) -> Result<&str> {
    if reason.len() > LONGEST_REASON {
        return Err(Error::LongReason { length: reason.len(), limit: LONGEST_REASON });
    }
    Ok(reason)
}

/// The entry that keeps the change of this number.
pub(super) fn past<B: Backend>(store: &B, machine: &str, number: u64) -> crate::Result<B::Key> {
    store.key(&past_name(machine, number))
}

pub(super) fn past_name(machine: &str, number: u64) -> String {
    format!("{machine}/past/{}", number % KEPT)
}

impl<S: State> fmt::Display for StateChange<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to, by) = (self.from.name(), self.to.name(), &self.by);
        let ago = by.age();
        let who = format_args!("{}[{}], {ago:.1?} ago", by.command, by.pid);
        write!(f, "{}: {from} -> {to}, {} by {who}", self.number, self.manner.word())?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl Manner {
    fn word(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Forced => "forced",
            Self::Reset => "reset",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Moved, Self::Forced, Self::Reset].into_iter().find(|manner| manner.word() == word)
    }
}
