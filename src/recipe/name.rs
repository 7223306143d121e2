//! The names that recipes accept.

use crate::backend::{Backend, Limits, check_name};

/// Refuses names that are empty, contain a NUL, or leave no room for `rest` more bytes.
pub(super) fn check_recipe_name<B: Backend>(name: &str, rest: usize) -> crate::Result<()> {
    let limits = Limits { name: B::LIMITS.name.saturating_sub(rest), ..B::LIMITS };
    check_name(name, &limits)
}
