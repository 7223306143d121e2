//! The rows that holders of a guard change: a plain file outside the store, which does what a database does for
//! `UPDATE … SET …, version = version + 1, token = :mine WHERE version = :seen AND token <= :mine`.
//!
//! A page for each row, `token:64 | length:64 | value`, read and written under the file's lock. A page is written by one
//! call, which no kill divides.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use slotguard::Error;

use crate::value::{Evidence, Torn};

const PAGE: usize = 4096;
const HEAD: usize = 16;

/// All rows.
pub struct Rows {
    file: File,
    path: PathBuf,
}

/// A row as it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of whoever wrote it.
    pub token: u64,
    pub value: Vec<u8>,
}

impl Row {
    pub fn evidence(&self, name: u32) -> Result<Evidence, Torn> {
        Evidence::of(name, &self.value)
    }
}

impl Rows {
    /// Makes so many rows that were never written.
    pub fn create(path: &Path, rows: u32) -> Result<(), Error> {
        let made = File::create(path).and_then(|file| file.set_len(u64::from(rows) * PAGE as u64));
        made.map_err(|cause| failed("make the rows", path, cause))
    }

    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::options().read(true).write(true).open(path);
        Ok(Self { file: file.map_err(|cause| failed("open the rows", path, cause))?, path: path.to_owned() })
    }

    pub fn read(&self, name: u32) -> Result<Row, Error> {
        self.locked("read a row", || self.look(name))
    }

    /// Writes a row if it has this many changes and no larger token; answers whether it did.
    pub fn swap(&self, name: u32, changes: u64, token: u64, value: &[u8]) -> Result<bool, Error> {
        self.locked("write a row", || {
            let row = self.look(name)?;
            let same = row.evidence(name).is_ok_and(|evidence| evidence.count == changes);
            if !same || row.token > token {
                return Ok(false);
            }
            let page = [&token.to_le_bytes()[..], &(value.len() as u64).to_le_bytes(), value].concat();
            self.file.write_all_at(&page, u64::from(name) * PAGE as u64)?;
            Ok(true)
        })
    }

    fn look(&self, name: u32) -> io::Result<Row> {
        let mut page = [0; PAGE];
        self.file.read_exact_at(&mut page, u64::from(name) * PAGE as u64)?;
        let word = |at: usize| page[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let length = (word(8) as usize).min(PAGE - HEAD);
        Ok(Row { token: word(0), value: page[HEAD..HEAD + length].to_vec() })
    }

    fn locked<R>(&self, action: &'static str, act: impl FnOnce() -> io::Result<R>) -> Result<R, Error> {
        let answer = self.file.lock().and_then(|()| {
            let answer = act();
            self.file.unlock()?;
            answer
        });
        answer.map_err(|cause| failed(action, &self.path, cause))
    }
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> Error {
    Error::Io { action, path: Some(path.to_owned()), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Author, SHORTEST};

    #[test]
    fn a_row_refuses_another_version_and_a_smaller_token() {
        let folder =
            harness::scratch::folder(harness::scratch::Place::Disk, "slotguard-torture-test-").expect("a folder");
        let path = folder.path().join("rows");
        Rows::create(&path, 2).expect("rows");
        let rows = Rows::open(&path).expect("rows");
        let mut value = Vec::new();
        let one = Evidence::NONE.followed_by(Author { writer: 1, sequence: 1 });
        one.write(1, SHORTEST, &mut value);
        assert!(rows.swap(1, 0, 7, &value).expect("a write"));
        assert!(!rows.swap(1, 0, 8, &value).expect("an answer"), "another version");
        assert!(!rows.swap(1, 1, 6, &value).expect("an answer"), "a smaller token");
        let row = rows.read(1).expect("a row");
        assert_eq!((row.token, row.evidence(1)), (7, Ok(one)));
        assert_eq!(rows.read(0).expect("a row").evidence(0), Ok(Evidence::NONE));
    }
}
