//! The table of source system 1: its bytes, a file of it, and the way into a store and back.

mod file;
mod format;
mod json;
mod transfer;

pub use self::file::FileTable;
pub use self::format::{MAGIC, Table, TableEntry};
