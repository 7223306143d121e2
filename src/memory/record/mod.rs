//! The protocol of one record: read it, replace its value, wake its waiters.
//!
//! ```text
//!  watch_groups   which groups of records have changed since a watcher's last look
//!  publish        replace a record's value
//!  notify         mark the record's group and wake its waiters
//!  read           copy a record's value; number the change of an author that has stopped halfway
//! ```

pub(crate) mod notify;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod watch_groups;
