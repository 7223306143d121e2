//! Every operation there is, one after another, each of which may fail and none of which may do worse.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory, Watch};
use slotguard::{Claim, Deadline, ErrorKind, Record, RecordOp, Result, Revision, Segment, SegmentBuilder, Version};

use crate::measure::{Watchdog, within};

/// The largest value of the segments here.
pub const LARGEST: usize = 512;
/// What an operation may have in use: some copies of a value, lists of members and places, a message.
const MOST_BYTES: usize = 16 * LARGEST + (64 << 10);
/// What one over many names may: copies of all the leaves there can be, and of what their entries can be.
const MOST_BYTES_OF_NAMES: usize = MOST_BYTES + 200 * (4096 + 340 * 512);
const LEASE: Duration = Duration::from_secs(600);

pub fn small() -> SegmentBuilder {
    Segment::builder().records(6).keys(40).lanes(4).participants(4).payloads(&[(64, 60), (LARGEST, 8)])
}

/// The names that [`fill`] puts: enough of them, and long enough, for two levels of the directory.
fn name(i: usize) -> String {
    format!("{}/{i:02}/{}", ["a", "b"][i % 2], "x".repeat(150))
}

/// Gives a segment values of both classes, a type, a claim of ours and an intent that somebody left.
pub fn fill(segment: &Segment) -> Claim<'_> {
    let record = |index| segment.record(index).unwrap();
    segment.typed::<u64>(0).unwrap().update(|count| *count = 5).unwrap();
    record(1).update(|_, draft| draft.write(b"a short value")).unwrap();
    record(2).update(|_, draft| draft.write(&[7; 300])).unwrap();
    let mut left = record(3).claim(Deadline::now(), LEASE).unwrap();
    left.intend(b"announced").unwrap();
    drop(left);
    segment.vector().tick().unwrap();
    let store = SharedMemory::new(segment.clone()).unwrap();
    let lease = store.grant(LEASE).unwrap();
    for i in 0..30 {
        let key = store.key(&name(i)).unwrap();
        let op = if i % 3 == 0 { Op::put_leased(&key, b"leased", lease) } else { Op::put(&key, b"value") };
        store.commit(&[op]).unwrap();
    }
    record(4).claim(Deadline::now(), LEASE).unwrap()
}

/// How many operations ended in which way.
#[derive(Default)]
pub struct Tally(BTreeMap<Option<ErrorKind>, u64>);

impl Tally {
    pub fn add(&mut self, other: Self) {
        for (ending, count) in other.0 {
            *self.0.entry(ending).or_default() += count;
        }
    }

    pub fn of(&self, ending: Option<ErrorKind>) -> u64 {
        self.0.get(&ending).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: u64 = self.0.values().sum();
        write!(f, "{total} operations:")?;
        for (ending, count) in &self.0 {
            let name = ending.map_or_else(|| String::from("done"), |kind| kind.to_string());
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}

/// Runs operations, each of which must end, in an answer or an error.
pub struct Battery<'a> {
    pub watchdog: &'a Watchdog,
    pub tally: Tally,
    /// Which damage is being looked at.
    pub round: String,
    /// Whether memory is counted: not beside other threads.
    pub counting: bool,
}

impl Battery<'_> {
    pub fn run<T>(&mut self, name: &str, operation: impl FnOnce() -> Result<T>) -> Option<T> {
        self.run_within(MOST_BYTES, name, operation)
    }

    fn run_names<T>(&mut self, name: &str, operation: impl FnOnce() -> Result<T>) -> Option<T> {
        self.run_within(MOST_BYTES_OF_NAMES, name, operation)
    }

    fn run_within<T>(&mut self, most: usize, name: &str, operation: impl FnOnce() -> Result<T>) -> Option<T> {
        let what = format!("{name}, {}", self.round);
        self.watchdog.doing(what.clone());
        let caught = if self.counting {
            within(most, &what, || catch_unwind(AssertUnwindSafe(operation)))
        } else {
            catch_unwind(AssertUnwindSafe(operation))
        };
        self.watchdog.done();
        let ended = caught.unwrap_or_else(|_| panic!("a panic in {what}"));
        let ending = ended.as_ref().err().map(slotguard::Error::kind);
        *self.tally.0.entry(ending).or_default() += 1;
        if let Err(error) = &ended {
            assert!(error.to_string().len() < 2000, "{what}: a message of any length");
        }
        ended.ok()
    }

    /// Everything one can do with an attachment.
    pub fn segment(&mut self, segment: &Segment) {
        for index in 0..segment.records() {
            let record = segment.record(index).expect("our own count of records");
            self.record(segment, &record);
        }
        let all: Vec<_> = (0..segment.records()).map(|index| (index, Version(1))).collect();
        let soon = || Deadline::after(Duration::from_millis(1));
        self.run("wait_any", || segment.wait_any(&all, soon()));
        self.run("tick", || segment.vector().tick());
        let clock = self.run("snapshot", || segment.vector().snapshot());
        self.run("merge", || segment.vector().merge(&clock.unwrap_or_default()));
        self.run("members", || segment.participants());
        self.commits(segment);
        if let Some(store) = self.run("names", || SharedMemory::new(segment.clone())) {
            self.names(&store);
        }
        self.run("reap", || segment.reap());
        self.run("stats", || Ok(segment.stats()));
        self.run("audit", || segment.audit());
        self.run("revision", || Ok(segment.revision()));
        self.run("debug", || Ok(format!("{segment:?}")));
    }

