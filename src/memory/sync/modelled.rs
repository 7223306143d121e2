//! The protocol's words under loom: a model may stop a thread before any access to them, and may choose how much of
//! `SeqCst` is modelled.
//!
//! A word made with `new` is a loom atomic: every access is a place where another thread may run, and a load may answer
//! any value the orderings allow. A word made with `default` is a plain one that no thread ever sees stale: for what no
//! model asserts anything about, since every modelled word multiplies the executions to explore.
//!
//! loom 0.7 takes a `SeqCst` access for little more than an `AcqRel` one, and models `SeqCst` fences in full. So there are
//! two ways to have the order that code which stores and then looks depends on:
//!
//! * Here a `SeqCst` load answers nothing that a `SeqCst` store has replaced: the standard's rule, with the order of
//!   execution for the order of `SeqCst` accesses. Precise for store-then-look pairs, each half of which counts; but too
//!   kind to code that needs an ordinary edge and has a `SeqCst` access standing there for another reason.
//!   ([`Sequential::Accesses`])
//! * Every access is an `AcqRel` one, and a fence stands between the halves of each pair: what is not a pair is not
//!   ordered; but a fence stays where one half is weakened, and it orders what else is near it. ([`Sequential::Fences`])
//!
//! Each sees what the other hides, and models of code with such pairs are explored under both. All others do without any
//! order of `SeqCst` accesses. ([`Sequential::Nothing`])

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use loom::sync::atomic as modelled;
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic as plain;

/// What stands for the order of `SeqCst` accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sequential {
    /// Nothing: the accesses are `AcqRel`.
    Nothing,
    /// The accesses themselves; [`loom_fence`](super::atomics::loom_fence) does nothing.
    Accesses,
    /// [`loom_fence`](super::atomics::loom_fence); the accesses are `AcqRel`.
    Fences,
}

std::thread_local! {
    /// loom runs all threads of a model on the thread that explores it.
    static SEQUENTIAL: Cell<Sequential> = const { Cell::new(Sequential::Accesses) };
}

/// Says what stands for `SeqCst` in the models this thread explores from now on.
pub(crate) fn choose(sequential: Sequential) {
    SEQUENTIAL.set(sequential);
}

loom::lazy_static! {
    static ref FENCES: modelled::AtomicU32 = modelled::AtomicU32::new(0);
}

/// The fence of [`loom_fence`](super::atomics::loom_fence).
pub(crate) fn fence_between() {
    if SEQUENTIAL.get() == Sequential::Fences {
        // loom switches threads before accesses and never before a fence. So that fences are explored in every order,
        // each comes with an access that all of them make.
        FENCES.fetch_add(1, Relaxed);
        modelled::fence(SeqCst);
    }
}

/// Accesses a thread has left to live; `u32::MAX`: it lives for ever.
const FOR_EVER: u32 = u32::MAX;

loom::thread_local! {
    static LEFT: Cell<u32> = Cell::new(FOR_EVER);
}

/// What a killed thread unwinds with.
struct Killed;

/// Does `work` but for what comes after its first `accesses` accesses to modelled words, as if the process had been
/// killed there; `None` if it was. Nothing of the protocol runs while it unwinds: there is nothing to drop.
pub(crate) fn killed_after<T>(accesses: u32, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.with(|left| left.set(accesses));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    LEFT.with(|left| left.set(FOR_EVER));
    match done {
        Ok(value) => Some(value),
        Err(why) if why.is::<Killed>() => None,
        Err(why) => panic::resume_unwind(why),
    }
}

/// Before every access to a modelled word.
fn step() {
    let left = LEFT.with(Cell::get);
    if left == 0 {
        panic::resume_unwind(Box::new(Killed));
    }
    if left != FOR_EVER {
        LEFT.with(|cell| cell.set(left - 1));
    }
}

/// `ordering`, or what it is without the order of `SeqCst` accesses: `weaker`.
fn or_weaker(ordering: Ordering, weaker: Ordering) -> Ordering {
    if ordering == SeqCst { weaker } else { ordering }
}

