//! The state of a guarded thing: the entry, and the entries of intents that others were announced over.

use super::error::{Error, Result};
use crate::backend::Backend;
use crate::clock::{Intent, Token};
use crate::fnv1a64;

/// The state of a guarded thing in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// How often it has been committed.
    pub version: u64,
    /// The token of the claim that committed last; 0: none.
    pub token: Token,
    /// The newest intent that is neither committed nor released.
    pub intent: Option<Intent>,
    /// The abandoned intents before it, oldest first.
    pub earlier: Vec<Intent>,
    /// What was last committed.
    pub value: Vec<u8>,
}

/// Bytes before the value.
const HEADER: usize = 32;

/// Most abandoned intents that a new one can be announced over, the newest of them aside: 16.
pub const MOST_EARLIER: usize = 16;

/// The name of the entry of an intent that another was announced over.
pub(super) fn earlier(name: &str, token: Token) -> String {
    format!("{name}/i/{:016x}", token.0)
}

impl State {
    /// Reads the entry and the intents beside it, as of one moment.
    pub(super) fn read<B: Backend>(store: &B, key: &B::Key) -> Result<Self> {
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
            // Another claim has changed both in between.
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

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (by, after) = self.intent.map_or((0, 0), |intent| (intent.token.0, intent.after));
        let header = [self.version, self.token.0, by, after];
        header.iter().flat_map(|word| word.to_le_bytes()).chain(self.value.iter().copied()).collect()
    }
}
