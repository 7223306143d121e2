//! The lock of the README: started twice, the second process waits until the first is done, or dead.

use slotguard::backend::SharedMemory;
use slotguard::recipe::{self, Lock};
use slotguard::{Deadline, Segment};
use std::{error::Error, process, sync::Arc, thread, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    // Every process opens the same path. The first one creates the file.
    let segment = Segment::builder().keys(1_000).open_or_create("/dev/shm/slotguard-demo")?;
    let store = Arc::new(SharedMemory::new(segment)?);
    // What this process holds is bound to its session: it is freed when the process dies, or hangs for 10 seconds.
    let session = recipe::join(&store, Duration::from_secs(10))?;

    let lock = Lock::new(&session, "nightly-report")?;
    let guard = lock.acquire(&Deadline::after(Duration::from_secs(60)))?;
    println!("process {} has the lock, token {}", process::id(), guard.token());
    thread::sleep(Duration::from_secs(2)); // your work
    println!("process {} gives it back", process::id());
    guard.release()?;
    Ok(())
}
