//! Which processes are attached, which have died, and what is done for the dead.
//!
//! ```text
//!  attachment     one process's attachment: its row, its threads' lanes
//!  locks          the file locks that prove a process alive
//!  recovery       completing what a dead lane left, freeing its row
//!  participants   who is attached, and which of them live
//!  audit          counting where every block is
//!  reader_gate    a reader asks writers to pause for a moment
//! ```

#[cfg(not(loom))]
pub(crate) mod attachment;
#[cfg(not(loom))]
pub(crate) mod audit;
#[cfg(not(loom))]
pub(crate) mod locks;
#[cfg(not(loom))]
pub(crate) mod participants;
#[cfg(not(loom))]
pub(crate) mod reader_gate;
pub(crate) mod recovery;
