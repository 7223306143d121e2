//! What members do.

use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::{Backend, Meta, Op, SharedMemory};
use slotguard::recipe::delivery::{Delivery, Inbox, Member};
use slotguard::recipe::{self, Result};
use slotguard::{Deadline, Outcome as Answer};

use super::check::FinalState;
use super::{BOUND, MEMBERS, NAME};
use crate::anomaly::Anomaly;
use crate::check::Findings;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Author, Evidence};
use crate::workloads::final_state::{self, DATA};

/// How long a member waits for a message before it looks round.
const NAP: Duration = Duration::from_millis(4);

type Key = <SharedMemory as Backend>::Key;

fn data(store: &SharedMemory, number: u32) -> Result<Key> {
    Ok(store.key(&format!("{DATA}{number}"))?)
}

/// Sends and receives under a number, with one session after the other.
pub fn take_part(store: &Arc<SharedMemory>, number: u32, lease: Duration, client: &mut Client<'_>) -> Result<()> {
    let data = data(store, number)?;
    while client.awaits_room() {
        let Some(session) = client.join(store, lease) else {
            continue;
        };
        let open = client.log.begin(Kind::Join, number);
        let member = match Member::join_with(&session, NAME, number, BOUND) {
            Ok(member) => member,
            Err(error) => {
                client.refused_by(open, error);
                continue;
            }
        };
        open.finish(Outcome::Done, u64::from(member.has_resumed()), 0);
        client.log.set_holding(true);
        let goes_on = go_on(&member, &data, store, number, client);
        client.log.set_holding(false);
        match goes_on {
            Ok(()) => {}
            Err(error) if error.is_lost() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// As long as it is the member.
fn go_on(
    member: &Member<SharedMemory>,
    data: &Key,
    store: &SharedMemory,
    number: u32,
    client: &mut Client<'_>,
) -> Result<()> {
    let mut inbox = member.inbox()?;
    while client.awaits_room() {
        // Each message is one for each of the others.
        if client.random.one_in(u64::from(MEMBERS) + 1) && !send(member, number, client) {
            return Ok(());
        }
        if !receive(&mut inbox, data, store, number, client)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends one message, whose body is the name of the entry that sends it; answers whether it is the member still.
fn send(member: &Member<SharedMemory>, number: u32, client: &mut Client<'_>) -> bool {
    let open = client.log.begin(Kind::Send, number);
    match member.send(&open.author().packed().to_le_bytes()) {
        Ok(sent) => open.finish(Outcome::Done, sent.sequence, sent.revision.0),
        Err(error) => return client.refused_by(open, error) != Outcome::LeaseLost,
    }
    true
}

/// Does what is to be done for the next message; answers whether it is the member still.
fn receive(
    inbox: &mut Inbox<'_, SharedMemory>,
    data: &Key,
    store: &SharedMemory,
    number: u32,
    client: &mut Client<'_>,
) -> Result<bool> {
    let Some(delivery) = inbox.next(&Deadline::after(NAP))? else {
        return Ok(true);
    };
    let mut bytes = Vec::new();
    let (meta, _) = store.read(data, &mut bytes)?;
    client.log.count_read();
    let version = meta.map_or(0, |meta| meta.version.0);
    let (Ok(before), Some(sent)) = (Evidence::of(number, &bytes), author_of(&delivery)) else {
        client.anomaly(number, 0, Anomaly::Mixed);
        return Ok(false);
    };
    let reply = client.random.one_in(8).then(|| client.log.begin(Kind::Send, number).with_extra(1));
    let open = client.log.begin(Kind::Deliver, number).with_extra(sent);
    open.attempt(before.author, before.count + 1);
    let author = open.author();
    before.followed_by(author).write(number, value::length_of(author, client.longest()), &mut bytes);
    // No condition of its own: that it is done once is the acknowledgement's doing.
    let effect = [Op::put(data, &bytes)];
    let done = match &reply {
        None => delivery.commit(&effect).map(|answer| (answer, 0)),
        Some(reply) => delivery.reply(&reply.author().packed().to_le_bytes(), &effect).map(|sent| match sent {
            Some(sent) => (Answer::Committed(sent.revision), sent.sequence),
            None => (Answer::Conflict, 0),
        }),
    };
    let outcome = match done {
        Ok((Answer::Committed(revision), sequence)) => {
            client.log.count_acknowledged();
            // The revision of both is one, and written down once.
            reply.into_iter().for_each(|reply| reply.finish(Outcome::Done, sequence, 0));
            open.finish(Outcome::Done, version + 1, revision.0);
            return Ok(true);
        }
        Ok((Answer::Conflict, _)) => {
            open.finish(Outcome::Conflict, 0, 0);
            Outcome::Conflict
        }
        Err(error) => client.refused_by(open, error),
    };
    reply.into_iter().for_each(|reply| reply.finish(outcome, 0, 0));
    Ok(outcome == Outcome::Declined)
}

/// Which entry sent it.
fn author_of(delivery: &Delivery<'_, '_, SharedMemory>) -> Option<u64> {
    let packed = delivery.body().try_into().map(u64::from_le_bytes).ok()?;
    Author::unpack(packed).map(|_| packed)
}

/// Takes in, for every member, what it had not acknowledged when everybody left, and looks at the rest.
pub fn final_state(store: &Arc<SharedMemory>, findings: &mut Findings) -> Result<FinalState> {
    let stays = |name: &str, _: &[u8], meta: &Meta| meta.lease.is_none() && name.starts_with(NAME);
    let (data, of_the_dead) = final_state::read(store, MEMBERS as usize, stays)?;
    let mut final_state = FinalState { data, of_the_dead, ..FinalState::default() };
    let session = recipe::join(store, Duration::from_secs(60))?;
    let members = (0..MEMBERS).map(|number| Member::join_with(&session, NAME, number, BOUND));
    let members: Vec<_> = members.collect::<Result<_, _>>()?;
    for member in &members {
        let (mut inbox, mut rest) = (member.inbox()?, Vec::new());
        while let Some(delivery) = inbox.next(&Deadline::now())? {
            let sent = author_of(&delivery);
            findings.expect(sent.is_some(), || format!("member {}: a message of nobody's", member.number()));
            rest.extend(sent);
            delivery.acknowledge()?;
        }
        final_state.rest.push((member.has_resumed(), rest));
    }
    if let Some(member) = members.first() {
        member.prune()?;
        let kept = member.history()?.len();
        findings.expect(kept == 0, || format!("{kept} messages are kept that everybody has acknowledged"));
    }
    for member in members {
        member.leave()?;
    }
    Ok(final_state)
}
