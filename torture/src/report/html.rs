//! The page: verdict first, then what was checked, then the pictures. One file, nothing loaded from elsewhere.

use std::fmt::Write as _;

use super::chart::escape;
use super::summary::{Summary, WorkloadSummary};
use super::{lanes, thousands};
use crate::check::Findings;
use crate::examine::PhaseResult;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c1f23;--soft:#5b636e;--paper:#fff;--line:#d9dee4;--good:#18794e;--bad:#c62828;
--c0:#2563c9;--c1:#c2571a;--c2:#1b8a5a;--c3:#a3338f;--c4:#7a6a10;--c5:#0f7f8c;--c6:#6b4fc4;--c7:#9a3b3b}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4b0;--paper:#15181c;--line:#333a43;--good:#4cc38a;
--bad:#ff6b6b;--c0:#6ea8ff;--c1:#ff9d5c;--c2:#4fd39a;--c3:#e889d6;--c4:#d8c44a;--c5:#4fd0de;--c6:#ab95ff;--c7:#f08a8a}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.soft{color:var(--soft)}
.good{color:var(--good)}.bad{color:var(--bad)}code{font:0.9em ui-monospace,monospace}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child,td.words,th.words{text-align:left}
svg{width:100%;height:auto}.grid{stroke:var(--line);stroke-width:.6}.axis{stroke:var(--soft)}
text{fill:var(--ink);font:11px system-ui,sans-serif}.tick{fill:var(--soft)}.middle{text-anchor:middle}.end{text-anchor:end}
.label{font-size:12px}.token{font:10px ui-monospace,monospace}
.line{fill:none;stroke-width:1.4}.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c3{stroke:var(--c3)}
.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}
.c6{fill:var(--c6)}.c7{fill:var(--c7)}.line.c0,.line.c1,.line.c3{fill:none}.dot{opacity:.7}
.kill,.killed{stroke:var(--bad);fill:var(--bad);stroke-width:1.2}.faint{opacity:.35;stroke-width:.6}.stop{fill:var(--soft)}.bound{stroke:var(--bad);stroke-dasharray:6 4}
.wrote{fill:var(--c2)}.gave{fill:var(--c0)}.refused{fill:var(--c1)}
.key span{display:inline-block;margin-right:1.2rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
";

/// The whole page.
pub fn page(summary: &Summary, phases: &[PhaseResult]) -> String {
    let mut body = String::new();
    head(summary, &mut body);
    promises(summary, &mut body);
    table(summary, &mut body);
    for one in &summary.workloads {
        workload(one, &mut body);
    }
    recovery(summary, &mut body);
    for phase in phases {
        pictures(phase, &mut body);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Torture: {} with seed {}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        summary.verdict, summary.seed
    )
}

// Writing to a String cannot fail: the results are dropped below.

fn head(summary: &Summary, body: &mut String) {
    let class = if summary.passed() { "good" } else { "bad" };
    let _ = write!(
        body,
        "<h1>Torture of a segment: <span class=\"{class}\">{}</span></h1>\n\
         <p>Seed <code>{}</code>. The same plan again: <code>{}</code></p>\n",
        summary.verdict,
        summary.seed,
        escape(&summary.replay)
    );
    for reason in &summary.reasons {
        let _ = writeln!(body, "<p class=\"bad\">{}</p>", escape(reason));
    }
    let operations = &summary.operations;
    let _ = writeln!(
        body,
        "<p>{} changes acknowledged, {} found, {} lost. {} kills, {} stops. {} changes were in doubt after a kill, {} of \
         them had taken effect. {} late writes were refused. {:.1} s.</p>",
        thousands(operations.acknowledged),
        thousands(operations.found),
        thousands(operations.lost),
        thousands(summary.kills),
        thousands(summary.stops),
        thousands(operations.in_doubt),
        thousands(operations.in_doubt_that_took_effect),
        thousands(summary.late_writes_refused),
        summary.seconds_taken
    );
}

fn promises(summary: &Summary, body: &mut String) {
    body.push_str(
        "<h2>Verdict per promise</h2>\n<table><tr><th>promise</th><th class=\"words\">in words</th><th>checked</th>\
         <th>violations</th><th>verdict</th></tr>\n",
    );
    for (promise, found) in &summary.promises {
        promise_row(&format!("{promise:?}"), promise.words(), found, body);
    }
    let _ = writeln!(
        body,
        "</table>\n<p class=\"soft\">Seed {}, replay: <code>{}</code></p>",
        summary.seed,
        escape(&summary.replay)
    );
}

fn promise_row(name: &str, words: &str, found: &Findings, body: &mut String) {
    let (class, verdict) = match (found.violations, found.checked) {
        (0, 0) => ("bad", "not exercised"),
        (0, _) => ("good", "holds"),
        _ => ("bad", "broken"),
    };
    let _ = writeln!(
        body,
        "<tr><td>{name}</td><td class=\"words\">{words}</td><td>{}</td><td>{}</td><td class=\"{class}\">{verdict}</td></tr>",
        thousands(found.checked),
        thousands(found.violations)
    );
    for example in &found.examples {
        let _ = writeln!(body, "<tr><td></td><td class=\"words bad\" colspan=\"4\">{}</td></tr>", escape(example));
    }
}

fn table(summary: &Summary, body: &mut String) {
    body.push_str(
        "<h2>Phases</h2>\n<table><tr><th>phase</th><th>workers</th><th>acknowledged</th><th>found</th><th>lost</th>\
         <th>ms</th><th>updates/s</th></tr>\n",
    );
    for phase in &summary.phases {
        let class = if phase.as_it_must_be { "good" } else { "bad" };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{}</td><td>{:.0}</td><td>{}</td></tr>",
            escape(&phase.name),
            thousands(phase.workers),
            thousands(phase.acknowledged),
            thousands(phase.found),
            thousands(phase.lost),
            phase.milliseconds,
            thousands(phase.updates_per_second as u64)
        );
    }
    body.push_str(
        "</table>\n<p class=\"soft\">The naive control must lose: a harness that sees no loss there could not see any. \
         The sustained phase is held back so that its whole history can be kept and checked.</p>\n",
    );
}

