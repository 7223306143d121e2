//! Waiting until records change.
//!
//! ```text
//!  record     wait until a record changes or its claim ends
//!  groups     wait until a record of one of several groups changes
//!  sleeper    spin, then sleep in slices
//! ```

pub(crate) mod groups;
pub(crate) mod record;
pub(crate) mod sleeper;
