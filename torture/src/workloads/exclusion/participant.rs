//! A thread with a session that acquires names again and again: what locks, elections and guards have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slotguard::backend::{Backend, Op, Session, SharedMemory};
use slotguard::recipe::{self, Error, Result};
use slotguard::{Deadline, Outcome as Answer, Token};

use super::{Key, PREFIX, Settings};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Open, Outcome};
use crate::system;
use crate::value::{self, Evidence};
use crate::workloads::final_state::DATA;

/// Most writes of one holder before it releases the name.
pub const WRITES: u64 = 32;
/// The longest pause between two writes.
pub const PAUSE: Duration = Duration::from_millis(10);
/// A waiter gives up after so many leases at most: nobody waits until the end of the run.
const LONGEST_WAIT: u32 = 6;

/// A thread and its session.
pub struct Participant<'a, 'h> {
    pub store: Arc<SharedMemory>,
    pub session: Arc<Session<SharedMemory>>,
    pub client: &'a mut Client<'h>,
    pub settings: Settings,
}

/// Joins with a session and calls `acquire_once` until the session is over or it answers `false`; then joins anew, until the
/// time is over.
pub fn take_part<P>(
    settings: Settings,
    client: &mut Client<'_>,
    prepare: impl Fn(&Participant<'_, '_>) -> Result<P>,
    acquire_once: impl Fn(&mut Participant<'_, '_>, &P) -> Result<bool>,
) -> Result<()> {
    let store = Arc::new(SharedMemory::new(client.segment.clone())?);
    while client.awaits_room() {
        let Some(session) = client.join(&store, settings.lease()) else {
            continue;
        };
        let mut participant = Participant { store: Arc::clone(&store), session, client, settings };
        let place = prepare(&participant)?;
        while participant.session.is_alive()
            && participant.client.awaits_room()
            && acquire_once(&mut participant, &place)?
        {}
    }
    Ok(())
}

impl Client<'_> {
    /// Opens a session that is kept alive by itself, written down with the time it lasts at least.
    pub fn join(&mut self, store: &Arc<SharedMemory>, time: Duration) -> Option<Arc<Session<SharedMemory>>> {
        let open = self.log.begin(Kind::Lease, 0);
        match recipe::join(store, time) {
            Ok(session) => {
                let until = counted_on(&session).unwrap_or(1);
                open.with_extra(session.lease().0).with_count(until).finish(Outcome::Done, 0, 0);
                Some(session)
            }
            Err(error) => {
                self.refused_by(open, error);
                None
            }
        }
    }
}

/// Until when the session may be counted on, on the clock of the history or a little less.
fn counted_on(session: &Session<SharedMemory>) -> Option<u64> {
    let now = system::now();
    let lasts = session.alive_until()?.saturating_duration_since(Instant::now());
    Some(now + lasts.as_nanos() as u64)
}

impl Participant<'_, '_> {
    /// Records until when the session lasts for certain: until then nobody else may acquire what it holds.
    pub fn counts_on(&mut self) {
        if let Some(until) = counted_on(&self.session) {
            let open = self.client.log.begin(Kind::Lease, 0).with_extra(self.session.lease().0);
            open.with_count(until).finish(Outcome::Done, 0, 0);
        }
    }

    /// Until when to wait for a name.
    pub fn patience(&mut self) -> Deadline {
        if self.client.random.one_in(16) {
            return Deadline::now();
        }
        Deadline::after(self.client.random.between(Duration::ZERO, self.settings.lease() * LONGEST_WAIT))
    }

    /// Records that the name was not acquired, and checks that no queue holds a ticket of this session any more. Answers
    /// whether the session may go on.
    pub fn not_acquired(&mut self, open: Open<'_>, name: u32, error: impl Into<Error>) -> Result<bool> {
        if self.client.refused_by(open, error) == Outcome::LeaseLost {
            return Ok(false);
        }
        let (lease, mut queued) = (self.session.lease(), None);
        self.store.range(PREFIX, &mut |_, _, meta| {
            if meta.lease == Some(lease) {
                queued = Some(meta.created.0);
            }
        })?;
        self.client.log.count_read();
        if let Some(token) = queued {
            self.client.anomaly(name, token, Anomaly::StillQueued);
        }
        Ok(true)
    }

