//! Recipes: what it costs to have a lock and to hand it to the next in line, to lead, to get a slot, and to tell somebody.

use std::{
    fs::File,
    hint::black_box,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use slotguard::{
    Deadline,
    backend::{Session, SharedMemory},
    recipe::{self, Election, Guarded, Lock, assignment::Assignment, delivery::Member},
};

use super::{folder, ours, system::System};
use crate::support::{
    Run,
    lineup::{CAS, Lineup},
};

/// What the rows of a lock that nobody else wants are called.
pub const LOCK: &str = "lock + unlock, alone";
/// What the rows of claims on a guarded thing are called.
const TURN: &str = "turn with an intent, alone";
/// What the rows are called where each operation is two hand-overs, there and back.
const HAND_OVER: &str = "hand-over to the next in line and back";
/// What the rows of a table of slots are called.
const SLOTS: &str = "255 nodes get slots and give them back";
/// What the rows of a message are called.
const MESSAGE: &str = "message sent, received and acknowledged";

/// The mutex of one process.
const MUTEX: &str = "parking_lot, one process";
const FLOCK: &str = "flock";

const TIME_TO_LIVE: Duration = Duration::from_secs(60);

type OurSession = Arc<Session<SharedMemory>>;
/// Takes a handoff in its turn and hands it on.
type Pass<'a> = &'a (dyn Fn() + Sync);

/// Measures the rows that were asked for.
pub fn run(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    lock(run, systems)?;
    turn(run)?;
    hand_over(run)?;
    slots(run)?;
    message(run, systems)
}

fn is_wanted<'r>(run: &Run, title: &str, mut rows: impl Iterator<Item = &'r str>) -> bool {
    rows.any(|row| run.options.runs(&format!("{title}/{row}")))
}

fn join(store: &Arc<SharedMemory>) -> io::Result<OurSession> {
    recipe::join(store, TIME_TO_LIVE).map_err(io::Error::other)
}

fn never() -> Deadline {
    Deadline::never()
}

/// Stores of those systems that can do it, each with what does it once.
fn lock(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    let names = systems.iter().map(|system| system.name());
    if !is_wanted(run, LOCK, names.chain([CAS, MUTEX, FLOCK])) {
        return Ok(());
    }
    let here = folder(run)?;
    let store = Arc::new(ours::create(here.path(), 64).map_err(io::Error::other)?);
    let lock = Lock::new(&join(&store)?, "billing").map_err(io::Error::other)?;
    let file = File::create(here.path().join("flock"))?;
    let mutex = parking_lot::Mutex::new(());
    let mut stores = Vec::new();
    for system in systems {
        let here = folder(run)?;
        stores.push((system.create(here.path(), 16)?, here));
    }
    let lineup = Lineup::new(LOCK);
    lineup.one_cas();
    lineup.row(ours::NAME, || lock.try_acquire().expect("nobody else is here").release().expect("a lock of ours"));
    lineup.row(MUTEX, || drop(black_box(mutex.lock())));
    lineup.row(FLOCK, || {
        file.lock().expect("a lock nobody else wants");
        file.unlock().expect("a lock of ours");
    });
    for (system, (store, _)) in systems.iter().zip(&stores) {
        if let Some(mut once) = store.lock("billing", TIME_TO_LIVE)? {
            lineup.row(system.name(), move || once().expect("a lock nobody else wants"));
        }
    }
    lineup.measure(run, |_, _| ());
    Ok(())
}

fn turn(run: &mut Run) -> io::Result<()> {
    if !is_wanted(run, TURN, [CAS, ours::NAME].into_iter()) {
        return Ok(());
    }
    let here = folder(run)?;
    let store = Arc::new(ours::create(here.path(), 64).map_err(io::Error::other)?);
    let guarded = Guarded::new(&join(&store)?, "rows/7").map_err(io::Error::other)?;
    let lineup = Lineup::new(TURN);
    lineup.one_cas();
    lineup.row(ours::NAME, || {
        let mut claim = guarded.claim(&never()).expect("nobody else is here");
        claim.intend(b"new").expect("a claim of ours");
        claim.commit(b"new").expect("a claim of ours")
    });
    lineup.measure(run, |_, _| ());
    Ok(())
}

