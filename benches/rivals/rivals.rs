//! What named entries and commits over several of them cost, beside LMDB and Redis in the same run.
//!
//! `cargo bench -p rivals` measures the rows of the waist bench with theirs in between, and prints the goals with what they
//! came to; a word after `--` chooses rows by name, `--list` names them, `--test` runs each of them once. How long it takes
//! is set by the environment, see [`support::options`]. Every number is left in `bench/rivals.json` of the target folder.
//!
//! Both rivals are measured at their best: LMDB through a writable map and never flushed to a disk, Redis on a socket of
//! this machine and without a file. A crate of its own, so that no other build compiles LMDB's C.

#[path = "../support/mod.rs"]
mod support;
#[path = "../waist/mod.rs"]
mod waist;

mod lmdb;
mod redis;

use std::process::ExitCode;

fn main() -> ExitCode {
    waist::main("rivals", &[&lmdb::Lmdb, &redis::Redis])
}
