//! Messages in an order in which none comes before what caused it, however they arrive. No store, no threads, no time.
//!
//! ```
//! use slotguard::recipe::delivery::{Causal, Message, Received};
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let mut anna = Causal::new([1, 2, 3], 100)?;
//! let mut bert = anna.clone();
//! let mut carl = anna.clone();
//!
//! let question = Message { sender: 1, clock: anna.stamp(1)?, body: "who is there?" };
//! bert.receive(question.clone())?;
//! let answer = Message { sender: 2, clock: bert.stamp(2)?, body: "I am" };
//!
//! // Carl hears the answer first, and is told of it after the question.
//! assert!(matches!(carl.receive(answer.clone())?, Received::Held { .. }));
//! assert_eq!(carl.receive(question)?, Received::Delivered(vec![
//!     Message { sender: 1, clock: [(1, 1)].into_iter().collect(), body: "who is there?" },
//!     answer,
//! ]));
//! # Ok(())
//! # }
//! ```
//!
//! # The rule
//! A message of S with clock C is delivered when C\[S\] is one more than what was delivered of S and no other count in
//! C is larger than what was delivered of that participant (K. Birman, A. Schiper, P. Stephenson, "Lightweight causal
//! and atomic group multicast", 1991). Only a delivery counts; what waits changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Error, Gap, Result};
use crate::clock::VectorClock;

/// What somebody sent, and what it knew when it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// Who.
    pub sender: u32,
    /// How many messages of each participant it had sent or been delivered, this one included.
    pub clock: VectorClock,
    /// What.
    pub body: T,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// It and what had waited for it, in the order in which to go on with them.
    Delivered(Vec<Message<T>>),
    /// It waits for these.
    Held {
        /// What it waits for, by sender.
        waiting_for: Vec<Gap>,
    },
    /// It was delivered before, or waits already.
    Duplicate,
}

/// What became of a participant's leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left<T> {
    /// What it had sent that waited for something; it is not delivered.
    pub dropped: Vec<Message<T>>,
    /// What had waited for it and waits no more, in the order in which to go on with them.
    pub delivered: Vec<Message<T>>,
}

/// Messages that wait for others, and how far each sender's have been delivered.
///
/// Memory: the messages that wait, at most as many as the bound says; one count a participant.
#[derive(Clone, Debug)]
pub struct Causal<T> {
    members: BTreeSet<u32>,
    left: BTreeSet<u32>,
    delivered: VectorClock,
    waiting: BTreeMap<(u32, u64), Message<T>>,
    most: usize,
}

impl<T> Message<T> {
    /// Which of its sender's messages it is, from 1 on.
    pub fn sequence(&self) -> u64 {
        self.clock.get(self.sender)
    }
}

impl<T> Causal<T> {
    /// Nothing delivered yet, by any of these members; at most so many messages may wait at a time.
    ///
    /// # Errors
    /// [`Error::NoRoom`] for 0.
    pub fn new(members: impl IntoIterator<Item = u32>, most: usize) -> Result<Self> {
        Self::resume(members, VectorClock::new(), most)
    }

