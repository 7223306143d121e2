//! All of a delivery as of one moment, without the messages' bodies.

use std::collections::{BTreeMap, BTreeSet};

use super::encoding::{Name, Names, damaged, read_clock, read_message};
use super::error::{Behind, Error, Result};
use super::foreign::Foreign;
use crate::backend::{Backend, Meta, When};
use crate::clock::{Revision, VectorClock};
use crate::recipe::Damaged;

/// What one `range` has shown.
pub(super) struct Look {
    /// Up to which message of each sender all have been acknowledged by all.
    pub low_watermark: VectorClock,
    /// How the entry is that says so.
    pub watermark_is: When,
    /// What each member has acknowledged; nothing, where that cannot be read.
    pub cursors: BTreeMap<u32, (VectorClock, Meta)>,
    /// The members with a session.
    pub present: BTreeSet<u32>,
    /// The messages that are kept.
    pub messages: BTreeSet<(u32, u64)>,
    /// What is none of ours, or not as we left it, and when it was put.
    pub foreign: Vec<(Foreign, Revision)>,
    /// The moment.
    pub at: Revision,
}

impl Look {
    /// # Errors
    /// [`Error::Damaged`] if the low watermark is; the store's.
    pub fn take<B: Backend>(store: &B, names: &Names) -> Result<Self> {
        let look = Self::survey(store, names)?;
        look.damage(&names.of(Name::LowWatermark)).map_or(Ok(look), Err)
    }

    /// The same whatever is damaged.
    pub fn survey<B: Backend>(store: &B, names: &Names) -> Result<Self> {
        let mut look = Self {
            low_watermark: VectorClock::new(),
            watermark_is: When::Absent,
            cursors: BTreeMap::new(),
            present: BTreeSet::new(),
            messages: BTreeSet::new(),
            foreign: Vec::new(),
            at: Revision(0),
        };
        look.at = store.range(&names.prefix(), &mut |key, value, meta| {
            if let Err(Error::Damaged(Damaged { entry, what })) = look.add(names, key.as_ref(), value, meta) {
                look.foreign.push((Foreign { entry, what }, meta.modified));
            }
        })?;
        Ok(look)
    }

    /// What is wrong with this entry.
    pub fn damage(&self, entry: &str) -> Option<Error> {
        let (found, _) = self.foreign.iter().find(|(foreign, _)| foreign.entry == entry)?;
        Some(Damaged::new(&found.entry, found.what.clone()).into())
    }

    fn add(&mut self, names: &Names, name: &str, value: &[u8], meta: Meta) -> Result<()> {
        match names.parse(name)? {
            Name::LowWatermark => {
                self.watermark_is = When::ModifiedAt(meta.modified);
                self.low_watermark = read_clock(name, value)?.0;
            }
            Name::Cursor(member) => {
                let clock = read_clock(name, value).map(|(clock, _)| clock);
                self.cursors.insert(member, (clock.as_ref().cloned().unwrap_or_default(), meta));
                clock?;
            }
            Name::Presence(member) => {
                if meta.lease.is_none() {
                    return Err(damaged(name, "it lives by no session"));
                }
                self.present.insert(member);
            }
            Name::Message(sender, sequence) => {
                self.messages.insert((sender, sequence));
                read_message(name, sender, sequence, value)?;
            }
        }
        Ok(())
    }

    /// How many messages each has sent: those that are kept, and those that were before them.
    pub fn sent(&self) -> VectorClock {
        let mut sent = self.low_watermark.clone();
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
