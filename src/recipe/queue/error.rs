//! What a queue refuses. Each recipe that has a queue tells it by variants of its own error.

use std::time::Duration;

use super::ticket::Ticket;
use crate::clock::Token;

/// The result of an operation on a queue.
pub(in crate::recipe) type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with tickets in a queue.
#[derive(Debug)]
pub(in crate::recipe) enum Error {
    /// The store's own.
    Store(crate::Error),
    /// Our ticket is not in the queue any more.
    Lost(Lost),
}

/// Others are ahead of the caller in a queue, and the deadline has passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "{what} {name:?}: held by {}; {ahead} ahead of you after {waited:.1?}; {way}",
    listed(holders),
    way = way_out(what)
)]
pub struct InUse {
    /// `lock`, `election` or `semaphore`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The tickets of its holders.
    pub holders: Vec<Ticket>,
    /// How many are ahead, the holders included.
    pub ahead: usize,
    /// How long the call waited.
    pub waited: Duration,
}

/// What was held, or waited for, is not any more: its lease ended, or it was taken away by force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "{what} {name:?} is not held with token {token} any more: {}; acquire it anew and read again before writing",
    first_in_line(holder)
)]
pub struct Lost {
    /// `lock`, `election`, `semaphore` or `double barrier`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The token with which it was held.
    pub token: Token,
    /// The first ticket in the queue now.
    pub holder: Option<Box<Ticket>>,
}

/// Makes a queue's errors those of a recipe that has a variant for each.
macro_rules! from_queue {
    ($error:ty) => {
        impl From<crate::recipe::queue::Error> for $error {
            fn from(error: crate::recipe::queue::Error) -> Self {
                match error {
                    crate::recipe::queue::Error::Store(error) => Self::Store(error),
                    crate::recipe::queue::Error::Lost(lost) => Self::Lost(lost),
                }
            }
        }
    };
}

pub(in crate::recipe) use from_queue;

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Store(error)
    }
}

fn listed(holders: &[Ticket]) -> String {
    holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn way_out(what: &str) -> &'static str {
    match what {
        "election" => "wait longer, or depose the leader by its term",
        "semaphore" => "wait longer, or have one of them give it back",
        _ => "wait longer, ask them to give it up, or take it from them by their token",
    }
}

fn first_in_line(holder: &Option<Box<Ticket>>) -> String {
    holder.as_ref().map_or_else(|| "nobody has it".to_owned(), |ticket| format!("first is {ticket}"))
}
