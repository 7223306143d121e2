//! What the engine asks of Linux.
//!
//! ```text
//!  file     create, open, map and remove the file of a segment
//!  fork     close lock descriptors in forked children
//!  host     boot id, clocks, process names
//!  futex    sleep on a word, wake its sleepers
//!  region   open the file of a region of the `shared_memory` crate
//! ```

#[cfg(not(loom))]
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod futex;
#[cfg(not(loom))]
pub(crate) mod host;
#[cfg(all(feature = "shared_memory", not(loom)))]
pub(crate) mod region;
