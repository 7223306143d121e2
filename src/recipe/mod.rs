//! What people come for: short recipes on the backend trait, each written once and good for every backend.

mod error;
mod owner;

pub use error::{Error, Result};
pub use owner::{Owner, join};
