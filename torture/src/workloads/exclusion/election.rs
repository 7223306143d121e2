//! Elections: candidates, leaders and observers.

use slotguard::backend::SharedMemory;
use slotguard::recipe::election::{Lead, LeaderChange, Observer};
use slotguard::recipe::{Election, Result};
use slotguard::{Deadline, Token};

use super::participant::{PAUSE, Participant, WRITES, data, take_part};
use super::{Key, Settings};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};

/// All elections, with the data that each leader writes.
struct Elections(Vec<(Election<SharedMemory>, Key)>);

impl Elections {
    fn of(participant: &Participant<'_, '_>) -> Result<Self> {
        let elections = data(&participant.store, participant.settings)?.into_iter().enumerate();
        let called = |name| participant.settings.called(name as u32);
        let elections = elections.map(|(name, data)| Ok((Election::new(&participant.session, &called(name))?, data)));
        Ok(Self(elections.collect::<Result<_>>()?))
    }
}

/// Campaigns, leads and resigns, again and again.
pub fn acquire_often(settings: Settings, client: &mut Client<'_>) -> Result<()> {
    take_part(settings, client, Elections::of, |participant, Elections(elections)| {
        let name = participant.client.random.below(u64::from(participant.settings.names)) as u32;
        let (election, data) = &elections[name as usize];
        let (deadline, lease) = (participant.patience(), participant.session.lease());
        let open = participant.client.log.begin(Kind::Acquire, name).with_extra(lease.0);
        let lead = match election.campaign(&open.author().packed().to_le_bytes(), &deadline) {
            Ok(lead) => lead,
            Err(error) => return participant.not_acquired(open, name, error),
        };
        open.finish(Outcome::Done, participant.store.segment().revision().0, lead.term().0);
        participant.client.log.set_holding(true);
        let goes_on = leads(participant, name, lead, data);
        participant.client.log.set_holding(false);
        goes_on
    })
}

/// Leads for a while; answers whether the session is still its own.
fn leads(participant: &mut Participant<'_, '_>, name: u32, lead: Lead<SharedMemory>, data: &Key) -> Result<bool> {
    participant.counts_on();
    let term = lead.term();
    for number in 0..1 + participant.client.random.below(WRITES) {
        if participant.client.random.one_in(8) {
            participant.counts_on();
        }
        participant.linger(PAUSE);
        if participant.client.log.room() < 16 || participant.client.is_over() {
            break;
        }
        if participant.client.random.one_in(8) {
            // Refused after the lead is lost, as a write is.
            let open = participant.client.log.begin(Kind::Intend, name).with_extra(term.0);
            match lead.proclaim(&number.to_le_bytes()) {
                Ok(()) => open.finish(Outcome::Done, 0, 0),
                Err(error) => {
                    participant.client.refused_by(open, error);
                    return Ok(participant.is_sure(name, term, lead.is_alive()));
                }
            }
        }
        if !participant.write(name, term, data, |ops| lead.commit(ops))? {
            return Ok(participant.is_sure(name, term, lead.is_alive()));
        }
    }
    match participant.client.random.below(8) {
        0 => participant.end_session().map(|()| false),
        1 | 2 => {
            participant.drop_guard(name, term, lead);
            Ok(true)
        }
        _ => Ok(participant.part(name, term, || lead.resign())),
    }
}

/// Observes every election, one after the other.
pub fn observe(settings: Settings, client: &mut Client<'_>) -> Result<()> {
    let follow = |participant: &Participant<'_, '_>| {
        let Elections(elections) = Elections::of(participant)?;
        let observers = elections.iter().map(|(election, _)| (election.observe(), Token(0)));
        Ok((std::cell::RefCell::new(observers.collect::<Vec<_>>()), elections))
    };
    take_part(settings, client, follow, |participant, (observers, elections)| {
        for (name, (observer, newest)) in observers.borrow_mut().iter_mut().enumerate() {
            if participant.client.log.room() < 16 {
                break;
            }
            told(participant, name as u32, observer, newest)?;
            if participant.client.random.one_in(4) {
                let open = participant.client.log.begin(Kind::Observe, name as u32);
                match elections[name].0.leader()? {
                    Some(leader) => open.finish(Outcome::Done, 0, leader.term.0),
                    None => open.finish(Outcome::Declined, 0, 0),
                }
            }
        }
        Ok(true)
    })
}

/// Waits a quarter of a lease for a change, and records it.
fn told(
    participant: &mut Participant<'_, '_>,
    name: u32,
    observer: &mut Observer<SharedMemory>,
    newest: &mut Token,
) -> Result<()> {
    let deadline = Deadline::after(participant.settings.lease() / 4);
    let open = participant.client.log.begin(Kind::Wait, name);
    let change = observer.next(&deadline)?;
    participant.client.log.count_read();
    let (term, leads) = match &change {
        Some(LeaderChange::Elected(leader) | LeaderChange::Proclaimed(leader)) => (leader.term, true),
        Some(LeaderChange::Resigned(term) | LeaderChange::Lost(term)) => (*term, false),
        None => {
            open.finish(Outcome::TimedOut, 0, 0);
            return Ok(());
        }
    };
    open.finish(Outcome::Done, term.0, u64::from(leads));
    let is_new = matches!(change, Some(LeaderChange::Elected(_)));
    if term < *newest || is_new && term == *newest {
        participant.client.anomaly(name, term.0, Anomaly::TermBack);
    }
    *newest = term;
    Ok(())
}
