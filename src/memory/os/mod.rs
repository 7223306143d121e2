//! What the engine asks of Linux.
//!
//! ```text
//!  file     create, open, map and remove the file of a segment
//!  fork     close lock descriptors in forked children
//!  host     boot id, clocks, process names
//!  futex    sleep on a word, wake its sleepers
//! ```

#[cfg(not(loom))]
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod futex;
#[cfg(not(loom))]
pub(crate) mod host;
