//! The write outside the store that a lock or claim holder announced, so that a later holder can find out whether it
//! happened.

use super::Token;

/// Announces one outside change: by the holder of which token, from which value to which.
///
/// [`Claim::intend`](crate::Claim::intend) leaves it on a numbered record,
/// [`GuardedClaim::intend`](crate::recipe::guard::GuardedClaim::intend) on a named entry; the holder that follows a death
/// reads it with `abandoned`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The token of the holder that announced it; the row it writes outside should carry this number.
    pub token: Token,
    /// FNV-1a 64 of the value before the change.
    pub before: u64,
    /// FNV-1a 64 of the value that the change makes.
    pub after: u64,
}
