//! Lets many child processes begin their work at one moment.
//!
//! Each child says on one pipe that it is ready, and all begin when another pipe ends: the children need nothing but their
//! standard input and output.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Where children wait until all of them are ready.
#[derive(Debug)]
pub struct Gate {
    ready: PipeReader,
    say_ready: PipeWriter,
    go: PipeReader,
    let_go: PipeWriter,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> io::Result<Self> {
        let (ready, say_ready) = io::pipe()?;
        let (go, let_go) = io::pipe()?;
        Ok(Self { ready, say_ready, go, let_go })
    }

    /// Has what this command starts wait here: its standard input and output lead to the gate.
    pub fn before<'c>(&self, command: &'c mut Command) -> io::Result<&'c mut Command> {
        Ok(command.stdin(Stdio::from(self.go.try_clone()?)).stdout(Stdio::from(self.say_ready.try_clone()?)))
    }

    /// Waits until `count` children are ready, but no longer than `most`, and lets all of them go.
    pub fn open(self, count: usize, most: Duration) -> io::Result<()> {
        let Self { mut ready, say_ready, go, let_go } = self;
        // Only the children hold these ends now, so a child that dies early ends the wait with an error.
        drop((say_ready, go));
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("gate".into()).spawn(move || {
            // Nobody listens any more if the time was over; the thread ends with the last child then.
            let _ = tell.send(ready.read_exact(&mut vec![0; count]));
        })?;
        let answer = told.recv_timeout(most);
        answer
            .map_err(|_| io::Error::other(format!("the workers were not ready within {most:?}")))?
            .map_err(|error| io::Error::other(format!("a worker ended before it was ready: {error}")))?;
        drop(let_go);
        Ok(())
    }
}

/// In a child: says that it is ready, and waits until the gate opens.
pub fn ready_and_wait() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b".")?;
    out.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new()).map(drop)
}
