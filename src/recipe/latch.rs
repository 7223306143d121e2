//! Waits until `count` pieces of work are done: a latch opens when it is counted down to 0, and stays open.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::Latch;
//! use slotguard::Deadline;
//! use std::sync::Arc;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let migrated = Latch::new(&store, "migrated", 2)?;
//! assert_eq!(migrated.count_down()?, 1);
//! assert!(migrated.wait(&Deadline::now()).is_err());
//! assert_eq!(migrated.count_down()?, 0);
//! migrated.wait(&Deadline::never())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/latch` | `LEFT COUNT`, at most 21 bytes | until [`remove`](Latch::remove) |
//!
//! # How
//! [`count_down`](Latch::count_down) is a compare-and-swap loop. Waiters sleep until the entry changes and read it
//! again. A handle belongs to the entry that it found or created, by its `created` revision: once that entry is
//! removed, the handle neither counts down nor waits for a later one of this name.
//!
//! # When a process dies
//! Its count has been committed or has not. Nothing counts down for a process that died: if another process must take
//! over its share, guard the share by a [`lock`](super::lock).

use std::fmt;
use std::sync::Arc;

use super::name::check_recipe_name;
use super::refusal::{BadCount, Damaged, OtherCount};
use crate::Outcome;
use crate::backend::{Backend, Meta, Op};
use crate::clock::{Deadline, Revision};
use crate::error::{Kind, next_moves};

const REST: &str = "/latch";

/// The result of a call of [`Latch`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call of a latch failed. Nothing was counted down.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The entry does not hold a count. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The count is 0: the latch would be open from the beginning.
    #[error(transparent)]
    BadCount(#[from] BadCount),
    /// The latch was created with another count.
    #[error(transparent)]
    OtherCount(#[from] OtherCount),
    /// The deadline passed before the latch opened.
    #[error("latch {name:?} is not open: {left} left to count down; wait longer")]
    NotOpen {
        /// The latch.
        name: String,
        /// The count that is left.
        left: u32,
    },
    /// The latch was removed, by [`Latch::remove`].
    #[error("latch {name:?} was removed; create a new one with Latch::new if there is more to wait for")]
    Removed {
        /// The latch.
        name: String,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) => Kind::Damaged,
            Self::BadCount(_) => Kind::Misuse,
            Self::OtherCount(_) => Kind::Incompatible,
            Self::NotOpen { .. } => Kind::TimedOut,
            Self::Removed { .. } => Kind::Lost,
        }
    }
}

next_moves!(Error);

/// A handle of one latch, shared by all processes with the store. A latch created under this name after a removal is
/// another one.
pub struct Latch<B: Backend> {
    store: Arc<B>,
    name: String,
    count: u32,
    key: B::Key,
    /// The revision that created the entry.
    since: Revision,
}

impl<B: Backend> Latch<B> {
    /// Opens the latch `name`, or creates it: it opens after `count` calls of [`count_down`](Latch::count_down).
    ///
    /// # Errors
    /// [`Error::BadCount`] for 0, [`Error::OtherCount`] if it was created with another. [`Error::Store`] of
    /// [`BadName`](crate::Error::BadName) if the name is empty, contains a NUL, or is longer than the store's names
    /// less 6 bytes.
    pub fn new(store: &Arc<B>, name: &str, count: u32) -> Result<Self> {
        check_recipe_name::<B>(name, REST.len())?;
        if count == 0 {
            let why = "it would be open from the beginning; give it at least 1";
            return Err(BadCount { what: "latch", name: name.to_owned(), asked: 0, why }.into());
        }
        let key = store.key(&format!("{name}{REST}"))?;
        let full = format!("{count} {count}");
        let since = loop {
            store.commit(&[Op::put(&key, full.as_bytes()).if_absent()])?;
            // Unless it has just been removed.
            if let (Some(meta), _) = store.read(&key, &mut Vec::new())? {
                break meta.created;
            }
        };
        let latch = Self { store: Arc::clone(store), name: name.to_owned(), count, key, since };
        match latch.read() {
            Err(Error::Removed { .. }) | Ok(_) => Ok(latch),
            Err(error) => Err(error),
        }
    }

    /// Counts down by one and returns the count that is left. An open latch stays at 0.
    ///
    /// # Errors
    /// [`Error::Removed`]; [`Error::Damaged`]; [`Error::OtherCount`]; [`Error::Store`].
    pub fn count_down(&self) -> Result<u32> {
        loop {
            let (left, meta, _) = self.read()?;
            if left == 0 {
                return Ok(0);
            }
            let value = format!("{} {}", left - 1, self.count);
            let put = Op::put(&self.key, value.as_bytes()).if_modified_at(meta.modified);
            if let Outcome::Committed(_) = self.store.commit(&[put])? {
                return Ok(left - 1);
            }
        }
    }

    /// Reads the count that is left.
    ///
    /// # Errors
    /// As [`count_down`](Latch::count_down).
    pub fn left(&self) -> Result<u32> {
        Ok(self.read()?.0)
    }

    /// Waits until the latch is open.
    ///
    /// # Errors
    /// [`Error::NotOpen`] once the deadline has passed; those of [`count_down`](Latch::count_down).
    pub fn wait(&self, deadline: &Deadline) -> Result<()> {
        let mut looked_last = false;
        loop {
            let (left, _, seen_at) = self.read()?;
            if left == 0 {
                return Ok(());
            }
            if looked_last {
                return Err(Error::NotOpen { name: self.name.clone(), left });
            }
            looked_last = !self.store.wait(&self.key, seen_at, deadline)?;
        }
    }

    /// Removes the latch and frees its name. Waiters, and later calls by other handles of this latch, get
    /// [`Error::Removed`]. Removing a removed latch does nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn remove(self) -> Result<()> {
        self.store.commit(&[Op::delete(&self.key).if_created_at(self.since)])?;
        Ok(())
    }

    fn read(&self) -> Result<(u32, Meta, Revision)> {
        let mut value = Vec::new();
        let (meta, seen_at) = self.store.read(&self.key, &mut value)?;
        let meta = meta.filter(|meta| meta.created == self.since);
        let meta = meta.ok_or_else(|| Error::Removed { name: self.name.clone() })?;
        let text = String::from_utf8_lossy(&value);
        let numbers = text.split_once(' ').and_then(|(left, count)| Some((left.parse().ok()?, count.parse().ok()?)));
        let (left, count): (u32, u32) =
            numbers.ok_or_else(|| Damaged::new(&self.key, format!("{text:?} is not a count")))?;
        if count != self.count {
            let (asked, found) = (self.count.into(), count.into());
            return Err(OtherCount { what: "latch", name: self.name.clone(), asked, found }.into());
        }
        Ok((left, meta, seen_at))
    }
}

impl<B: Backend> fmt::Debug for Latch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, count, .. } = self;
        f.debug_struct("Latch").field("name", name).field("count", count).finish_non_exhaustive()
    }
}
