//! Bytes a key: the size of a segment by the number of 64-byte entries it has room for, and of numbered records beside it.

use std::io;

use slotguard::{Segment, SegmentBuilder};

use crate::support::Run;

const PAYLOAD: usize = 64;
/// How many there is room for.
const SIZES: [u32; 3] = [1_000, 10_000, 1_000_000];
/// The number of them the goals are about: what a segment has once is then spread thin.
pub const MANY: u32 = SIZES[2];
/// What the goal allows: the payload twice, and this.
pub const ALLOWED: f64 = PAYLOAD as f64 * 2.0 + 256.0;

/// What takes room, as rows call it.
pub const KEYS: &str = "bytes a key, names of 32 bytes";
/// The same with names half as long.
pub const SHORT_KEYS: &str = "bytes a key, names of 16 bytes";
/// Records without names.
pub const RECORDS: &str = "bytes a numbered record";

/// The name of a row.
pub fn row(what: &str, number: u32) -> String {
    format!("{what}/{number}")
}

fn builder(what: &str, number: u32) -> SegmentBuilder {
    let builder = Segment::builder().payload(PAYLOAD);
    match what {
        KEYS => builder.keys(number),
        SHORT_KEYS => builder.keys(number).name_bytes(16),
        _ => builder.records(number),
    }
}

/// Works out the rows that were asked for: no clock is read, so there is one round.
pub fn run(run: &mut Run) -> io::Result<()> {
    let mut any = false;
    for what in [KEYS, SHORT_KEYS, RECORDS] {
        for number in SIZES {
            let row = row(what, number);
            if !run.options.runs(&row) {
                continue;
            }
            let bytes = builder(what, number).size().map_err(io::Error::other)? as f64 / f64::from(number);
            if run.options.measures() {
                if !any {
                    println!("\nsize of a segment by what it has room for, values of {PAYLOAD} bytes");
                    any = true;
                }
                run.figures.add(&row, "bytes", bytes);
                println!("    {row:<44} {bytes:>8.0} B");
            } else {
                println!("Testing {row}\nSuccess");
            }
        }
    }
    Ok(())
}
