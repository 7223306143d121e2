//! One run from a fresh row to its line of the table.

use std::fs;
use std::io::ErrorKind;

use slotguard::Segment;

use crate::Result;
use crate::audit::judge;
use crate::customer::{Access, Row};
use crate::guard::CapGuard;
use crate::modes::Mode;
use crate::report::Line;
use crate::worker::CUSTOMER;
use crate::workers::{self, Plan};

/// The row every run begins with.
pub fn fresh_row() -> Row {
    Row { id: CUSTOMER, cap: 0, access: Access::Suspended, version: 0, token: 0 }
}

/// Runs one mode on one database and judges what is left.
pub fn run(plan: &Plan) -> Result<Line> {
    let before = fresh_row();
    let mut database = plan.database.connect()?;
    database.prepare(&before)?;
    let log = workers::run(plan)?;
    let after = database.read(CUSTOMER)?.ok_or("the row is gone")?;
    let lines = database.audit()?;
    let mut findings = judge(plan.mode, &before, &after, &lines, &log);
    match plan.mode {
        Mode::Guard => {
            let state = CapGuard::open(&plan.shared, plan.lease)?.caps(CUSTOMER)?.read()?.value;
            let segment = Segment::open(&plan.shared)?;
            let mut expect = |holds: bool, words: &str| {
                if !holds {
                    findings.violations.push(words.to_owned());
                }
            };
            expect(state == after.state(), "the record in shared memory is not what the row is");
            segment.reap()?;
            let audit = segment.audit()?;
            expect(
                (audit.missing, audit.doubled, audit.pending) == (0, 0, 0),
                "killed writers leaked memory of the segment",
            );
            Segment::remove(&plan.shared)?;
        }
        Mode::Flock => match fs::remove_file(&plan.shared) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        },
        Mode::Naive | Mode::ForUpdate | Mode::Optimistic => {}
    }
    Ok(Line::new(plan, log, findings))
}
