//! What goes wrong in a segment or a store, and the numbers by which it is counted.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::kind::{Kind, next_moves};
use super::parts::{Holder, LeaseEnd, Mismatch, NameFault, Resource, Usage};
use crate::clock::{Lease, Revision, Token};

/// What went wrong. Whatever it is, the operation changed nothing (but see [`Error::Corrupt`]).
///
/// | what to do next | variants |
/// |---|---|
/// | try later | [`Held`](Self::Held), [`Outrun`](Self::Outrun) |
/// | wait longer, or not at all | [`TimedOut`](Self::TimedOut), [`Cancelled`](Self::Cancelled) |
/// | rejoin | [`LeaseLost`](Self::LeaseLost), [`LeaseExpired`](Self::LeaseExpired), [`Retired`](Self::Retired), [`Forked`](Self::Forked) |
/// | mend the call | [`Busy`](Self::Busy), [`OutOfRange`](Self::OutOfRange), [`TooLarge`](Self::TooLarge), [`Invalid`](Self::Invalid), [`BadName`](Self::BadName), [`TooManyOps`](Self::TooManyOps), [`NamedTwice`](Self::NamedTwice), [`NothingToWrite`](Self::NothingToWrite), [`UnknownLease`](Self::UnknownLease), [`FutureRevision`](Self::FutureRevision), [`TimeToLive`](Self::TimeToLive) |
/// | create it, or open what is there | [`NotFound`](Self::NotFound), [`AlreadyExists`](Self::AlreadyExists) |
/// | mend the deployment | [`Full`](Self::Full), [`NoSpace`](Self::NoSpace), [`Incompatible`](Self::Incompatible), [`NotASegment`](Self::NotASegment), [`Unsupported`](Self::Unsupported) |
/// | stop and look | [`Corrupt`](Self::Corrupt), [`NotPermitted`](Self::NotPermitted), [`Io`](Self::Io) |
///
/// # Texts and causes
/// The text of an error is whole. What the operating system or the program's own code said
/// (the field `cause`) is part of it, because many a program prints `{error}` and no more. A cause whose text has been
/// told is not answered by [`source`](std::error::Error::source) again, so who prints the chain (`a: b: c`) reads it once
/// as well.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody's live claim is on the record.
    #[error("{0}; wait with Record::claim, or try again when the claim has ended")]
    Held(Box<Holder>),

    /// The deadline passed.
    #[error("waited {waited:.1?} in vain: {holder}")]
    TimedOut {
        /// How long the call waited.
        waited: Duration,
        /// Who was in the way.
        holder: Box<Holder>,
    },

    /// A [`Cancel`](crate::Cancel) ended the wait.
    #[error("the wait was cancelled")]
    Cancelled,

    /// The claim is not ours any more: it expired, was taken over, or was released.
    #[error(
        "the claim on record {record} with token {token} is lost: {why}; claim it anew and read again before writing"
    )]
    LeaseLost {
        /// The record.
        record: u32,
        /// The token of the lost claim.
        token: Token,
        /// What became of it.
        why: LeaseEnd,
    },

    /// An update of this segment is running on this thread: its closure called the segment to change something.
    #[error("this thread is inside an update of the same segment; return from the closure first")]
    Busy,

    /// Others changed it faster than this call could read it.
    #[error("{what} changed under {rounds} attempts to read it; try again")]
    Outrun {
        /// What: a record, a lease, the names of a prefix.
        what: String,
        /// How often the call looked.
        rounds: u64,
    },

    /// The handle belongs to the parent of this process.
    #[error("this handle belongs to the parent process; call Segment::reopen in the child")]
    Forked,

    /// Somebody removed the segment.
    #[error("the segment was removed; open or create it again")]
    Retired,

    /// Everything of a kind is in use.
    #[error("all {limit} {what} are in use{}; {}", held_by(holders), what.way_out())]
    Full {
        /// Of what there is no more.
        what: Resource,
        /// How many there are.
        limit: u64,
        /// Who holds most of them, most first.
        holders: Vec<Usage>,
    },

    /// The file system has no room for the segment.
    #[error("no room for the segment in {path}: {needed} bytes needed, {free} free; make it smaller or free some space", path = path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes the segment needs.
        needed: u64,
        /// Bytes the file system has free.
        free: u64,
    },

    /// The value is longer than the segment's largest payload class.
    #[error(
        "a value of {length} bytes is longer than the segment's largest payload of {limit}; build the segment with a larger payload"
    )]
    TooLarge {
        /// Bytes of the value.
        length: usize,
        /// Most bytes a value can have.
        limit: usize,
    },

    /// There is no such record.
    #[error("record {record} is past the segment's {records} records (0 to {})", records - 1)]
    OutOfRange {
        /// The number asked for.
        record: u32,
        /// How many records the segment has.
        records: u32,
    },

    /// The segment holds something that no program of ours wrote. Nothing is repaired or wiped.
    ///
    /// An update may have taken place before the damage was met.
    #[error(
        "the segment is damaged: {what} (at {place}, found {found:#x}); stop its users, keep a copy of the file, and make a new one"
    )]
    Corrupt {
        /// What makes no sense.
        what: &'static str,
        /// The record, lane or block number.
        place: u64,
        /// The word found there.
        found: u64,
    },

    /// The segment was made for something else than what was asked for.
    #[error("{}{mismatch}", at(path))]
    Incompatible {
        /// The segment's file, unless anonymous.
        path: Option<PathBuf>,
        /// What differs.
        mismatch: Mismatch,
    },

    /// There is something at the path, and it is no segment.
    #[error("{path} is no segment: {found}; nothing was changed, choose another path", path = path.display())]
    NotASegment {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },

    /// There is nothing at the path.
    #[error("there is no segment at {path}; create it with Segment::builder().create(…) or open_or_create(…)", path = path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },

    /// There is something at the path already.
    #[error("{path} exists already; open it, or remove it with Segment::remove", path = path.display())]
    AlreadyExists {
        /// The path.
        path: PathBuf,
    },

    /// The file belongs to somebody who has not let us in.
    #[error("no permission for {path}: it belongs to user {owner}, group {group}, mode {mode:o}, and this process runs as user {me}; have its owner create it with SegmentBuilder::mode and ::group", path = path.display())]
    NotPermitted {
        /// The path.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
        /// The group's id.
        group: u32,
        /// The permission bits.
        mode: u32,
        /// Our effective user id.
        me: u32,
    },

    /// The file system or kernel lacks something a segment needs.
    #[error("{what} does not work in {path} ({cause}); use a folder on tmpfs such as /dev/shm", path = path.display())]
    Unsupported {
        /// What is lacking.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// An argument makes no sense.
    #[error("{0}")]
    Invalid(String),

    /// No key can have this name.
    #[error("{name:?} is no name for a key: {why}")]
    BadName {
        /// The name, its first 64 characters.
        name: String,
        /// What is wrong with it.
        why: NameFault,
    },

    /// A commit has more operations than the store takes at once.
    #[error(
        "a commit of {ops} operations is larger than the limit of {limit}; split it, or put what changes together into one value"
    )]
    TooManyOps {
        /// How many operations it has.
        ops: usize,
        /// How many it may have.
        limit: usize,
    },

    /// A commit names one key, or one record, twice.
    #[error("a commit names {name} twice; give each one operation that says both what must hold and what to do")]
    NamedTwice {
        /// The key or record.
        name: String,
    },

    /// A commit writes nothing.
    #[error("a commit that writes nothing: it has {checks} checks and no put or delete; use read or range to look")]
    NothingToWrite {
        /// How many checks it has.
        checks: usize,
    },

    /// There has never been such a lease.
    #[error("there is no lease {lease}, nor has there been; use what grant returned")]
    UnknownLease {
        /// The lease.
        lease: Lease,
    },

    /// The lease is over: it expired, was revoked, or its owner died. This is final; what was bound to it is gone.
    #[error(
        "lease {lease} is over (expired, revoked, or its owner died); open a new session and read again before writing"
    )]
    LeaseExpired {
        /// The lease.
        lease: Lease,
    },

    /// A watch was asked for from a revision that does not exist yet.
    #[error(
        "cannot watch from revision {asked}: the newest is {newest}; watch from one past what range or read returned"
    )]
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
        /// The newest there is.
        newest: Revision,
    },

    /// No lease can last that long, or that short.
    #[error("a lease cannot last {asked:?}; give it {shortest:?} to {longest:?}")]
    TimeToLive {
        /// The time asked for.
        asked: Duration,
        /// The shortest there is.
        shortest: Duration,
        /// The longest there is.
        longest: Duration,
    },

    /// The system refused.
    #[error("cannot {action}{}: {cause}", of(path))]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: Option<PathBuf>,
        /// What the system said.
        cause: io::Error,
    },
}

