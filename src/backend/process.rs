//! Which process made a handle: in a forked child its threads do not exist, and its locks may be held for ever.

/// The process that made a handle.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnerProcess(u32);

impl OwnerProcess {
    /// Names the calling process.
    pub(super) fn current() -> Self {
        Self(std::process::id())
    }

    /// Tells whether the caller is that process, and not a forked child of it. A system call: not for hot paths.
    pub(super) fn is_current(self) -> bool {
        self.0 == std::process::id()
    }
}
