//! Which core a worker runs on. Rows whose workers all fit on the cores give each its own, so that they do run at once.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores this process may use.
pub fn cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => vec![0],
    }
}

/// The core for the worker with this number, or `None` when there are more workers than cores.
pub fn core_for(worker: usize, workers: usize) -> Option<usize> {
    let cores = cores();
    (workers <= cores.len()).then(|| cores[worker])
}

/// Binds the calling thread to one core. Not being allowed to is no error: the row is then measured unbound.
pub fn to(core: Option<usize>) {
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core);
        let _ = sched_setaffinity(None, &set);
    }
}
