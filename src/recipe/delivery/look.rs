//! All of a delivery as of one moment, without the messages' bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::letter::{Name, Names, read_clock};
use crate::backend::{Backend, Meta, When};
use crate::clock::{Revision, VectorClock};
use crate::recipe::Result;

/// What one `range` has shown.
pub(super) struct Look {
    /// Up to which message of each sender all have been acknowledged by all.
    pub floor: VectorClock,
    /// How the entry is that says so.
    pub floor_is: When,
    /// What each member has acknowledged.
    pub cursors: BTreeMap<u32, (VectorClock, Meta)>,
    /// The members with a session.
    pub present: BTreeSet<u32>,
    /// The messages that are kept.
    pub messages: BTreeSet<(u32, u64)>,
    /// The moment.
    pub at: Revision,
}

/// A member that has not acknowledged everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its number.
    pub member: u32,
    /// Up to which message it has acknowledged them.
    pub acknowledged: u64,
}

impl Look {
    pub fn take<B: Backend>(store: &B, names: &Names) -> Result<Self> {
        let mut look = Self {
            floor: VectorClock::new(),
            floor_is: When::Absent,
            cursors: BTreeMap::new(),
            present: BTreeSet::new(),
            messages: BTreeSet::new(),
            at: Revision(0),
        };
        let mut damage = None;
        look.at = store.range(&names.prefix(), &mut |key, value, meta| {
            if let Err(error) = look.add(names, key.as_ref(), value, meta) {
                damage.get_or_insert(error);
            }
        })?;
        match damage {
            Some(damage) => Err(damage),
            None => Ok(look),
        }
    }

    fn add(&mut self, names: &Names, name: &str, value: &[u8], meta: Meta) -> Result<()> {
        match names.parse(name)? {
            Name::Floor => {
                self.floor = read_clock(name, value)?.0;
                self.floor_is = When::ModifiedAt(meta.modified);
            }
            Name::Cursor(member) => {
                self.cursors.insert(member, (read_clock(name, value)?.0, meta));
            }
            Name::Presence(member) => {
                self.present.insert(member);
            }
            Name::Message(sender, sequence) => {
                self.messages.insert((sender, sequence));
            }
        }
        Ok(())
    }

    /// How many messages each has sent: those that are kept, and those that were before them.
    pub fn sent(&self) -> VectorClock {
        let mut sent = self.floor.clone();
        for &(sender, sequence) in &self.messages {
            sent.set(sender, sent.get(sender).max(sequence));
        }
        sent
    }

    /// The members that have not acknowledged this message, its sender aside.
    pub fn behind(&self, sender: u32, sequence: u64) -> Vec<Behind> {
        let others = self.cursors.iter().filter(|(member, _)| **member != sender);
        let counts = others.map(|(&member, (clock, _))| Behind { member, acknowledged: clock.get(sender) });
        counts.filter(|behind| behind.acknowledged < sequence).collect()
    }

    /// Up to which message of each sender all members have acknowledged them.
    pub fn acknowledged(&self) -> VectorClock {
        let by_all = |(sender, sent): (u32, u64)| {
            let others = self.cursors.iter().filter(|(member, _)| **member != sender);
            (sender, others.map(|(_, (clock, _))| clock.get(sender)).fold(sent, u64::min))
        };
        self.sent().iter().map(by_all).collect()
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} has acknowledged up to {}", self.member, self.acknowledged)
    }
}
