//! What must hold of single records: every check of [`crate::check`], of the last value of each.

use slotguard::Segment;

use super::super::{Examined, Figure, count, slowest};
use crate::check::recovery::Next;
use crate::check::{Execution, Final, Findings, Promise, check};
use crate::history::{Kind, Outcome};
use crate::nemesis::Schedule;
use crate::report::picture::Picture;
use crate::value::{self, Evidence, Torn};

/// Reads the last value of every record, and holds it against the history; `drawn` is what the pictures are about.
pub fn examine(segment: &Segment, execution: &Execution<'_>, drawn: Option<&Schedule>) -> Examined {
    let mut refused = Findings::default();
    let last = |record| {
        let value = last_value(segment, record);
        refused.expect(value.is_ok(), || format!("the last read of record {record} when all had left: {value:?}"));
        value.unwrap_or(Final { version: 0, evidence: Err(Torn::Unreadable), fingerprint_agrees: false })
    };
    let finals: Vec<Final> = (0..segment.records()).map(last).collect();
    let execution = Execution { finals: &finals, ..*execution };
    let mut checked = check(&execution);
    checked.verdicts.add(Promise::P4, refused);
    let counted = |words, kind| Figure::count(words, count(&execution, kind, Outcome::Done));
    let mut figures = vec![
        Figure::count("changes found of those acknowledged", checked.chains.found),
        counted("reads placed among the changes", Kind::Read),
        counted("waits that ended", Kind::Wait),
        counted("claims granted", Kind::Grant),
        counted("intents announced", Kind::Intend),
        Figure::count("late writes refused", checked.refused_late),
    ];
    for (next, measured, longest) in [
        (Next::SameRecord, "changes after a kill in a change", "slowest change after a kill in a change"),
        (Next::Grant, "claims after a kill of the holder", "slowest claim after a kill of the holder"),
    ] {
        let of_kind: Vec<_> = checked.recoveries.iter().copied().filter(|one| one.next == next).collect();
        figures.extend(slowest(&of_kind, measured, longest));
    }
    Examined {
        picture: drawn.map(|schedule| Picture::of(&execution, &checked, schedule)),
        verdicts: checked.verdicts,
        recoveries: checked.recoveries,
        refused_late: checked.refused_late,
        figures,
        ..Examined::of(&checked.chains)
    }
}

fn last_value(segment: &Segment, index: u32) -> Result<Final, slotguard::Error> {
    let record = segment.record(index)?;
    let mut bytes = Vec::new();
    let stamp = record.read(&mut bytes)?;
    let verified = record.verify().is_ok_and(|again| again == stamp);
    let ours = bytes.is_empty() || value::fingerprint(&bytes) == stamp.fingerprint;
    Ok(Final { version: stamp.version.0, evidence: Evidence::of(index, &bytes), fingerprint_agrees: verified && ours })
}
