//! Attached processes: which are alive, and recovery of those that died.
//!
//! ```text
//!  thread_lane    a thread's lane of an attachment
//!  attachment     one process's attachment: its row
//!  locks          the file locks that prove a process alive
//!  recovery       completing what a dead lane left, freeing its row
//!  helping        completing what a stopped lane left halfway
//!  participants   the attached processes, alive or dead
//!  accounting     counters, and the errors that public calls answer
//!  audit          counting where every block is
//!  reader_gate    a reader asks writers to pause for a moment
//! ```

#[cfg(not(loom))]
pub(crate) mod accounting;
#[cfg(not(loom))]
pub(crate) mod attachment;
#[cfg(not(loom))]
pub(crate) mod audit;
#[cfg(not(loom))]
pub(crate) mod helping;
#[cfg(not(loom))]
pub(crate) mod locks;
#[cfg(not(loom))]
pub(crate) mod participants;
#[cfg(not(loom))]
pub(crate) mod reader_gate;
pub(crate) mod recovery;
#[cfg(not(loom))]
pub(crate) mod thread_lane;