    /// The same for one who begins late, or again: what the clock counts has been delivered already, to it or before
    /// its time. For a late joiner, the clock of a member at the moment from which on it is sent every message.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn resume(members: impl IntoIterator<Item = u32>, delivered: VectorClock, most: usize) -> Result<Self> {
        if most == 0 {
            return Err(Error::NoRoom);
        }
        let members = members.into_iter().collect();
        Ok(Self { members, left: BTreeSet::new(), delivered, waiting: BTreeMap::new(), most })
    }

    /// The clock of the next message of `me`, which counts as delivered here.
    ///
    /// # Errors
    /// [`Error::UnknownSender`] if `me` is no member; [`Error::Count`] if it has sent 2^64 - 1.
    pub fn stamp(&mut self, me: u32) -> Result<VectorClock> {
        if !self.members.contains(&me) {
            return Err(Error::UnknownSender { sender: me });
        }
        self.delivered.tick(me)?;
        Ok(self.delivered.clone())
    }

    /// Takes a message in and answers what can be gone on with.
    ///
    /// # Errors
    /// Nothing has changed after any of them: [`Error::UnknownSender`]; [`Error::OtherShape`] if the clock counts
    /// somebody who has never been a member, or not the message itself; [`Error::BufferFull`].
    pub fn receive(&mut self, message: Message<T>) -> Result<Received<T>> {
        self.check(&message)?;
        let (sender, sequence) = (message.sender, message.sequence());
        if sequence <= self.delivered.get(sender) || self.waiting.contains_key(&(sender, sequence)) {
            return Ok(Received::Duplicate);
        }
        let waiting_for = self.gaps(&message);
        if waiting_for.is_empty() {
            let mut delivered = vec![self.deliver(message)];
            delivered.extend(self.release());
            return Ok(Received::Delivered(delivered));
        }
        if self.waiting.len() >= self.most {
            return Err(Error::BufferFull { most: self.most, sender, sequence, waiting_for: self.missing() });
        }
        self.waiting.insert((sender, sequence), message);
        Ok(Received::Held { waiting_for })
    }

    /// Lets somebody take part from now on; what it sent up to `delivered` counts as delivered. Of a member, nothing
    /// changes.
    pub fn add(&mut self, member: u32, delivered: u64) {
        if self.members.insert(member) {
            self.left.remove(&member);
            self.delivered.set(member, self.delivered.get(member).max(delivered));
        }
    }

    /// Ends a member's part: what it sent and could not be delivered is dropped, and nobody waits for the rest of it.
    ///
    /// # Errors
    /// [`Error::UnknownSender`] if it is no member.
    pub fn remove(&mut self, member: u32) -> Result<Left<T>> {
        if !self.members.remove(&member) {
            return Err(Error::UnknownSender { sender: member });
        }
        self.left.insert(member);
        let names: Vec<_> = self.waiting.range((member, 0)..=(member, u64::MAX)).map(|(name, _)| *name).collect();
        let dropped = names.iter().filter_map(|name| self.waiting.remove(name)).collect();
        Ok(Left { dropped, delivered: self.release() })
    }

    /// How many messages of each participant have been delivered: what a late joiner begins with.
    pub fn clock(&self) -> &VectorClock {
        &self.delivered
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What has to come before all that waits can be delivered, by sender: what to ask for again.
    pub fn missing(&self) -> Vec<Gap> {
        let mut all = BTreeMap::<u32, Gap>::new();
        for gap in self.waiting.values().flat_map(|message| self.gaps(message)) {
            let whole = all.entry(gap.sender).or_insert(gap);
            whole.to = whole.to.max(gap.to);
        }
        // What waits is here already, unless something is missing in between.
        let here = |sender, sequence| self.waiting.contains_key(&(sender, sequence));
        let cut = |gap: Gap| {
            let from = (gap.from..=gap.to).find(|sequence| !here(gap.sender, *sequence))?;
            let to = (from..=gap.to).rev().find(|sequence| !here(gap.sender, *sequence))?;
            Some(Gap { from, to, ..gap })
        };
        all.into_values().filter_map(cut).collect()
    }

    /// What the clock counts has been dealt with elsewhere; answers what had waited for that alone.
    pub(super) fn pass(&mut self, clock: &VectorClock) -> Vec<Message<T>> {
        for (member, count) in clock.iter().filter(|(member, _)| self.members.contains(member)) {
            self.delivered.set(member, self.delivered.get(member).max(count));
        }
        self.waiting.retain(|(sender, sequence), _| *sequence > self.delivered.get(*sender));
        self.release()
    }

    fn check(&self, message: &Message<T>) -> Result<()> {
        let sender = message.sender;
        if !self.members.contains(&sender) {
            return Err(Error::UnknownSender { sender });
        }
        let other = |why| Error::OtherShape { sender, clock: message.clock.clone(), why };
        if message.sequence() == 0 {
            return Err(other("it does not count the message itself".to_owned()));
        }
        match message.clock.iter().find(|(member, _)| !self.members.contains(member) && !self.left.contains(member)) {
            Some((stranger, _)) => Err(other(format!("it counts {stranger}, who has never been a member"))),
            None => Ok(()),
        }
    }

    /// What has to be delivered before the message.
    fn gaps(&self, message: &Message<T>) -> Vec<Gap> {
        let before = message.clock.iter().filter_map(|(member, count)| {
            let delivered = self.delivered.get(member);
            let to = if member == message.sender { count - 1 } else { count };
            (delivered < to).then(|| Gap { sender: member, from: delivered + 1, to })
        });
        before.filter(|gap| !self.left.contains(&gap.sender)).collect()
    }

    fn deliver(&mut self, message: Message<T>) -> Message<T> {
        // Of the others it knew nothing that was not delivered here.
        self.delivered.set(message.sender, message.sequence());
        message
    }

    /// Delivers what waits for nothing any more, until all that is left waits.
    fn release(&mut self) -> Vec<Message<T>> {
        let mut released = Vec::new();
        while let Some(name) = self.waiting.iter().find(|(_, message)| self.gaps(message).is_empty()).map(|(n, _)| *n) {
            let Some(message) = self.waiting.remove(&name) else { break };
            released.push(self.deliver(message));
        }
        released
    }
}
