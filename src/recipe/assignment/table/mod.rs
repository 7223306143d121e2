//! Node maps of sbd-operator, tables of nodes and slots: as bytes, in a shared file, and imported to a store and
//! exported from it.

mod file;
mod format;
mod json;
mod transfer;

pub use self::file::FileTable;
pub use self::format::{MAGIC, Table, TableEntry};
