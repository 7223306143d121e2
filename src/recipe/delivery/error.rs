//! What goes wrong in a delivery, and who keeps it waiting.

use std::fmt;

use crate::clock::{ClockOverflow, Token, VectorClock};
use crate::error::{Kind, next_moves};
use crate::recipe::{Damaged, Owner};

/// The result of a call of a delivery.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong in a delivery. Nothing has changed then, unless the variant or the call's `# Errors` says otherwise.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// An entry holds what this recipe never wrote. Nothing is repaired or wiped.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A message of somebody who is no member.
    #[error("a message of {sender}, which is no member; add it first, with the count it has reached")]
    UnknownSender {
        /// Its number.
        sender: u32,
    },
    /// A message whose clock cannot be that of its sender.
    #[error("message {clock} of {sender} has a clock of another shape: {why}; have all members know each other")]
    OtherShape {
        /// Who sent it.
        sender: u32,
        /// Its clock.
        clock: VectorClock,
        /// What is wrong with it.
        why: String,
    },
    /// So many messages wait for others already. The message was not taken: bring it again.
    #[error(
        "{most} messages wait for others, so message {sequence} of {sender} was not taken: {}; bring what they wait for",
        listed(waiting_for)
    )]
    BufferFull {
        /// How many may wait.
        most: usize,
        /// Who sent it.
        sender: u32,
        /// Which of its messages it is.
        sequence: u64,
        /// What those that wait are waiting for.
        waiting_for: Vec<Gap>,
    },
    /// A bound of nothing.
    #[error("a bound of 0, with which no message may wait or be under way; give one of at least 1")]
    NoRoom,
    /// A participant can send no more under its number.
    #[error(transparent)]
    Count(#[from] ClockOverflow),
    /// Another session is the member of this number.
    #[error("member {member} of {name:?} is {owner}; take another number, or wait until that session ends")]
    MemberTaken {
        /// What it is a member of.
        name: String,
        /// Its number.
        member: u32,
        /// Who it is.
        owner: Owner,
    },
    /// We are not the member any more: the session ended.
    #[error(
        "we are not member {member} of {name:?} any more (the session of token {token} ended); join again, and see whether that resumes"
    )]
    MemberLost {
        /// What we were a member of.
        name: String,
        /// Our number.
        member: u32,
        /// The token of our membership.
        token: Token,
    },
    /// As many messages are under way as may be. The message was not sent.
    #[error(
        "{most} messages of {sender} are not acknowledged by all, so no other was sent: {}; let these receive, or end their sessions",
        listed(behind)
    )]
    Unacknowledged {
        /// Who sends.
        sender: u32,
        /// How many may be under way.
        most: u64,
        /// Who has not acknowledged the oldest of them.
        behind: Vec<Behind>,
    },
    /// Not all have acknowledged a message before the deadline. It will be delivered to them all the same.
    #[error("message {sequence} is not acknowledged by all: {}; wait longer, or look what keeps them", listed(behind))]
    NotAcknowledged {
        /// Which message.
        sequence: u64,
        /// Who has not.
        behind: Vec<Behind>,
    },
    /// A message was acknowledged already, so what was to be done for it was not done again.
    #[error("message {sequence} of {sender} was acknowledged before; nothing was done, go on with the next")]
    AlreadyAcknowledged {
        /// Who sent it.
        sender: u32,
        /// Which of its messages it is.
        sequence: u64,
    },
    /// There is no such message.
    #[error("there is no message {sequence} of {sender}: {why}; those that are kept are in the history")]
    NoSuchMessage {
        /// Who would have sent it.
        sender: u32,
        /// Which of its messages it would be.
        sequence: u64,
        /// What became of it.
        why: &'static str,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            Self::Damaged(_) => Kind::Damaged,
            Self::UnknownSender { .. } | Self::NoRoom => Kind::Misuse,
            Self::OtherShape { .. } => Kind::Incompatible,
            Self::BufferFull { .. } | Self::Count(_) => Kind::Full,
            Self::MemberTaken { .. } | Self::Unacknowledged { .. } => Kind::Busy,
            Self::MemberLost { .. } => Kind::Lost,
            Self::NotAcknowledged { .. } => Kind::TimedOut,
            Self::AlreadyAcknowledged { .. } => Kind::Conflict,
            Self::NoSuchMessage { .. } => Kind::Unavailable,
        }
    }
}

next_moves!(Error);

/// Messages of one sender that have not been delivered and must be first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Who sent them.
    pub sender: u32,
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

/// A member that has not acknowledged everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its number.
    pub member: u32,
    /// Up to which message it has acknowledged them.
    pub acknowledged: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "message {} of {}", self.from, self.sender),
            false => write!(f, "messages {} to {} of {}", self.from, self.to, self.sender),
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} has acknowledged up to {}", self.member, self.acknowledged)
    }
}

fn listed<T: ToString>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
