//! What of a segment others can see: its bytes, and which of its rows the kernel says are held.
//!
//! Between two instructions that change neither, a kill at one is a kill at any other. So a sweep that kills after each
//! of the instructions that do has killed at every state there is.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a look at a segment has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    Nothing,
    /// Something is different from the last time.
    Change,
    /// And it is the next word behind the one that was different the last time: somebody is copying.
    NextWord,
}

/// The last state seen.
pub struct Watch {
    file: File,
    /// The parts that are looked at: where each begins, and what was there.
    parts: Vec<(u64, Vec<u8>)>,
    held: Vec<(i64, i64)>,
    /// Where the last difference was.
    last: Option<u64>,
    buffer: Vec<u8>,
}

const PAGE: usize = 4096;

impl Watch {
    pub fn new(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
        let length = file.metadata().expect("its length").len();
        Self::on(path, &[0..length as usize])
    }

    /// Looks at these bytes only.
    pub fn on(path: &Path, parts: &[Range<usize>]) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
        let parts = parts.iter().map(|part| (part.start as u64, vec![0; part.len()])).collect();
        let mut watch = Self { parts, held: Vec::new(), last: None, buffer: Vec::new(), file };
        watch.look();
        watch
    }

    /// What is different from the last time.
    pub fn look(&mut self) -> Sight {
        let mut first = None;
        for (start, bytes) in &mut self.parts {
            self.buffer.resize(bytes.len(), 0);
            self.file.read_exact_at(&mut self.buffer, *start).expect("a part of the segment");
            if self.buffer != *bytes {
                let at = self.buffer.iter().zip(&*bytes).position(|(new, old)| new != old).expect("a difference");
                first = first.or(Some(*start + at as u64 & !7));
                std::mem::swap(bytes, &mut self.buffer);
            }
        }
        let mut held = Vec::new();
        self.held_between(0, i64::MAX, &mut held);
        let relocked = held != self.held;
        self.held = held;
        let next_word = first.is_some() && first == self.last.map(|last| last + 8);
        if first.is_none() && !relocked {
            return Sight::Nothing;
        }
        self.last = first;
        if next_word && !relocked { Sight::NextWord } else { Sight::Change }
    }

    /// The pages that are different from the last time.
    pub fn changed_pages(&mut self) -> Vec<Range<usize>> {
        let mut changed: Vec<Range<usize>> = Vec::new();
        for (start, bytes) in &self.parts {
            let mut now = vec![0; bytes.len()];
            self.file.read_exact_at(&mut now, *start).expect("a part of the segment");
            let pages = now.chunks(PAGE).zip(bytes.chunks(PAGE)).enumerate().filter(|(_, (new, old))| new != old);
            for (page, (new, _)) in pages {
                let begin = *start as usize + page * PAGE;
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
