//! The handles that users hold.
//!
//! ```text
//!  segment      an attachment to a segment
//!  builder      create a segment
//!  open         attach to a segment, remove one
//!  record       one record: read, update, compare-and-swap, wait
//!  claim        exclusive, leased ownership of a record
//!  draft        the next value of a record, being written
//!  typed        a record of one plain type
//!  record_op    a commit over several numbered records
//!  vector       the segment's vector clock
//!  stats        counters and distinct errors
//! ```

pub(crate) mod builder;
pub(crate) mod claim;
pub(crate) mod draft;
pub(crate) mod open;
pub(crate) mod record;
pub(crate) mod record_op;
pub(crate) mod segment;
pub(crate) mod stats;
pub(crate) mod typed;
pub(crate) mod vector;
