//! Locks: one alone, one with other readers, several at once.

use std::time::Duration;

use slotguard::backend::{Backend, Meta, SharedMemory};
use slotguard::recipe::Result;
use slotguard::recipe::lock::{self, Guard, Lock, Mode};

use super::check::FinalState;
use super::participant::{PAUSE, Participant, WRITES, data, take_part};
use super::{Key, PREFIX, Settings};
use crate::anomaly::Anomaly;
use crate::check::holds::Wanted;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::Evidence;
use crate::workloads::final_state;

/// How long a observer rests between two rounds.
const BETWEEN_LOOKS: Duration = Duration::from_micros(500);

/// All locks, with the data each is for.
struct Locks(Vec<(Lock<SharedMemory>, Key)>);

impl Locks {
    fn of(participant: &Participant<'_, '_>) -> Result<Self> {
        let locks = data(&participant.store, participant.settings)?.into_iter().enumerate();
        let called = |name| participant.settings.called(name as u32);
        let locks = locks.map(|(name, data)| Ok((Lock::new(&participant.session, &called(name))?, data)));
        Ok(Self(locks.collect::<Result<_>>()?))
    }
}

/// Acquires and releases locks, again and again.
pub fn acquire_often(settings: Settings, client: &mut Client<'_>) -> Result<()> {
    take_part(settings, client, Locks::of, acquire_once)
}

/// Which locks are asked for, each in its mode.
fn draw(participant: &mut Participant<'_, '_>) -> Vec<(u32, Mode)> {
    let (random, names) = (&mut participant.client.random, participant.settings.names);
    let first = random.below(u64::from(names)) as u32;
    let mode = if random.one_in(4) { Mode::Shared } else { Mode::Exclusive };
    if !random.one_in(4) {
        return vec![(first, mode)];
    }
    // From any of them on: so two that want the same name them in opposite orders.
    let several = 2 + random.below(u64::from(names) - 1) as u32;
    let each = |more| {
        let mode = if random.one_in(3) { Mode::Shared } else { Mode::Exclusive };
        ((first + more) % names, mode)
    };
    (0..several).map(each).collect()
}

fn acquire_once(participant: &mut Participant<'_, '_>, Locks(locks): &Locks) -> Result<bool> {
    let drawn = draw(participant);
    let mut wanted = Wanted::default();
    for (name, mode) in &drawn {
        *(if *mode == Mode::Shared { &mut wanted.shared } else { &mut wanted.alone }) |= 1 << name;
    }
    let (deadline, lease) = (participant.patience(), participant.session.lease());
    let open = participant.client.log.begin(Kind::Acquire, drawn[0].0).with_extra(lease.0).with_count(wanted.packed());
    let taken = match drawn.as_slice() {
        [(name, Mode::Exclusive)] => locks[*name as usize].0.acquire(&deadline).map_err(Into::into),
        [(name, Mode::Shared)] => locks[*name as usize].0.read(&deadline).map_err(Into::into),
        several => {
            let several: Vec<_> = several.iter().map(|(name, mode)| (&locks[*name as usize].0, *mode)).collect();
            lock::all(&several, &deadline)
        }
    };
    let guard = match taken {
        Ok(guard) => guard,
        Err(error) => return participant.not_acquired(open, drawn[0].0, error),
    };
    open.finish(Outcome::Done, participant.store.segment().revision().0, guard.token().0);
    participant.client.log.set_holding(true);
    let goes_on = hold(participant, guard, &drawn, locks);
    participant.client.log.set_holding(false);
    goes_on
}

