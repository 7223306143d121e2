//! Waiting until records change.
//!
//! ```text
//!  change    wait for a record, for a claim, or for one of several groups of records
//! ```

pub(crate) mod change;
