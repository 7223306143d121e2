//! Taking part: joining, sending, waiting for acknowledgements, making room.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::causal::Message;
use super::encoding::{Name, Names, read_message, write_clock};
use super::error::{Error, Result};
use super::inbox::Inbox;
use super::look::Look;
use crate::Outcome;
use crate::backend::{Backend, Op, Session, Watch, When};
use crate::clock::{Deadline, Revision, Token, VectorClock};
use crate::recipe::Owner;

/// How many messages of one sender may be under way unless said otherwise: as many as source system 2 held for one.
pub const DEFAULT_BOUND: u64 = 100;

/// A member of a delivery: one session under one number.
///
/// Dropping it ends its presence and keeps its cursor: who joins under its number goes on where it was.
pub struct Member<B: Backend> {
    pub(super) session: Arc<Session<B>>,
    pub(super) names: Names,
    pub(super) number: u32,
    presence: B::Key,
    cursor: B::Key,
    token: Token,
    most: u64,
    resumed: bool,
    state: Mutex<State>,
}

struct State {
    /// What has been acknowledged of others, and sent.
    clock: VectorClock,
    /// How many of our own are known to have been removed.
    removed: u64,
    /// Nobody has told us what became of our last commit: the store knows more than we do.
    unsure: bool,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which of the sender's messages it is, from 1 on.
    pub sequence: u64,
    /// The commit that sent it.
    pub revision: Revision,
}

impl<B: Backend> Member<B> {
    /// Takes part in the delivery of this name under a number, with [`DEFAULT_BOUND`].
    ///
    /// # Errors
    /// As [`join_with`](Member::join_with).
    pub fn join(session: &Arc<Session<B>>, name: &str, number: u32) -> Result<Self> {
        Self::join_with(session, name, number, DEFAULT_BOUND)
    }

    /// The same with a bound of one's own for the messages one has under way.
    ///
    /// Who was a member under that number and was not dropped goes on where it was; else one is sent what is sent from
    /// now on.
    ///
    /// # Errors
    /// [`Error::MemberTaken`] if the number belongs to a live session; [`Error::NoRoom`]; [`Error::Damaged`] if an
    /// entry of this number, or the low watermark, is; the store's.
    pub fn join_with(session: &Arc<Session<B>>, name: &str, number: u32, most: u64) -> Result<Self> {
        if most == 0 {
            return Err(Error::NoRoom);
        }
        let (store, names) = (session.store(), Names(name.to_owned()));
        // The longest of all: refuses a name that is too long, or none.
        store.key(name)?;
        store.key(&names.of(Name::Message(u32::MAX, u64::MAX)))?;
        let presence = store.key(&names.of(Name::Presence(number)))?;
        let cursor = store.key(&names.of(Name::Cursor(number)))?;
        let watermark_key = store.key(&names.of(Name::LowWatermark))?;
        let owner = Owner::me().to_bytes();
        loop {
            let look = Look::take(&**store, &names)?;
            if let Some(damage) = [&cursor, &presence].into_iter().find_map(|own| look.damage(own.as_ref())) {
                return Err(damage);
            }
            let present = Op::put_leased(&presence, &owner, session.lease()).if_absent();
            let resumed = look.cursors.get(&number);
            let mut clock = resumed.map_or_else(|| look.sent(), |(clock, _)| clock.clone());
            let (start, same) = (write_clock(&clock), write_clock(&look.low_watermark));
            let outcome = match resumed {
                Some((_, meta)) => store.commit(&[present, Op::check(&cursor, When::ModifiedAt(meta.modified))])?,
                None => store.commit(&[
                    present,
                    Op::put(&cursor, &start).if_absent(),
                    Op::put(&watermark_key, &same).when(look.watermark_is),
                ])?,
            };
            let resumed = resumed.is_some();
            // Of our own, all that was sent: a cursor need not know the last of it.
            clock.set(number, look.sent().get(number));
            let state = Mutex::new(State { clock, removed: look.low_watermark.get(number), unsure: false });
            if let Outcome::Committed(revision) = outcome {
                let (session, token) = (Arc::clone(session), Token(revision.0));
                return Ok(Self { session, names, number, presence, cursor, token, most, resumed, state });
            }
            let mut value = Vec::new();
            // After the commit, which has removed what a dead session left.
            if store.read(&presence, &mut value)?.0.is_some() {
                let owner = Owner::from_bytes(&value);
                return Err(Error::MemberTaken { name: name.to_owned(), member: number, owner });
            }
            // Somebody else joined, or made room.
        }
    }

