//! What holders do with a name, and what others see of it.

use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory, When};
use slotguard::{Deadline, Error, Lease, Outcome as Answer, Revision};

use super::{HELD, Key, Settings};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::value::{self, Evidence};
use crate::workloads::final_state::DATA;

/// How often a holder writes at most before it parts with a name.
const WRITES: u64 = 64;
/// How long a observer rests between two rounds.
const BETWEEN_LOOKS: Duration = Duration::from_micros(300);

/// One thread that wants names.
struct Holder<'a, 'h> {
    store: &'a SharedMemory,
    client: &'a mut Client<'h>,
    settings: Settings,
    /// By name: its entry, and its data.
    keys: Vec<(Key, Key)>,
}

fn keys(store: &SharedMemory, names: u32) -> Result<Vec<(Key, Key)>, Error> {
    let pair = |name| Ok((store.key(&format!("{HELD}{name}"))?, store.key(&format!("{DATA}{name}"))?));
    (0..names).map(pair).collect()
}

/// Acquires and releases names, again and again.
pub fn hold_names(store: &SharedMemory, settings: Settings, client: &mut Client<'_>) -> Result<(), Error> {
    let keys = keys(store, settings.names)?;
    let mut holder = Holder { store, client, settings, keys };
    while holder.client.awaits_room() {
        holder.hold_once()?;
    }
    Ok(())
}

impl Client<'_> {
    /// A lease of this thread's own, written down with the time it lasts at least and at most.
    pub fn lend(&mut self, store: &SharedMemory, time: Duration) -> Option<Lease> {
        let open = self.log.begin(Kind::Lease, 0);
        match store.grant(time) {
            Ok(lease) => {
                open.with_extra(lease.0).finish(Outcome::Done, 0, 0);
                Some(lease)
            }
            Err(error) => {
                self.refused(open, &error);
                None
            }
        }
    }

    /// Ends a lease of this thread's own; answers whether it did: it may have been over.
    pub fn revoke(&mut self, store: &SharedMemory, lease: Lease) -> bool {
        let open = self.log.begin(Kind::Revoke, 0).with_extra(lease.0);
        match store.revoke(lease) {
            Ok(()) => open.finish(Outcome::Done, 0, store.segment().revision().0),
            Err(error) => {
                self.refused(open, &error);
                return false;
            }
        }
        true
    }
}

impl Holder<'_, '_> {
    /// Acquires a name, holds it for a while, and releases it in one of several ways.
    fn hold_once(&mut self) -> Result<(), Error> {
        let name = self.client.random.below(u64::from(self.settings.names)) as usize;
        let Some(lease) = self.client.lend(self.store, self.settings.lease()) else {
            return Ok(());
        };
        if let Some(token) = self.take(name, lease)? {
            self.client.log.set_holding(true);
            self.hold(name, token, lease)?;
            self.client.log.set_holding(false);
        }
        Ok(())
    }

    /// Waits until the name is its own; `None` if its lease or the time ran out before.
    fn take(&mut self, name: usize, lease: Lease) -> Result<Option<Revision>, Error> {
        let key = self.keys[name].0.clone();
        let open = self.client.log.begin(Kind::Acquire, name as u32).with_extra(lease.0);
        let author = open.author().packed().to_le_bytes();
        loop {
            let taken = match self.store.commit(&[Op::put_leased(&key, &author, lease).if_absent()]) {
                Ok(taken) => taken,
                Err(error) => {
                    self.client.refused(open, &error);
                    return Ok(None);
                }
            };
            if let Answer::Committed(token) = taken {
                open.finish(Outcome::Done, 0, token.0);
                return Ok(Some(token));
            }
            let (meta, revision) = self.store.read(&key, &mut Vec::new())?;
            if meta.is_some() {
                self.store.wait(&key, revision, &Deadline::after(self.settings.lease() / 3))?;
            }
            if self.client.is_over() || self.client.log.room() < 16 || !self.prolong(lease) {
                open.finish(Outcome::Declined, 0, 0);
                self.client.revoke(self.store, lease);
                return Ok(None);
            }
        }
    }

    /// Answers whether the lease is still its own.
    fn prolong(&mut self, lease: Lease) -> bool {
        let open = self.client.log.begin(Kind::Lease, 0).with_extra(lease.0);
        match self.store.renew(lease) {
            Ok(_) => open.finish(Outcome::Done, 0, 0),
            Err(error) => {
                self.client.refused(open, &error);
                return false;
            }
        }
        true
    }

