//! What a program's own code says when it fails: as an error, or by a panic.

use std::any::Any;

/// What a program's own action, operation or rollback says when it fails.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The text of a panic.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

/// What an error's text adds if the rollback failed as well.
pub(super) fn and_undone(rollback: &Option<Failure>) -> String {
    rollback.as_ref().map_or_else(String::new, |failed| format!("; the rollback failed as well: {failed}"))
}
