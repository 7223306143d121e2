//! Changing rows outside the store in turns.

use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::recipe::guard::Turn;
use slotguard::recipe::{self, Guarded, Result};
use slotguard::{Deadline, Segment};

use super::check::Left;
use super::participant::{PAUSE, Participant, take_part};
use super::row::{Row, Rows};
use super::{Terms, lock, rows_of};
use crate::anomaly::Anomaly;
use crate::check::Final;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value;

/// All guarded things, and the rows they guard.
struct Things {
    guarded: Vec<Guarded<SharedMemory>>,
    rows: Rows,
}

/// Changes rows, turn after turn.
pub fn take_turns(terms: Terms, client: &mut Client<'_>) -> Result<()> {
    take_part(terms, client, things, |participant, things| {
        let name = participant.client.random.below(u64::from(participant.terms.names)) as u32;
        let (deadline, lease) = (participant.patience(), participant.session.lease());
        let open = participant.client.log.begin(Kind::Take, name).with_extra(lease.0);
        let turn = match things.guarded[name as usize].enter(&deadline) {
            Ok(turn) => turn,
            Err(error) => return participant.had_no_turn(open, name, error),
        };
        if let Some(intent) = turn.abandoned() {
            open.attempt(intent.token.0, 0);
        }
        open.finish(Outcome::Done, participant.store.segment().revision().0, turn.token().0);
        participant.client.log.set_holding(true);
        let goes_on = change(participant, name, turn, &things.rows);
        participant.client.log.set_holding(false);
        goes_on
    })
}

fn things(participant: &Participant<'_, '_>) -> Result<Things> {
    let guarded =
        (0..participant.terms.names).map(|name| Guarded::new(&participant.session, &participant.terms.called(name)));
    let path = participant.store.segment().path().map(rows_of).unwrap_or_default();
    Ok(Things { guarded: guarded.collect::<Result<_>>()?, rows: Rows::open(&path)? })
}

/// One turn: counts a change that nobody has counted, or makes one; answers whether the session is still its own.
fn change(participant: &mut Participant<'_, '_>, name: u32, mut turn: Turn<SharedMemory>, rows: &Rows) -> Result<bool> {
    participant.counts_on();
    let (token, counted) = (turn.token(), turn.version().0);
    let row = rows.read(name)?;
    participant.client.log.count_read();
    let Ok(before) = row.evidence(name) else {
        participant.client.anomaly(name, token.0, Anomaly::Mixed);
        return Ok(true);
    };
    if before.count != counted {
        if before.count != counted + 1 {
            // Who is late sees the turn after its own; who is not must not.
            if turn.check().is_ok() {
                participant.client.anomaly(name, token.0, Anomaly::Uncounted);
            }
            return Ok(participant.part(name, token, || turn.withdraw()));
        }
        return Ok(settle(participant, name, turn, &row, before.count));
    }
    // The write is the entry after the intent, and names itself as author.
    let author = participant.client.log.author_after(1);
    let mut value = Vec::new();
    before.followed_by(author).write(name, value::length_of(author, participant.client.longest()), &mut value);
    let open = participant.client.log.begin(Kind::Intend, name).with_extra(token.0);
    open.attempt(before.author, before.count + 1);
    if let Err(error) = turn.intend(&value) {
        participant.client.refused_by(open, error);
        return Ok(participant.session.is_alive());
    }
    open.finish(Outcome::Done, 0, 0);
    linger(participant);
    if participant.client.random.one_in(16) {
        // Thinks better of it, one way or the other.
        if participant.client.random.one_in(2) {
            return Ok(participant.part(name, token, || turn.withdraw()));
        }
        participant.drop_turn(name, token, turn);
        return Ok(true);
    }
    let open = participant.client.log.begin(Kind::Guarded, name).with_extra(token.0);
    open.attempt(before.author, before.count + 1);
    if !rows.swap(name, before.count, token.0, &value)? {
        open.finish(Outcome::Conflict, 0, 0);
        return Ok(participant.part(name, token, || turn.withdraw()));
    }
    participant.client.log.count_acknowledged();
    open.finish(Outcome::Done, before.count + 1, 0);
    linger(participant);
    if participant.client.random.one_in(16) {
        // Walks away: whoever comes next has to find out.
        participant.drop_turn(name, token, turn);
        return Ok(true);
    }
    let row = Row { token: token.0, value };
    Ok(settle(participant, name, turn, &row, before.count + 1))
}

/// Counts the change that the row shows, and ends the turn.
fn settle(participant: &mut Participant<'_, '_>, name: u32, turn: Turn<SharedMemory>, row: &Row, changes: u64) -> bool {
    let open = participant.client.log.begin(Kind::Settle, name).with_extra(turn.token().0).with_count(changes);
    match turn.commit(&row.value) {
        Ok(version) => open.finish(Outcome::Done, version.0, 0),
        Err(error) => {
            participant.client.refused_by(open, error);
            return participant.session.is_alive();
        }
    }
    true
}

/// One who talks to a database is slow now and then.
fn linger(participant: &mut Participant<'_, '_>) {
    for _ in 0..4 {
        participant.linger(PAUSE);
    }
}

/// Has one last turn at everything, as somebody who comes after a death, and looks at what is left.
pub fn left(segment: &Segment, terms: Terms) -> Result<Left> {
    let store = Arc::new(SharedMemory::new(segment.clone())?);
    store.reap()?;
    let path = segment.path().map(rows_of).unwrap_or_default();
    let rows = Rows::open(&path)?;
    let session = recipe::join(&store, Duration::from_secs(60))?;
    let (mut data, mut counted) = (Vec::new(), Vec::new());
    for name in 0..terms.names {
        let guarded = Guarded::new(&session, &terms.called(name))?;
        let turn = guarded.enter(&Deadline::after(Duration::from_secs(5)))?;
        let (row, version) = (rows.read(name)?, turn.version().0);
        let evidence = row.evidence(name);
        let count = evidence.map_or(0, |evidence| evidence.count);
        // Only if the row is ahead: what was counted and is in no row is to be seen.
        if count > version {
            turn.commit(&row.value)?
        } else {
            turn.withdraw().map(|()| slotguard::Version(version))?
        };
        let state = guarded.read()?;
        data.push(Final { version: count, evidence, fingerprint_agrees: state.value == row.value });
        counted.push((version, state.version));
    }
    drop(session);
    drop(rows);
    // A file that is there all the same is found when the files left are counted.
    let _ = std::fs::remove_file(path);
    Ok(Left { data, counted, ..lock::left(&store, terms)? })
}
