//! A page of memory that a test shares with its children, outside of every segment: it holds what was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use memmap2::{MmapOptions, MmapRaw};

/// Words of zeros at first, shared with every child forked later.
pub struct SharedPage {
    map: MmapRaw,
}

/// The first word for a test's own use.
pub const OWN: usize = 8;
const BYTES: usize = 1 << 16;

impl SharedPage {
    pub fn new() -> Self {
        let memory = rustix::fs::memfd_create("crash-page", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
        rustix::fs::ftruncate(&memory, BYTES as u64).expect("a page of zeros");
        Self { map: MmapOptions::new().len(BYTES).map_raw(&memory).expect("the page mapped") }
    }

    /// A word for the test's own use, from [`OWN`] on; those before are the acknowledgement.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < BYTES / 8, "a word of the page");
        // SAFETY: the index is within the mapping, which lives as long as `self`.
        let place = unsafe { self.map.as_mut_ptr().cast::<AtomicU64>().add(index) };
        // SAFETY: the mapping begins at a page, so the word is aligned; any bits are an `AtomicU64`, and every process
        // reaches it as one.
        unsafe { &*place }
    }

    /// The operation is done, as a change with this revision; 0 if it changed no value.
    pub fn acknowledge(&self, revision: u64) {
        // One store: who acknowledges may be stopped anywhere, and somebody else acknowledge something meanwhile.
        self.word(0).store(revision + 1, SeqCst);
    }

    /// What was acknowledged.
    pub fn revision(&self) -> u64 {
        self.word(0).load(SeqCst).checked_sub(1).expect("an acknowledgement")
    }

    pub fn is_acknowledged(&self) -> bool {
        self.word(0).load(SeqCst) != 0
    }

    pub fn clear(&self) {
        self.word(0).store(0, SeqCst);
    }
}
