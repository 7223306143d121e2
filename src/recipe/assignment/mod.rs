//! Assigns each node a slot number of its own, 1 to N, which it keeps across restarts until it is released.
//!
//! ```
//! use slotguard::backend::{Backend, Model, Op};
//! use slotguard::recipe::{self, assignment::{Assignment, Error}};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//!
//! let slots = Assignment::open(&store, "gpus")?;
//! let mine = slots.join(&session, "host-a")?;
//! assert_eq!(slots.lookup("host-a")?.unwrap().slot, mine.slot());
//! assert_eq!(slots.join(&session, "host-a")?.slot(), mine.slot()); // The same name, the same slot.
//!
//! // A write for the slot checks its generation: after an eviction it is refused.
//! let state = store.key("state/host-a")?;
//! store.commit(&[mine.condition(), Op::put(&state, b"ready")])?;
//! slots.release("host-a")?;
//! assert!(matches!(mine.check(), Err(Error::Evicted { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/settings` | the number of slots and the cluster's name | without end |
//! | `NAME/node/NODE` | the node's slot | until released |
//! | `NAME/slot/SLOT` | the node's full name | until released |
//! | `NAME/alive/SLOT` | the [`Owner`](super::Owner) that announced the node | as long as its session |
//!
//! A value has at most 48 bytes, or the length of the node's name, or that of the cluster's name and 6 bytes. A node's
//! name that is longer than 64 bytes, contains a NUL or begins with `#` is replaced in the entry's name by `#` and its
//! SHA-256; the slot's value has it in full. So a node may have any name that fits into a value. The assignment's own
//! name is limited to the store's longest name less 71 bytes.
//!
//! # How
//! * *One slot a node, one node a slot.* One commit creates the node's entry and the slot's, each on condition that it
//!   is absent, and one commit deletes both. They exist together, with one `created` revision, at every moment,
//!   whenever a process dies. That revision is the **generation**, a fencing token: a slot assigned again has a larger
//!   one.
//! * *All N slots are used, and [`Error::Full`] is exact.* A join tries the slot that the node's hash names first. If
//!   that fails, one `range` reads all slots as of one moment, and the first free one is tried: first those the hash
//!   names, then all others. If none is free, all N were taken at that moment, which lies within the call, and only
//!   then the answer is `Full`. An attempt fails only if another join or release was committed meanwhile, so of several
//!   joins one always finishes (lock-free), and no number of attempts is given up after.
//! * *Ownership outlives a process, liveness does not.* `alive` entries are bound to the session's lease. Renewing a
//!   lease changes no entry, so heartbeats wake and conflict with nothing, however many nodes there are. A node without
//!   an `alive` entry is **stale**; it keeps its slot until it is released, for example by a [`Cleaner`].
//! * *Clocks of two machines are not compared.* A [`Cleaner`] measures on its own monotonic clock how long it has seen
//!   a node stale. Its commit releases the slot on condition that the generation is unchanged, that the node has not
//!   been announced since, and that it is stale now. An announcement puts the node's entry, and nothing else creates an
//!   `alive` entry: if the condition holds, the node has been stale all the time.
//!
//! # When a process dies
//! The slot stays the node's: a process started again under this name gets the same slot and generation. The `alive`
//! entry is deleted when the store ends the session.

mod assigned;
mod cleaner;
mod digest;
mod error;
mod integrity;
mod names;
mod occupancy;
mod placement;
mod probe;
mod slots;
#[cfg(feature = "file-table")]
mod table;
#[cfg(feature = "file-table")]
mod table_error;

pub use self::assigned::Assigned;
pub use self::cleaner::{Cleaner, STALE_AFTER};
pub use self::error::{Error, Result};
pub use self::integrity::Finding;
pub use self::placement::Placement;
pub use self::probe::{PROBES, node_hash, probe};
pub use self::slots::{Assignment, DEFAULT_CLUSTER, DEFAULT_SLOTS, Stats, TABLE_SLOTS};
#[cfg(feature = "file-table")]
pub use self::table::{FileTable, MAGIC, Table, TableEntry};
#[cfg(feature = "file-table")]
pub use self::table_error::TableError;