/// Makes [`ErrorKind`], and what is to be said of each, from one table: a variant's number is its row, counted from 0, and
/// behind the arrow stands the caller's next move. The compiler compares the table with [`Error`].
macro_rules! error_kinds {
    ($($variant:ident => $next:ident,)*) => {
        /// [`Error`] without its details, for counting and matching.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each is the variant of `Error` of its name")]
        #[repr(u8)]
        pub enum ErrorKind {
            $($variant,)*
        }

        impl ErrorKind {
            /// All kinds, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        impl Error {
            /// Which variant this is.
            pub fn kind(&self) -> ErrorKind {
                match self {
                    $(Self::$variant { .. } => ErrorKind::$variant,)*
                }
            }
        }

        impl From<ErrorKind> for Kind {
            /// The caller's next move.
            fn from(kind: ErrorKind) -> Self {
                match kind {
                    $(ErrorKind::$variant => Self::$next,)*
                }
            }
        }
    };
}

// The numbers stand in the statistics of segments: rows stay where they are, new ones go to the end.
error_kinds! {
    Held => Busy,
    TimedOut => TimedOut,
    Cancelled => Cancelled,
    LeaseLost => Lost,
    Busy => Misuse,
    Outrun => Busy,
    Forked => Lost,
    Retired => Lost,
    Full => Full,
    NoSpace => Full,
    TooLarge => Misuse,
    OutOfRange => Misuse,
    Corrupt => Damaged,
    Incompatible => Incompatible,
    NotASegment => Incompatible,
    NotFound => Unavailable,
    AlreadyExists => Conflict,
    NotPermitted => Os,
    Unsupported => Incompatible,
    Invalid => Misuse,
    Io => Os,
    BadName => Misuse,
    TooManyOps => Misuse,
    NamedTwice => Misuse,
    NothingToWrite => Misuse,
    UnknownLease => Misuse,
    LeaseExpired => Lost,
    FutureRevision => Misuse,
    TimeToLive => Misuse,
}

const _: () = assert!(ErrorKind::Held as u8 == 0 && ErrorKind::Io as u8 == 20 && ErrorKind::TimeToLive as u8 == 28);

next_moves!(Error);

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn held_by(holders: &[Usage]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    let most: Vec<String> = holders.iter().take(5).map(ToString::to_string).collect();
    let more = if holders.len() > 5 { format!(" and {} more", holders.len() - 5) } else { String::new() };
    format!(" (held by {}{more})", most.join(", "))
}

fn of(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!(" {}", path.display()))
}

fn at(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()))
}
