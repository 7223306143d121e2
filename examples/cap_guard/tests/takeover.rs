//! What becomes of a guarded call whose process is killed, stopped or cut off at a named point, on both databases.

mod support;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use cap_guard::Result;
use cap_guard::customer::{Row, Updated};
use cap_guard::database::{AuditLine, Change, Database, Fence};
use cap_guard::fault::Faulty;
use cap_guard::modes::Mode;
use cap_guard::run::fresh_row;
use cap_guard::worker::{CUSTOMER, Event};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use support::{FOR_EVER, Fixture, QUERY, call, next, on_both, update};

const UPDATED: Updated = Updated { updated: true };
/// A lease a test may wait for.
const SHORT: Duration = Duration::from_millis(300);

/// Kills a writer at `point`; the next holder must find out whether its change took place, and add its own.
fn the_next_holder_resolves_a_kill(fixture: &mut Fixture, point: &str, took_place: bool) {
    let (mut victim, heard) = fixture.faulty_writer(Mode::Guard, &format!("{point}:kill@0"), FOR_EVER);
    assert_eq!(next(&heard), None, "the victim acknowledges nothing");
    assert_eq!(victim.ended().unwrap().signal(), Some(9));

    let left = if took_place { vec![call(1, 0)] } else { vec![] };
    assert_eq!(fixture.calls(), left);
    assert_eq!(fixture.record(), b"", "the victim did not get to its commit");

    let (guard, resolved) = fixture.guard(FOR_EVER);
    let answer = guard.update_customer_cap_and_access(&mut *fixture.database, QUERY, &update(2, 0));
    assert_eq!(answer.unwrap(), UPDATED);
    assert_eq!(resolved.try_iter().collect::<Vec<_>>(), [took_place]);
    assert_eq!(fixture.calls(), [left, vec![call(2, 0)]].concat());
    assert_eq!(fixture.row().cap, 1 + i64::from(took_place));
    assert_eq!(fixture.record(), fixture.row().state());

    let answer = guard.update_customer_cap_and_access(&mut *fixture.database, QUERY, &update(2, 1));
    assert_eq!(answer.unwrap(), UPDATED);
    assert_eq!(resolved.try_iter().count(), 0, "what is resolved stays resolved");
    assert_eq!(fixture.record(), fixture.row().state());
}

#[test]
fn a_writer_killed_before_its_sql_write_has_no_effect() {
    on_both(|fixture| the_next_holder_resolves_a_kill(fixture, "before-sql", false));
}

#[test]
fn a_writer_killed_after_its_sql_write_has_its_effect_once() {
    on_both(|fixture| the_next_holder_resolves_a_kill(fixture, "after-sql", true));
}

/// Stops a writer at `point` past its lease; the next holder goes on without it; then it wakes.
fn a_stopped_writer_wakes_late(fixture: &mut Fixture, point: &str, took_place: bool) {
    let (mut sleeper, heard) = fixture.faulty_writer(Mode::Guard, &format!("{point}:stop@0"), SHORT);
    let pid = Pid::from_raw(sleeper.id() as i32).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped());

    let (guard, resolved) = fixture.guard(FOR_EVER);
    let answer = guard.update_customer_cap_and_access(&mut *fixture.database, QUERY, &update(2, 0));
    assert_eq!(answer.unwrap(), UPDATED);
    assert_eq!(resolved.try_iter().collect::<Vec<_>>(), [took_place]);

    kill_process(pid, Signal::CONT).unwrap();
    let Some(Event::Acknowledged { refused, .. }) = next(&heard) else {
        panic!("the sleeper finishes its call");
    };
    assert_eq!(refused, u64::from(!took_place), "its late write meets the fence");
    assert_eq!(next(&heard), None);
    assert!(sleeper.ended().unwrap().success());

    let (first, second) = if took_place { (1, 2) } else { (2, 1) };
    assert_eq!(fixture.calls(), [call(first, 0), call(second, 0)]);
    assert_eq!(fixture.row().cap, 2);
    assert_eq!(fixture.record(), fixture.row().state());
}

#[test]
fn a_writer_stopped_before_its_sql_write_is_refused_when_it_wakes_and_starts_over() {
    on_both(|fixture| a_stopped_writer_wakes_late(fixture, "before-sql", false));
}

#[test]
fn a_writer_stopped_after_its_sql_write_is_acknowledged_and_counted_once() {
    on_both(|fixture| a_stopped_writer_wakes_late(fixture, "after-sql", true));
}

