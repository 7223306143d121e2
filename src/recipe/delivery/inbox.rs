//! Receiving: what is sent to a member, in causal order, until it has acknowledged it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use super::causal::{Causal, Message, Received};
use super::encoding::{Name, damaged, read_message};
use super::error::{Error, Result};
use super::member::{Member, Sent};
use crate::Outcome;
use crate::backend::{Backend, Event, Op, Watch};
use crate::clock::{Deadline, Revision, VectorClock};
use crate::recipe::Damaged;

/// What is sent to a member and not acknowledged, in causal order.
///
/// A member needs one; of several, each brings what none of them has acknowledged.
pub struct Inbox<'m, B: Backend> {
    member: &'m Member<B>,
    watch: B::Watch<'m>,
    /// What the watch has told and has to wait. As many as senders may have under way: their bounds are its.
    causal: Causal<Option<Vec<u8>>>,
    /// Without a body: it was taken away.
    ready: VecDeque<Message<Option<Vec<u8>>>>,
    /// The messages that have been told to be damaged or missing.
    told: BTreeSet<(u32, u64)>,
    /// Something has happened to our presence; look before waiting on.
    uncertain: bool,
}

/// A message to be acknowledged. Dropping it does nothing: it comes again.
pub struct Delivery<'i, 'm, B: Backend> {
    inbox: &'i mut Inbox<'m, B>,
    message: Message<Vec<u8>>,
}

impl<'m, B: Backend> Inbox<'m, B> {
    pub(super) fn open(member: &'m Member<B>) -> Result<Self> {
        let watch = member.session.store().watch(&member.names.message_prefix(), Revision(0))?;
        let known = member.clock();
        let senders: Vec<_> = known.iter().map(|(sender, _)| sender).chain([member.number]).collect();
        let mut causal = Causal::resume(senders, known, usize::MAX)?;
        // Our own messages do not come by here, so nothing is to wait for them.
        causal.remove(member.number)?;
        let (ready, told, uncertain) = (VecDeque::new(), BTreeSet::new(), false);
        Ok(Self { member, watch, causal, ready, told, uncertain })
    }

