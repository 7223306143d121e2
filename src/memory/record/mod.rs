//! The protocol of one record: read it, replace its value, wake its waiters.
//!
//! ```text
//!  read       copy a record's value; complete the update of another that has stopped halfway
//!  publish    replace a record's value, and recover a lane that died while doing so
//!  notify     mark the record's group and wake its waiters
//! ```

pub(crate) mod notify;
pub(crate) mod publish;
pub(crate) mod read;
