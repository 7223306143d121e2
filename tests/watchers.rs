//! What a watcher that is asleep costs writers of other prefixes: nothing, counted in instructions.

#[allow(dead_code, reason = "each test file uses a part")]
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "crash/shared_page.rs"]
mod shared_page;
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "crash/tracee.rs"]
mod tracee;

use std::fs::{self, DirEntry};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use rustix::process::{Pid, Signal};
use slotguard::backend::{Backend, Op, SharedMemory, Watch};
use slotguard::{Cancel, Deadline, Error, Revision, Segment};

use harness::isolated::isolated;
use shared_page::{OWN, SharedPage};
use tracee::Tracee;

/// How many watchers have begun.
const BEGUN: usize = OWN;
/// Set when they may end.
const OVER: usize = OWN + 1;

/// How many watchers sleep.
const WATCHERS: usize = 1_000;
/// Entries of the other prefix.
const OTHERS: usize = 100;

fn put(store: &SharedMemory, name: &str) {
    store.commit(&[Op::put(&store.key(name).unwrap(), b"value")]).unwrap();
}

/// A child that is about to commit the same over and over: one entry, then two at once.
fn writer(page: &SharedPage, segment: &Segment) -> Tracee {
    Tracee::new(page, |sync| {
        let store = SharedMemory::new(segment.reopen().unwrap()).unwrap();
        let (a, b) = (store.key("mine/a").unwrap(), store.key("mine/b").unwrap());
        let work = || {
            store.commit(&[Op::put(&a, b"one")]).unwrap();
            store.commit(&[Op::put(&a, b"two"), Op::put(&b, b"two")]).unwrap();
        };
        // The lane is taken, its blocks are there, the handles know where the entries are.
        (0..3).for_each(|_| work());
        sync.ready();
        // As often as it is stepped there: each round is the same code.
        while std::hint::black_box(true) {
            work();
            sync.done();
        }
    })
}

/// Steps through what the child does until it has acknowledged it.
fn instructions(child: &mut Tracee, page: &SharedPage) -> usize {
    page.clear();
    let mut count = 0;
    while !page.is_acknowledged() {
        assert!(child.step(), "the child acknowledges what it did");
        count += 1;
    }
    count
}

/// A child with that many watchers, nearly all of them asleep. They are told that it is [`OVER`], and of nothing else.
fn sleepers(page: &SharedPage, segment: &Segment) -> Tracee {
    let child = Tracee::free(page, |sync| {
        let store = SharedMemory::new(segment.reopen().unwrap()).unwrap();
        let stop = Cancel::new();
        thread::scope(|scope| {
            for _ in 0..WATCHERS {
                scope.spawn(|| {
                    let from = Revision(store.segment().revision().0 + 1);
                    let mut watch = store.watch("other/", from).unwrap();
                    sync.page.word(BEGUN).fetch_add(1, SeqCst);
                    let deadline = Deadline::never().or_cancelled(&stop);
                    let woken = watch.next(&deadline, &mut |_| panic!("nothing happens under other/"));
                    assert!(matches!(woken, Err(Error::Cancelled)), "{woken:?}");
                });
            }
            while sync.page.word(OVER).load(SeqCst) == 0 {
                thread::yield_now();
            }
            stop.cancel();
        });
    });
    let asleep = || threads(&child).filter(is_asleep).count();
    // Between two slices each is awake for a moment.
    child.until(|| page.word(BEGUN).load(SeqCst) == WATCHERS as u64 && asleep() >= WATCHERS * 9 / 10);
    child
}

fn threads(child: &Tracee) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(format!("/proc/{}/task", child.pid())).unwrap().map(Result::unwrap)
}

/// Whether the thread sleeps on a futex.
fn is_asleep(thread: &DirEntry) -> bool {
    let futex = libc::SYS_futex.to_string();
    let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&futex)
}

fn is_stopped(thread: &DirEntry) -> bool {
    let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

fn signal(child: &Tracee, signal: Signal) {
    let pid = Pid::from_raw(child.pid() as i32).expect("a child's number");
    rustix::process::kill_process(pid, signal).expect("a child of ours");
}

#[test]
fn a_thousand_watchers_asleep_cost_writers_of_other_prefixes_no_instruction() {
    isolated(|folder| {
        let page = SharedPage::new();
        // Blocks enough that a lane keeps those of its last commit: the pool would answer after one look or after two.
        let sizes = Segment::builder().keys(2_000).lanes(32).payloads(&[(64, 3_000)]);
        let segment = sizes.create(folder.join("segment")).unwrap();
        let store = SharedMemory::new(segment.clone()).unwrap();
        for name in ["mine/a", "mine/b"] {
            put(&store, name);
        }
        (0..OTHERS).for_each(|i| put(&store, &format!("other/{i}")));
        drop(store);
        let mut writer = writer(&page, &segment);
        // The way from its stop to the work is not part of it.
        instructions(&mut writer, &page);
        let without = instructions(&mut writer, &page);
        assert!(without > 300, "{without} instructions for two commits");

        let mut sleepers = sleepers(&page, &segment);
        // A writer that moves one instruction at a time looks stopped, and who wakes between two slices would help it.
        signal(&sleepers, Signal::STOP);
        sleepers.until(|| threads(&sleepers).all(|thread| is_stopped(&thread)));
        let with = instructions(&mut writer, &page);
        signal(&sleepers, Signal::CONT);
        page.word(OVER).store(1, SeqCst);
        sleepers.join();
        println!("two commits: {without} instructions with no watcher, {with} with {WATCHERS} asleep");
        assert_eq!(with, without, "instructions of two commits with {WATCHERS} watchers asleep, and with none");

        // And those of the same prefix are told.
        let store = SharedMemory::new(segment).unwrap();
        let mut watch = store.watch("mine/", Revision(store.segment().revision().0 + 1)).unwrap();
        put(&store, "mine/a");
        assert!(watch.next(&Deadline::now(), &mut |_| {}).unwrap().is_some());
    });
}
