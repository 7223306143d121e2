//! What can go wrong, and what to do next.
//!
//! | file | holds |
//! |---|---|
//! | `variants` | [`Error`], and [`ErrorKind`], by which it is counted |
//! | `kind` | [`Kind`], the caller's next move, which every error of the crate answers |
//! | `parts` | what errors speak of: holders, resources, names, mismatches |

mod kind;
mod parts;
mod variants;

pub use kind::Kind;
pub(crate) use kind::next_moves;
pub use parts::{Holder, LeaseEnd, Mismatch, NameFault, Resource, Usage};
pub use variants::{Error, ErrorKind};

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
