//! The row every process wants to change: one customer's cap, its access, and the two numbers that keep late writers
//! out.

use std::thread;
use std::time::Duration;

/// Which customer a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The row's primary key, and the number of its record in the segment.
    pub customer: u32,
}

/// Whether the customer may use the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The customer may use the service.
    Granted,
    /// The customer may not.
    Suspended,
}

impl Access {
    /// The word stored in the database.
    pub fn name(self) -> &'static str {
        match self {
            Access::Granted => "granted",
            Access::Suspended => "suspended",
        }
    }

    /// The access a stored word stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        [Access::Granted, Access::Suspended].into_iter().find(|access| access.name() == name)
    }
}

/// One row of table `caps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The customer's number.
    pub id: u32,
    /// What the customer may spend.
    pub cap: i64,
    /// Whether it may spend at all.
    pub access: Access,
    /// How often the row was changed.
    pub version: u64,
    /// Under which claim it was changed last; 0 when no guard did.
    pub token: u64,
}

impl Row {
    /// What the record in shared memory holds about this row. The token stays out: the engine knows it already.
    pub fn state(&self) -> Vec<u8> {
        let mut state = Vec::with_capacity(17);
        state.extend_from_slice(&self.version.to_le_bytes());
        state.extend_from_slice(&self.cap.to_le_bytes());
        state.push(u8::from(self.access == Access::Granted));
        state
    }
}

/// Names one call for ever. The database stores it beside the effect, so a caller that died without an answer can
/// still be told whether its call took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// Which of the processes made it.
    pub process: u32,
    /// Its number within that process, from 0.
    pub number: u32,
}

/// What a call wants to change.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Added to the cap.
    pub add: i64,
    /// The new access.
    pub access: Access,
    /// Who asks.
    pub call: Call,
    /// How long computing the new row takes: pricing, a rules engine, another service.
    pub work: Duration,
}

impl Update {
    /// The row as it should be after this update. Takes [`Update::work`], the window in which a naive writer loses.
    pub fn apply(&self, row: &Row) -> Row {
        if !self.work.is_zero() {
            thread::sleep(self.work);
        }
        Row { cap: row.cap + self.add, access: self.access, version: row.version + 1, ..row.clone() }
    }
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// False when there is no such customer.
    pub updated: bool,
}
