//! The failures of the program's own code in a recipe, by an error or a panic.

use std::any::Any;

/// The error of a program's own action, operation or rollback.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The message of a panic.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Ends an error's text with the rollback's failure, if that failed as well.
pub(super) fn and_undone(rollback: &Option<Failure>) -> String {
    rollback.as_ref().map_or_else(String::new, |failed| format!("; the rollback failed as well: {failed}"))
}
