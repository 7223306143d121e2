//! One thread with its session, and what it does whatever it has its turn by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slotguard::backend::{Backend, Op, Session, SharedMemory};
use slotguard::recipe::{self, Error, Result};
use slotguard::{Deadline, Outcome as Answer, Token};

use super::{Key, TURN, Terms};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Open, Outcome};
use crate::system;
use crate::value::{self, Evidence};
use crate::workloads::left::DATA;

/// How often somebody writes at most before it parts with a name.
pub const WRITES: u64 = 32;
/// The longest pause between two writes.
pub const PAUSE: Duration = Duration::from_millis(10);
/// Who has not got its turn after so many leases gives up: nobody is made to wait for the end of the run.
const LONGEST_WAIT: u32 = 6;

/// Somebody with a session.
pub struct Participant<'a, 'h> {
    pub store: Arc<SharedMemory>,
    pub session: Arc<Session<SharedMemory>>,
    pub client: &'a mut Client<'h>,
    pub terms: Terms,
}

/// Joins, and has turns as long as the session lives and `turn` says; then joins anew, until the time is over.
pub fn take_part<P>(
    terms: Terms,
    client: &mut Client<'_>,
    prepare: impl Fn(&Participant<'_, '_>) -> Result<P>,
    turn: impl Fn(&mut Participant<'_, '_>, &P) -> Result<bool>,
) -> Result<()> {
    let store = Arc::new(SharedMemory::new(client.segment.clone())?);
    while client.awaits_room() {
        let Some(session) = client.join(&store, terms.lease()) else {
            continue;
        };
        let mut participant = Participant { store: Arc::clone(&store), session, client, terms };
        let place = prepare(&participant)?;
        while participant.session.is_alive() && participant.client.awaits_room() && turn(&mut participant, &place)? {}
    }
    Ok(())
}

impl Client<'_> {
    /// Opens a session that is kept alive by itself, written down with the time it lasts at least.
    pub fn join(&mut self, store: &Arc<SharedMemory>, time: Duration) -> Option<Arc<Session<SharedMemory>>> {
        let open = self.log.begin(Kind::Lend, 0);
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
    let left = session.alive_until()?.saturating_duration_since(Instant::now());
    Some(now + left.as_nanos() as u64)
}

impl Participant<'_, '_> {
    /// Writes down until when the session may be counted on: nobody else may have before what is held by it.
    pub fn counts_on(&mut self) {
        if let Some(until) = counted_on(&self.session) {
            let open = self.client.log.begin(Kind::Lend, 0).with_extra(self.session.lease().0);
            open.with_count(until).finish(Outcome::Done, 0, 0);
        }
    }

    /// Till when to wait for a turn.
    pub fn patience(&mut self) -> Deadline {
        if self.client.random.one_in(16) {
            return Deadline::now();
        }
        Deadline::after(self.client.random.between(Duration::ZERO, self.terms.lease() * LONGEST_WAIT))
    }

    /// Writes down that it has got no turn; nothing of it is in any line then. Answers whether to go on with the session.
    pub fn had_no_turn(&mut self, open: Open<'_>, name: u32, error: Error) -> Result<bool> {
        if self.client.refused_by(open, error) == Outcome::LeaseLost {
            return Ok(false);
        }
        let (lease, mut left) = (self.session.lease(), None);
        self.store.range(TURN, &mut |_, _, meta| {
            if meta.lease == Some(lease) {
                left = Some(meta.created.0);
            }
        })?;
        self.client.log.count_read();
        if let Some(token) = left {
            self.client.anomaly(name, token, Anomaly::StillQueued);
        }
        Ok(true)
    }

    /// Writes the name's data by what commits only for who holds the token; answers whether it did.
    pub fn write(
        &mut self,
        name: u32,
        token: Token,
        data: &Key,
        commit: impl FnOnce(&[Op<'_, Key>]) -> Result<Answer>,
    ) -> Result<bool> {
        let mut bytes = Vec::new();
        let (meta, _) = self.store.read(data, &mut bytes)?;
        self.client.log.count_read();
        let version = meta.map_or(0, |meta| meta.version.0);
        let Ok(before) = Evidence::of(name, &bytes) else {
            self.client.anomaly(name, token.0, Anomaly::Mixed);
            return Ok(false);
        };
        let open = self.client.log.begin(Kind::Guarded, name).with_extra(token.0);
        open.attempt(before.author, before.count + 1);
        let author = open.author();
        before.followed_by(author).write(name, value::length_of(author, self.client.longest()), &mut bytes);
        // No condition of its own: that nobody else writes is what the turn is for.
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

    /// Parts with a turn without a word.
    pub fn drop_turn(&mut self, name: u32, token: Token, turn: impl Sized) {
        let open = self.client.log.begin(Kind::Drop, name).with_extra(token.0);
        drop(turn);
        open.finish(Outcome::Done, 0, 0);
    }

    /// After a refusal: nobody may count on it any more. Answers whether the session is its own still.
    pub fn is_sure(&mut self, name: u32, token: Token, alive: bool) -> bool {
        if alive {
            self.client.anomaly(name, token.0, Anomaly::StillSure);
        }
        self.session.is_alive()
    }

    /// Parts with what the token stands for; answers whether it was ours until then.
    pub fn part(&mut self, name: u32, token: Token, part: impl FnOnce() -> Result<()>) -> bool {
        let open = self.client.log.begin(Kind::Leave, name).with_extra(token.0);
        match part() {
            Ok(()) => open.finish(Outcome::Done, 0, 0),
            Err(error) => {
                self.client.refused_by(open, error);
                return false;
            }
        }
        true
    }

    /// Ends the session in the middle of a turn: nothing lives by its lease when that is told.
    pub fn end_session(&mut self) -> Result<()> {
        let lease = self.session.lease();
        let mut left = None;
        if self.client.revoke(&self.store, lease) {
            self.store.range("", &mut |_, _, meta| {
                if meta.lease == Some(lease) {
                    left = Some(meta.created.0);
                }
            })?;
            self.client.log.count_read();
        }
        if let Some(created) = left {
            self.client.anomaly(0, created, Anomaly::AfterRevoke);
        }
        Ok(())
    }

    /// Most are quick; some take long, and nobody who is about to be killed: that is to find it at work.
    pub fn linger(&mut self, longest: Duration) {
        let pause = match self.client.random.below(128) {
            0 => self.client.random.between(longest / 4, longest),
            1..=8 => self.client.random.between(Duration::ZERO, Duration::from_millis(1)),
            _ => return,
        };
        if !self.client.log.is_hurried() {
            std::thread::sleep(pause);
        }
    }
}

/// The keys of all names' data.
pub fn data(store: &SharedMemory, terms: Terms) -> Result<Vec<Key>> {
    (0..terms.names).map(|name| Ok(store.key(&format!("{DATA}{name}"))?)).collect::<Result<_, Error>>()
}