    fn commits(&mut self, segment: &Segment) {
        let two = [RecordOp::write(5, b"two"), RecordOp::write(0, b"records")];
        self.run("commit of records", || segment.commit(&two));
        let checked = [RecordOp::write(1, b"checked"), RecordOp::check(2, Version(1))];
        self.run("commit with a check", || segment.commit(&checked));
    }

    /// Everything one can do with names.
    fn names(&mut self, store: &SharedMemory) {
        let mut value = Vec::new();
        let keys: Vec<_> = [0, 1, 17, 29, 99].map(|i| store.key(&name(i)).expect("a name")).into();
        for key in &keys {
            let read = self.run_names("read of a name", || store.read(key, &mut value));
            assert!(value.len() <= LARGEST, "{} bytes read, {}", value.len(), self.round);
            let seen = read.map_or(Revision(0), |(_, revision)| revision);
            self.run_names("put", || store.commit(&[Op::put(key, b"put")]));
            self.run_names("wait for a name", || store.wait(key, seen, &Deadline::after(Duration::from_millis(1))));
        }
        let (a, b) = (&keys[2], &keys[4]);
        self.run_names("move", || store.commit(&[Op::delete(a), Op::put(b, b"moved").if_absent()]));
        self.run_names("move back", || store.commit(&[Op::delete(b), Op::put(a, b"back").if_absent()]));
        for prefix in ["", "a/"] {
            let mut entries = 0;
            let revision = self.run_names("range", || {
                entries = 0;
                store.range(prefix, &mut |_, value, _| entries += usize::from(value.len() <= LARGEST))
            });
            let from = revision.map_or(Revision(0), |revision| Revision(revision.0.saturating_add(1)));
            if let Some(mut watch) = self.run_names("watch", || store.watch(prefix, from)) {
                self.run_names("put under a watch", || store.commit(&[Op::put(&keys[0], b"seen")]));
                self.run_names("next", || watch.next(&Deadline::now(), &mut |_| {}));
                self.run_names("next of nothing", || {
                    watch.next(&Deadline::after(Duration::from_millis(1)), &mut |_| {})
                });
            }
        }
        if let Some(lease) = self.run_names("grant", || store.grant(LEASE)) {
            self.run_names("renew a lease", || store.renew(lease));
            self.run_names("put under a lease", || store.commit(&[Op::put_leased(&keys[1], b"leased", lease)]));
            self.run_names("revoke", || store.revoke(lease));
        }
        self.run_names("reap of leases", || store.reap());
    }

    fn record(&mut self, segment: &Segment, record: &Record<'_>) {
        let index = record.index();
        let mut value = Vec::new();
        let seen = self.run("read", || record.read(&mut value));
        assert!(value.len() <= LARGEST, "{} bytes read, {}", value.len(), self.round);
        let version = seen.map_or(Version(0), |stamp| stamp.version);
        self.run("verify", || record.verify());
        self.run("holder", || record.holder());
        self.run("update", || record.update(|old, draft| draft.write(&old[..old.len().min(40)])));
        self.run("long update", || record.update(|_, draft| draft.edit().resize(LARGEST, 1)));
        self.run("declined update", || record.update(|old, _| old.len()));
        self.run("compare_and_swap", || record.compare_and_swap(version, b"swapped"));
        self.run("wait_newer", || record.wait_newer(version, Deadline::after(Duration::from_millis(1))));
        if let Some(mut claim) = self.run("claim", || record.claim(Deadline::after(Duration::from_millis(1)), LEASE)) {
            self.claim(&mut claim);
            self.run("commit", || claim.commit(b"committed"));
        }
        if let Some(claim) = self.run("second claim", || record.claim(Deadline::now(), LEASE)) {
            self.run("release", || claim.release());
        }
        if let Some(typed) = self.run("typed", || segment.typed::<u64>(index)) {
            self.run("typed read", || typed.read());
            self.run("typed update", || typed.update(|count| *count = count.wrapping_add(1)));
            self.run("typed compare_and_swap", || typed.compare_and_swap(version, &9));
        }
    }

    pub fn claim(&mut self, claim: &mut Claim<'_>) {
        let mut value = Vec::new();
        self.run("claim's read", || claim.read(&mut value));
        assert!(value.len() <= LARGEST, "{} bytes read, {}", value.len(), self.round);
        let _ = (claim.token(), claim.abandoned());
        self.run("renew", || claim.renew(LEASE));
        self.run("intend", || claim.intend(b"intended"));
        self.run("dismiss", || claim.dismiss());
    }

    /// Gives an attachment back, which is an operation too.
    pub fn drop(&mut self, segment: Segment) {
        self.run("drop", || {
            drop(segment);
            Ok(())
        });
    }

    /// Everything, from an attachment of its own, on threads that have no lane yet.
    pub fn newcomer(&mut self, path: &Path) {
        if let Some(segment) = self.run("open", || Segment::open(path)) {
            std::thread::scope(|scope| scope.spawn(|| self.segment(&segment)).join().expect("see above"));
            if let Some(again) = self.run("reopen", || segment.reopen()) {
                self.run("update of a second attachment", || again.record(0)?.update(|_, draft| draft.write(b"two")));
                self.drop(again);
            }
            self.drop(segment);
        }
        self.run("open_or_create", || small().open_or_create(path));
    }
}
