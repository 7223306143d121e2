//! What can go wrong in recipes, beyond what can go wrong in the store.

/// The result of a recipe's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in a recipe. Whatever it is, the call changed nothing, unless the variant says otherwise.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
}
