//! Every mode keeps or breaks its promise on both databases, in a small version of what the program shows.

mod support;

use cap_guard::customer::{Query, Updated};
use cap_guard::modes::{Mode, Protection};
use cap_guard::run::run;
use cap_guard::workers::Plan;
use support::{FOR_EVER, Fixture, on_both, update};

fn only_naive_loses_updates(fixture: &mut Fixture) {
    for mode in Mode::ALL {
        let plan = fixture.plan(mode);
        let line = run(&plan).unwrap();
        let calls = (plan.processes * plan.updates) as usize;
        assert_eq!(line.findings.violations, Vec::<String>::new(), "{mode}");
        assert_eq!(line.log.acknowledged.len(), calls - plan.kills as usize, "{mode}");
        assert_eq!(line.findings.lost > 0, mode == Mode::Naive, "{mode}");
        if mode == Mode::Guard {
            assert_eq!(line.log.killed_before_sql.len(), 3);
            assert_eq!(line.log.killed_after_sql.len(), 3);
            assert_eq!(line.findings.effects, calls as i64 - 3);
        }
    }
}

#[test]
fn on_sqlite_only_naive_loses_updates() {
    only_naive_loses_updates(&mut Fixture::new(true));
}

#[test]
fn on_postgresql_only_naive_loses_updates() {
    only_naive_loses_updates(&mut Fixture::new(false));
}

/// Also in the middle of an SQL statement, of a commit, or of a wait for its turn.
#[test]
fn writers_killed_wherever_they_are_lose_and_double_nothing() {
    on_both(|fixture| {
        let plan = Plan { kills: 36, anywhere: true, ..fixture.plan(Mode::Guard) };
        let line = run(&plan).unwrap();
        assert_eq!(line.findings.violations, Vec::<String>::new());
        let made = line.log.acknowledged.len() + line.log.killed_anywhere.len();
        assert_eq!(made, (plan.processes * plan.updates) as usize);
        assert!(line.log.killed_anywhere.len() > 18, "{} killed", line.log.killed_anywhere.len());
    });
}

#[test]
fn a_customer_that_does_not_exist_is_not_updated() {
    on_both(|fixture| {
        for mode in Mode::ALL {
            let shared = fixture.shared.with_file_name(mode.name());
            let protection = Protection::open(mode, &shared, FOR_EVER).unwrap();
            // Twice: the first answer must leave neither a lock nor a claim nor a transaction behind.
            for number in 0..2 {
                let nobody = Query { customer: 8 };
                let answer =
                    protection.update_customer_cap_and_access(&mut *fixture.database, nobody, &update(1, number));
                assert_eq!(answer.unwrap(), Updated { updated: false }, "{mode}");
            }
        }
        assert_eq!(fixture.calls(), []);
    });
}
