//! What watchers cost those who write: of the prefix that is written, who all have to be told, and of other prefixes, who
//! sleep on.
//!
//! Watchers are threads of this process, each with a watch of its own. Where they are told, each put is made when all of
//! them sleep, and timed by itself; the other time is until the last of them has the batch in hand.

use std::{
    io,
    sync::{
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc,
    },
    thread::{self, Builder, Scope},
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::{
    folder, limit,
    listener::{self, ENTRY},
    system::{Store, System},
};
use crate::support::{
    self, Run,
    figures::{median, time},
    lineup::{CAS, Lineup},
    sleeper::{Sleeper, until_asleep},
};

/// How many watchers.
pub const WATCHERS: [usize; 4] = [0, 1, 10, 1_000];
/// What the rows are called whose watchers are told.
pub const SAME: &str = "put, watchers of its prefix";
const OTHERS: &str = "put, watchers of other prefixes";

/// The entry that other prefixes' watchers would be told of.
const ELSEWHERE: &str = "elsewhere/1";
/// Room for names. Ours keeps folders apart where there is room, so that watchers of one are not woken for another.
const ROOM: u32 = 1_024;
/// Threads that only watch need little.
const STACK: usize = 256 << 10;
/// Puts measured whatever they take.
const LEAST: usize = 3;

/// A row of watchers who are told.
pub fn row(watchers: usize, system: &str) -> String {
    format!("{SAME}/{watchers} of them/{system}")
}

/// What the rows of one system are called whose watchers sleep on.
pub fn title(system: &str) -> String {
    format!("{OTHERS}/{system}")
}

/// One of them.
pub fn beside(watchers: usize) -> String {
    format!("{watchers} of them")
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    allow_many_files();
    for system in systems.iter().filter(|system| system.tells()) {
        told(run, *system)?;
    }
    for system in systems.iter().filter(|system| system.tells()) {
        asleep(run, *system)?;
    }
    Ok(())
}

/// A watcher is looked at through a file, and may have a socket: as many as this process may have, it will have.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is not allowed and too few, opening one says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn store_with(run: &Run, system: &dyn System) -> io::Result<(Box<dyn Store>, TempDir)> {
    let here = folder(run)?;
    let store = system.create(here.path(), ROOM)?;
    for name in [ENTRY, ELSEWHERE] {
        store.fill(&[name.to_owned()], &0_u64.to_le_bytes())?;
    }
    Ok((store, here))
}

/// Watchers of one entry, until it says that this was all, which it does when this is dropped.
struct Audience<'s> {
    store: &'s dyn Store,
    name: &'static str,
    members: Vec<Sleeper>,
}

impl<'s> Audience<'s> {
    fn gather<'scope>(
        scope: &'scope Scope<'scope, 's>,
        store: &'s dyn Store,
        name: &'static str,
        size: usize,
        heard: &'s AtomicU64,
    ) -> io::Result<Self> {
        let (here, arriving) = mpsc::channel();
        let mut audience = Self { store, name, members: Vec::with_capacity(size) };
        for _ in 0..size {
            let here = here.clone();
            Builder::new().stack_size(STACK).spawn_scoped(scope, move || watch(store, name, heard, &here))?;
        }
        for _ in 0..size {
            let thread = arriving.recv().expect("every watcher says that it is here, or why not")?;
            audience.members.push(Sleeper::of(std::process::id(), thread)?);
        }
        Ok(audience)
    }
}

impl Drop for Audience<'_> {
    fn drop(&mut self) {
        let names = [self.name.to_owned()];
        let told = self.store.client(&names).and_then(|mut client| client.tell(0, &listener::end()));
        told.expect("watchers can be told that this was all");
    }
}

fn watch(store: &dyn Store, name: &str, heard: &AtomicU64, here: &mpsc::Sender<io::Result<u32>>) {
    let mut listener = match store.listen(name) {
        Ok(listener) => listener,
        Err(error) => {
            let _ = here.send(Err(error));
            return;
        }
    };
    let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    let _ = here.send(Ok(thread));
    loop {
        let value = listener.next().expect("a watch of the bench's own entry");
        if listener::is_end(&value).expect("values here are numbers") {
            return;
        }
        // Release: who counts the heard ones sees them all.
        heard.fetch_add(1, Release);
    }
}

