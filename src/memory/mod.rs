//! The segment.
#![allow(unsafe_code)]

pub(crate) mod arena;
pub(crate) mod atomics;
pub(crate) mod block;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod futex;
pub(crate) mod lane;
pub(crate) mod layout;
pub(crate) mod look;
pub(crate) mod pool;
pub(crate) mod word;

pub(crate) mod backoff;
mod fingerprint;

#[cfg(not(loom))]
mod attachment;
#[cfg(not(loom))]
mod census;
#[cfg(not(loom))]
mod claim;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod header;
#[cfg(not(loom))]
mod host;
#[cfg(not(loom))]
mod liveness;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod typed;
#[cfg(not(loom))]
mod vector;
#[cfg(not(loom))]
mod wait;

pub use fingerprint::{fnv1a32, fnv1a64};

#[cfg(not(loom))]
pub use self::{
    census::{Audit, Life, Member, Reaped},
    claim::{Claim, Intent},
    layout::{MAX_CLASSES, MAX_PARTICIPANTS, MAX_PAYLOAD},
    record::{Draft, Outcome, Record, Stamp},
    segment::{Segment, SegmentBuilder},
    stats::{ErrorStat, Stats},
    typed::Typed,
    vector::SharedVector,
    wait::WAIT_SLICE,
};
