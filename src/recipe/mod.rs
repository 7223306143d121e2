//! What people come for: short recipes on the backend trait, each written once and good for every backend.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe::{self, Lock};
//! use slotguard::Deadline;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! // Or SharedMemory::new(segment), for the processes of a machine.
//! let store = Arc::new(Model::new());
//! // One session a process: all it holds goes when it dies.
//! let session = recipe::join(&store, Duration::from_secs(10))?;
//! let guard = Lock::new(&session, "billing")?.acquire(&Deadline::after(Duration::from_secs(1)))?;
//! guard.release()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which recipe for which question
//! The five systems that this crate learned from each answered some of these; what went wrong there has a test here.
//!
//! | your question | recipe | promise | defect of the source it removes | test |
//! |---|---|---|---|---|
//! | how do I change a row that many processes change? | [`guard`] | N calls are N effects, in the order of commits | a compare-and-swap that guards nothing (S5-1, S5-5, S5-9) | `b23_each_of_many_calls_is_one_effect_and_the_order_of_the_table_is_the_order_of_commits` |
//! | one word for all records? | [`guard`] | other names are not in the way | one slot for all users, in one process (S5-2, S5-6) | `things_of_other_names_are_not_in_the_way` |
//! | has it changed if the content is the same? | [`guard`] | every commit counts | equal content is no change (S5-3) | `a_commit_of_what_was_there_before_counts` |
//! | may a hash stand for what it is of? | [`guard`] | versions and tokens decide, a hash never | 32 bits of a hash as the token (S5-10) | `s5_10_what_has_the_same_hash_is_not_taken_for_the_same` |
//! | who waits: is it woken? | [`guard`] | by the end of the claim, without a look in between | a wait that keeps the write from happening that it waits for, wake-ups lost (S5-8) | `d24_a_million_hand_overs_need_no_timeout` |
//! | the write failed: what does the store say? | [`guard`] | an intent until it is settled | memory says done (S5-7) | `what_was_not_written_is_taken_back` |
//! | who may act alone? | [`lock`] | one holder a token | who asks alone is refused (S2-1) | `s2_1_who_asks_alone_has_it_at_once` |
//! | can somebody take it from me? | [`lock`] | served in the order of asking | an earlier clock steals a held lock (S2-2) | `s2_2_an_earlier_clock_steals_nothing` |
//! | do I still have it? | [`lock`] | the end is noticed, late writes are refused | expiry goes unnoticed (S2-3) | `s2_3_an_expired_lease_is_noticed`, `b10_a_late_holder_cannot_write` |
//! | several locks at once? | [`lock::all`] | no deadlock in any order | | `a21_locks_taken_in_opposite_orders_do_not_block_each_other` |
//! | so many at a time? | [`semaphore`] | never more, and permits expire | | `never_more_are_out_than_there_are_permits` |
//! | how often, over all workers? | [`rate_limiter`] | one bucket for all | | `no_more_than_the_burst_is_given_out_at_once` |
//! | meet, begin and end together, wait for the last? | [`barrier`], [`double_barrier`], [`latch`] | the dead are not counted | | `the_dead_are_not_counted` |
//! | count? | [`counter`] | no addition is lost | | `no_addition_is_lost_and_every_answer_was_the_value` |
//! | who leads? | [`election`] | one leader a term, and terms grow | everybody wins the election it calls (S2-11) | `b14_of_many_candidates_at_once_each_leads_once_and_no_two_at_a_time` |
//! | can a leader that was paused still write? | [`election`] | refused by its term | | `b14_an_ex_leaders_write_is_refused` |
//! | which of N slots is mine? | [`assignment`] | all N are placeable, full is exact | ten probes, then an error (S1-6) | `b3_all_slots_are_placeable_and_only_then_it_is_full` |
//! | a hundred join at once? | [`assignment`] | each told of a slot has it | told success and lost, or a slot given twice (S1-1, S1-4, S1-5) | `b4_a_hundred_processes_that_join_at_once_get_a_hundred_slots` |
//! | is the slot still mine? | [`assignment`] | an evicted owner is told and refused | a stale cache says yes (S1-9) | `d5_an_evicted_owner_is_told_and_refused` |
//! | the table is damaged? | [`assignment`] | refused, never wiped | one flipped bit, a new table (S1-7) | `d6_a_broken_table_is_refused_and_never_wiped` |
//! | the power fails? | [`assignment::FileTable`] | what a call has told of is on the disk | neither file nor folder is synced (S1-14) | `s1_14_a_table_is_synced_before_it_is_renamed_and_its_folder_before_anybody_is_told` |
//! | two write at once? | [`assignment`] | nobody's change is written over | a check, then a write (S1-3, S1-10) | `s1_3_a_slot_taken_since_it_was_looked_for_is_not_given_again`, `s1_3_what_was_written_before_the_lock_was_had_is_not_written_over` |
//! | was it wiped and made anew? | [`assignment`] | generations go on | versions begin again at 1 (S1-8) | `d5_a_slot_given_out_again_has_a_larger_generation` |
//! | I am alive: who is disturbed? | [`assignment`] | nobody | a heartbeat is a new version for all (S1-13) | `being_alive_changes_nothing_that_others_write` |
//! | in which state are we, and who may change it? | [`state_machine`] | of N at once one wins | | `b13_of_many_at_once_exactly_one_wins` |
//! | back to the beginning? | [`state_machine`] | to the initial state | to the first rule's (S2-10) | `s2_10_reset_goes_to_the_initial_state` |
//! | run this, but not for longer than that? | [`executor`] | the caller is told in time, one rollback | nobody is told, nothing is rolled back (S2-4) | `s2_4_a_timeout_reaches_the_caller_rolls_back_once_and_drops_the_late_result` |
//! | one failed: what of the rest? | [`executor`] | its dependants fail, nobody stalls | the queue halts (S2-5) | `s2_5_a_failure_fails_its_dependants_and_stalls_nobody` |
//! | this after that? | [`executor`] | whatever the priorities | dependencies do nothing (S2-6) | `s2_6_what_an_operation_depends_on_is_done_first_whatever_the_priorities` |
//! | a job once among many workers? | [`executor::jobs`] | survives its worker | | `b11_a_job_survives_its_worker_whose_late_end_is_refused` |
//! | tell others, causes first? | [`delivery`] | causal order under every permutation | causes of third parties are overlooked (S2-7) | `s2_7_what_a_third_party_caused_is_waited_for` |
//! | what waited and is due now? | [`delivery`] | returned, in order | marked delivered and given to nobody (S2-8) | `s2_8_what_is_released_is_returned_in_order` |
//! | join late? | [`delivery`] | from a snapshot | blocked for ever (S2-9) | `s2_9_a_late_joiner_begins_with_the_clock_of_its_time` |
//! | exactly once? | [`delivery`] | the effect and its acknowledgement are one commit | claimed, not there (S2-12) | `effects_are_acknowledgements_whenever_the_receiver_dies` |
//!
//! # What they have in common
//! * What is held is bound to a [`Session`](crate::backend::Session)'s lease: it goes when its owner dies, at once where
//!   the store can prove the death, and when the lease ends where it cannot.
//! * What is held has a token that grows from holder to holder. Writes to the store carry it in the same commit, so the
//!   check cannot be forgotten; whatever lies outside compares it and refuses smaller ones.
//! * No call sleeps and looks again: each is a step that does not wait, and a wait until something has changed.
//! * Names below a recipe's own name are the recipe's. Values are small enough for blocks of 64 bytes unless its page says
//!   otherwise.

pub mod assignment;
pub mod barrier;
pub mod counter;
pub mod delivery;
pub mod double_barrier;
pub mod election;
mod error;
pub mod executor;
mod failure;
mod gathering;
pub mod guard;
pub mod latch;
pub mod lock;
mod name;
mod owner;
mod queue;
pub mod rate_limiter;
mod refusal;
pub mod semaphore;
pub mod state_machine;
mod waiting;

pub use crate::error::Kind;
pub use assignment::Assignment;
pub use barrier::Barrier;
pub use counter::Counter;
pub use double_barrier::DoubleBarrier;
pub use election::Election;
pub use error::{Error, Result};
pub use failure::Failure;
pub use guard::Guarded;
pub use latch::Latch;
pub use lock::Lock;
pub use owner::{Owner, join};
pub use queue::{InUse, Lost, Ticket};
pub use rate_limiter::RateLimiter;
pub use refusal::{BadCount, Damaged, OtherCount};
pub use semaphore::{Permit, Semaphore};
