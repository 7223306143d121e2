//! FNV-1a hashes of values and names.
//!
//! ```text
//!  fnv       the public functions
//!  serial    the byte-by-byte way
//!  wide      the 64-bit hash of long values with AVX-512: an equal number in less time
//! ```

mod fnv;
mod serial;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use fnv::{fnv1a32, fnv1a64};
