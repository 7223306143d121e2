//! Running a model over all its executions, and over all the places where one of its threads can die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use loom::model::Builder;

use crate::memory::sync::modelled::{Sequential, choose};

/// Preemptions where `LOOM_MAX_PREEMPTIONS` does not say.
const PREEMPTIONS: usize = 2;

/// Explores a model that needs no order of `SeqCst` accesses.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    Explorer::alone().run(model);
}

/// Explores a model that is too large for more with one preemption.
pub(crate) fn explore_one_preemption(model: impl Fn() + Send + Sync + 'static) {
    let mut explorer = Explorer::alone();
    explorer.preemptions = Some(1);
    explorer.run(model);
}

/// Explores a model in which somebody stores and then looks, so that `SeqCst` matters: once with the pairs held together
/// by fences, once by the accesses alone. Each finds what the other hides.
pub(crate) fn explore_both(model: impl Fn() + Send + Sync + 'static) {
    Explorer::both().run(model);
}

/// Explores a large model under the more precise of the two readings only.
pub(crate) fn explore_accesses(model: impl Fn() + Send + Sync + 'static) {
    Explorer::accesses().run(model);
}

/// Counts the executions of one test's models, and says how many there were.
pub(crate) struct Explorer {
    modes: &'static [Sequential],
    /// Fewer than for other models.
    preemptions: Option<usize>,
    executions: Arc<AtomicU64>,
    began: Instant,
}

impl Explorer {
    fn new(modes: &'static [Sequential]) -> Self {
        Self { modes, preemptions: None, executions: Arc::default(), began: Instant::now() }
    }

    /// Without an order of `SeqCst` accesses, as [`explore`].
    pub(crate) fn alone() -> Self {
        Self::new(&[Sequential::Nothing])
    }

    /// Under the more precise of the two readings, as [`explore_accesses`].
    pub(crate) fn accesses() -> Self {
        Self::new(&[Sequential::Accesses])
    }

    /// For both readings, as [`explore_both`].
    pub(crate) fn both() -> Self {
        Self::new(&[Sequential::Accesses, Sequential::Fences])
    }

    pub(crate) fn run(&self, model: impl Fn() + Send + Sync + 'static) {
        let model = Arc::new(model);
        for mode in self.modes {
            choose(*mode);
            let mut builder = Builder::new();
            builder.preemption_bound.get_or_insert(PREEMPTIONS);
            builder.preemption_bound = self.preemptions.or(builder.preemption_bound);
            builder.max_branches = 20_000;
            let (executions, model) = (self.executions.clone(), model.clone());
            builder.check(move || {
                executions.fetch_add(1, Relaxed);
                model();
            });
        }
    }

    /// Has `explore` explore a model with a thread killed before its first access, its second, and so on, until there is
    /// no execution left to kill it in.
    pub(crate) fn at_every_access(&self, explore: impl Fn(u32, Killed)) {
        for accesses in 0.. {
            let killed = Killed::default();
            explore(accesses, killed.clone());
            if !killed.0.load(Relaxed) {
                return;
            }
        }
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        let executions = self.executions.load(Relaxed);
        let name = std::thread::current().name().unwrap_or("a model").to_owned();
        println!("{name}: {executions} executions in {:.1} s", self.began.elapsed().as_secs_f64());
        if !std::thread::panicking() {
            assert!(executions > 10, "threads that meet have more executions than {executions}");
        }
    }
}

/// Whether a thread was killed in any execution of a model.
#[derive(Clone, Default)]
pub(crate) struct Killed(Arc<AtomicBool>);

impl Killed {
    /// Takes down how a thread ended, `None` if it was killed; answers whether it lived.
    pub(crate) fn note<T>(&self, end: Option<T>) -> bool {
        if end.is_none() {
            self.0.store(true, Relaxed);
        }
        end.is_some()
    }
}