/// The section of one workload.
fn workload(one: &WorkloadSummary, body: &mut String) {
    let _ = write!(
        body,
        "<h2>{}</h2>\n<p>{:.1} s, {} kills, {} stops.</p>\n<table><tr><th>promise</th><th class=\"words\">here it \
         means</th><th>checked</th><th>violations</th><th>verdict</th></tr>\n",
        one.workload.name,
        one.seconds,
        thousands(one.kills),
        thousands(one.stops)
    );
    for (promise, meant) in &one.promises {
        promise_row(&format!("{promise:?}"), meant.words, &meant.found, body);
    }
    body.push_str("</table>\n<table>\n");
    for figure in &one.figures {
        let _ = writeln!(body, "<tr><td>{}</td><td>{}</td></tr>", figure.words, figure.number);
    }
    body.push_str("</table>\n");
}

fn recovery(summary: &Summary, body: &mut String) {
    if summary.recovery.by_kind.is_empty() {
        return;
    }
    let _ = write!(
        body,
        "<h2>Recovery</h2>\n<table><tr><th>from → to</th><th>measured</th><th>within {:.0} ms</th><th>median ms</th>\
         <th>p99 ms</th><th>slowest ms</th></tr>\n",
        summary.recovery.bound_ms
    );
    for (next, times) in &summary.recovery.by_kind {
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.1}</td><td>{:.1}</td></tr>",
            next.words(),
            thousands(times.measured),
            thousands(times.within_bound),
            times.p50_ms,
            times.p99_ms,
            times.max_ms
        );
    }
    let _ = writeln!(
        body,
        "</table>\n<p class=\"soft\">A violation of P4 is a recovery later than the bound and {:.0} ms for the scheduler, \
         plus whatever time the harness itself was kept from running meanwhile.</p>",
        summary.recovery.allowance_ms
    );
}

fn pictures(phase: &PhaseResult, body: &mut String) {
    let Some(picture) = &phase.picture else {
        return;
    };
    let _ = writeln!(body, "<h2>{}</h2>", escape(&phase.name));
    section(
        "One lane a process: operations, kills and stops",
        &[
            ("c0", "operations, darker is more"),
            ("kill", "SIGKILL, started again at once"),
            ("stop", "stopped for 10 ms or longer"),
        ],
        &lanes::overview(picture),
        body,
    );
    if let Some(drawing) = lanes::hand_overs(picture) {
        section(
            "Hand-overs of a claim, labelled with their tokens",
            &[
                ("wrote", "held, then wrote"),
                ("gave", "gave it back"),
                ("refused", "came too late, refused"),
                ("killed", "killed"),
                ("stop", "stopped"),
            ],
            &drawing,
            body,
        );
    }
    section(
        "Latency of changes over time",
        &[("c0", "median"), ("c1", "99th percentile"), ("c3", "slowest")],
        &lanes::latency(picture),
        body,
    );
    section(
        "Time from a kill to the next success of somebody else",
        &[("c1", "the record that was being changed"), ("c3", "the claim that was held"), ("c0", "any record")],
        &lanes::recovery(picture, &phase.recoveries, picture.begin),
        body,
    );
    section("Versions of record 0 by the process that made them", &[], &lanes::versions(picture), body);
}

fn section(title: &str, key: &[(&str, &str)], drawing: &str, body: &mut String) {
    let _ = write!(body, "<h3>{}</h3>\n<p class=\"key soft\">", escape(title));
    for (class, words) in key {
        let colour = match *class {
            "kill" | "killed" => "--bad",
            "stop" => "--soft",
            "wrote" => "--c2",
            "gave" => "--c0",
            "refused" => "--c1",
            other => &format!("--{other}"),
        };
        let _ = write!(body, "<span><i style=\"background:var({colour})\"></i>{}</span>", escape(words));
    }
    body.push_str("</p>\n");
    body.push_str(drawing);
}
