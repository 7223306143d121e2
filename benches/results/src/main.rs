//! Writes BENCHMARKS.md, made of the notes and the results that are kept.

use std::{fs, io};

use results::page;

fn main() -> io::Result<()> {
    fs::write(page::path(), page::page(&page::folder())?)
}
