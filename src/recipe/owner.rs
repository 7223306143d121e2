//! Describes the process that holds or waits for something, for people.

use std::fmt;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backend::{Backend, Opened, Session};
use crate::error::Result;

/// Describes the process that holds or waits for something, as it was when it began to.
///
/// For people only: no recipe decides by it. The process id is that of the holder's own PID namespace, and times are of
/// the wall clock, which may be set.
///
/// ```
/// use slotguard::recipe::Owner;
/// let me = Owner::me();
/// assert_eq!(me.pid, std::process::id());
/// assert_eq!(Owner::from_bytes(&me.to_bytes()), me);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// Its command's name, at most 15 bytes.
    pub command: String,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
}

impl Owner {
    /// Describes this process, as of now.
    pub fn me() -> Self {
        static COMMAND: OnceLock<String> = OnceLock::new();
        let command = COMMAND.get_or_init(|| {
            let name = fs::read("/proc/self/comm").unwrap_or_default();
            // Cut off after 15 bytes, perhaps within a character.
            name.utf8_chunks().next().map_or("", |chunk| chunk.valid()).trim_end().to_owned()
        });
        Self { pid: process::id(), command: command.clone(), since_ms: now_ms() }
    }

    /// Encodes the owner as `pid since command`, at most 48 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{} {} {}", self.pid, self.since_ms, self.command).into_bytes()
    }

    /// Decodes [`to_bytes`](Owner::to_bytes). Anything else gives a description with gaps, never an error.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut parts = text.splitn(3, ' ');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        let (pid, since_ms) = (number(), number());
        let pid = u32::try_from(pid).unwrap_or(0);
        Self { pid, command: parts.next().unwrap_or("?").to_owned(), since_ms }
    }

    /// How long ago it began.
    pub fn age(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.since_ms))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] for {:.1?}", self.command, self.pid, self.age())
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Opens a session of a unique name, `sessions/…`, with [`Owner::me`] as its value: recipes that hold something are bound
/// to it. One session a process is enough for any number of recipes.
///
/// ```
/// use slotguard::backend::Model;
/// use slotguard::recipe;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # fn main() -> slotguard::recipe::Result<()> {
/// let store = Arc::new(Model::new());
/// let session = recipe::join(&store, Duration::from_secs(10))?;
/// assert!(session.is_alive());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Session::open`].
pub fn join<B: Backend + 'static>(store: &Arc<B>, time_to_live: Duration) -> Result<Arc<Session<B>>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let name = format!("sessions/{}-{:x}-{}", process::id(), now_ms(), NEXT.fetch_add(1, Relaxed));
        match Session::open(store, &name, &Owner::me().to_bytes(), time_to_live)? {
            Opened::Mine(session) => return Ok(Arc::new(session)),
            // A process of another PID namespace with our number, in the same millisecond.
            Opened::Taken(_) => {}
        }
    }
}
