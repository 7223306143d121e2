//! Ends a test that hangs with a message instead of never.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long one test may take. No promise: only what is certainly a hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test on a thread of its own and fails if it hangs.
#[doc(hidden)]
pub fn guarded(name: &str, test: impl FnOnce() + Send + 'static) {
    let (done, finished) = channel::<()>();
    let running = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Dropped when the test ends, also by a panic.
            let _done = done;
            test();
        })
        .expect("a thread");
    if finished.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        panic!("{name} hangs: not done after {PATIENCE:?}");
    }
    if let Err(panic) = running.join() {
        resume_unwind(panic);
    }
}
