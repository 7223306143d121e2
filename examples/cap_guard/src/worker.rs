//! One process of the service: makes its calls one after the other and says so, line by line, as each is acknowledged.
//!
//! A line is written before the next call begins, so what a killed worker had acknowledged is known exactly.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Result;
use crate::customer::{Access, Call, Query, Update};
use crate::database::Address;
use crate::fault::{Fault, Faulty};
use crate::modes::{Mode, Protection};

/// The hidden subcommand.
pub const COMMAND: &str = "worker";
/// The customer everybody wants to change.
pub const CUSTOMER: u32 = 7;
/// What every call adds to its cap.
pub const ADD: i64 = 1;

/// The access a call asks for: every other call the other one, so a row that mixes two calls is seen.
pub fn access_asked_by(call: Call) -> Access {
    if (call.process + call.number).is_multiple_of(2) { Access::Granted } else { Access::Suspended }
}

/// What one worker is to do.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The database.
    pub database: Address,
    /// The mode.
    pub mode: Mode,
    /// The lock file or segment.
    pub shared: PathBuf,
    /// Which process of the service it is; one started in the place of a killed one has its number.
    pub process: u32,
    /// Its first call.
    pub first: u32,
    /// The call it ends before.
    pub end: u32,
    /// See [`Update::work`].
    pub work: Duration,
    /// How long a stopped holder is waited for.
    pub lease: Duration,
    /// How it is to die.
    pub fault: Option<Fault>,
}

impl Assignment {
    /// As command-line arguments.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            COMMAND.to_owned(),
            self.database.to_string(),
            self.mode.to_string(),
            self.shared.display().to_string(),
            self.process.to_string(),
            self.first.to_string(),
            self.end.to_string(),
            self.work.as_micros().to_string(),
            self.lease.as_micros().to_string(),
        ];
        arguments.extend(self.fault.map(|fault| fault.to_string()));
        arguments
    }

    /// From the arguments after the subcommand.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        let [database, mode, shared, process, first, end, work, lease, fault @ ..] = arguments else {
            return Err("a worker is started by the program itself".into());
        };
        Ok(Assignment {
            database: database.parse()?,
            mode: mode.parse()?,
            shared: shared.into(),
            process: process.parse()?,
            first: first.parse()?,
            end: end.parse()?,
            work: Duration::from_micros(work.parse()?),
            lease: Duration::from_micros(lease.parse()?),
            fault: fault.first().map(|fault| fault.parse()).transpose()?,
        })
    }
}

/// What a worker says, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connected; waits for a line before it begins.
    Ready,
    /// A call came back with `updated: true`.
    Acknowledged {
        /// Its number.
        call: u32,
        /// How long it took.
        latency: Duration,
        /// How often the fence refused a write of it.
        refused: u64,
    },
    /// It met a change somebody had left open: did that take place?
    Resolved(bool),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ready => write!(f, "ready"),
            Event::Acknowledged { call, latency, refused } => {
                write!(f, "acknowledged {call} {} {refused}", latency.as_nanos())
            }
            Event::Resolved(happened) => write!(f, "resolved {happened}"),
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(line: &str) -> std::result::Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let parse = || {
            Some(match words[..] {
                ["ready"] => Event::Ready,
                ["acknowledged", call, latency, refused] => Event::Acknowledged {
                    call: call.parse().ok()?,
                    latency: Duration::from_nanos(latency.parse().ok()?),
                    refused: refused.parse().ok()?,
                },
                ["resolved", happened] => Event::Resolved(happened.parse().ok()?),
                _ => return None,
            })
        };
        parse().ok_or_else(|| format!("a worker said {line:?}"))
    }
}

/// The worker process itself.
pub fn serve(arguments: &[String]) -> Result<()> {
    let assignment = Assignment::from_arguments(arguments)?;
    let mut database = Faulty::new(assignment.database.connect()?, assignment.fault);
    let mut protection = Protection::open(assignment.mode, &assignment.shared, assignment.lease)?;
    if let Protection::Guard(guard) = &mut protection {
        guard.resolved = Box::new(|_, happened| println!("{}", Event::Resolved(happened)));
    }
    println!("{}", Event::Ready);
    io::stdin().read_line(&mut String::new())?;

    let query = Query { customer: CUSTOMER };
    let mut injector: Option<JoinHandle<Result<()>>> = None;
    for number in assignment.first..assignment.end {
        let call = Call { process: assignment.process, number };
        let update = Update { add: ADD, access: access_asked_by(call), call, work: assignment.work };
        if let Some(injector) = injector.take_if(|_| number + 1 == assignment.end) {
            // Nobody dies in the last call: somebody has to come after every victim.
            injector.join().map_err(|_| "the fault failed")??;
        }
        injector = injector.or_else(|| assignment.fault?.call_begins(number));
        let begun = Instant::now();
        let answer = protection.update_customer_cap_and_access(&mut database, query, &update)?;
        if !answer.updated {
            return Err(format!("there is no customer {CUSTOMER}").into());
        }
        println!(
            "{}",
            Event::Acknowledged {
                call: number,
                latency: begun.elapsed(),
                refused: std::mem::take(&mut database.refused),
            }
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_is_what_its_parent_reads() {
        for event in [
            Event::Ready,
            Event::Acknowledged { call: 41, latency: Duration::from_nanos(1_234_567), refused: 3 },
            Event::Resolved(true),
            Event::Resolved(false),
        ] {
            assert_eq!(event.to_string().parse(), Ok(event));
        }
        assert!("acknowledged 1".parse::<Event>().is_err());
    }

    #[test]
    fn an_assignment_survives_the_command_line() {
        let assignment = Assignment {
            database: Address::Postgres("/somewhere".into()),
            mode: Mode::Guard,
            shared: "/elsewhere".into(),
            process: 3,
            first: 4,
            end: 60,
            work: Duration::from_micros(1500),
            lease: Duration::from_secs(10),
            fault: Some("after-sql:kill@12".parse().unwrap()),
        };
        let arguments = assignment.arguments();
        let back = Assignment::from_arguments(&arguments[1..]).unwrap();
        assert_eq!(format!("{back:?}"), format!("{assignment:?}"));
    }
}
