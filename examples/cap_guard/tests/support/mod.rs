//! A database, a segment and worker processes for one test, cleared away when it ends.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use cap_guard::Result;
use cap_guard::customer::{Access, Call, Query, Row, Update};
use cap_guard::database::{Address, AuditLine, Database};
use cap_guard::fault::Fault;
use cap_guard::guard::CapGuard;
use cap_guard::keeper::{Keeper, Needs};
use cap_guard::modes::Mode;
use cap_guard::run::fresh_row;
use cap_guard::worker::{ADD, Assignment, CUSTOMER, Event};
use cap_guard::workers::{Plan, SILENCE, Worker};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cap_guard");
/// The customer all calls are about.
pub const QUERY: Query = Query { customer: CUSTOMER };
/// A lease no test outlives: whoever gets past it saw its holder dead.
pub const FOR_EVER: Duration = Duration::from_secs(3600);

/// Runs the test on SQLite, then on PostgreSQL.
pub fn on_both(test: impl Fn(&mut Fixture)) {
    for sqlite in [true, false] {
        test(&mut Fixture::new(sqlite));
    }
}

/// One database with a fresh row, and room for a segment.
pub struct Fixture {
    /// A connection of the test's own.
    pub database: Box<dyn Database>,
    /// Its address.
    pub address: Address,
    /// Where the segment or lock file goes.
    pub shared: PathBuf,
    _keeper: Keeper,
    _watchdog: Sender<()>,
}

/// Ends the test process when a call never returns; the keeper then clears away as ever. Ends with the sender.
fn watchdog() -> Sender<()> {
    let (alive, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(300)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a test did not end within five minutes");
            process::abort();
        }
    });
    alive
}

impl Fixture {
    /// With SQLite or PostgreSQL.
    pub fn new(sqlite: bool) -> Self {
        let needs = Needs { sqlite, postgres: !sqlite, postgres_programs: None, connections: 20 };
        let keeper = Keeper::start(Path::new(PROGRAM), &needs).unwrap();
        let address = keeper.databases[0].clone();
        let mut database = address.connect().unwrap();
        database.prepare(&fresh_row()).unwrap();
        Fixture { database, address, shared: keeper.shared.join("shared"), _keeper: keeper, _watchdog: watchdog() }
    }

    /// A small run of one mode.
    pub fn plan(&self, mode: Mode) -> Plan {
        Plan {
            program: PROGRAM.into(),
            database: self.address.clone(),
            mode,
            shared: self.shared.clone(),
            processes: 6,
            updates: 15,
            work: Duration::from_millis(1),
            kills: if mode == Mode::Guard { 6 } else { 0 },
            anywhere: false,
            lease: FOR_EVER,
        }
    }

    /// Starts process 1, which makes one call with this fault, and lets it go.
    pub fn faulty_writer(&self, mode: Mode, fault: &str, lease: Duration) -> (Worker, Receiver<Option<Event>>) {
        let fault: Fault = fault.parse().unwrap();
        let assignment = Assignment {
            database: self.address.clone(),
            mode,
            shared: self.shared.clone(),
            process: 1,
            first: fault.call,
            end: fault.call + 1,
            work: Duration::ZERO,
            lease,
            fault: Some(fault),
        };
        let (tell, heard) = mpsc::channel();
        let told = move |event: Option<Result<Event>>| {
            let _ = tell.send(event.map(|event| event.expect("workers say what their parents can read")));
        };
        let mut worker = Worker::start(Path::new(PROGRAM), &assignment, told).unwrap();
        assert_eq!(next(&heard), Some(Event::Ready));
        worker.begin().unwrap();
        (worker, heard)
    }

    /// The test's own guard, and what it is told of changes others left open.
    pub fn guard(&self, lease: Duration) -> (CapGuard, Receiver<bool>) {
        let mut guard = CapGuard::open(&self.shared, lease).unwrap();
        let (tell, resolved) = mpsc::channel();
        guard.resolved = Box::new(move |_, happened| tell.send(happened).unwrap());
        (guard, resolved)
    }

    /// The row as it is.
    pub fn row(&mut self) -> Row {
        self.database.read(CUSTOMER).unwrap().unwrap()
    }

    /// Whose changes it has, in order.
    pub fn calls(&mut self) -> Vec<Call> {
        let lines: Vec<AuditLine> = self.database.audit().unwrap();
        lines.iter().map(|line| line.call).collect()
    }

    /// What the record in shared memory holds.
    pub fn record(&self) -> Vec<u8> {
        let guard = CapGuard::open(&self.shared, FOR_EVER).unwrap();
        guard.caps(CUSTOMER).unwrap().read().unwrap().value
    }
}

/// The next thing a worker says; `None` when it has ended.
pub fn next(heard: &Receiver<Option<Event>>) -> Option<Event> {
    heard.recv_timeout(SILENCE).expect("the worker says something")
}

/// A call of one process, taking no time.
pub fn update(process: u32, number: u32) -> Update {
    Update { add: ADD, access: Access::Granted, call: call(process, number), work: Duration::ZERO }
}

/// The name of a call.
pub fn call(process: u32, number: u32) -> Call {
    Call { process, number }
}
