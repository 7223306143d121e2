//! What named entries and commits over several of them cost, beside their limit and a map in one process.
//!
//! `cargo bench --bench waist` measures everything and prints the goals with what they came to; a word after `--` chooses
//! rows by name, `--list` names them, `--test` runs each of them once. How long it takes is set by the environment, see
//! [`support::options`]; below 100 ms, rows whose length is a count (a million names) take a tenth of it. Every number is
//! left in `bench/waist.json` of the target folder.
//!
//! `cargo bench -p rivals` measures the same with LMDB and Redis beside it, in the same run: only ratios inside one run
//! mean anything. They are not here because a normal build should compile no C for them.

mod support;
#[path = "waist/mod.rs"]
mod waist;

use std::process::ExitCode;

fn main() -> ExitCode {
    waist::main("waist", &[])
}
