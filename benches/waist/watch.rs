//! From a put to the batch in the hands of a watcher that was asleep: in one process, and in another one.

use std::{io, thread, time::Duration};

use super::{
    folder, limit,
    listener::{self, BELL, Bell, ENTRY, ListenerWords, Ringing, now},
    system::{Client, Listener, Store, System},
};
use crate::support::{
    self, Run,
    figures::{median, time},
    mapped::Mapped,
    pin,
    sleeper::{Sleeper, until_asleep},
};

/// What the rows are called whose watcher is a thread of the process that puts.
pub const ONE_PROCESS: &str = "put to batch, one process";
/// What the rows are called whose watcher is a process of its own.
pub const TWO_PROCESSES: &str = "put to batch, two processes";

/// Who is told: a store's watcher, or for the limit whoever sleeps on a futex.
#[derive(Clone, Copy)]
enum Way<'a> {
    Bell,
    Store(&'a dyn System),
}

impl Way<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Bell => BELL,
            Self::Store(system) => system.name(),
        }
    }
}

/// Measures the rows that were asked for and prints them.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    for title in [ONE_PROCESS, TWO_PROCESSES] {
        let row = |way: &Way<'_>| format!("{title}/{}", way.name());
        let stores = systems.iter().filter(|system| system.tells()).map(|system| Way::Store(*system));
        let ways: Vec<Way<'_>> =
            [Way::Bell].into_iter().chain(stores).filter(|way| run.options.runs(&row(way))).collect();
        for _ in 0..run.options.rounds_of(2) {
            let cas = limit::one_cas();
            for way in &ways {
                let nanoseconds = support::watched(&row(way), || measure(run, *way, title == TWO_PROCESSES))?;
                if run.options.measures() {
                    limit::add(run, &row(way), nanoseconds, cas);
                } else {
                    println!("Testing {}\nSuccess", row(way));
                }
            }
        }
        if run.options.measures() && !ways.is_empty() {
            println!("\n{title}, the watcher asleep");
            for way in &ways {
                println!("{:<24} {:>10}", way.name(), time(run.figures.median(&row(way)).unwrap_or(f64::NAN)));
            }
        }
    }
    Ok(())
}

/// What one way needs, made in a folder of its own.
enum Ground {
    Bell(Mapped<Bell>),
    Store(Box<dyn Store>),
}

impl Ground {
    fn listener(&self) -> io::Result<Box<dyn Listener + '_>> {
        match self {
            Self::Bell(bell) => Ok(Box::new(Ringing::new(bell.get()))),
            Self::Store(store) => store.listen(ENTRY),
        }
    }

    fn teller(&self) -> io::Result<Teller<'_>> {
        Ok(match self {
            Self::Bell(bell) => Teller::Bell(bell.get()),
            Self::Store(store) => Teller::Client(store.client(&[ENTRY.to_owned()])?),
        })
    }
}

/// Who puts.
enum Teller<'g> {
    Bell(&'g Bell),
    Client(Box<dyn Client + 'g>),
}

impl Teller<'_> {
    fn tell(&mut self, number: u64) -> io::Result<()> {
        match self {
            Self::Bell(bell) => bell.ring(number),
            Self::Client(client) => client.tell(0, &number.to_le_bytes())?,
        }
        Ok(())
    }
}

/// The middle of the times from just before a put to the return of the watcher's wait.
fn measure(run: &Run, way: Way<'_>, apart: bool) -> io::Result<f64> {
    let here = folder(run)?;
    let ground = match way {
        Way::Bell => Ground::Bell(Bell::open(here.path())?),
        Way::Store(system) => {
            let store = system.create(here.path(), 1)?;
            store.fill(&[ENTRY.to_owned()], &0_u64.to_le_bytes())?;
            Ground::Store(store)
        }
    };
    let words = ListenerWords::open(here.path())?;
    let (ear, ground) = (words.get(), &ground);
    // A put takes tens of microseconds with the sleeping and waking around it.
    let times = (run.options.window.as_micros() as u64 / 500).max(1);
    let times = if run.options.measures() { times } else { 1 };
    if apart {
        let mut listener = listener::start(way.name(), here.path())?;
        let gone = || io::Error::other("the process that should listen is gone");
        let took = tell(ground, ear, times, || listener.try_wait()?.map_or(Ok(()), |_| Err(gone())));
        if took.is_err() {
            let _ = listener.kill();
        }
        let ended = listener.wait()?;
        let took = took?;
        if ended.success() { Ok(took) } else { Err(gone()) }
    } else {
        thread::scope(|scope| {
            let listening = scope.spawn(move || {
                pin::to(pin::core_for(1, 2));
                ear.listen(&mut *ground.listener()?)
            });
            // A thread of its own, too: being bound to a core must not outlast the row.
            let telling = scope.spawn(move || tell(ground, ear, times, || Ok(())));
            let took = telling.join().expect("the thread that puts")?;
            listening.join().expect("the thread that watches")?;
            Ok(took)
        })
    }
}

fn tell(
    ground: &Ground,
    ear: &ListenerWords,
    times: u64,
    mut lives: impl FnMut() -> io::Result<()>,
) -> io::Result<f64> {
    let (process, number) = loop {
        match ear.listener() {
            Some(listener) => break listener,
            None => {
                lives()?;
                thread::sleep(Duration::from_micros(100));
            }
        }
    };
    let sleeper = Sleeper::of(process, number)?;
    let mut teller = ground.teller()?;
    let mut took = Vec::with_capacity(times as usize);
    for number in 1..=times {
        until_asleep([&sleeper])?;
        let told = now();
        teller.tell(number)?;
        let heard = loop {
            match ear.heard(number) {
                Some(at) => break at,
                None => thread::yield_now(),
            }
        };
        took.push((heard - told) as f64);
    }
    teller.tell(u64::from_le_bytes(listener::end()))?;
    Ok(median(&took))
}
