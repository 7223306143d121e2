//! Which packages a user compiles, and why two that look right for shared memory are kept away from the central job.
//!
//! `atomic-wait` always sets `FUTEX_PRIVATE_FLAG`, so a wake in one process never reaches a sleeper in another;
//! `shared_memory` makes its file with `ftruncate` and reserves nothing.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapRaw;
use slotguard::{Deadline, Segment, Version};

/// The file a child process works on; unset in an ordinary test run.
const FILE: &str = "SLOTGUARD_TEST_FILE";

/// Runs one test of this binary in a process of its own.
fn child(test: &str, file: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// One word in a file, shared.
struct Word(MmapRaw);

impl Word {
    fn at(path: &std::path::Path) -> Self {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self(MmapRaw::map_raw(&file).unwrap())
    }

    fn get(&self) -> &AtomicU32 {
        // SAFETY: the mapping starts at a page, is at least four bytes long, and lives as long as `self`; the processes
        // that share it use the word as an atomic only.
        unsafe { &*self.0.as_ptr().cast::<AtomicU32>() }
    }
}

/// Whether the process is asleep in a futex call, as the kernel says.
fn sleeps_in_a_futex(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let number = if cfg!(target_arch = "x86_64") { "202" } else { "98" };
    call.split(' ').next() == Some(number) && stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
}

fn any_thread_sleeps_in_a_futex(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .filter(|thread| *thread != pid)
        .any(sleeps_in_a_futex)
}

/// The child's half of the next test; nothing in an ordinary run.
#[test]
fn sleeper_of_atomic_wait() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let word = Word::at(path.as_ref());
    let turn = word.get();
    while turn.load(Ordering::SeqCst) < 2 {
        let seen = turn.load(Ordering::SeqCst);
        turn.fetch_max(1, Ordering::SeqCst);
        if seen == 1 {
            atomic_wait::wait(turn, 1);
        }
    }
}

/// The same wake that ends the same wait within one process does not end it across two: the sleeper is still asleep after
/// the word has changed and `wake_all` has been called a thousand times. Ours wakes.
#[test]
fn atomic_wait_hangs_across_processes_and_ours_wakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("word");
    std::fs::write(&path, [0; 4096]).unwrap();
    let word = Word::at(&path);
    let turn = word.get();
    let mut sleeper = child("sleeper_of_atomic_wait", &path);
    // The test runs on a second thread of the child; the word says that it is about to sleep, the kernel that it does.
    while turn.load(Ordering::SeqCst) == 0 || !any_thread_sleeps_in_a_futex(sleeper.id()) {
        std::thread::yield_now();
    }
    turn.store(2, Ordering::SeqCst);
    for _ in 0..1000 {
        atomic_wait::wake_all(turn);
        std::thread::yield_now();
    }
    let still_asleep = any_thread_sleeps_in_a_futex(sleeper.id()) && sleeper.try_wait().unwrap().is_none();
    sleeper.kill().unwrap();
    assert_eq!(sleeper.wait().unwrap().signal(), Some(9), "the sleeper ended by itself");
    assert!(still_asleep, "atomic-wait woke a sleeper of another process: it may now do the central job");

    let path = folder.path().join("segment");
    let segment = Segment::builder().records(1).create(&path).unwrap();
    let mut sleeper = child("sleeper_of_ours", &path);
    let asleep = || any_thread_sleeps_in_a_futex(sleeper.id());
    while segment.participants().unwrap().len() < 2 || !asleep() {
        std::thread::yield_now();
    }
    let slept = std::time::Instant::now();
    segment.record(0).unwrap().update(|_, draft| draft.write(b"awake")).unwrap();
    assert!(sleeper.wait().unwrap().success());
    println!("ours woke after {:?}", slept.elapsed());
    Segment::remove(&path).unwrap();
}

/// The child's half of the test above; nothing in an ordinary run.
#[test]
fn sleeper_of_ours() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let segment = Segment::open(path).unwrap();
    let seen = segment.record(0).unwrap().wait_newer(Version(0), Deadline::never()).unwrap();
    assert_eq!(seen, Some(Version(1)));
}

/// What `shared_memory` makes is a file with holes: the first store may find the disk full, and that is SIGBUS. Ours has
/// every byte before it has a name.
#[test]
fn shared_memory_reserves_nothing_and_ours_everything() {
    use std::os::unix::fs::MetadataExt;
    const SIZE: usize = 1 << 20;
    let theirs = shared_memory::ShmemConf::new().size(SIZE).create().unwrap();
    let name = std::path::Path::new("/dev/shm").join(theirs.get_os_id().trim_start_matches('/'));
    let reserved = std::fs::metadata(&name).unwrap().blocks() * 512;
    assert!(reserved < SIZE as u64, "shared_memory reserves its bytes: {reserved} of {SIZE}");
    drop(theirs);

    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let segment = Segment::builder().records(100).create(folder.path().join("segment")).unwrap();
    let metadata = std::fs::metadata(segment.path().unwrap()).unwrap();
    assert_eq!(metadata.len(), segment.size());
    assert!(metadata.blocks() * 512 >= segment.size());
}

/// A user of locks compiles what a lock needs. The rest comes with a feature, and the features that this crate's own tests
/// switch on are not switched on for anybody else.
#[test]
fn without_features_the_crate_needs_what_a_lock_needs() {
    let packages = |features: &[&str]| {
        let mut tree = Command::new(env!("CARGO"));
        tree.args(["tree", "-p", "slotguard", "--edges", "normal", "--depth", "1", "--prefix", "none"]).args(features);
        let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let lock =
        ["atomic-wait", "bytemuck", "crossbeam-utils", "fnv", "libc", "memmap2", "rustix", "thiserror"].as_slice();
    assert_eq!(packages(&[]), lock);
    assert_eq!(packages(&["--features", "conformance"]), lock);
    for package in ["jiff", "serde", "serde_json"] {
        assert!(packages(&["--features", "file-table"]).contains(&package.to_owned()), "{package}");
    }
    assert!(packages(&["--all-features"]).contains(&"shared_memory".to_owned()));
}
