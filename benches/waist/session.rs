//! Sessions: what it costs to ask whether one still lives, and to renew its lease.

use std::{io, sync::Arc, time::Duration};

use slotguard::backend::Session;

use super::{folder, ours, system::System};
use crate::support::{
    Run,
    lineup::{CAS, Lineup},
};

/// What the rows that ask are called.
pub const ALIVE: &str = "session, alive";
/// What the rows that renew are called.
pub const RENEW: &str = "session, renew";
/// The limit of asking: one reading of the clock.
pub const CLOCK: &str = "clock_gettime (limit)";

const TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// Measures the rows that were asked for.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    alive(run)?;
    renew(run, systems)
}

fn alive(run: &mut Run) -> io::Result<()> {
    if [CAS, CLOCK, ours::NAME].iter().filter(|row| run.options.runs(&format!("{ALIVE}/{row}"))).count() == 0 {
        return Ok(());
    }
    let here = folder(run)?;
    let store = Arc::new(ours::create(here.path(), 16).map_err(io::Error::other)?);
    let session = Session::open(&store, "workers/1", b"here", TIME_TO_LIVE).map_err(io::Error::other)?;
    let session = session.mine().expect("nobody else is here");
    let lineup = Lineup::new(ALIVE);
    lineup.one_cas();
    lineup.row(CLOCK, super::listener::now);
    lineup.row(ours::NAME, || assert!(session.is_alive(), "a session of a minute lives for longer than this row"));
    lineup.measure(run, |_, _| ());
    session.close().map_err(io::Error::other)
}

fn renew(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let leased: Vec<&dyn System> = systems.iter().copied().filter(|system| system.has_leases()).collect();
    let rows = [CAS].into_iter().chain(leased.iter().map(|system| system.name()));
    if rows.filter(|row| run.options.runs(&format!("{RENEW}/{row}"))).count() == 0 {
        return Ok(());
    }
    let names = ["workers/1".to_owned()];
    let mut stores = Vec::new();
    for system in &leased {
        let here = folder(run)?;
        let store = system.create(here.path(), 16)?;
        store.fill(&names, b"here")?;
        stores.push((store, here));
    }
    let lineup = Lineup::new(RENEW);
    lineup.one_cas();
    for (system, (store, _)) in leased.iter().zip(&stores) {
        let mut renewal = store.lease(&names[0], TIME_TO_LIVE)?;
        lineup.row(system.name(), move || renewal().expect("a renewal in time"));
    }
    lineup.measure(run, |_, _| ());
    Ok(())
}
