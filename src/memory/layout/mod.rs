//! The bytes of a segment: where each section lies and what each word means.
//!
//! ```text
//!  header      the identity in the first 256 bytes, checked before anything else is used
//!  sections    every struct of the segment, its sizes and offsets, and the hash over them
//!  word        the bit fields: words that hold several facts, each a type that owns the shifts
//! ```

#[cfg(not(loom))]
pub(crate) mod header;
pub(crate) mod sections;
pub(crate) mod word;
