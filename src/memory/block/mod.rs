//! Blocks: the fixed-size pieces of memory that hold values.
//!
//! ```text
//!  arena    the segment as typed, bounds-checked places
//!  meta     the header of a block: reading and writing it
//!  pool     free blocks: taking and giving back
//!  spares   the blocks a lane keeps for its next single changes
//!  staged   the changes of a commit, and the blocks a lane keeps for it
//! ```

pub(crate) mod arena;
pub(crate) mod meta;
pub(crate) mod pool;
pub(crate) mod spares;
pub(crate) mod staged;