/// Why a lock alone is not enough, and what a lease is for.
#[test]
fn under_flock_a_stopped_writer_keeps_the_others_out_until_somebody_continues_it() {
    on_both(|fixture| {
        let (mut sleeper, heard) = fixture.faulty_writer(Mode::Flock, "before-sql:stop@0", SHORT);
        let pid = Pid::from_raw(sleeper.id() as i32).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
        let file = File::open(&fixture.shared).unwrap();
        let attempt = flock(&file, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(attempt, Err(Errno::WOULDBLOCK));
        kill_process(pid, Signal::CONT).unwrap();
        assert!(matches!(next(&heard), Some(Event::Acknowledged { .. })));
        assert!(sleeper.ended().unwrap().success());
        assert_eq!(flock(&file, FlockOperation::NonBlockingLockExclusive), Ok(()));
    });
}

/// Breaks the connection at `point`: the caller gets an error, the next call finds out what it meant.
fn a_lost_answer_is_settled_by_the_next_call(fixture: &mut Fixture, point: &str, took_place: bool) {
    let (guard, resolved) = fixture.guard(FOR_EVER);
    let fault = format!("{point}:disconnect@0").parse().unwrap();
    let mut broken = Faulty::new(fixture.address.connect().unwrap(), Some(fault));
    let answer = guard.update_customer_cap_and_access(&mut broken, QUERY, &update(1, 0));
    assert!(answer.is_err());

    let answer = guard.update_customer_cap_and_access(&mut *fixture.database, QUERY, &update(2, 0));
    assert_eq!(answer.unwrap(), UPDATED);
    assert_eq!(resolved.try_iter().collect::<Vec<_>>(), [took_place]);
    assert_eq!(fixture.row().cap, 1 + i64::from(took_place));
    assert_eq!(fixture.record(), fixture.row().state());
}

#[test]
fn an_answer_lost_before_or_after_the_sql_write_is_settled_by_the_next_call() {
    on_both(|fixture| a_lost_answer_is_settled_by_the_next_call(fixture, "before-sql", false));
    on_both(|fixture| a_lost_answer_is_settled_by_the_next_call(fixture, "after-sql", true));
}

#[test]
fn a_change_made_without_a_claim_is_not_overwritten() {
    on_both(|fixture| {
        let (guard, resolved) = fixture.guard(FOR_EVER);
        // Somebody changes the row by hand between our read and our write.
        let mut interrupted = Interrupted::new(fixture);
        let answer = guard.update_customer_cap_and_access(&mut interrupted, QUERY, &update(1, 0));
        assert_eq!(answer.unwrap(), UPDATED);
        assert_eq!(fixture.calls(), [call(9, 0), call(1, 0)]);
        assert_eq!((fixture.row().cap, fixture.row().version), (2, 2));
        assert_eq!(fixture.record(), fixture.row().state());
        assert_eq!(resolved.try_iter().count(), 0, "a refused write leaves nothing open");
    });
}

/// A connection during whose first write somebody else changes the row, without a claim.
struct Interrupted {
    inner: Box<dyn Database>,
    other: Option<Box<dyn Database>>,
}

impl Interrupted {
    fn new(fixture: &Fixture) -> Self {
        Interrupted { inner: fixture.address.connect().unwrap(), other: Some(fixture.address.connect().unwrap()) }
    }
}

impl Database for Interrupted {
    fn read(&mut self, id: u32) -> Result<Option<Row>> {
        self.inner.read(id)
    }

    fn write(&mut self, change: &Change) -> Result<bool> {
        if let Some(mut other) = self.other.take() {
            let row = other.read(CUSTOMER)?.ok_or("no row")?;
            assert!(other.write(&Change::of(&row, &update(9, 0), Fence::Nothing))?);
        }
        self.inner.write(change)
    }

    fn prepare(&mut self, row: &Row) -> Result<()> {
        self.inner.prepare(row)
    }

    fn lock(&mut self, id: u32) -> Result<Option<Row>> {
        self.inner.lock(id)
    }

    fn write_locked(&mut self, change: &Change) -> Result<()> {
        self.inner.write_locked(change)
    }

    fn unlock(&mut self) -> Result<()> {
        self.inner.unlock()
    }

    fn forget_token(&mut self, seen: &Row) -> Result<bool> {
        self.inner.forget_token(seen)
    }

    fn audit(&mut self) -> Result<Vec<AuditLine>> {
        self.inner.audit()
    }
}

/// Tokens begin again with a new segment, as after a reboot; the rows remember the old ones.
#[test]
fn a_row_that_remembers_a_vanished_segment_is_taken_over_by_a_new_one() {
    on_both(|fixture| {
        let old = Row { cap: 40, version: 40, token: 1 << 40, ..fresh_row() };
        fixture.database.prepare(&old).unwrap();
        let (guard, resolved) = fixture.guard(FOR_EVER);
        for number in 0..2 {
            let answer = guard.update_customer_cap_and_access(&mut *fixture.database, QUERY, &update(1, number));
            assert_eq!(answer.unwrap(), UPDATED);
        }
        let row = fixture.row();
        assert_eq!((row.cap, row.version), (42, 42));
        assert!(row.token > 0 && row.token < old.token);
        assert_eq!(resolved.try_iter().count(), 0);
        assert_eq!(fixture.record(), row.state());
    });
}

#[test]
fn the_row_itself_refuses_an_old_version_and_an_old_token() {
    on_both(|fixture| {
        let seen = fixture.row();
        let write = |fixture: &mut Fixture, seen: &Row, number: u32, fence: Fence| {
            let change = Change::of(seen, &update(1, number), fence);
            fixture.database.write(&change).unwrap()
        };
        assert!(write(fixture, &seen, 0, Fence::VersionAndToken(5)));
        assert!(!write(fixture, &seen, 1, Fence::VersionAndToken(9)), "old version");
        assert!(!write(fixture, &seen, 1, Fence::Version), "old version");
        let seen = fixture.row();
        assert_eq!(seen.token, 5);
        assert!(!write(fixture, &seen, 1, Fence::VersionAndToken(4)), "old token");
        assert!(write(fixture, &seen, 1, Fence::VersionAndToken(5)));
        assert_eq!(fixture.calls(), [call(1, 0), call(1, 1)]);
        assert_eq!((fixture.row().cap, fixture.row().version), (2, 2));
    });
}
