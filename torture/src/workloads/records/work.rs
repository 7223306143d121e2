//! What a thread does to single records until the time is over.

use std::thread;
use std::time::Duration;

use slotguard::Error;

use super::{Records, Role};
use crate::client::{AHEAD, Client};
use crate::history::Outcome;
use crate::worker::PAUSE;

/// The whole life of a thread.
pub fn act(role: Role, records: &Records, client: &mut Client<'_>) -> Result<(), Error> {
    match role {
        Role::Updater => update_all_the_time(client, records),
        Role::WarnedUpdater => update_when_warned(client, records),
        Role::Reader => read_all_the_time(client, records),
        Role::Waiter => wait_all_the_time(client, records),
        Role::Claimer => claim_all_the_time(client, records),
    }
}

fn update_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = draw_record(client, records);
        if client.may_log() {
            change(client, index)?;
        } else {
            client.read(index)?;
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn update_when_warned(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = draw_record(client, records);
        if client.log.is_warned() && client.may_log_ahead(AHEAD) {
            change(client, index)?;
            continue;
        }
        client.read(index)?;
        if client.may_log() {
            change(client, index)?;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn draw_record(client: &mut Client<'_>, records: &Records) -> u32 {
    match client.random.below(128) {
        0..4 => records.draw_quiet(&mut client.random),
        // Mostly refused: somebody holds it.
        4 => records.draw_claimed(&mut client.random),
        _ => records.draw_hot(&mut client.random),
    }
}

fn change(client: &mut Client<'_>, index: u32) -> Result<(), Error> {
    match client.random.below(64) {
        0 => client.update(index, false)?,
        1..=8 => client.swap(index)?,
        _ => client.update(index, true)?,
    };
    Ok(())
}

fn read_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    while !client.is_over() {
        let index = client.random.below(u64::from(records.total())) as u32;
        match client.random.below(64) {
            0 => client.verify(index)?,
            1..=4 if client.may_log() => client.logged_read(index)?,
            // Two cores are not for readers alone.
            5 => thread::sleep(PAUSE),
            _ => {
                client.read(index)?;
            }
        }
    }
    Ok(())
}

fn wait_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    let quiet: Vec<u32> = (records.hot..records.hot + records.quiet).collect();
    // Not `is_over`: a waiter goes on until somebody tells it to stop, so that the last changes end its last wait.
    while !client.is_stopping() {
        if client.random.one_in(4) {
            client.wait(&quiet)?;
        } else {
            let index = records.draw_quiet(&mut client.random);
            client.wait(&[index])?;
        }
    }
    Ok(())
}

fn claim_all_the_time(client: &mut Client<'_>, records: &Records) -> Result<(), Error> {
    let lease = Duration::from_millis(records.lease_ms);
    while !client.is_over() {
        let index = records.draw_claimed(&mut client.random);
        if client.may_log() {
            client.claim_once(index, lease)?;
        } else {
            client.read(index)?;
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// One change of every record, so that every wait for one ends; a claimed one is tried again until its last claim has ended.
pub fn change_all(client: &mut Client<'_>) -> Result<(), Error> {
    for index in 0..client.segment.records() {
        while client.log.room() > 0 && client.update(index, true)? == Outcome::Held {
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
