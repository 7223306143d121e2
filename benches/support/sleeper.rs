//! A thread, of this process or another, that is to be found asleep before it is woken.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    thread,
    time::{Duration, Instant},
};

/// How long a sleeper is left alone before it is woken, so that its core goes idle.
const SETTLE: Duration = Duration::from_micros(30);

/// The thread, by what the kernel says of it.
#[derive(Debug)]
pub struct Sleeper(File);

impl Sleeper {
    /// The thread with this number in the process with that one.
    pub fn of(process: u32, thread: u32) -> io::Result<Self> {
        File::open(format!("/proc/{process}/task/{thread}/stat")).map(Self)
    }

    fn is_asleep(&self) -> io::Result<bool> {
        let mut text = [0; 512];
        let length = self.0.read_at(&mut text, 0)?;
        // The state follows the name, which is in parentheses and may hold any character.
        let name_ends = text[..length].iter().rposition(|byte| *byte == b')');
        Ok(name_ends.and_then(|at| text.get(at + 2)) == Some(&b'S'))
    }
}

/// Returns when the kernel says that all of them sleep, and their cores have had time to go idle.
pub fn until_asleep<'s>(sleepers: impl IntoIterator<Item = &'s Sleeper>) -> io::Result<()> {
    for sleeper in sleepers {
        while !sleeper.is_asleep()? {
            thread::yield_now();
        }
    }
    let since = Instant::now();
    while since.elapsed() < SETTLE {
        std::hint::spin_loop();
    }
    Ok(())
}