    /// Writes the name's data with `commit`, which the recipe makes fail for a late token; answers whether it was written.
    pub fn write<E: Into<Error>>(
        &mut self,
        name: u32,
        token: Token,
        data: &Key,
        commit: impl FnOnce(&[Op<'_, Key>]) -> Result<Answer, E>,
    ) -> Result<bool> {
        let mut bytes = Vec::new();
        let (meta, _) = self.store.read(data, &mut bytes)?;
        self.client.log.count_read();
        let version = meta.map_or(0, |meta| meta.version.0);
        let Ok(before) = Evidence::of(name, &bytes) else {
            self.client.anomaly(name, token.0, Anomaly::Mixed);
            return Ok(false);
        };
        let open = self.client.log.begin(Kind::GuardedWrite, name).with_extra(token.0);
        open.attempt(before.author, before.count + 1);
        let author = open.author();
        before.followed_by(author).write(name, value::length_of(author, self.client.longest()), &mut bytes);
        // No condition of its own: the recipe keeps all others from writing.
        match commit(&[Op::put(data, &bytes)]) {
            Ok(Answer::Committed(revision)) => {
                self.client.log.count_acknowledged();
                open.finish(Outcome::Done, version + 1, revision.0);
                return Ok(true);
            }
            Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
            Err(error) => {
                self.client.refused_by(open, error);
            }
        }
        Ok(false)
    }

    /// Drops a guard without releasing it.
    pub fn drop_guard(&mut self, name: u32, token: Token, guard: impl Sized) {
        let open = self.client.log.begin(Kind::Drop, name).with_extra(token.0);
        drop(guard);
        open.finish(Outcome::Done, 0, 0);
    }

    /// After a refused write: `alive`, the guard's own answer, must be false. Answers whether the session is alive.
    pub fn is_sure(&mut self, name: u32, token: Token, alive: bool) -> bool {
        if alive {
            self.client.anomaly(name, token.0, Anomaly::StillSure);
        }
        self.session.is_alive()
    }

    /// Releases what the token stands for with `part`; answers whether it was still held.
    pub fn part<E: Into<Error>>(&mut self, name: u32, token: Token, part: impl FnOnce() -> Result<(), E>) -> bool {
        let open = self.client.log.begin(Kind::ReleaseName, name).with_extra(token.0);
        match part() {
            Ok(()) => open.finish(Outcome::Done, 0, 0),
            Err(error) => {
                self.client.refused_by(open, error);
                return false;
            }
        }
        true
    }

    /// Revokes the session's lease while a name is held: no entry under the lease may be there afterwards.
    pub fn end_session(&mut self) -> Result<()> {
        let lease = self.session.lease();
        let mut leased = None;
        if self.client.revoke(&self.store, lease) {
            self.store.range("", &mut |_, _, meta| {
                if meta.lease == Some(lease) {
                    leased = Some(meta.created.0);
                }
            })?;
            self.client.log.count_read();
        }
        if let Some(created) = leased {
            self.client.anomaly(0, created, Anomaly::AfterRevoke);
        }
        Ok(())
    }

    /// Pauses, mostly not at all and sometimes for long; never when a kill is near, which is to hit a busy thread.
    pub fn linger(&mut self, longest: Duration) {
        let pause = match self.client.random.below(128) {
            0 => self.client.random.between(longest / 4, longest),
            1..=8 => self.client.random.between(Duration::ZERO, Duration::from_millis(1)),
            _ => return,
        };
        if !self.client.log.is_warned() {
            std::thread::sleep(pause);
        }
    }
}

/// The keys of all names' data.
pub fn data(store: &SharedMemory, settings: Settings) -> Result<Vec<Key>> {
    (0..settings.names).map(|name| Ok(store.key(&format!("{DATA}{name}"))?)).collect::<Result<_, Error>>()
}
