//! Numbers for names: every node gets one of the slots 1 to N, no two the same, and keeps it until it is released.
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
//! // Whatever is written on behalf of the slot names its generation, so that who lost it cannot write.
//! let state = store.key("state/host-a")?;
//! store.commit(&[mine.condition(), Op::put(&state, b"ready")])?;
//! slots.release("host-a")?;
//! assert!(matches!(mine.check(), Err(Error::Evicted { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept
//! | entry | value | lives |
//! |---|---|---|
//! | `name/settings` | number of slots and the cluster's name | for ever |
//! | `name/node/<node>` | its slot | until released |
//! | `name/slot/<slot>` | the node's whole name | until released |
//! | `name/alive/<slot>` | the [`Owner`] that announced it | as long as a session |
//!
//! Values are as long as the node's name, and no others longer than 48 bytes, or the cluster's name and 6. A name of
//! more than 64 bytes, one with a NUL in it or one that begins with `#` stands in the entry's name as `#` and its
//! SHA-256, and in full in the slot's value: any name is good as long as the store takes a value of its length. The
//! name of the assignment can have 71 bytes less than the store's longest.
//!
//! # Why it is right
//! * *One slot a node, one node a slot.* One commit creates the node's entry and the slot's, each only if it is absent,
//!   and one commit deletes them. They exist together, with the same `created`, at every moment; whoever dies, dies
//!   before the commit or after it. That revision is the **generation**: a slot given out again has a larger one, so
//!   there is no mistaking an old owner for the new one.
//! * *All N placeable, and full only when full.* A join tries the name's first choice at once. If that fails, one
//!   `range` shows all slots as of one moment: the first one free, in the order of the name's probes and then of all
//!   others, is tried. If none is free, all N were taken at that moment, which lies within the call: that is the only
//!   way to [`Error::Full`]. A failed attempt means that somebody else's join or release took place, so some join
//!   always comes to an end, and there is no number of attempts after which one gives up.
//! * *Ownership does not end with a process, liveness does.* `alive` entries are bound to the session's lease. Renewing
//!   it touches no entry, so heartbeats disturb nobody, however many nodes there are. A node that is not alive is
//!   **stale**; it keeps its slot until somebody cleans up.
//! * *Nobody compares clocks of two machines.* [`Cleaner`] measures on its own monotonic clock for how long it has seen
//!   a node stale without a break, and the commit that evicts it says so: the same generation, not announced anew
//!   since, and not alive at this moment. Every announcement puts the node's entry, and only it creates the `alive`
//!   entry: if neither has happened, the node has been stale all the time.
//!
//! # When a process dies
//! Its slot stays its name's: started again under the same name it goes on with the same slot and generation. `alive` goes
//! when the store ends its session.

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
