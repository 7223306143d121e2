//! The protocol of one record: read it, replace its value, wake its waiters.
//!
//! ```text
//!  watch_groups   which groups of records have changed since a watcher's last look
//!  next           the header of the block that is to follow the one observed
//!  publish        replace a record's value
//!  notify         mark the record's group and wake its waiters
//!  read           copy a record's value
//!  journal        complete the update of an author that is stopped or dead
//! ```

pub(crate) mod journal;
pub(crate) mod next;
pub(crate) mod notify;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod watch_groups;
