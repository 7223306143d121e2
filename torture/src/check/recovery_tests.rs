//! Each way to break P4, planted into a history written by hand and seen.

use super::*;
use crate::check::chain;
use crate::check::scripted_run::ScriptedRun;

fn found(run: &ScriptedRun) -> Recoveries {
    run.with_execution(|execution| {
        let mut found = check(execution, &chain::walk(execution));
        aftermath(execution, &mut found.findings);
        found
    })
}

fn says(run: &ScriptedRun, words: &str) -> bool {
    let findings = found(run).findings;
    findings.examples.iter().any(|example| example.contains(words))
}

/// A kill in the middle of a change of record 0, then a change of it by somebody else.
fn kill_and_go_on(after: u64) -> ScriptedRun {
    let mut run = ScriptedRun::new(2, 2);
    run.change(0, 0);
    run.attempt_without_effect(0, 0, Kind::Update, Outcome::InDoubt);
    run.kill(0);
    run.change(1, 1);
    run.now += after;
    run.change(1, 0);
    run
}

#[test]
fn a_survivor_that_goes_on_at_once_is_sound_and_measured() {
    let found = found(&kill_and_go_on(0));
    assert_eq!(found.findings.violations, 0, "{:?}", found.findings.examples);
    assert_eq!(found.recoveries.len(), 1);
    assert_eq!(found.recoveries[0].next, Next::SameRecord);
    assert!(found.recoveries[0].took < BOUND);
}

#[test]
fn a_recovery_past_bound_and_allowance_is_seen_unless_the_machine_stood_still() {
    assert_eq!(found(&kill_and_go_on(BOUND + ALLOWANCE / 2)).findings.violations, 0);
    let mut run = kill_and_go_on(BOUND + ALLOWANCE);
    assert!(says(&run, "the next change of record 0 after a kill took"));
    run.lateness.push((run.now, ALLOWANCE / 2));
    assert_eq!(found(&run).findings.violations, 0);
}

#[test]
fn a_record_that_is_never_changed_again_is_seen() {
    let mut run = kill_and_go_on(0);
    run.forget_last_entry(1);
    assert!(says(&run, "was never changed again"));
}

#[test]
fn an_operation_that_stays_open_without_a_kill_is_seen() {
    let mut run = kill_and_go_on(0);
    let open = run.wait(1, 0, 0);
    run.entry(open).outcome = Outcome::InDoubt;
    assert!(says(&run, "Wait of record 0"), "{:?}", found(&run).findings.examples);
    let mut run = kill_and_go_on(0);
    run.faults.clear();
    assert!(says(&run, "never ended"));
}

#[test]
fn a_process_that_dies_by_itself_or_hangs_is_seen() {
    for (kind, words) in [(FaultKind::Died, "died by itself"), (FaultKind::Stuck, "did not come to an end")] {
        let mut run = kill_and_go_on(0);
        run.fault(1, kind, 0);
        assert!(says(&run, words));
    }
}

#[test]
fn whatever_leaks_is_seen() {
    let leaks: [fn(&mut crate::check::Counted); 7] = [
        |counted| counted.missing = 1,
        |counted| counted.doubled = 1,
        |counted| counted.lanes_taken = 1,
        |counted| counted.rows_taken = 1,
        |counted| counted.pending = 1,
        |counted| counted.files_left = 1,
        |counted| counted.blocks = 1,
    ];
    for leak in leaks {
        let mut run = kill_and_go_on(0);
        leak(&mut run.counted);
        assert_eq!(found(&run).findings.violations, 1);
    }
}

#[test]
fn answers_that_nothing_explains_are_seen() {
    for outcome in [Outcome::Failed, Outcome::TimedOut, Outcome::Held] {
        let mut run = kill_and_go_on(0);
        run.attempt_without_effect(1, 1, Kind::Update, outcome);
        assert!(says(&run, "was told"), "{outcome:?}");
    }
    let mut run = kill_and_go_on(0);
    run.grant(0, 1);
    run.attempt_without_effect(1, 1, Kind::Update, Outcome::Held);
    assert_eq!(found(&run).findings.violations, 0);
}