/// What a `SeqCst` load may answer: the last value stored by a `SeqCst` access, and those stored since.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Vec<u64>>);

impl Recent {
    fn stored(&self, value: u64, ordering: Ordering) {
        let mut values = self.0.lock().unwrap();
        if ordering == SeqCst {
            values.clear();
        }
        // Until the first such store any value will do.
        if ordering == SeqCst || !values.is_empty() {
            values.push(value);
        }
    }

    fn may_answer(&self, value: u64, ordering: Ordering) -> bool {
        let values = self.0.lock().unwrap();
        ordering != SeqCst || SEQUENTIAL.get() != Sequential::Accesses || values.is_empty() || values.contains(&value)
    }
}

/// How a word is stored into.
///
/// loom does not know that what a read-modify-write stores comes right after what it read. So it takes a store by somebody
/// who has not seen that for one that may come before it, and lets the next read-modify-write answer either. Such a word
/// has to be stored into by an exchange, which comes after whatever is there; all it adds is that the word's release
/// sequence goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stores {
    Looking,
    Blind,
}

macro_rules! word {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) enum $name {
            Modelled(modelled::$name, Recent, Stores),
            Plain(plain::$name),
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Plain(plain::$name::new(0))
            }
        }

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self::Modelled(modelled::$name::new(value), Recent::default(), Stores::Looking)
            }

            /// A word that its owner stores into without having looked, while others may replace what they find there.
            pub(crate) fn stored_blindly(value: $value) -> Self {
                Self::Modelled(modelled::$name::new(value), Recent::default(), Stores::Blind)
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                match self {
                    Self::Modelled(word, recent, _) => {
                        step();
                        let value = word.load(or_weaker(ordering, Acquire));
                        if recent.may_answer(value.into(), ordering) {
                            return value;
                        }
                        // The newest, which a read-modify-write meets; this one never finds what it would replace.
                        word.compare_exchange(<$value>::MAX, <$value>::MAX, Acquire, Acquire)
                            .unwrap_or_else(|newest| newest)
                    }
                    Self::Plain(word) => word.load(SeqCst),
                }
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                match self {
                    Self::Modelled(word, recent, stores) => {
                        step();
                        let here = or_weaker(ordering, Release);
                        match stores {
                            Stores::Looking => word.store(value, here),
                            Stores::Blind => drop(word.swap(value, here)),
                        }
                        recent.stored(value.into(), ordering);
                    }
                    Self::Plain(word) => word.store(value, SeqCst),
                }
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                match self {
                    Self::Modelled(word, recent, _) => {
                        step();
                        let (success_here, failure_here) = (or_weaker(success, AcqRel), or_weaker(failure, Acquire));
                        let done = word.compare_exchange(current, new, success_here, failure_here);
                        if done.is_ok() {
                            recent.stored(new.into(), success);
                        }
                        done
                    }
                    Self::Plain(word) => word.compare_exchange(current, new, SeqCst, SeqCst),
                }
            }

            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                match self {
                    Self::Modelled(word, recent, _) => {
                        step();
                        let old = word.fetch_add(value, or_weaker(ordering, AcqRel));
                        recent.stored(old.wrapping_add(value).into(), ordering);
                        old
                    }
                    Self::Plain(word) => word.fetch_add(value, SeqCst),
                }
            }

            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                match self {
                    Self::Modelled(word, recent, _) => {
                        step();
                        let old = word.fetch_or(value, or_weaker(ordering, AcqRel));
                        recent.stored((old | value).into(), ordering);
                        old
                    }
                    Self::Plain(word) => word.fetch_or(value, SeqCst),
                }
            }

            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                match self {
                    Self::Modelled(word, recent, _) => {
                        step();
                        let old = word.fetch_and(value, or_weaker(ordering, AcqRel));
                        recent.stored((old & value).into(), ordering);
                        old
                    }
                    Self::Plain(word) => word.fetch_and(value, SeqCst),
                }
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);