    /// The oldest message that has not been acknowledged; waits for it until the deadline, and answers `None` then. The
    /// same message comes again until it is acknowledged.
    ///
    /// # Errors
    /// [`Error::MemberLost`]; [`Error::Damaged`] tells once of a message that cannot be read or is missing: what it
    /// caused, and the rest of its sender's, waits until it is restored or [taken away](super::remove_foreign), all
    /// else goes on; the store's, among them [`Cancelled`](crate::Error::Cancelled). The inbox can be asked again.
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<Delivery<'_, 'm, B>>> {
        loop {
            // What was acknowledged through another inbox of the same member.
            let known = self.member.clock();
            while self.ready.pop_front_if(|message| message.sequence() <= known.get(message.sender)).is_some() {}
            if let Some(Message { sender, clock, body }) = self.ready.front().cloned() {
                let Some(body) = body else {
                    match self.member.act(Some((sender, clock.get(sender))), None, &[]) {
                        Ok((Outcome::Committed(_), _)) | Err(Error::AlreadyAcknowledged { .. }) => continue,
                        Ok((Outcome::Conflict, _)) => return Err(self.member.cursor_is_gone()),
                        Err(error) => return Err(error),
                    }
                };
                return Ok(Some(Delivery { inbox: self, message: Message { sender, clock, body } }));
            }
            if !self.hear(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Takes in the next batch of the watch; `false` once the deadline has passed.
    fn hear(&mut self, deadline: &Deadline) -> Result<bool> {
        let member = self.member;
        if self.uncertain {
            member.check()?;
            self.uncertain = false;
        }
        let (mut heard, mut failed, mut uncertain) = (Vec::new(), None, false);
        let told = &mut self.told;
        let more = self.watch.next(deadline, &mut |event| match event {
            Event::Put { key, value, .. } => match member.hear(key, value) {
                Ok(Heard::Message(message)) => heard.push(message),
                Ok(Heard::OurPresence) => uncertain = true,
                Ok(Heard::Nothing) => {}
                Err((message, error)) => {
                    if told.insert(message) {
                        failed = Some(error);
                    }
                }
            },
            Event::Delete { key } => uncertain |= key == member.presence(),
            Event::Resync => uncertain = true,
            Event::Progress(_) => {}
        })?;
        self.uncertain = uncertain;
        for message in heard {
            // Whoever a clock in the store counts has been a member.
            for (sender, _) in message.clock.iter().filter(|(sender, _)| *sender != member.number) {
                self.causal.add(sender, 0);
            }
            match self.causal.receive(message) {
                Ok(Received::Delivered(messages)) => self.ready.extend(messages),
                Ok(Received::Held { .. } | Received::Duplicate) => {}
                Err(error) => failed = Some(error),
            }
        }
        if self.causal.waiting() > 0 {
            self.ready.extend(self.causal.pass(&member.clock()));
        }
        // A batch brings all there is: what waits still waits for what is not there, or cannot be read.
        for gap in self.causal.missing() {
            if !self.told.contains(&(gap.sender, gap.from)) {
                // Of a member that was dropped meanwhile nobody has kept anything.
                member.check()?;
                self.told.insert((gap.sender, gap.from));
                let name = member.names.of(Name::Message(gap.sender, gap.from));
                failed.get_or_insert(damaged(&name, "it is missing, and others wait for it"));
            }
        }
        failed.map_or(Ok(more.is_some()), Err)
    }
}

/// What an entry that was put says to us.
enum Heard {
    Message(Message<Option<Vec<u8>>>),
    OurPresence,
    Nothing,
}

impl<B: Backend> Member<B> {
    fn cursor_is_gone(&self) -> Error {
        let entry = self.names.of(Name::Cursor(self.number));
        Damaged::new(&entry, "it is gone while its member is present; drop that and join again").into()
    }

    /// The error names the message as well.
    fn hear(&self, key: &B::Key, value: &[u8]) -> Result<Heard, ((u32, u64), Error)> {
        Ok(match self.names.parse(key.as_ref()) {
            Ok(Name::Message(sender, sequence)) if sender != self.number => {
                let read = read_message(key.as_ref(), sender, sequence, value);
                Heard::Message(read.map_err(|error| ((sender, sequence), error))?)
            }
            Ok(Name::Presence(number)) if number == self.number => Heard::OurPresence,
            _ => Heard::Nothing,
        })
    }
}

impl<B: Backend> Delivery<'_, '_, B> {
    /// Who sent it.
    pub fn sender(&self) -> u32 {
        self.message.sender
    }

    /// Which of its sender's messages it is, from 1 on.
    pub fn sequence(&self) -> u64 {
        self.message.sequence()
    }

    /// What its sender knew when it sent it.
    pub fn clock(&self) -> &VectorClock {
        &self.message.clock
    }

    /// What was sent.
    pub fn body(&self) -> &[u8] {
        &self.message.body
    }

    /// Says that it has been dealt with: **at least once**, since who dies before this is given it again.
    ///
    /// # Errors
    /// [`Error::MemberLost`]; [`Error::AlreadyAcknowledged`]; the store's.
    pub fn acknowledge(self) -> Result<Revision> {
        match self.commit(&[])? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::Conflict => Err(self.inbox.member.cursor_is_gone()),
        }
    }

    /// Does what is to be done in the store and acknowledges the message, at one moment: **exactly once**, whoever dies
    /// when. At most two operations fewer than the store's limit. `Conflict` says that a condition of theirs was false;
    /// nothing has changed then, and the message comes again.
    ///
    /// # Errors
    /// Nothing has changed after any of them: [`Error::MemberLost`]; [`Error::AlreadyAcknowledged`]; the store's.
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        let done = Some((self.message.sender, self.message.sequence()));
        Ok(self.inbox.member.act(done, None, ops)?.0)
    }

    /// The same, and sends a message that this one has caused: at most three operations fewer than the store's limit.
    /// `None` says that a condition was false.
    ///
    /// # Errors
    /// As [`commit`](Delivery::commit), and those of [`Member::send`].
    pub fn reply(&self, body: &[u8], ops: &[Op<'_, B::Key>]) -> Result<Option<Sent>> {
        let done = Some((self.message.sender, self.message.sequence()));
        match self.inbox.member.act(done, Some(body), ops)? {
            (Outcome::Committed(revision), sequence) => Ok(Some(Sent { sequence, revision })),
            (Outcome::Conflict, _) => Ok(None),
        }
    }
}

impl<B: Backend> fmt::Debug for Inbox<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("member", self.member).field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Delivery<'_, '_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.message).finish()
    }
}