/// Reads and writes under the locks, then releases them in one of several ways; answers whether the session is alive.
fn hold(
    participant: &mut Participant<'_, '_>,
    guard: Guard<SharedMemory>,
    drawn: &[(u32, Mode)],
    locks: &[(Lock<SharedMemory>, Key)],
) -> Result<bool> {
    participant.counts_on();
    let token = guard.token();
    let of_mode = |mode| drawn.iter().filter(move |(_, of)| *of == mode).map(|(name, _)| *name).collect::<Vec<u32>>();
    let (alone, shared) = (of_mode(Mode::Exclusive), of_mode(Mode::Shared));
    let before =
        shared.iter().map(|name| read(participant, *name, &locks[*name as usize].1)).collect::<Result<Vec<_>>>()?;
    for _ in 0..1 + participant.client.random.below(WRITES) {
        if participant.client.random.one_in(8) {
            participant.counts_on();
        }
        participant.linger(PAUSE);
        if participant.client.log.room() < 16 || participant.client.is_over() {
            break;
        }
        let Some(name) = alone.get(participant.client.random.below(alone.len() as u64) as usize) else {
            // Readers do not stay for as long.
            if participant.client.random.one_in(8) {
                break;
            }
            continue;
        };
        if !participant.write(*name, token, &locks[*name as usize].1, |ops| guard.commit(ops))? {
            return Ok(participant.is_sure(*name, token, guard.is_alive()));
        }
    }
    for (name, before) in shared.iter().zip(before) {
        let now = read(participant, *name, &locks[*name as usize].1)?;
        // It was ours in between if it is now.
        match guard.check() {
            Ok(()) if now != before => participant.client.anomaly(*name, token.0, Anomaly::Unlocked),
            Ok(()) | Err(lock::Error::Lost(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match participant.client.random.below(8) {
        0 => participant.end_session().map(|()| false),
        1 | 2 => {
            participant.drop_guard(drawn[0].0, token, guard);
            Ok(true)
        }
        _ => Ok(participant.part(drawn[0].0, token, || guard.release())),
    }
}

/// Reads a name's data under a lock for readers, and writes it down; answers the revision.
fn read(participant: &mut Participant<'_, '_>, name: u32, data: &Key) -> Result<u64> {
    let open = participant.client.log.begin(Kind::Read, name);
    let mut bytes = Vec::new();
    let (meta, _) = participant.store.read(data, &mut bytes)?;
    participant.client.log.count_read();
    let revision = meta.map_or(0, |meta| meta.modified.0);
    open.finish(Outcome::Done, meta.map_or(0, |meta| meta.version.0), revision);
    if Evidence::of(name, &bytes).is_err() {
        participant.client.anomaly(name, revision, Anomaly::Mixed);
    }
    Ok(revision)
}

/// Records who holds which lock, and now and then asks the holder to release it, which only leaves a mark on the ticket.
pub fn look(settings: Settings, client: &mut Client<'_>) -> Result<()> {
    take_part(settings, client, Locks::of, |participant, Locks(locks)| {
        for (name, (lock, _)) in locks.iter().enumerate() {
            if participant.client.log.room() < 16 {
                break;
            }
            let open = participant.client.log.begin(Kind::Observe, name as u32);
            let first = lock.status()?.holders.into_iter().next();
            match first {
                Some(first) => open.finish(Outcome::Done, 0, first.token.0),
                None => open.finish(Outcome::Declined, 0, 0),
            }
            participant.client.log.count_read();
            if participant.client.random.one_in(16) {
                lock.ask_to_release()?;
            }
        }
        std::thread::sleep(BETWEEN_LOOKS);
        Ok(true)
    })
}

/// Reads the data after the run, and lists entries that should be gone with the sessions that put them.
pub fn final_state(store: &SharedMemory, settings: Settings) -> Result<FinalState> {
    let stays = |name: &str, value: &[u8], meta: &Meta| {
        let is_last_word = name.ends_with("/leader") && value.starts_with(b"resigned ");
        // What has no slash after its own name is a guarded thing.
        let is_thing = name.strip_prefix(PREFIX).is_some_and(|rest| !rest.contains('/'));
        meta.lease.is_none() && (is_thing || is_last_word)
    };
    let (data, of_the_dead) = final_state::read(store, settings.names as usize, stays)?;
    Ok(FinalState { data, of_the_dead, ..FinalState::default() })
}
