//! Lenders that lend their lease to everybody for a moment, and borrowers who come until the last one.

use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, Lease, Outcome as Answer};

use super::{GUEST_ENTRIES, GUESTS, Key, LENDERS, Settings};
use crate::anomaly::Anomaly;
use crate::client::Client;
use crate::history::{Kind, Outcome};

fn lender_keys(store: &SharedMemory) -> Result<Vec<Key>, Error> {
    (0..LENDERS).map(|number| store.key(&format!("lender/{number}"))).collect()
}

/// Publishes a lease, and ends it while borrowers are coming.
pub fn lender(store: &SharedMemory, number: u32, settings: Settings, client: &mut Client<'_>) -> Result<(), Error> {
    let key = &lender_keys(store)?[number as usize];
    while client.awaits_room() {
        let Some(lease) = client.lend(store, settings.lease()) else {
            continue;
        };
        store.commit(&[Op::put(key, &lease.0.to_le_bytes())])?;
        std::thread::sleep(client.random.between(Duration::from_micros(200), Duration::from_millis(2)));
        // Some leases are left to end by themselves.
        if client.random.one_in(16) {
            std::thread::sleep(settings.lease());
        } else if client.revoke(store, lease) {
            nobody_is_left(store, lease, client)?;
        }
    }
    Ok(())
}

/// What lived by a lease that was revoked is gone when that is told.
fn nobody_is_left(store: &SharedMemory, lease: Lease, client: &mut Client<'_>) -> Result<(), Error> {
    let mut left = None;
    store.range(GUESTS, &mut |_, _, meta| {
        if meta.lease == Some(lease) {
            left = Some(meta.created.0);
        }
    })?;
    client.log.count_read();
    if let Some(created) = left {
        client.anomaly(0, created, Anomaly::AfterRevoke);
    }
    Ok(())
}

/// Puts entries under whatever lease is published.
pub fn lending(store: &SharedMemory, client: &mut Client<'_>) -> Result<(), Error> {
    let lenders = lender_keys(store)?;
    let me = client.log.author_after(0).writer;
    let own = (0..GUEST_ENTRIES).map(|number| store.key(&format!("{GUESTS}{me}/{number}")));
    let own: Vec<Key> = own.collect::<Result<_, _>>()?;
    let mut bytes = Vec::new();
    while client.awaits_room() {
        let lender = &lenders[client.random.below(u64::from(LENDERS)) as usize];
        store.read(lender, &mut bytes)?;
        let Ok(lease) = bytes.as_slice().try_into().map(u64::from_le_bytes) else {
            // No lender has come yet.
            std::thread::sleep(crate::worker::PAUSE);
            continue;
        };
        let key = &own[client.random.below(GUEST_ENTRIES) as usize];
        let open = client.log.begin(Kind::LeasedPut, 0).with_extra(lease);
        match store.commit(&[Op::put_leased(key, b"borrower", Lease(lease))]) {
            Ok(Answer::Committed(revision)) => open.finish(Outcome::Done, 0, revision.0),
            Ok(Answer::Conflict) => open.finish(Outcome::Conflict, 0, 0),
            Err(error) => {
                client.refused(open, &error);
            }
        }
    }
    Ok(())
}
