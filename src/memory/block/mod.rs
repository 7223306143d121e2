//! Blocks: the fixed-size pieces of memory that hold values.
//!
//! ```text
//!  arena    the segment as typed, bounds-checked places; under loom `heap`, which has them on the heap
//!  meta     one block: reading and writing its header and payload
//!  pool     free blocks: taking and giving back
//!  spares   the blocks a lane keeps for its next single changes
//!  staged   the changes of a commit, and the blocks a lane keeps for it
//! ```

#[cfg(not(loom))]
pub(crate) mod arena;
#[cfg(loom)]
pub(crate) mod heap;
#[cfg(loom)]
pub(crate) use heap as arena;
pub(crate) mod meta;
pub(crate) mod pool;
pub(crate) mod spares;
pub(crate) mod staged;
