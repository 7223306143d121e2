//! The bytes of a segment: where each section lies and what each word means.
//!
//! ```text
//!  header      the identity in the first 256 bytes, checked before anything else is used
//!  geometry    where each section begins, worked out from the sizes asked for
//!  sections    every struct of the segment, and the hash over their sizes
//!  word        the bit fields: words that hold several facts, each a type that owns the shifts
//! ```

#[cfg(not(loom))]
pub(crate) mod geometry;
#[cfg(not(loom))]
pub(crate) mod header;
pub(crate) mod sections;
pub(crate) mod word;