    fn hold(&mut self, name: usize, token: Revision, lease: Lease) -> Result<(), Error> {
        for _ in 0..1 + self.client.random.below(WRITES) {
            if self.client.random.one_in(8) {
                self.prolong(lease);
            }
            self.linger();
            if self.client.log.room() < 16 || !self.write(name, token)? {
                return Ok(());
            }
        }
        match self.client.random.below(8) {
            // Walks away: the name is free when the lease has ended.
            0 => {}
            1..=3 => {
                if self.client.revoke(self.store, lease) {
                    self.is_gone(name, token)?;
                }
            }
            _ => {
                self.leave(name, token);
                if self.client.random.one_in(2) {
                    self.client.revoke(self.store, lease);
                }
            }
        }
        Ok(())
    }

    /// Writes the name's data if it still is its holder; answers whether it did.
    fn write(&mut self, name: usize, token: Revision) -> Result<bool, Error> {
        let (entry, data) = self.keys[name].clone();
        let mut bytes = Vec::new();
        let (meta, _) = self.store.read(&data, &mut bytes)?;
        self.client.log.count_read();
        let version = meta.map_or(0, |meta| meta.version.0);
        let Ok(before) = Evidence::of(name as u32, &bytes) else {
            self.client.anomaly(name as u32, token.0, Anomaly::Mixed);
            return Ok(false);
        };
        let open = self.client.log.begin(Kind::GuardedWrite, name as u32).with_extra(token.0);
        open.attempt(before.author, before.count + 1);
        let author = open.author();
        before.followed_by(author).write(name as u32, value::length_of(author, self.client.longest()), &mut bytes);
        let guarded = [Op::check(&entry, When::CreatedAt(token)), Op::put(&data, &bytes)];
        match self.store.commit(&guarded) {
            Ok(Answer::Committed(revision)) => {
                self.client.log.count_acknowledged();
                open.finish(Outcome::Done, version + 1, revision.0);
                return Ok(true);
            }
            Ok(Answer::Conflict) => open.finish(Outcome::LeaseLost, 0, 0),
            Err(error) => {
                self.client.refused(open, &error);
            }
        }
        Ok(false)
    }

    /// Gives the name back.
    fn leave(&mut self, name: usize, token: Revision) {
        let open = self.client.log.begin(Kind::ReleaseName, name as u32).with_extra(token.0);
        match self.store.commit(&[Op::delete(&self.keys[name].0).if_created_at(token)]) {
            Ok(Answer::Committed(revision)) => open.finish(Outcome::Done, 0, revision.0),
            Ok(Answer::Conflict) => open.finish(Outcome::LeaseLost, 0, 0),
            Err(error) => {
                self.client.refused(open, &error);
            }
        }
    }

    /// What lived by a lease that was revoked is gone when that is told.
    fn is_gone(&mut self, name: usize, token: Revision) -> Result<(), Error> {
        let (meta, _) = self.store.read(&self.keys[name].0, &mut Vec::new())?;
        self.client.log.count_read();
        if meta.is_some_and(|meta| meta.created == token) {
            self.client.anomaly(name as u32, token.0, Anomaly::AfterRevoke);
        }
        Ok(())
    }

    /// Most holders are quick; some take long.
    fn linger(&mut self) {
        let ms = Duration::from_millis;
        match self.client.random.below(64) {
            0 => std::thread::sleep(self.client.random.between(ms(2), ms(12))),
            1..=4 => std::thread::sleep(self.client.random.between(Duration::ZERO, ms(1))),
            _ => {}
        }
    }
}

/// Reads who holds what, and writes it down.
pub fn look_who_holds(store: &SharedMemory, settings: Settings, client: &mut Client<'_>) -> Result<(), Error> {
    let keys = keys(store, settings.names)?;
    while client.awaits_room() {
        for (name, (entry, _)) in keys.iter().enumerate() {
            if client.log.room() < 16 {
                break;
            }
            let open = client.log.begin(Kind::Observe, name as u32);
            match store.read(entry, &mut Vec::new()) {
                Ok((Some(meta), _)) => {
                    let lease = meta.lease.map_or(0, |lease| lease.0);
                    open.with_extra(lease).finish(Outcome::Done, 0, meta.created.0);
                }
                Ok((None, _)) => open.finish(Outcome::Declined, 0, 0),
                Err(error) => {
                    client.refused(open, &error);
                }
            }
            client.log.count_read();
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}