    /// Our number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether we went on where an earlier member of our number was. If not, we are sent what was sent since we joined.
    pub fn has_resumed(&self) -> bool {
        self.resumed
    }

    /// How many messages of each sender we have acknowledged, and how many we have sent.
    pub fn clock(&self) -> VectorClock {
        self.state().clock.clone()
    }

    /// The operation that lets a commit take place only while we are the member.
    pub fn condition(&self) -> Op<'_, B::Key> {
        Op::check(&self.presence, When::CreatedAt(Revision(self.token.0)))
    }

    /// Sends to all members. It was caused by what we have sent and acknowledged before.
    ///
    /// # Errors
    /// Nothing was sent after any of them: [`Error::Unacknowledged`] names who is behind when as many messages are
    /// under way as may be; [`Error::MemberLost`]; [`Error::Count`]; the store's.
    pub fn send(&self, body: &[u8]) -> Result<Sent> {
        match self.act(None, Some(body), &[])? {
            (Outcome::Committed(revision), sequence) => Ok(Sent { sequence, revision }),
            (Outcome::Conflict, _) => Err(self.lost()),
        }
    }

    /// The messages sent to us and not yet acknowledged, from the oldest on.
    ///
    /// # Errors
    /// Those of [`Backend::watch`].
    pub fn inbox(&self) -> Result<Inbox<'_, B>> {
        Inbox::open(self)
    }

    /// Waits until all members have acknowledged our message, those without a session aside.
    ///
    /// # Errors
    /// [`Error::NotAcknowledged`] names who has not when the deadline has passed; [`Error::NoSuchMessage`] if it has
    /// not been sent; [`Error::Damaged`]; the store's.
    pub fn wait_acknowledged(&self, sequence: u64, deadline: &Deadline) -> Result<()> {
        let mut look = self.look()?;
        if sequence == 0 || sequence > look.sent().get(self.number) {
            return Err(Error::NoSuchMessage { sender: self.number, sequence, why: NOT_SENT });
        }
        let mut watch = self.session.store().watch(&self.names.prefix(), Revision(look.at.0 + 1))?;
        loop {
            let mut behind = look.behind(self.number, sequence);
            behind.retain(|behind| look.present.contains(&behind.member));
            if behind.is_empty() {
                return Ok(());
            }
            if watch.next(deadline, &mut |_| {})?.is_none() {
                return Err(Error::NotAcknowledged { sequence, behind });
            }
            look = self.look()?;
        }
    }

    /// A message that is kept still, whoever sent it: to do again what went wrong, or to look at what happened.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`]; [`Error::Damaged`]; the store's.
    pub fn message(&self, sender: u32, sequence: u64) -> Result<Message<Vec<u8>>> {
        let (name, mut value) = (self.names.of(Name::Message(sender, sequence)), Vec::new());
        let store = self.session.store();
        if store.read(&store.key(&name)?, &mut value)?.0.is_some() {
            let Message { clock, body, .. } = read_message(&name, sender, sequence, &value)?;
            let body = body.ok_or(Error::NoSuchMessage { sender, sequence, why: "it was damaged, and taken away" })?;
            return Ok(Message { sender, clock, body });
        }
        let was = sequence > 0 && sequence <= self.look()?.sent().get(sender);
        let why = if was { "all members have acknowledged it, and it was removed" } else { NOT_SENT };
        Err(Error::NoSuchMessage { sender, sequence, why })
    }

    /// Sends one of our messages again, as a new one, to members that have lost what they did for it. Those that have
    /// not must know it by its body.
    ///
    /// # Errors
    /// Those of [`message`](Member::message) and [`send`](Member::send).
    pub fn resend(&self, sequence: u64) -> Result<Sent> {
        self.send(&self.message(self.number, sequence)?.body)
    }

    /// All messages that are kept, in the order in which they were sent. What cannot be read is told by
    /// [`foreign`](super::foreign()).
    ///
    /// # Errors
    /// The store's.
    pub fn history(&self) -> Result<Vec<Message<Vec<u8>>>> {
        let mut kept = Vec::new();
        self.session.store().range(&self.names.message_prefix(), &mut |key, value, meta| {
            if let Ok(Name::Message(sender, sequence)) = self.names.parse(key.as_ref())
                && let Ok(Message { clock, body: Some(body), .. }) = read_message(key.as_ref(), sender, sequence, value)
            {
                kept.push((meta.created, Message { sender, clock, body }));
            }
        })?;
        kept.sort_unstable_by_key(|(created, _)| *created);
        Ok(kept.into_iter().map(|(_, message)| message).collect())
    }

    /// Removes what all members have acknowledged, whoever sent it, and answers how many messages that were. A sender
    /// at its bound does it by itself.
    ///
    /// # Errors
    /// [`Error::Damaged`]; the store's. What was removed before it stays so.
    pub fn prune(&self) -> Result<usize> {
        let (store, mut removed) = (self.session.store(), 0);
        let watermark_key = store.key(&self.names.of(Name::LowWatermark))?;
        loop {
            let look = self.look()?;
            let acknowledged = look.acknowledged();
            let done = |(sender, sequence): &(u32, u64)| *sequence <= acknowledged.get(*sender);
            let all: Vec<_> = look.messages.iter().copied().filter(done).collect();
            // One operation is for the low watermark.
            let part = &all[..all.len().min(B::LIMITS.ops - 1)];
            if part.is_empty() {
                return Ok(removed);
            }
            let keys =
                part.iter().map(|&(sender, sequence)| store.key(&self.names.of(Name::Message(sender, sequence))));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            let mut low_watermark = look.low_watermark.clone();
            low_watermark.merge(&acknowledged);
            let watermark = write_clock(&low_watermark);
            let mut ops = vec![Op::put(&watermark_key, &watermark).when(look.watermark_is)];
            ops.extend(keys.iter().map(Op::delete));
            // A conflict: somebody joined, or removed something. Look again.
            if let Outcome::Committed(_) = store.commit(&ops)? {
                removed += part.len();
            }
        }
    }

    /// Ends the membership: nobody waits for us any more, and our cursor is gone. What we have sent is delivered still.
    ///
    /// # Errors
    /// [`Error::MemberLost`]; the store's.
    pub fn leave(self) -> Result<()> {
        let ops = [Op::delete(&self.presence).when(self.condition().when), Op::delete(&self.cursor)];
        match self.session.store().commit(&ops)? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(self.lost()),
        }
    }

    /// One commit for all that belongs together: the acknowledgement of a message, the sending of another, and `ops`.
    /// `Conflict` says that a condition of `ops` was false.
    pub(super) fn act(
        &self,
        deliver: Option<(u32, u64)>,
        send: Option<&[u8]>,
        ops: &[Op<'_, B::Key>],
    ) -> Result<(Outcome, u64)> {
        let store = self.session.store();
        let mut state = self.state();
        loop {
            if state.unsure {
                self.catch_up(&mut state)?;
            }
            let mut clock = state.clock.clone();
            if let Some((sender, sequence)) = deliver {
                if sequence <= clock.get(sender) {
                    return Err(Error::AlreadyAcknowledged { sender, sequence });
                }
                clock.set(sender, sequence);
            }
            let mut message = None;
            if let Some(body) = send {
                if clock.get(self.number).saturating_sub(state.removed) >= self.most {
                    state.removed = self.make_room(clock.get(self.number))?;
                }
                let sequence = clock.tick(self.number)?;
                let name = self.names.of(Name::Message(self.number, sequence));
                message = Some((store.key(&name)?, [write_clock(&clock), body.to_vec()].concat()));
            }
            let cursor = write_clock(&clock);
            let mut all = vec![self.condition()];
            all.extend(deliver.map(|_| Op::put(&self.cursor, &cursor).if_exists()));
            all.extend(message.as_ref().map(|(key, value)| Op::put(key, value).if_absent()));
            all.extend(ops);
            state.unsure = true;
            let outcome = store.commit(&all)?;
            state.unsure = false;
            if let Outcome::Committed(_) = outcome {
                let sequence = clock.get(self.number);
                state.clock = clock;
                return Ok((outcome, sequence));
            }
            self.check()?;
            // We are the member, so nobody else sends under our number: a message that is there already was sent by us,
            // in a commit that took place after we had been told of an error. Go on after it.
            let sent = self.look()?.sent().get(self.number);
            if message.is_none() || sent < clock.get(self.number) {
                return Ok((Outcome::Conflict, 0));
            }
            state.clock.set(self.number, sent);
        }
    }

    /// Learns from the store what we have sent and acknowledged: an error may have hidden that a commit took place.
    fn catch_up(&self, state: &mut State) -> Result<()> {
        let look = self.look()?;
        if let Some((acknowledged, _)) = look.cursors.get(&self.number) {
            state.clock.merge(acknowledged);
        }
        state.clock.set(self.number, state.clock.get(self.number).max(look.sent().get(self.number)));
        state.unsure = false;
        Ok(())
    }

    /// Looks whether we are the member still.
    ///
    /// # Errors
    /// [`Error::MemberLost`], which is final.
    pub fn check(&self) -> Result<()> {
        let (meta, _) = self.session.store().read(&self.presence, &mut Vec::new())?;
        if self.condition().when.holds(meta.as_ref()) { Ok(()) } else { Err(self.lost()) }
    }

    /// Answers up to which of our messages all are removed, once there is room for one more.
    fn make_room(&self, sent: u64) -> Result<u64> {
        let store = self.session.store();
        loop {
            self.prune()?;
            let look = self.look()?;
            let removed = look.low_watermark.get(self.number);
            if sent.saturating_sub(removed) < self.most {
                return Ok(removed);
            }
            let mut behind = look.behind(self.number, removed + 1);
            let mut dropped = false;
            for each in &behind {
                let Some((_, meta)) = look.cursors.get(&each.member) else { continue };
                let cursor = store.key(&self.names.of(Name::Cursor(each.member)))?;
                let presence = store.key(&self.names.of(Name::Presence(each.member)))?;
                let ops = [Op::delete(&cursor).if_modified_at(meta.modified), Op::check(&presence, When::Absent)];
                // Whether its session lives is decided here, and not by what the look has shown.
                dropped |= store.commit(&ops)? != Outcome::Conflict;
            }
            // Who was behind may have caught up in between, so that there is more to remove.
            let acknowledged = look.acknowledged().get(self.number);
            let more = look.messages.range((self.number, 0)..=(self.number, acknowledged)).next().is_some();
            if !dropped && !more {
                behind.sort_unstable_by_key(|behind| (behind.acknowledged, behind.member));
                return Err(Error::Unacknowledged { sender: self.number, most: self.most, behind });
            }
        }
    }

    fn look(&self) -> Result<Look> {
        Look::take(&**self.session.store(), &self.names)
    }

    pub(super) fn lost(&self) -> Error {
        Error::MemberLost { name: self.names.0.clone(), member: self.number, token: self.token }
    }

    pub(super) fn presence(&self) -> &B::Key {
        &self.presence
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Written only where a commit has succeeded, as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOT_SENT: &str = "it has not been sent yet";

impl<B: Backend> Drop for Member<B> {
    fn drop(&mut self) {
        // Whatever hinders it: it ends with the session.
        let _ = self.session.store().commit(&[Op::delete(&self.presence).when(self.condition().when)]);
    }
}

impl<B: Backend> fmt::Debug for Member<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, token, clock) = (&self.names.0, &self.token, self.clock());
        f.debug_struct("Member")
            .field("name", name)
            .field("number", &self.number)
            .field("token", token)
            .field("clock", &clock)
            .finish()
    }
}
