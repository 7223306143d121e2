//! What of a segment others can see: its bytes, and which of its rows the kernel says are held.
//!
//! Between two instructions that change neither, a kill at one is a kill at any other. So a sweep that kills after each
//! of the instructions that do has killed at every state there is.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};

/// What has changed in a segment since the last comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    None,
    /// Something is different from the last time.
    Elsewhere,
    /// And it is the next word behind the one that was different the last time: a copy is under way.
    NextWord,
}

/// Compares a segment with its last state.
pub struct Diff {
    file: File,
    map: MmapRaw,
    /// The parts that are looked at: where each begins, and what was there.
    parts: Vec<(usize, Vec<u8>)>,
    held: Vec<(i64, i64)>,
    /// Where the last difference was.
    last: Option<usize>,
}

const PAGE: usize = 4096;
/// So many bytes of a segment hold all but the blocks, or all of a small one.
const FIRST: usize = 16 * PAGE;

impl Diff {
    pub fn new(path: &Path) -> Self {
        let length = std::fs::metadata(path).expect("the segment").len();
        Self::on(path, std::iter::once(0..length as usize))
    }

    /// Looks at these bytes only.
    pub fn on(path: &Path, parts: impl IntoIterator<Item = Range<usize>>) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
        let map = MmapOptions::new().map_raw(&file).expect("the segment mapped");
        let parts = parts.into_iter().map(|part| (part.start, vec![0; part.len()])).collect();
        let mut diff = Self { parts, map, held: Vec::new(), last: None, file };
        diff.advance(true);
        diff
    }

    /// What is different from the last time. Locks come and go only where the kernel has been `asked` for something.
    pub fn advance(&mut self, asked: bool) -> Change {
        let mut first = None;
        for (start, bytes) in &mut self.parts {
            if !is_now(&self.map, *start, bytes) {
                let now = read(&self.file, *start, bytes.len());
                let at = now.iter().zip(&*bytes).position(|(new, old)| new != old);
                first = first.or(at.map(|at| (*start + at) & !7));
                *bytes = now;
            }
        }
        let mut relocked = false;
        if asked {
            let mut held = Vec::new();
            self.held_between(0, i64::MAX, &mut held);
            relocked = held != self.held;
            self.held = held;
        }
        let next_word = first.is_some() && first == self.last.map(|last| last + 8);
        if first.is_none() && !relocked {
            return Change::None;
        }
        self.last = first;
        if next_word && !relocked { Change::NextWord } else { Change::Elsewhere }
    }

    /// The pages worth looking at: the first ones, where all but the blocks is, and those that are different from the last
    /// time.
    pub fn changed_pages(&self) -> Vec<Range<usize>> {
        let mut changed: Vec<Range<usize>> = Vec::new();
        for (start, bytes) in &self.parts {
            let now = read(&self.file, *start, bytes.len());
            for (page, (new, old)) in now.chunks(PAGE).zip(bytes.chunks(PAGE)).enumerate() {
                let begin = *start + page * PAGE;
                if begin >= FIRST && new == old {
                    continue;
                }
                match changed.last_mut() {
                    Some(last) if last.end == begin => last.end += new.len(),
                    _ => changed.push(begin..begin + new.len()),
                }
            }
        }
        changed
    }

    /// The byte ranges from `start` to before `end` that somebody has locked.
    fn held_between(&self, start: i64, end: i64, into: &mut Vec<(i64, i64)>) {
        if start >= end {
            return;
        }
        // SAFETY: `flock` is a plain C struct of integers for which all zeros is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        (lock.l_start, lock.l_len) = (start, end - start);
        // SAFETY: the command takes an open descriptor and a `flock` that lives across the call.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(result, 0, "fcntl: {}", std::io::Error::last_os_error());
        if i32::from(lock.l_type) == libc::F_UNLCK {
            return;
        }
        // Any one of the locks in the range is found, not the first.
        let (from, to) = (lock.l_start.max(start), (lock.l_start + lock.l_len).min(end));
        self.held_between(start, from, into);
        into.push((from, to));
        self.held_between(to, end, into);
    }
}

/// Whether the mapping still holds these bytes there: cheaper than to read them, once an instruction.
fn is_now(map: &MmapRaw, start: usize, bytes: &[u8]) -> bool {
    assert!(start + bytes.len() <= map.len(), "a part of the segment");
    // SAFETY: `start` is within the mapping, as was just checked.
    let begin = unsafe { map.as_ptr().add(start) };
    // SAFETY: both places have as many bytes, and live across the call. Should somebody store into the mapping meanwhile, it
    // is the C library that reads either byte.
    unsafe { libc::memcmp(begin.cast(), bytes.as_ptr().cast(), bytes.len()) == 0 }
}

fn read(file: &File, start: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start as u64).expect("a part of the segment");
    bytes
}
