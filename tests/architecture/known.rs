//! What the design still lacks. These lists only shrink: what is no longer true is an error of its own.

/// Arrows that close a circle: folder, and from which of its files or folders to which (`mod` is the folder's own file).
pub const BACK: &[(&str, &str, &str)] = &[
    ("crate::recipe::delivery", "look", "foreign"),
    ("crate::recipe::delivery", "member", "inbox"),
    ("crate::recipe::executor", "pool", "mod"),
    ("crate::recipe::executor", "handle", "operation"),
    ("crate::recipe::executor::jobs", "mod", "worker"),
    ("crate::recipe::executor::jobs", "claimed", "worker"),
    ("crate::recipe::executor::jobs", "mod", "record"),
];

/// Names of types with more than one definition, and how many.
pub const TWICE: &[(&str, usize)] =
    &[("Batch", 2), ("Change", 2), ("Place", 2), ("Record", 2), ("Table", 2), ("Task", 2)];
