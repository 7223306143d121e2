//! The table a reader sees, the same as JSON, and the verdict.

use std::fmt::Write;
use std::time::Duration;

use crate::audit::Findings;
use crate::modes::Mode;
use crate::workers::{Log, Plan};

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// The database product.
    pub database: &'static str,
    /// The mode.
    pub mode: Mode,
    /// What the processes said.
    pub log: Log,
    /// What the database showed.
    pub findings: Findings,
}

impl Line {
    /// Of one run.
    pub fn new(plan: &Plan, log: Log, findings: Findings) -> Self {
        Line { database: plan.database.product(), mode: plan.mode, log, findings }
    }

    fn kills(&self) -> usize {
        self.log.killed_before_sql.len() + self.log.killed_after_sql.len() + self.log.killed_anywhere.len()
    }

    fn updates_a_second(&self) -> f64 {
        self.log.acknowledged.len() as f64 / self.log.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The smallest of the sorted values that at least `percent` of them do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// True when every mode did what it must: the control lost, nobody else did.
pub fn passed(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.findings.violations.is_empty())
}

fn verdict(lines: &[Line]) -> &'static str {
    if passed(lines) { "PASS" } else { "FAIL" }
}

/// The heading of the table.
pub fn heading() -> String {
    format!(
        "{:<11} {:<10} {:>6} {:>8} {:>6} {:>8} {:>10} {:>8} {:>8} {:>6} {:>9}",
        "database", "mode", "acked", "effects", "lost", "retries", "updates/s", "p50 ms", "p99 ms", "kills", "resolved"
    )
}

/// One line of the table.
pub fn table_line(line: &Line) -> String {
    let milliseconds = |percent| percentile(&line.log.latencies, percent).as_secs_f64() * 1e3;
    format!(
        "{:<11} {:<10} {:>6} {:>8} {:>6} {:>8} {:>10.0} {:>8.1} {:>8.1} {:>6} {:>9}",
        line.database,
        line.mode,
        line.log.acknowledged.len(),
        line.findings.effects,
        line.findings.lost,
        line.log.retries,
        line.updates_a_second(),
        milliseconds(50),
        milliseconds(99),
        count_or_dash(line.kills()),
        if line.kills() == 0 {
            "-".to_owned()
        } else {
            format!("{} + {}", line.log.found_done, line.log.found_not_done)
        },
    )
}

fn count_or_dash(count: usize) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}

/// What comes under the table.
pub fn closing(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        for violation in &line.findings.violations {
            let _ = writeln!(text, "{} {}: {violation}", line.database, line.mode);
        }
    }
    let shown = |mode| lines.iter().any(|line| line.mode == mode);
    if shown(Mode::Naive) {
        text.push_str("naive is the control: it has to lose.\n");
    }
    if shown(Mode::ForUpdate) {
        text.push_str("for-update is SELECT ... FOR UPDATE; on SQLite, which has no row locks, BEGIN IMMEDIATE.\n");
    }
    if shown(Mode::Guard) {
        text.push_str("resolved: what killed writers left open, found done + found not done by the next holder.\n");
    }
    let _ = writeln!(text, "verdict: {}", verdict(lines));
    text
}

/// The same as JSON.
pub fn json(lines: &[Line], processes: u32, updates: u32, work: Duration) -> String {
    let runs: Vec<String> = lines.iter().map(json_line).collect();
    format!(
        "{{\"verdict\":\"{}\",\"processes\":{processes},\"updates\":{updates},\"work_us\":{},\"runs\":[{}]}}",
        verdict(lines),
        work.as_micros(),
        runs.join(",")
    )
}

fn json_line(line: &Line) -> String {
    let Line { log, findings, .. } = line;
    let microseconds = |percent| percentile(&log.latencies, percent).as_micros();
    let violations: Vec<String> = findings.violations.iter().map(|words| quoted(words)).collect();
    format!(
        "{{\"database\":{},\"mode\":{},\"acknowledged\":{},\"effects\":{},\"lost\":{},\"retries\":{},\
         \"updates_per_second\":{:.1},\"p50_us\":{},\"p99_us\":{},\"killed_before_sql\":{},\"killed_after_sql\":{},\"killed_anywhere\":{},\
         \"found_done\":{},\"found_not_done\":{},\"violations\":[{}]}}",
        quoted(line.database),
        quoted(line.mode.name()),
        log.acknowledged.len(),
        findings.effects,
        findings.lost,
        log.retries,
        line.updates_a_second(),
        microseconds(50),
        microseconds(99),
        log.killed_before_sql.len(),
        log.killed_after_sql.len(),
        log.killed_anywhere.len(),
        log.found_done,
        log.found_not_done,
        violations.join(",")
    )
}

fn quoted(words: &str) -> String {
    format!("\"{}\"", words.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(100));
        assert_eq!(percentile(&values, 99), Duration::from_millis(198));
        assert_eq!(percentile(&values[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn one_violation_anywhere_fails_the_whole_run() {
        let line = |violations: &[&str]| Line {
            database: "SQLite",
            mode: Mode::Guard,
            log: Log::default(),
            findings: Findings {
                violations: violations.iter().map(|words| words.to_string()).collect(),
                ..Findings::default()
            },
        };
        let good = [line(&[]), line(&[])];
        let bad = [line(&[]), line(&["3 updates \"lost\""])];
        assert!(passed(&good) && !passed(&bad));
        assert!(closing(&bad).ends_with("verdict: FAIL\n"));
        let written = json(&bad, 2, 3, Duration::from_millis(1));
        assert!(written.contains(r#""violations":["3 updates \"lost\""]"#), "{written}");
    }
}
