//! A state machine shared by processes: transitions follow rules, one takes place at a time, and each is recorded.
//!
//! ```
//! use slotguard::Deadline;
//! use slotguard::backend::Model;
//! use slotguard::recipe;
//! use slotguard::recipe::state_machine::{Machine, Rule, Rules, Transition};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! slotguard::states! {
//!     /// A door that several programs open and close.
//!     pub enum Door {
//!         /// Shut.
//!         Closed = "CLOSED",
//!         /// Not shut.
//!         Open = "OPEN",
//!     }
//! }
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let rules = || {
//!     Rules::new(Door::Closed)
//!         .rule(Rule::new([Door::Closed], Door::Open).action(|_step| Ok(())).rollback(|_step| Ok(())))
//!         .allow(Door::Open, Door::Closed)
//! };
//! let store = Arc::new(Model::new());
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let door = Machine::new(&session, "doors/7", rules())?;
//! let mut changes = door.changes()?;
//!
//! let Transition::Done(opened) = door.transition(Door::Open)? else { panic!("no other process uses it") };
//! assert_eq!((opened.from, opened.to, opened.number), (Door::Closed, Door::Open, 1));
//! // A lost race is an answer, no error.
//! assert!(matches!(door.transition(Door::Open)?, Transition::NotNow { state: Door::Open, .. }));
//! assert_eq!(changes.next(&Deadline::never())?, Some(opened));
//! # Ok(())
//! # }
//! ```
//!
//! A state that does not exist does not compile:
//!
//! ```compile_fail
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "OPEN" } }
//! let rules = slotguard::recipe::state_machine::Rules::new(Door::Closed).allow(Door::Closed, Door::Ajar);
//! ```
//!
//! nor do two states of one name, or a name that cannot be stored:
//!
//! ```compile_fail
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "CLOSED" } }
//! ```
//!
//! ```
//! slotguard::states! { enum Door { Closed = "CLOSED", Open = "OPEN" } }
//! let rules = slotguard::recipe::state_machine::Rules::new(Door::Closed).allow(Door::Closed, Door::Open);
//! ```
//!
//! # What is kept
//! | entry | value | lives |
//! |---|---|---|
//! | `<name>/now/state` | number of changes, and state; absent: none, and the initial state; at most 53 bytes | for ever |
//! | `<name>/now/begun` | the transition that is begun and not decided, as the change it is to be; at most 343 bytes | until it is decided |
//! | `<name>/now/acting` | the process that carries out that transition, or its rollback; at most 48 bytes | with its session |
//! | `<name>/now/wait/…` | the state that a call waits to go to; at most 32 bytes | with its session |
//! | `<name>/past/0` … `63` | change *n* in entry *n* mod 64: from, to, manner, process, time, reason; at most 343 bytes | for ever |
//!
//! # Why it is right
//! * **One winner.** Every change is one commit on the condition that `state` is as it was read, with the change's record
//!   in that commit: changes are numbered 1, 2, 3 … without a gap.
//! * **The action runs at most once, by the winner.** A transition with an action first commits `acting` and `begun`, on
//!   the condition that neither exists. Then the action runs. A second commit deletes both, on the condition that they
//!   are those of the first and `state` is as it was. Without an action, a transition is one commit.
//! * **The rollback runs once**, unless a process dies or is stopped in it. It belongs to the holder of `acting`, who reads
//!   before it runs whether the claim still exists. After it, `acting` and `begun` are deleted. An undone transition is no
//!   change.
//! * **Death and expiry.** `acting` ends with the session, and `begun` stays. The next transition, in any process, claims
//!   `acting`, runs *its own* rollback of that transition ([`Step::abandoned`]), and goes on from the state before. If it
//!   dies too, or is stopped for longer than its lease, the next one does: [`Rule::rollback`] says what a rollback must
//!   allow for. A process that was only stopped cannot end its transition any more; outside writes compare
//!   [`Step::token`].
//! * **Force.** [`force`](Machine::force) and [`reset`](Machine::reset) change the state even if a transition is begun. Its
//!   action cannot end it then; the rollback runs, and the caller gets [`Error::Overruled`].
//! * **A full store.** `begun` is as long as the change's record, so what is too large for the store is refused before
//!   the action runs. If the store refuses the commit that ends a transition, the rollback runs and the caller gets
//!   [`Error::EndRefused`]. Freeing the machine only deletes, so it needs no room. If it fails all the same
//!   ([`Error::NotFreed`]), the next call of that [`Machine`] does it, or its drop, or at last the session's end.
//!
//! An action that waits for its own machine waits for ever.
//!
//! All processes must bring equal rules. Waits are ordered by the revisions that created their tickets, so the order holds
//! across processes: of those whose transition is possible in the present state, the oldest goes first. A call that does
//! not wait ([`transition`](Machine::transition)) may go before them.
//!
//! # Files
//! | file | holds |
//! |---|---|
//! | `rules` | [`State`], [`Rule`] and [`Rules`]: states, transitions, and the program's code on the way |
//! | `record` | [`StateChange`] and the other stored values, the claim of a process that acts, names of past changes |
//! | `machine` | [`Machine`], and reading it |
//! | `undo` | rollbacks, and freeing the machine |
//! | `act` | [`Transition`]: making one, and force |
//! | `wait` | waiting for a transition to become possible |
//! | `listen` | [`Changes`] and listeners |
//! | [`connection`] | the states and rules of a connection, ready to use |

mod act;
pub mod connection;
mod error;
mod listen;
mod machine;
mod record;
mod rules;
mod undo;
mod wait;

pub use self::act::Transition;
pub use self::error::{Error, Result};
pub use self::listen::{ChangeEvent, ChangeListener, Changes};
pub use self::machine::{Machine, MachineStatus};
pub use self::record::{KEPT, LONGEST_REASON, Manner, StateChange};
#[doc(hidden)]
pub use self::rules::names_are_good;
pub use self::rules::{Rule, Rules, State, Step};
