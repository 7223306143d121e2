//! What errors speak of: names that are none, resources that are used up, who holds what, what does not fit together.

use std::fmt;
use std::time::Duration;

use crate::clock::Token;

/// Why a name is no key's.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// It has no characters.
    Empty,
    /// It is too long.
    TooLong {
        /// Bytes of the name.
        length: usize,
        /// Most bytes a name can have.
        limit: usize,
    },
    /// It contains a NUL.
    Nul {
        /// Where, in bytes from its beginning.
        at: usize,
    },
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty; give it at least one character"),
            Self::TooLong { length, limit } => {
                write!(f, "it has {length} bytes, and names have at most {limit}; shorten it, or name it by a hash")
            }
            Self::Nul { at } => write!(f, "it has a NUL at byte {at}; leave it out"),
        }
    }
}

/// What there can be no more of.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Rows for attachments.
    Participants,
    /// Lanes for threads that write.
    Lanes,
    /// Blocks of one payload class or larger.
    Blocks {
        /// Payload bytes the block had to hold.
        length: usize,
    },
    /// Revisions: the clock has come to its end.
    Revisions,
    /// Records for keys.
    Keys,
    /// Records or blocks for the directory of keys; some are kept back for deletions.
    Directory,
}

impl Resource {
    pub(super) fn way_out(self) -> &'static str {
        match self {
            Self::Participants => "let some exit, or build the segment with more participants",
            Self::Lanes => "let some threads exit, or build the segment with more lanes",
            Self::Blocks { .. } => "build the segment with more blocks of this payload",
            Self::Revisions => "make a new segment",
            Self::Keys => "delete some, or build the segment with more keys",
            Self::Directory => "delete some keys, shorten their names, or build the segment with more keys",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participants => f.write_str("participants"),
            Self::Lanes => f.write_str("lanes"),
            Self::Blocks { length } => write!(f, "blocks that hold {length} bytes"),
            Self::Revisions => f.write_str("revisions"),
            Self::Keys => f.write_str("keys"),
            Self::Directory => f.write_str("nodes of the directory of keys"),
        }
    }
}

/// How many of something one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its process id, in its own PID namespace.
    pub pid: u32,
    /// Its command's name.
    pub command: String,
    /// How many.
    pub count: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.command, self.pid, self.count)
    }
}

/// Who holds a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The claimed record.
    pub record: u32,
    /// The holder's process id, in its own PID namespace.
    pub pid: u32,
    /// The holder's command name.
    pub command: String,
    /// The claim's fencing token.
    pub token: Token,
    /// How long the holder has had it.
    pub held: Duration,
    /// How long until the lease ends.
    pub remaining: Duration,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {}: held by {}[{}] for {:.1?}, token {}, lease ends in {:.1?}",
            self.record, self.command, self.pid, self.held, self.token, self.remaining
        )
    }
}

/// How a claim ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its lease ran out this long ago; nobody has taken the record since.
    Expired(Duration),
    /// Somebody else claimed the record after the lease ran out, with this token.
    TakenOver(Token),
    /// Somebody wrote or released the record after the lease ran out.
    Replaced,
}

impl fmt::Display for LeaseEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(ago) => write!(f, "its lease ended {ago:.1?} ago"),
            Self::TakenOver(token) => {
                write!(f, "its lease ended and token {token} has the record now")
            }
            Self::Replaced => f.write_str("its lease ended and the record was changed since"),
        }
    }
}

/// In what a segment differs from what was asked for or from what this build can use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Made by a build with another format number.
    Format {
        /// The segment's.
        found: u32,
        /// This build's.
        ours: u32,
    },
    /// Made by a build that places things elsewhere.
    Layout {
        /// The segment's layout hash.
        found: u64,
        /// This build's.
        ours: u64,
    },
    /// Made on a machine of the other byte order.
    Endianness,
    /// Made before the machine was started: what it says of processes is void.
    Boot,
    /// The file is shorter or longer than its header says.
    Size {
        /// Bytes of the file.
        found: u64,
        /// Bytes the header asks for.
        expected: u64,
    },
    /// Smaller than asked for.
    Smaller {
        /// In what.
        what: &'static str,
        /// What it has.
        found: u64,
        /// What was asked for.
        asked: u64,
    },
    /// The record holds a value of another type.
    Type {
        /// The record.
        record: u32,
        /// The type asked for.
        asked: &'static str,
        /// Bytes of the value found.
        length: usize,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMOVE: &str = "stop its users and remove it with Segment::remove, or use the build that made it";
        match self {
            Self::Format { found, ours } => {
                write!(f, "the segment has format {found}, this build reads format {ours}; {REMOVE}")
            }
            Self::Layout { found, ours } => {
                write!(f, "the segment has layout {found:016x}, this build has {ours:016x}; {REMOVE}")
            }
            Self::Endianness => write!(f, "the segment was made on a machine of the other byte order; {REMOVE}"),
            Self::Boot => f.write_str(
                "the segment was made before this machine was started, so nobody can be attached; remove it with \
                 Segment::remove and create it anew",
            ),
            Self::Size { found, expected } => write!(
                f,
                "the file has {found} bytes and its header says {expected}: it was cut or extended; restore it, or \
                 remove it with Segment::remove"
            ),
            Self::Smaller { what, found, asked } => {
                write!(f, "the segment has {found} {what} and {asked} were asked for; ask for less, or make a new one")
            }
            Self::Type { record, asked, length } => {
                write!(f, "record {record} holds {length} bytes of another type than {asked}")
            }
        }
    }
}
