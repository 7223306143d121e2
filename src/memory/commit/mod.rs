//! Commits over several records: all of their changes take place at one revision, or none does.
//!
//! ```text
//!  builder       the author's side: collect the changes, then commit them
//!  descriptor    the shared side: what any process does to complete a commit it meets
//! ```

pub(crate) mod builder;
pub(crate) mod descriptor;
