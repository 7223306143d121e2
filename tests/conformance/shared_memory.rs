//! A segment as the suite wants it: each client an attachment of its own, as another process's would be.

use std::thread;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::conformance::{Mortal, Subject};
use slotguard::{Lease, Segment};

/// The segment, and the attachment that keeps it.
pub struct InSegment {
    segment: Segment,
}

impl InSegment {
    /// A new one, in memory that goes when the last attachment does.
    pub fn new() -> Self {
        // 64 clients of four threads each; large values in a few entries only.
        let segment = Segment::builder()
            .keys(2_000)
            .participants(65)
            .lanes(260)
            .payloads(&[(64, 3_000), (1_024, 2_000), (8_192, 400), (65_536, 80)])
            .anonymous()
            .expect("a segment");
        Self { segment }
    }
}

impl Subject for InSegment {
    type Store = SharedMemory;

    fn client(&self) -> SharedMemory {
        SharedMemory::new(self.segment.reopen().expect("an attachment")).expect("a segment with keys")
    }

    fn pass(&self, time: Duration) {
        thread::sleep(time);
    }
}

impl Mortal for InSegment {
    /// Drops the last handle of the attachment: the kernel takes its lock away as it does from a process that is killed.
    fn kill(&self, client: SharedMemory, _: &[Lease]) {
        drop(client);
    }
}