fn told(run: &mut Run, system: &dyn System) -> io::Result<()> {
    let mut printed = false;
    for watchers in WATCHERS {
        let row = row(watchers, system.name());
        if !run.options.runs(&row) {
            continue;
        }
        let (store, _here) = store_with(run, system)?;
        let heard = AtomicU64::new(0);
        thread::scope(|scope| {
            let audience = Audience::gather(scope, &*store, ENTRY, watchers, &heard)?;
            for _ in 0..run.options.rounds_of(2) {
                let cas = limit::one_cas();
                let (puts, everybody) = support::watched(&row, || put_to(run, &audience, &heard))?;
                if run.options.measures() {
                    limit::add(run, &row, puts, cas);
                    run.figures.add(&format!("{row}: all told"), "ns", everybody);
                }
            }
            Ok::<_, io::Error>(())
        })?;
        if run.options.measures() {
            if !printed {
                println!("\n{SAME}, {}\n{:<24} {:>10} {:>12}", system.name(), "", "put", "all told");
                printed = true;
            }
            let of = |what: &str| time(run.figures.median(&format!("{row}{what}")).unwrap_or(f64::NAN));
            println!("{:<24} {:>10} {:>12}", beside(watchers), of(""), of(": all told"));
        } else {
            println!("Testing {row}\nSuccess");
        }
    }
    Ok(())
}

/// The middle of what puts took, and of the time until the last watcher had each.
fn put_to(run: &Run, audience: &Audience<'_>, heard: &AtomicU64) -> io::Result<(f64, f64)> {
    let mut client = audience.store.client(&[audience.name.to_owned()])?;
    let (mut puts, mut everybody) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut expected = heard.load(Relaxed);
    while puts.len() < LEAST || (run.options.measures() && start.elapsed() < run.options.window) {
        until_asleep(&audience.members)?;
        expected += audience.members.len() as u64;
        let told = Instant::now();
        client.tell(0, &(puts.len() as u64).to_le_bytes())?;
        puts.push(told.elapsed().as_nanos() as f64);
        // Acquire: those heard are heard.
        while heard.load(Acquire) < expected {
            thread::yield_now();
        }
        everybody.push(told.elapsed().as_nanos() as f64);
    }
    assert_eq!(heard.load(Acquire), expected, "every watcher is told of every put, once");
    Ok((median(&puts), median(&everybody)))
}

fn asleep(run: &mut Run, system: &dyn System) -> io::Result<()> {
    let title = title(system.name());
    let rows = [CAS.to_owned()].into_iter().chain(WATCHERS.map(beside));
    if rows.filter(|row| run.options.runs(&format!("{title}/{row}"))).count() == 0 {
        return Ok(());
    }
    let stores = WATCHERS.iter().map(|_| store_with(run, system)).collect::<io::Result<Vec<_>>>()?;
    let heard = AtomicU64::new(0);
    thread::scope(|scope| {
        let mut audiences = Vec::new();
        let lineup = Lineup::new(title);
        lineup.one_cas();
        for (watchers, (store, _)) in WATCHERS.into_iter().zip(&stores) {
            audiences.push(Audience::gather(scope, &**store, ELSEWHERE, watchers, &heard)?);
            let mut client = store.client(&[ENTRY.to_owned()])?;
            let mut number = 0_u64;
            lineup.row(beside(watchers), move || {
                number += 1;
                client.tell(0, &number.to_le_bytes()).expect("a put of the bench's own entry");
            });
        }
        until_asleep(audiences.iter().flat_map(|audience| &audience.members))?;
        lineup.measure(run, |_, _| ());
        assert_eq!(heard.load(Relaxed), 0, "watchers of other prefixes are told nothing");
        Ok(())
    })
}