/// Two in line all the time: whoever has had it asks again at once and is served when the other has had it.
fn hand_over(run: &mut Run) -> io::Result<()> {
    let ours = ["slotguard, lock", "slotguard, election"];
    if !is_wanted(run, HAND_OVER, ours.into_iter().chain([CAS, MUTEX])) {
        return Ok(());
    }
    let here = folder(run)?;
    let one = Arc::new(ours::create(here.path(), 64).map_err(io::Error::other)?);
    let two = Arc::new(SharedMemory::new(one.segment().reopen().map_err(io::Error::other)?).map_err(io::Error::other)?);
    let sessions = [join(&one)?, join(&two)?];
    let over = AtomicBool::new(false);
    let mutex = parking_lot::Mutex::new(());
    let [mine, theirs] = sessions.each_ref().map(|session| {
        let lock = Lock::new(session, "handoff")?;
        Ok::<_, recipe::Error>((lock, Election::new(session, "lead")?))
    });
    let (mine, theirs) = (mine.map_err(io::Error::other)?, theirs.map_err(io::Error::other)?);
    let pass_lock = |lock: &Lock<SharedMemory>| {
        lock.acquire(&never()).expect("a lock in the end").release().expect("a lock of ours");
    };
    let pass_lead = |election: &Election<SharedMemory>| {
        election.campaign(b"", &never()).expect("the lead in the end").resign().expect("a lead of ours");
    };
    let pass_mutex = || parking_lot::MutexGuard::unlock_fair(mutex.lock());
    // Each kind in a lineup of its own: whoever waits for the others' turn would spin in its own.
    let pairs: [(&str, Pass<'_>, Pass<'_>); 3] = [
        (ours[0], &|| pass_lock(&mine.0), &|| pass_lock(&theirs.0)),
        (ours[1], &|| pass_lead(&mine.1), &|| pass_lead(&theirs.1)),
        (MUTEX, &pass_mutex, &pass_mutex),
    ];
    for (name, mine, theirs) in pairs {
        over.store(false, SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    theirs();
                }
            });
            let lineup = Lineup::new(HAND_OVER);
            lineup.one_cas();
            lineup.row(name, mine);
            lineup.measure(run, |_, _| ());
            over.store(true, SeqCst);
        });
    }
    Ok(())
}

fn slots(run: &mut Run) -> io::Result<()> {
    if !is_wanted(run, SLOTS, [CAS, ours::NAME].into_iter()) {
        return Ok(());
    }
    let here = folder(run)?;
    let store = Arc::new(ours::create(here.path(), 1_024).map_err(io::Error::other)?);
    let assignment = Assignment::open(&store, "gpus").map_err(io::Error::other)?;
    let nodes: Vec<String> = (0..255).map(|index| format!("node-{index}")).collect();
    let lineup = Lineup::new(SLOTS);
    lineup.one_cas();
    lineup.row(ours::NAME, || {
        for node in &nodes {
            assignment.assign(node).expect("a slot for each of 255");
        }
        for node in &nodes {
            assignment.release(node).expect("a node that has a slot");
        }
    });
    lineup.measure(run, |_, _| ());
    Ok(())
}

fn message(run: &mut Run, systems: &[&dyn System]) -> io::Result<()> {
    if !is_wanted(run, MESSAGE, systems.iter().map(|system| system.name()).chain([CAS])) {
        return Ok(());
    }
    let here = folder(run)?;
    let store = Arc::new(ours::create(here.path(), 1_024).map_err(io::Error::other)?);
    let session = join(&store)?;
    let member = |number| Member::join(&session, "chat", number).map_err(io::Error::other);
    let (anna, bert) = (member(1)?, member(2)?);
    let mut inbox = bert.inbox().map_err(io::Error::other)?;
    let mut stores = Vec::new();
    for system in systems {
        let here = folder(run)?;
        stores.push((system.create(here.path(), 16)?, here));
    }
    let lineup = Lineup::new(MESSAGE);
    lineup.one_cas();
    lineup.row(ours::NAME, || {
        anna.send(b"hello").expect("room for a message");
        let delivery = inbox.next(&never()).expect("a message").expect("a wait without an end");
        delivery.acknowledge().expect("a member")
    });
    for (system, (store, _)) in systems.iter().zip(&stores) {
        if let Some(mut once) = store.message("chat")? {
            lineup.row(system.name(), move || once().expect("a message that arrives"));
        }
    }
    lineup.measure(run, |_, _| ());
    Ok(())
}
