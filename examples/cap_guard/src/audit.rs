//! Counts what the database holds against what the callers were told. Every claim of the table rests on this file.

use std::collections::HashMap;

use crate::customer::{Call, Row};
use crate::database::AuditLine;
use crate::modes::Mode;
use crate::worker::{ADD, access_asked_by};
use crate::workers::Log;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Effects in the row: by how much the cap grew, in calls.
    pub effects: i64,
    /// Calls the database took but whose effect is gone from the row.
    pub lost: i64,
    /// What is wrong, in words. For the naive mode: that nothing was.
    pub violations: Vec<String>,
}

/// Compares the log of a run with the row and the audit lines it left, beginning with a cap of `before`.
pub fn judge(mode: Mode, before: &Row, after: &Row, lines: &[AuditLine], log: &Log) -> Findings {
    let effects = (after.cap - before.cap) / ADD;
    let lost = lines.len() as i64 - effects;
    let mut violations = Vec::new();
    let mut expect = |holds: bool, words: String| {
        if !holds {
            violations.push(words);
        }
    };

    let times: HashMap<Call, usize> = lines.iter().fold(HashMap::new(), |mut times, line| {
        *times.entry(line.call).or_default() += 1;
        times
    });
    let stored = |calls: &mut dyn Iterator<Item = &Call>, once: usize| {
        calls.filter(|call| times.get(call).copied().unwrap_or(0) != once).count()
    };
    let unstored = stored(&mut log.acknowledged.iter(), 1);
    expect(unstored == 0, format!("{unstored} acknowledged calls are not in the audit table exactly once"));
    let early = stored(&mut log.killed_before_sql.iter(), 0);
    expect(early == 0, format!("{early} calls killed before their SQL write took place"));
    let late = stored(&mut log.killed_after_sql.iter(), 1);
    expect(late == 0, format!("{late} calls killed after their SQL write did not take place exactly once"));
    let known = [&log.acknowledged, &log.killed_before_sql, &log.killed_after_sql, &log.killed_anywhere];
    let strangers = times.iter().filter(|(call, times)| **times > 1 || !known.iter().any(|calls| calls.contains(call)));
    let strangers = strangers.count();
    expect(strangers == 0, format!("{strangers} calls are in the audit table twice or were never made"));

    if mode == Mode::Naive {
        expect(lost > 0, "the control lost nothing: this run proves nothing about the others".into());
        return Findings { effects, lost, violations };
    }
    expect(lost <= 0, format!("{lost} updates lost"));
    expect(lost >= 0, format!("{} updates took place twice", -lost));
    let numbered = lines.iter().zip(before.version + 1..).all(|(line, version)| line.version == version);
    expect(
        numbered && after.version == before.version + lines.len() as u64,
        "the row's versions are not 1, 2, 3 … without a gap, each by one call".into(),
    );
    let last = lines.last().map(|line| access_asked_by(line.call));
    expect(
        last.is_none_or(|access| access == after.access),
        "the row mixes the cap of one call with the access of another".into(),
    );
    let victims = (log.killed_before_sql.len(), log.killed_after_sql.len());
    expect(
        mode != Mode::Guard || (log.found_not_done >= victims.0 as u64 && log.found_done >= victims.1 as u64),
        format!(
            "of {} changes left open {} were found done and {} not done",
            victims.0 + victims.1,
            log.found_done,
            log.found_not_done
        ),
    );
    Findings { effects, lost, violations }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customer::Access;

    fn call(number: u32) -> Call {
        Call { process: 0, number }
    }

    fn row(cap: i64, version: u64, access: Access) -> Row {
        Row { id: 7, cap, access, version, token: 0 }
    }

    /// Four calls, the third killed before and the fourth after its SQL write.
    fn honest() -> (Row, Row, Vec<AuditLine>, Log) {
        let lines = [(0, 1), (1, 2), (3, 3)].map(|(number, version)| AuditLine { call: call(number), version });
        let log = Log {
            acknowledged: [call(0), call(1)].into(),
            killed_before_sql: [call(2)].into(),
            killed_after_sql: [call(3)].into(),
            found_done: 1,
            found_not_done: 1,
            ..Log::default()
        };
        let before = row(0, 0, Access::Suspended);
        (before, row(3, 3, access_asked_by(call(3))), lines.into(), log)
    }

    #[test]
    fn an_honest_run_passes_in_every_mode_but_as_the_control() {
        let (before, after, lines, log) = honest();
        for mode in Mode::ALL {
            let findings = judge(mode, &before, &after, &lines, &log);
            assert_eq!((findings.effects, findings.lost), (3, 0));
            assert_eq!(findings.violations.is_empty(), mode != Mode::Naive, "{findings:?}");
        }
    }

    #[test]
    fn each_kind_of_damage_is_found() {
        type Damage = fn(&mut Row, &mut Vec<AuditLine>, &mut Log);
        let kinds: [(&str, Damage); 8] = [
            ("updates lost", |after, _, _| after.cap -= 1),
            ("took place twice", |after, _, _| after.cap += 1),
            ("acknowledged calls", |_, _, log| {
                log.acknowledged.insert(call(9));
            }),
            ("before their SQL write", |_, lines, _| lines[0].call = call(2)),
            ("after their SQL write", |_, lines, _| lines[2].call = call(1)),
            ("without a gap", |_, lines, _| lines[1].version = 1),
            ("mixes", |after, _, _| {
                after.access = access_asked_by(call(0));
            }),
            ("left open", |_, _, log| log.found_done = 0),
        ];
        for (words, damage) in kinds {
            let (before, mut after, mut lines, mut log) = honest();
            damage(&mut after, &mut lines, &mut log);
            let findings = judge(Mode::Guard, &before, &after, &lines, &log);
            assert!(findings.violations.iter().any(|found| found.contains(words)), "{words}: {findings:?}");
        }
    }
}
