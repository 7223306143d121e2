//! What the machine says of itself and of us: boot, time namespace, our name.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::file::refused;
use super::futex;
use crate::error::{Error, Result};

/// The kernel's boot id, one for all containers of the machine.
pub(crate) fn boot() -> Result<[u64; 2]> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH).map_err(|cause| refused("read", Some(Path::new(PATH)), cause))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16)
        .map_err(|_| Error::Invalid(format!("{PATH} holds {text:?}, which is no boot id")))?;
    Ok([(number >> 64) as u64, number as u64])
}

/// Eight random bytes.
pub(crate) fn random() -> Result<u64> {
    const PATH: &str = "/dev/urandom";
    let mut bytes = [0; 8];
    fs::File::open(PATH)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| refused("read", Some(Path::new(PATH)), cause))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Nanoseconds of real time, for people to read.
pub(crate) fn real_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// The moment `real_time` meant.
pub(crate) fn moment(real_time: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(real_time)
}

/// Turns this process's monotonic clock into the host's, which all time namespaces share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    /// Our time namespace's offset from the host's clock, in nanoseconds.
    offset: i64,
}

impl HostClock {
    /// Reads the offset of this process's time namespace; the kernel without time namespaces has none.
    pub(crate) fn read() -> Result<Self> {
        const OFFSETS: &str = "/proc/self/timens_offsets";
        let text = match fs::read_to_string(OFFSETS) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self { offset: 0 }),
            // A want of descriptors, say: an offset guessed at would end other people's claims early.
            text => text.map_err(|cause| refused("read", Some(Path::new(OFFSETS)), cause))?,
        };
        // The file shows the offsets our *children* will live by. They are ours unless we asked for a new namespace and
        // have not entered it.
        let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        if namespace("time") != namespace("time_for_children") {
            return Err(Error::Invalid(
                "this process has asked for a new time namespace and is still in its old one; fork or exec first"
                    .to_owned(),
            ));
        }
        let line = text.lines().find_map(|line| line.strip_prefix("monotonic")).unwrap_or("");
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
        let offset = match (numbers.next(), numbers.next()) {
            (Some(Ok(seconds)), Some(Ok(nanoseconds))) => seconds.checked_mul(1_000_000_000).map(|n| n + nanoseconds),
            _ => None,
        };
        let offset = offset.ok_or_else(|| Error::Invalid(format!("{OFFSETS} holds {text:?}")))?;
        Ok(Self { offset })
    }

    /// Now, in nanoseconds of the host's monotonic clock.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        (futex::now().as_nanos() as i64).wrapping_sub(self.offset) as u64
    }
}

/// The command's name as the kernel knows it: at most 15 bytes, zero-padded.
pub(crate) fn command() -> [u64; 2] {
    let name = fs::read("/proc/self/comm").unwrap_or_default();
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    let mut bytes = [0; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name[..length]);
    let (words, _) = bytes.as_chunks::<8>();
    [u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])]
}

/// The name [`command`] stored; whatever others stored there is made printable.
pub(crate) fn command_name(words: [u64; 2]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The inode of our PID namespace; 0 if unknown.
pub(crate) fn pid_namespace() -> u64 {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Whether process `pid` of our own PID namespace is stopped by a signal or a tracer.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command's name, which may itself hold parentheses.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_survives_being_stored() {
        let name = command_name(command());
        assert!(!name.is_empty() && name.len() <= 15, "{name:?}");
        assert_eq!(command_name([u64::from_ne_bytes(*b"a\x1b[31mb\0"), 0]), "a?[31mb");
        assert!(!command_name([u64::MAX, u64::MAX]).is_empty());
    }

    #[test]
    fn the_host_clock_runs_forward() {
        let clock = HostClock::read().unwrap();
        let (first, second) = (clock.now(), clock.now());
        assert!(first > 0 && second >= first);
    }

    #[test]
    fn this_process_is_not_stopped_and_has_a_boot_and_a_namespace() {
        assert!(!is_stopped(std::process::id()));
        assert_ne!(boot().unwrap(), [0, 0]);
        assert_ne!(pid_namespace(), 0);
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