#[test]
fn a_wake_that_comes_too_late_is_seen_unless_the_waiter_was_stopped() {
    let story_with = |late: u64| {
        let mut run = ScriptedRun::new(2, 1);
        let change = run.change(0, 0);
        let wait = run.wait(1, 0, 0);
        let begin = run.entry(change).begin;
        run.entry(wait).begin = begin;
        run.entry(wait).end += late;
        run
    };
    let prompt = found(&story_with(0));
    assert_eq!(prompt.findings.violations, 0);
    assert_eq!(prompt.recoveries[0].next, Next::Wake);
    let mut run = story_with(BOUND + ALLOWANCE + 1);
    assert!(says(&run, "the end of a wait"));
    run.fault(1, FaultKind::Stop, BOUND);
    assert_eq!(found(&run).findings.violations, 0);
}

#[test]
fn waits_that_are_ended_by_their_slices_are_seen() {
    let story_with = |late: u64| {
        let mut run = ScriptedRun::new(2, 1);
        for seen in 0..20 {
            let change = run.change(0, 0);
            let wait = run.wait(1, 0, seen);
            run.entry(wait).begin = run.entry(change).begin;
            run.entry(wait).end += late;
            run.now += late;
        }
        run
    };
    assert_eq!(found(&story_with(BOUND / 10)).findings.violations, 0);
    assert!(says(&story_with(BOUND / 3), "they are not woken"));
}

#[test]
fn a_wait_that_ends_without_a_newer_version_is_seen() {
    let mut run = ScriptedRun::new(2, 1);
    run.change(0, 0);
    run.wait(1, 0, 1);
    assert!(says(&run, "newer than 1 ended with 1"));
}

#[test]
fn a_claim_that_is_not_taken_over_in_time_is_seen() {
    let story_with = |late: u64| {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        run.kill(0);
        let grant = run.grant(1, 0);
        run.entry(grant).end += late;
        run.change(1, 0);
        run
    };
    let prompt = found(&story_with(0));
    assert_eq!(prompt.findings.violations, 0, "{:?}", prompt.findings.examples);
    assert!(prompt.recoveries.iter().any(|one| one.next == Next::Grant));
    assert!(says(&story_with(BOUND + ALLOWANCE + 100), "was over (Grant)"));
}

#[test]
fn a_claim_that_was_given_back_and_is_not_handed_over_in_time_is_seen() {
    let story_with = |late: u64| {
        let mut run = ScriptedRun::new(2, 1);
        run.grant(0, 0);
        let waits_since = run.now;
        run.under_claim(0, 0, Kind::Release, Outcome::Done);
        let grant = run.grant(1, 0);
        run.entry(grant).begin = waits_since;
        run.entry(grant).end += late;
        run
    };
    let prompt = found(&story_with(0));
    assert_eq!(prompt.findings.violations, 0, "{:?}", prompt.findings.examples);
    assert_eq!(prompt.recoveries[0].next, Next::HandOver);
    assert!(says(&story_with(BOUND + ALLOWANCE + 100), "was over (HandOver)"));
}

/// A holder announces a write and is killed; the next one is handed the announcement, or not.
fn announced_and_killed(handed_on: bool) -> ScriptedRun {
    let mut run = ScriptedRun::new(2, 1);
    run.grant(0, 0);
    run.under_claim(0, 0, Kind::Intend, Outcome::Done);
    run.kill(0);
    let next = run.grant(1, 0);
    let token = run.token(0);
    run.entry(next).extra = if handed_on { token } else { 0 };
    run.commit(1, 0);
    run
}

#[test]
fn an_intent_that_is_lost_is_seen() {
    let sound = found(&announced_and_killed(true)).findings;
    assert_eq!(sound.violations, 0, "{:?}", sound.examples);
    assert!(says(&announced_and_killed(false), "the one left was of Some(1)"));
}

#[test]
fn an_intent_that_nobody_announced_is_seen() {
    let mut run = ScriptedRun::new(2, 1);
    run.grant(0, 0);
    run.commit(0, 0);
    let next = run.grant(1, 0);
    run.entry(next).extra = run.token(0);
    assert!(says(&run, "was handed the intent of Some(1), the one left was of None"));
}

fn took(ms: u64) -> Recovery {
    Recovery { at: 0, took: ms * 1_000_000, next: Next::AnyRecord }
}

#[test]
fn times_are_counted_against_the_bound() {
    let all: Vec<Recovery> = (1..=100).map(|ms| took(ms * 6)).collect();
    let times = Times::of(&all.iter().collect::<Vec<_>>());
    assert_eq!((times.measured, times.within_bound), (100, 83));
    assert_eq!((times.p50_ms, times.p99_ms, times.max_ms), (300.0, 594.0, 600.0));
    assert_eq!(Times::of(&[]), Times::default());
}
