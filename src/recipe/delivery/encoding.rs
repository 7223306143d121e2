//! How clocks and messages lie in values, and under which names.

use super::causal::Message;
use super::error::{Error, Result};
use crate::clock::VectorClock;
use crate::recipe::Damaged;

/// The names of a delivery's entries.
#[derive(Clone, Debug)]
pub(super) struct Names(pub String);

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    LowWatermark,
    Cursor(u32),
    Presence(u32),
    Message(u32, u64),
}

impl Names {
    pub fn prefix(&self) -> String {
        format!("{}/", self.0)
    }

    /// Of messages and of who is present: what a receiver watches.
    pub fn message_prefix(&self) -> String {
        format!("{}/m/", self.0)
    }

    pub fn of(&self, name: Name) -> String {
        match name {
            Name::LowWatermark => format!("{}/floor", self.0),
            Name::Cursor(member) => format!("{}/r/{member}", self.0),
            Name::Presence(member) => format!("{}/m/{member}", self.0),
            Name::Message(sender, sequence) => format!("{}/m/{sender}/{sequence:020}", self.0),
        }
    }

    /// The other way round.
    pub fn parse(&self, name: &str) -> Result<Name> {
        let parse = || {
            let rest = name.strip_prefix(self.0.as_str())?.strip_prefix('/')?;
            let mut parts = rest.split('/');
            let parsed = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
                ("floor", None, ..) => Name::LowWatermark,
                ("r", Some(member), None, _) => Name::Cursor(member.parse().ok()?),
                ("m", Some(member), None, _) => Name::Presence(member.parse().ok()?),
                ("m", Some(sender), Some(sequence), None) => {
                    Name::Message(sender.parse().ok()?, sequence.parse().ok()?)
                }
                _ => return None,
            };
            // Only the one way to write it: whatever is found can be deleted by its name.
            (self.of(parsed) == name).then_some(parsed)
        };
        parse().ok_or_else(|| damaged(name, "no entry of ours has such a name"))
    }
}

/// A clock as bytes: how many participants, then number and count of each, every number in groups of seven bits, the
/// lowest first.
pub(super) fn write_clock(clock: &VectorClock) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_number(&mut bytes, clock.len() as u64);
    for (participant, count) in clock.iter() {
        write_number(&mut bytes, participant.into());
        write_number(&mut bytes, count);
    }
    bytes
}

/// The clock at the beginning of the bytes, and what comes after it.
pub(super) fn read_clock<'a>(name: &str, bytes: &'a [u8]) -> Result<(VectorClock, &'a [u8])> {
    let mut rest = bytes;
    let mut read = || {
        let participants = read_number(&mut rest)?;
        // Each takes two bytes at least, so a length that lies allocates nothing.
        (0..participants)
            .map(|_| Some((u32::try_from(read_number(&mut rest)?).ok()?, read_number(&mut rest)?)))
            .collect::<Option<Vec<_>>>()
    };
    let counts = read().ok_or_else(|| damaged(name, "its value does not begin with a clock"))?;
    Ok((counts.into_iter().collect(), rest))
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// In place of a message that was taken away: a clock that counts nothing, which none has.
pub(super) const REMOVED: &[u8] = b"\x00";

/// The message in an entry's value; without a body if it was taken away.
pub(super) fn read_message(name: &str, sender: u32, sequence: u64, value: &[u8]) -> Result<Message<Option<Vec<u8>>>> {
    if value == REMOVED {
        return Ok(Message { sender, clock: [(sender, sequence)].into_iter().collect(), body: None });
    }
    let (clock, body) = read_clock(name, value)?;
    if clock.get(sender) != sequence {
        return Err(damaged(name, "its clock counts another message"));
    }
    Ok(Message { sender, clock, body: Some(body.to_vec()) })
}

pub(super) fn damaged(name: &str, what: &str) -> Error {
    Damaged::new(&name, format!("{what} (delivery::remove_foreign takes it away)")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_read_as_they_were_written() {
        for counts in [vec![], vec![(0, 1)], vec![(1, 127), (2, 128), (300, 1 << 40)], vec![(u32::MAX, u64::MAX)]] {
            let clock: VectorClock = counts.into_iter().collect();
            let mut bytes = write_clock(&clock);
            bytes.extend(b"rest");
            assert_eq!(read_clock("x", &bytes).unwrap(), (clock, &b"rest"[..]));
        }
    }

    #[test]
    fn what_is_no_clock_is_refused() {
        let wrong: [&[u8]; 6] =
            [b"", b"\x80", b"\x01", b"\x01\x05", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x7f\x01\x01"];
        for bytes in wrong {
            assert!(matches!(read_clock("x", bytes), Err(Error::Damaged { .. })), "{bytes:?}");
        }
        let too_large = b"\x01\x80\x80\x80\x80\x10\x01";
        assert!(read_clock("x", too_large).is_err(), "no participant has that number");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = Names("a/b".to_owned());
        for name in [Name::LowWatermark, Name::Cursor(7), Name::Presence(0), Name::Message(u32::MAX, u64::MAX)] {
            assert_eq!(names.parse(&names.of(name)).unwrap(), name);
        }
        for name in
            ["a/b", "a/b/", "a/b/x", "a/b/m/", "a/b/m/01", "a/b/m/1/2", "a/b/m/1/2/3", "a/b/floor/1", "a/b/r/-1"]
        {
            assert!(names.parse(name).is_err(), "{name}");
        }
    }
}
