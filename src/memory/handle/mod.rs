//! The handles that users hold.
//!
//! ```text
//!  segment      an attachment to a segment: create, open, remove
//!  record       one record: read, update, compare-and-swap, wait
//!  claim        exclusive, leased ownership of a record
//!  typed        a record of one plain type
//!  record_op    a commit over several numbered records
//!  vector       the segment's vector clock
//!  stats        counters and distinct errors
//!  region       a segment in a region of the `shared_memory` crate
//! ```

pub(crate) mod claim;
pub(crate) mod record;
pub(crate) mod record_op;
#[cfg(feature = "shared_memory")]
pub(crate) mod region;
pub(crate) mod segment;
pub(crate) mod stats;
pub(crate) mod typed;
pub(crate) mod vector;
