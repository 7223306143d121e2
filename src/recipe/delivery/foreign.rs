//! What lies under a delivery's name and is none of its own, or not as it was left: found, and taken away.

use std::fmt;

use super::encoding::{Name, Names, REMOVED, write_clock};
use super::error::Result;
use super::look::Look;
use crate::Outcome;
use crate::backend::{Backend, Op, When};
use crate::clock::VectorClock;

/// An entry that is in nobody's way but its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name.
    pub entry: String,
    /// What is wrong with it.
    pub what: String,
}

/// What lies under the name of a delivery and is none of its own, or makes no sense, in the order of names. Members go
/// on beside it, but for `name/floor`, which all need. It may belong to a recipe of a longer name: look before you
/// [remove](remove_foreign) it.
///
/// # Errors
/// The store's.
pub fn foreign<B: Backend>(store: &B, name: &str) -> Result<Vec<Foreign>> {
    let look = Look::survey(store, &Names(name.to_owned()))?;
    Ok(look.foreign.into_iter().map(|(foreign, _)| foreign).collect())
}

/// Takes away an entry that [`foreign`] lists, or lets members go on past a message that is missing. `false` if there is
/// nothing to be done: what is sound stays, and so does a cursor whose member is present and writes it anew.
///
/// * A **message** is lost for all who have not acknowledged it; whatever waits for it waits no more.
/// * Without its **cursor** a member joins anew.
/// * **`name/floor`** is made anew, from the messages and cursors that are there.
/// * Anything else is deleted.
///
/// # Errors
/// The store's.
pub fn remove_foreign<B: Backend>(store: &B, name: &str, entry: &str) -> Result<bool> {
    let names = Names(name.to_owned());
    let key = store.key(entry)?;
    loop {
        let look = Look::survey(store, &names)?;
        let found = look.foreign.iter().find(|(foreign, _)| foreign.entry == entry);
        let parsed = names.parse(entry).ok();
        let when = match (found, parsed) {
            (Some((_, modified)), _) => When::ModifiedAt(*modified),
            (None, Some(Name::Message(sender, sequence))) if look.is_missing(sender, sequence) => When::Absent,
            _ => return Ok(false),
        };
        let done = match parsed {
            Some(Name::Message(sender, sequence)) if sequence < look.sent().get(sender) => {
                store.commit(&[Op::put(&key, REMOVED).when(when)])?
            }
            Some(Name::LowWatermark) => {
                store.commit(&[Op::put(&key, &write_clock(&look.rebuilt_low_watermark())).when(when)])?
            }
            Some(Name::Cursor(member)) => {
                if look.present.contains(&member) {
                    return Ok(false);
                }
                let presence = store.key(&names.of(Name::Presence(member)))?;
                store.commit(&[Op::delete(&key).when(when), Op::check(&presence, When::Absent)])?
            }
            _ => store.commit(&[Op::delete(&key).when(when)])?,
        };
        if done != Outcome::Conflict {
            return Ok(true);
        }
    }
}

impl Look {
    /// Whether later messages of the sender are there, and this one is not, nor was it removed.
    fn is_missing(&self, sender: u32, sequence: u64) -> bool {
        let is_counted = sequence > self.low_watermark.get(sender) && sequence < self.sent().get(sender);
        is_counted && !self.messages.contains(&(sender, sequence))
    }

    /// Up to which message of each sender none is there any more, as far as that can be told.
    fn rebuilt_low_watermark(&self) -> VectorClock {
        let mut low_watermark = VectorClock::new();
        self.cursors.values().for_each(|(clock, _)| low_watermark.merge(clock));
        // Backwards, so that the first message of each sender has the last word.
        for &(sender, sequence) in self.messages.iter().rev() {
            low_watermark.set(sender, sequence.saturating_sub(1));
        }
        low_watermark
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry, self.what)
    }
}
