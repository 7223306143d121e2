//! Receiving: what is sent to a member, in causal order, until it has acknowledged it.

use std::collections::VecDeque;
use std::fmt;

use super::causal::{Causal, Message, Received};
use super::letter::Name;
use super::member::{Member, Sent, read_message};
use crate::Outcome;
use crate::backend::{Backend, Event, Op, Watch};
use crate::clock::{Deadline, Revision, VectorClock};
use crate::recipe::{Error, Result};

/// What is sent to a member and not acknowledged, in causal order.
///
/// A member needs one; of several, each brings what none of them has acknowledged.
pub struct Inbox<'m, B: Backend> {
    member: &'m Member<B>,
    watch: B::Watch<'m>,
    /// What the watch has told and has to wait. As many as senders may have under way: their bounds are its.
    causal: Causal<Vec<u8>>,
    ready: VecDeque<Message<Vec<u8>>>,
    /// Something has happened to our presence; look before waiting on.
    uncertain: bool,
}

/// A message to be acknowledged. Dropping it does nothing: it comes again.
pub struct Letter<'i, 'm, B: Backend> {
    inbox: &'i mut Inbox<'m, B>,
    message: Message<Vec<u8>>,
}

impl<'m, B: Backend> Inbox<'m, B> {
    pub(super) fn open(member: &'m Member<B>) -> Result<Self> {
        let watch = member.session.store().watch(&member.names.letters(), Revision(0))?;
        let known = member.clock();
        let senders: Vec<_> = known.iter().map(|(sender, _)| sender).chain([member.number]).collect();
        let mut causal = Causal::resume(senders, known, usize::MAX)?;
        // Our own messages do not come by here, so nothing is to wait for them.
        causal.remove(member.number)?;
        Ok(Self { member, watch, causal, ready: VecDeque::new(), uncertain: false })
    }

    /// The oldest message that has not been acknowledged; waits for it until the deadline, and answers `None` then. The same
    /// message comes again until it is acknowledged.
    ///
    /// # Errors
    /// [`Error::MemberLost`]; [`Error::Damaged`]; the store's, among them [`Cancelled`](crate::Error::Cancelled). The inbox can be
    /// asked again.
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<Letter<'_, 'm, B>>> {
        loop {
            // What was acknowledged through another inbox of the same member.
            let known = self.member.clock();
            while self.ready.pop_front_if(|message| message.sequence() <= known.get(message.sender)).is_some() {}
            if let Some(message) = self.ready.front() {
                let message = message.clone();
                return Ok(Some(Letter { inbox: self, message }));
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
        let more = self.watch.next(deadline, &mut |event| match event {
            Event::Put { key, value, .. } => match member.hear(key, value) {
                Ok(Heard::Message(message)) => heard.push(message),
                Ok(Heard::OurPresence) => uncertain = true,
                Ok(Heard::Nothing) => {}
                Err(error) => failed = Some(error),
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
        failed.map_or(Ok(more.is_some()), Err)
    }
}

/// What an entry that was put says to us.
enum Heard {
    Message(Message<Vec<u8>>),
    OurPresence,
    Nothing,
}

impl<B: Backend> Member<B> {
    fn hear(&self, key: &B::Key, value: &[u8]) -> Result<Heard> {
        Ok(match self.names.parse(key.as_ref())? {
            Name::Message(sender, sequence) if sender != self.number => {
                Heard::Message(read_message(key.as_ref(), sender, sequence, value)?)
            }
            Name::Presence(number) if number == self.number => Heard::OurPresence,
            _ => Heard::Nothing,
        })
    }
}

impl<B: Backend> Letter<'_, '_, B> {
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
            Outcome::Conflict => Err(Error::Damaged {
                entry: self.inbox.member.names.of(Name::Cursor(self.inbox.member.number)),
                what: "it is gone while its member is present".to_owned(),
            }),
        }
    }

    /// Does what is to be done in the store and acknowledges the message, at one moment: **exactly once**, whoever dies when.
    /// At most two operations fewer than the store's limit. `Conflict` says that a condition of theirs was false; nothing has
    /// changed then, and the message comes again.
    ///
    /// # Errors
    /// Nothing has changed after any of them: [`Error::MemberLost`]; [`Error::AlreadyAcknowledged`]; the store's.
    pub fn commit(&self, ops: &[Op<'_, B::Key>]) -> Result<Outcome> {
        let done = Some((self.message.sender, self.message.sequence()));
        Ok(self.inbox.member.act(done, None, ops)?.0)
    }

    /// The same, and sends a message that this one has caused: at most three operations fewer than the store's limit. `None`
    /// says that a condition was false.
    ///
    /// # Errors
    /// As [`commit`](Letter::commit), and those of [`Member::send`].
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

impl<B: Backend> fmt::Debug for Letter<'_, '_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Letter").field(&self.message).finish()
    }
}
