//! Kills or stops the process, or breaks its connection, at a named point of a named call; counts refused writes.
//!
//! It sits between a mode and its database, so that the mode's own code knows nothing of it.

use std::fmt;
use std::str::FromStr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::Result;
use crate::customer::Row;
use crate::database::{AuditLine, Change, Database};

/// Where in a call the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The intent is made, the SQL write is not.
    BeforeSql,
    /// The SQL write is committed, the record is not.
    AfterSql,
    /// So long after the call began, wherever the process is by then.
    Anywhere(Duration),
}

/// Which signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: the process stays where it is until somebody sends SIGCONT.
    Stop,
    /// No signal: the connection breaks, and the call fails without knowing whether it took place.
    Disconnect,
}

/// One planned fault of one process. Written `before-sql:kill@12`, or `1500us:kill@12` for anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the call.
    pub point: Point,
    /// Which signal.
    pub effect: Effect,
    /// In which of the process's calls.
    pub call: u32,
}

impl Fault {
    /// Tells the fault that a call begins. A fault that may come anywhere comes from the thread this returns.
    pub fn call_begins(self, call: u32) -> Option<JoinHandle<Result<()>>> {
        let Point::Anywhere(after) = self.point else { return None };
        (call == self.call).then(|| {
            thread::spawn(move || {
                thread::sleep(after);
                self.inject()
            })
        })
    }

    fn inject(self) -> Result<()> {
        let signal = match self.effect {
            Effect::Kill => Signal::KILL,
            Effect::Stop => Signal::STOP,
            Effect::Disconnect => return Err("the connection to the database broke".into()),
        };
        Ok(kill_process(getpid(), signal)?)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.point {
            Point::BeforeSql => write!(f, "before-sql")?,
            Point::AfterSql => write!(f, "after-sql")?,
            Point::Anywhere(after) => write!(f, "{}us", after.as_micros())?,
        }
        let effect = match self.effect {
            Effect::Kill => "kill",
            Effect::Stop => "stop",
            Effect::Disconnect => "disconnect",
        };
        write!(f, ":{effect}@{}", self.call)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parse = || {
            let (point, rest) = text.split_once(':')?;
            let (effect, call) = rest.split_once('@')?;
            Some(Fault {
                point: match point {
                    "before-sql" => Point::BeforeSql,
                    "after-sql" => Point::AfterSql,
                    after => Point::Anywhere(Duration::from_micros(after.strip_suffix("us")?.parse().ok()?)),
                },
                effect: match effect {
                    "kill" => Effect::Kill,
                    "stop" => Effect::Stop,
                    "disconnect" => Effect::Disconnect,
                    _ => return None,
                },
                call: call.parse().ok()?,
            })
        };
        parse().ok_or_else(|| format!("no fault: {text}"))
    }
}

/// A connection that injects the fault at the planned point and counts what the fence refused.
pub struct Faulty {
    inner: Box<dyn Database>,
    fault: Option<Fault>,
    /// Writes the fence refused since this number was last taken.
    pub refused: u64,
}

impl Faulty {
    /// Wraps a connection.
    pub fn new(inner: Box<dyn Database>, fault: Option<Fault>) -> Self {
        Faulty { inner, fault, refused: 0 }
    }

    fn reach(&mut self, point: Point, change: &Change) -> Result<()> {
        let due = |fault: &mut Fault| fault.point == point && fault.call == change.call.number;
        // Taken, not copied: a stopped process that goes on does not stop again.
        match self.fault.take_if(due) {
            Some(fault) => fault.inject(),
            None => Ok(()),
        }
    }
}

impl Database for Faulty {
    fn prepare(&mut self, row: &Row) -> Result<()> {
        self.inner.prepare(row)
    }

    fn read(&mut self, id: u32) -> Result<Option<Row>> {
        self.inner.read(id)
    }

    fn write(&mut self, change: &Change) -> Result<bool> {
        self.reach(Point::BeforeSql, change)?;
        let written = self.inner.write(change)?;
        if written {
            self.reach(Point::AfterSql, change)?;
        } else {
            self.refused += 1;
        }
        Ok(written)
    }

    fn lock(&mut self, id: u32) -> Result<Option<Row>> {
        self.inner.lock(id)
    }

    fn write_locked(&mut self, change: &Change) -> Result<()> {
        self.reach(Point::BeforeSql, change)?;
        self.inner.write_locked(change)?;
        self.reach(Point::AfterSql, change)
    }

    fn unlock(&mut self) -> Result<()> {
        self.inner.unlock()
    }

    fn forget_token(&mut self, seen: &Row) -> Result<bool> {
        self.inner.forget_token(seen)
    }

    fn audit(&mut self) -> Result<Vec<AuditLine>> {
        self.inner.audit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for text in ["before-sql:kill@12", "after-sql:stop@0", "1500us:kill@3", "after-sql:disconnect@1"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for text in ["kill", "before-sql:kill", "later:kill@1", "1500us:faint@1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
