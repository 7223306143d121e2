//! Rows outside the store, changed by one holder of a guard at a time.

use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::SharedMemory;
use slotguard::recipe::guard::GuardedClaim;
use slotguard::recipe::{self, Guarded, Result};
use slotguard::{Deadline, Segment};

use super::check::FinalState;
use super::participant::{PAUSE, Participant, take_part};
use super::row::{Row, Rows};
use super::{Settings, lock, rows_of};
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

/// Changes rows, again and again.
pub fn acquire_often(settings: Settings, client: &mut Client<'_>) -> Result<()> {
    take_part(settings, client, things, |participant, things| {
        let name = participant.client.random.below(u64::from(participant.settings.names)) as u32;
        let (deadline, lease) = (participant.patience(), participant.session.lease());
        let open = participant.client.log.begin(Kind::Acquire, name).with_extra(lease.0);
        let claim = match things.guarded[name as usize].claim(&deadline) {
            Ok(claim) => claim,
            Err(error) => return participant.not_acquired(open, name, error),
        };
        if let Some(intent) = claim.abandoned().first() {
            open.attempt(intent.token.0, 0);
        }
        open.finish(Outcome::Done, participant.store.segment().revision().0, claim.token().0);
        participant.client.log.set_holding(true);
        let goes_on = change(participant, name, claim, &things.rows);
        participant.client.log.set_holding(false);
        goes_on
    })
}

fn things(participant: &Participant<'_, '_>) -> Result<Things> {
    let guarded = (0..participant.settings.names)
        .map(|name| Ok(Guarded::new(&participant.session, &participant.settings.called(name))?));
    let path = participant.store.segment().path().map(rows_of).unwrap_or_default();
    Ok(Things { guarded: guarded.collect::<Result<_>>()?, rows: Rows::open(&path)? })
}

/// Counts a change that its author did not count, or makes one; answers whether the session is alive.
fn change(
    participant: &mut Participant<'_, '_>,
    name: u32,
    mut claim: GuardedClaim<SharedMemory>,
    rows: &Rows,
) -> Result<bool> {
    participant.counts_on();
    let (token, counted) = (claim.token(), claim.version().0);
    let row = rows.read(name)?;
    participant.client.log.count_read();
    let Ok(before) = row.evidence(name) else {
        participant.client.anomaly(name, token.0, Anomaly::Mixed);
        return Ok(true);
    };
    if before.count != counted {
        if before.count != counted + 1 {
            // A late holder sees the row of the next one; a holder in time must not.
            if claim.check().is_ok() {
                participant.client.anomaly(name, token.0, Anomaly::Uncounted);
            }
            return Ok(participant.part(name, token, || claim.release()));
        }
        return Ok(confirm(participant, name, claim, &row, before.count));
    }
    // The write is the entry after the intent, and names itself as author.
    let author = participant.client.log.author_after(1);
    let mut value = Vec::new();
    before.followed_by(author).write(name, value::length_of(author, participant.client.longest()), &mut value);
    let open = participant.client.log.begin(Kind::Intend, name).with_extra(token.0);
    open.attempt(before.author, before.count + 1);
    if let Err(error) = claim.intend(&value) {
        participant.client.refused_by(open, error);
        return Ok(participant.session.is_alive());
    }
    open.finish(Outcome::Done, 0, 0);
    linger(participant);
    if participant.client.random.one_in(16) {
        // Gives up before the write.
        if participant.client.random.one_in(2) {
            return Ok(participant.part(name, token, || claim.release()));
        }
        participant.drop_guard(name, token, claim);
        return Ok(true);
    }
    let open = participant.client.log.begin(Kind::GuardedWrite, name).with_extra(token.0);
    open.attempt(before.author, before.count + 1);
    if !rows.swap(name, before.count, token.0, &value)? {
        open.finish(Outcome::Conflict, 0, 0);
        return Ok(participant.part(name, token, || claim.release()));
    }
    participant.client.log.count_acknowledged();
    open.finish(Outcome::Done, before.count + 1, 0);
    linger(participant);
    if participant.client.random.one_in(16) {
        // Leaves the change for the next holder to count.
        participant.drop_guard(name, token, claim);
        return Ok(true);
    }
    let row = Row { token: token.0, value };
    Ok(confirm(participant, name, claim, &row, before.count + 1))
}

/// Counts the change that the row shows, and releases the guard.
fn confirm(
    participant: &mut Participant<'_, '_>,
    name: u32,
    claim: GuardedClaim<SharedMemory>,
    row: &Row,
    changes: u64,
) -> bool {
    let open = participant.client.log.begin(Kind::Confirm, name).with_extra(claim.token().0).with_count(changes);
    match claim.commit(&row.value) {
        Ok(version) => open.finish(Outcome::Done, version.0, 0),
        Err(error) => {
            participant.client.refused_by(open, error);
            return participant.session.is_alive();
        }
    }
    true
}

/// Pauses as a client of a database does.
fn linger(participant: &mut Participant<'_, '_>) {
    for _ in 0..4 {
        participant.linger(PAUSE);
    }
}

/// Claims every guarded thing once more, as the holder after a dead one, and reads what is there.
pub fn final_state(segment: &Segment, settings: Settings) -> Result<FinalState> {
    let store = Arc::new(SharedMemory::new(segment.clone())?);
    store.reap()?;
    let path = segment.path().map(rows_of).unwrap_or_default();
    let rows = Rows::open(&path)?;
    let session = recipe::join(&store, Duration::from_secs(60))?;
    let (mut data, mut counted) = (Vec::new(), Vec::new());
    for name in 0..settings.names {
        let guarded = Guarded::new(&session, &settings.called(name))?;
        let claim = guarded.claim(&Deadline::after(Duration::from_secs(5)))?;
        let (row, version) = (rows.read(name)?, claim.version().0);
        let evidence = row.evidence(name);
        let count = evidence.map_or(0, |evidence| evidence.count);
        // Only if the row is ahead, so that a count without a change in the row stays visible.
        if count > version {
            claim.commit(&row.value)?
        } else {
            claim.release().map(|()| slotguard::Version(version))?
        };
        let state = guarded.read()?;
        data.push(Final { version: count, evidence, fingerprint_agrees: state.value == row.value });
        counted.push((version, state.version));
    }
    drop(session);
    drop(rows);
    // A file that is there all the same is found when the files left are counted.
    let _ = std::fs::remove_file(path);
    Ok(FinalState { data, counted, ..lock::final_state(&store, settings)? })
}
