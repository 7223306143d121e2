//! Runs a program again as a child process, keeps its scratch files, and draws its random numbers.
//!
//! | to …                                                   | use                                              |
//! |--------------------------------------------------------|--------------------------------------------------|
//! | start this program again in a role                     | [`subprocess::dispatch`], [`subprocess::command`] |
//! | kill, stop, resume and wait for a child                | [`Subprocess`](subprocess::Subprocess)           |
//! | let many children begin at once                        | [`Gate`](gate::Gate)                             |
//! | run one test in a process of its own                   | [`isolated::isolated`]                           |
//! | keep files that are gone however the program ends      | [`Scratch`](scratch::Scratch)                    |
//! | repeat a run from its seed                             | [`Random`](random::Random)                       |
//!
//! The crate knows nothing of slotguard, whose tests and benches depend on it.

pub mod gate;
pub mod isolated;
pub mod peer;
pub mod random;
pub mod scratch;
pub mod subprocess;
