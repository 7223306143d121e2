//! Adds to an `i64` that processes share: each acknowledged addition counts exactly once.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::Counter;
//! use std::sync::Arc;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let store = Arc::new(Model::new());
//! let requests = Counter::new(&store, "requests")?;
//! assert_eq!(requests.add(3)?, 3);
//! assert_eq!(requests.add(-1)?, 2);
//! assert_eq!(requests.get()?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! | name | value | lives |
//! |---|---|---|
//! | `NAME/counter` | the number in decimal, at most 20 bytes; absent: 0 | without end |
//!
//! # How
//! [`add`](Counter::add) is a compare-and-swap loop: it replaces the entry if its version is still the one that was
//! read, and begins again with the new value if another process added first. Every answer is a value that the counter
//! had.
//!
//! # When a process dies
//! Its addition has taken place or has not.

use std::fmt;
use std::sync::Arc;

use super::name::check_recipe_name;
use super::refusal::Damaged;
use crate::Outcome;
use crate::backend::{Backend, Op, When};
use crate::error::{Kind, next_moves};

const REST: &str = "/counter";

/// The result of a call of [`Counter`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an addition or a read of a counter failed. Nothing was added.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The entry does not hold a number. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The sum does not fit into an `i64`.
    #[error("counter {name:?} is {value}, adding {by} overflows an i64; count in larger units, or under another name")]
    Overflow {
        /// The counter.
        name: String,
        /// Its value.
        value: i64,
        /// What was to be added.
        by: i64,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) => Kind::Damaged,
            Self::Overflow { .. } => Kind::Full,
        }
    }
}

next_moves!(Error);

/// A named `i64`, shared by all processes with the store. Safe to use from any number of them at once.
pub struct Counter<B: Backend> {
    store: Arc<B>,
    name: String,
    key: B::Key,
}

impl<B: Backend> Counter<B> {
    /// Opens the counter `name`. It is 0 until the first addition; nothing is written before.
    ///
    /// # Errors
    /// [`Error::Store`] of [`BadName`](crate::Error::BadName) if the name is empty, contains a NUL, or is longer than
    /// the store's names less 8 bytes.
    pub fn new(store: &Arc<B>, name: &str) -> Result<Self> {
        check_recipe_name::<B>(name, REST.len())?;
        let key = store.key(&format!("{name}{REST}"))?;
        Ok(Self { store: Arc::clone(store), name: name.to_owned(), key })
    }

    /// Adds `by` and returns the sum.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the sum does not fit into an `i64`; [`Error::Damaged`] if the entry does not hold a
    /// number; [`Error::Store`].
    pub fn add(&self, by: i64) -> Result<i64> {
        loop {
            let (value, before) = self.read()?;
            let overflow = || Error::Overflow { name: self.name.clone(), value, by };
            let sum = value.checked_add(by).ok_or_else(overflow)?;
            let text = sum.to_string();
            if let Outcome::Committed(_) = self.store.commit(&[Op::put(&self.key, text.as_bytes()).when(before)])? {
                return Ok(sum);
            }
        }
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the entry does not hold a number; [`Error::Store`].
    pub fn get(&self) -> Result<i64> {
        Ok(self.read()?.0)
    }

    /// Reads the number, and the condition under which it is still current.
    fn read(&self) -> Result<(i64, When)> {
        let mut value = Vec::new();
        let (meta, _) = self.store.read(&self.key, &mut value)?;
        let Some(meta) = meta else { return Ok((0, When::Absent)) };
        let text = String::from_utf8_lossy(&value);
        let damaged = |_| Damaged::new(&self.key, format!("{text:?} is not a number"));
        Ok((text.parse().map_err(damaged)?, When::ModifiedAt(meta.modified)))
    }
}

impl<B: Backend> fmt::Debug for Counter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("name", &self.name).finish_non_exhaustive()
    }
}
