//! What is stored of a machine, in words: the state, the changes, and both as of one moment.

use std::fmt;

use super::error::{Error, Result};
use super::{Machine, State};
use crate::backend::{Backend, When};
use crate::clock::Revision;
use crate::recipe::Owner;

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<S> {
    /// 1 for the machine's first, then without a gap.
    pub number: u64,
    /// The state before.
    pub from: S,
    /// The state after.
    pub to: S,
    /// How.
    pub manner: Manner,
    /// Who, and when ([`Owner::since_ms`]).
    pub by: Owner,
    /// Why.
    pub reason: String,
}

/// How a state was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By a transition of the rules.
    Moved,
    /// By [`Machine::force`].
    Forced,
    /// By [`Machine::reset`].
    Reset,
}

/// `number state`.
#[derive(Clone, Debug)]
pub(super) struct Stand<S> {
    pub number: u64,
    pub state: S,
}

/// All of a machine but its past, as of one moment.
pub(super) struct Now<S> {
    pub stand: Stand<S>,
    /// What a commit must find to build on this.
    pub when: When,
    /// The transition that is begun, as the change it is to be, and since when.
    pub begun: Option<(Change<S>, Revision)>,
    /// Who acts, and by which claim.
    pub acting: Option<(Owner, Revision)>,
    /// Who waits, longest first: the ticket, and to where if that is a state of ours.
    pub waiting: Vec<(Revision, Option<S>)>,
    pub at: Revision,
}

impl<S: State> Stand<S> {
    pub fn encode(&self) -> Vec<u8> {
        format!("{} {}", self.number, self.state.name()).into_bytes()
    }

    fn decode(machine: &str, value: &[u8]) -> Result<Self> {
        let parse = || {
            let (count, state) = str::from_utf8(value).ok()?.split_once(' ')?;
            Some(Self { number: number(count)?, state: S::from_name(state)? })
        };
        parse().ok_or_else(|| unknown::<S>(machine, value))
    }
}

impl<S: State> Change<S> {
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
            let manner = Manner::of(words.next()?)?;
            let by = Owner::from_bytes(lines.next()?.as_bytes());
            Some(Self { number, from, to, manner, by, reason: lines.next()?.to_owned() })
        };
        parse().ok_or_else(|| unknown::<S>(machine, value))
    }
}

impl<S: State> fmt::Display for Change<S> {
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

    fn of(word: &str) -> Option<Self> {
        [Self::Moved, Self::Forced, Self::Reset].into_iter().find(|manner| manner.word() == word)
    }
}

impl<B: Backend, S: State> Machine<B, S> {
    /// The state alone.
    pub(super) fn read_state(&self) -> Result<(Stand<S>, When, Revision)> {
        let mut value = Vec::new();
        let (meta, at) = self.session.store().read(&self.state, &mut value)?;
        match meta {
            Some(meta) => Ok((Stand::decode(&self.name, &value)?, When::ModifiedAt(meta.modified), at)),
            None => Ok((self.untouched(), When::Absent, at)),
        }
    }

    /// All of it but the past.
    pub(super) fn now(&self) -> Result<Now<S>> {
        let (mut state, mut begun, mut acting, mut waiting) = (None, None, None, Vec::new());
        let at = self.session.store().range(&format!("{}/now/", self.name), &mut |key, value, meta| {
            if key == self.state {
                state = Some((Stand::decode(&self.name, value), When::ModifiedAt(meta.modified)));
            } else if key == self.begun {
                begun = Some(Change::decode(&self.name, value).map(|change| (change, meta.created)));
            } else if key == self.acting {
                acting = Some((Owner::from_bytes(value), meta.created));
            } else {
                waiting.push((meta.created, str::from_utf8(value).ok().and_then(S::from_name)));
            }
        })?;
        waiting.sort_by_key(|(created, _)| *created);
        let (stand, when) = state.unwrap_or_else(|| (Ok(self.untouched()), When::Absent));
        Ok(Now { stand: stand?, when, begun: begun.transpose()?, acting, waiting, at })
    }

    fn untouched(&self) -> Stand<S> {
        Stand { number: 0, state: self.rules.initial() }
    }
}

/// A number of changes, after which there is another.
fn number(word: &str) -> Option<u64> {
    word.parse().ok().filter(|number| *number < u64::MAX)
}

pub(super) fn unknown<S: State>(machine: &str, value: &[u8]) -> Error {
    // Of what somebody else wrote, enough to know it by.
    let value = &value[..value.len().min(128)];
    let known = S::TABLE.iter().map(|(_, name)| *name).collect();
    Error::UnknownState { machine: machine.to_owned(), found: String::from_utf8_lossy(value).into_owned(), known }
}
