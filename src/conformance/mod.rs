//! The promises of the contract in [`backend`](crate::backend), each a test that any backend can be put to.
//!
//! ```
//! # mod tests { // As in a file of tests/.
//! use slotguard::backend::Model;
//! // One #[test] for each promise: model::a_deleted_key_stays_deleted and so on.
//! slotguard::conformance_tests!(model, Model::new());
//! # }
//! ```
//!
//! A backend takes part by a [`Subject`]: what makes clients of a new, empty store, and lets time pass. What not every
//! backend can do is a list of its own, asked for by name:
//!
//! | list | what it takes | promises |
//! |---|---|---|
//! | always | [`Subject`] | the whole contract |
//! | `deaths` | [`Mortal`]: clients can be killed | a death ends the leases of the dead at once |
//! | `forgetting` | [`Forgetful`]: history can be thrown away | a watch from there begins with a resync |
//!
//! A promise is a function that panics when it finds the promise broken; it needs a store that nobody else uses.
//! [`random_operations_answer_as_the_model_does`] compares the backend with the [`Model`](crate::backend::Model) over
//! random sequences; `SLOTGUARD_SEED` repeats one.

mod asking;
mod bank;
mod dice;
mod ledger;
mod mirror;
mod subject;
mod watchdog;

pub use subject::{Forgetful, Mortal, Subject};
#[doc(hidden)]
pub use watchdog::guarded;

/// Makes a module with one test for each promise: `conformance_tests!(name of the module, expression for a new
/// [`Subject`](crate::conformance::Subject))`, and after them the names of the optional lists the subject is good for.
///
/// `conformance_tests!(model, Model::new(), deaths, forgetting)` makes all there are.
#[macro_export]
macro_rules! conformance_tests {
    ($name:ident, $subject:expr $(, $list:ident)* $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_promises!(always, [$crate::conformance_one_test_each], [$subject]);
            $($crate::conformance_promises!($list, [$crate::conformance_one_test_each], [$subject]);)*
        }
    };
}

/// One test for each promise of a list.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_one_test_each {
    ([$subject:expr] $($file:ident { $($promise:ident)* })*) => {
        $($(
            #[test]
            fn $promise() {
                $crate::conformance::guarded(stringify!($promise), || $crate::conformance::$promise(&$subject));
            }
        )*)*
    };
}

/// Every promise, by list and file: the one place that says which there are. Hands a list to the macro in brackets.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_promises {
    (always, [$($then:tt)*], $with:tt) => {
        $($then)*! { $with
            commits {
                an_entry_that_was_never_put_is_absent
                what_was_committed_is_what_is_read
                a_commit_whose_condition_is_false_changes_nothing
                every_condition_holds_exactly_when_it_says
                each_put_counts_one_version_and_nothing_else_does
                a_value_that_came_back_is_not_the_value_that_was_read
                a_deleted_key_stays_deleted
                created_grows_across_delete_and_create
                a_commit_has_one_revision_for_all_it_changes
                a_commit_may_put_delete_and_check_at_once
                as_many_operations_as_the_limit_are_one_commit
                a_commit_whose_deletes_find_nothing_changes_nothing
                a_check_for_absence_holds_until_the_entry_is_created
            }
            names {
                names_of_one_byte_and_of_the_longest_are_different_keys
                keys_compare_as_their_names
                a_prefix_finds_what_begins_with_it_and_nothing_else
                a_range_is_in_the_order_of_names
                looking_for_absent_names_stores_nothing
                names_come_and_go_without_end
                a_visit_may_call_the_store
            }
            bad_input {
                what_is_no_name_is_refused
                a_commit_of_too_many_operations_is_refused
                a_commit_that_names_a_key_twice_is_refused
                a_commit_that_writes_nothing_is_refused
                a_value_that_fits_nowhere_is_refused
                a_lease_that_never_was_is_unknown
                a_put_under_a_lease_that_is_over_is_refused
                of_several_faults_the_first_is_told
                a_watch_from_a_revision_not_yet_drawn_is_refused
                a_time_to_live_outside_the_limits_is_refused
            }
            moments {
                every_acknowledged_commit_is_one_effect
                commits_in_opposite_orders_all_take_place
                of_many_creators_one_wins
                a_commit_whose_conditions_hold_never_conflicts
                a_deleted_key_stays_deleted_whoever_was_about_to_write
                what_one_client_committed_the_others_find
                revisions_respect_real_time
                a_range_is_one_moment_while_others_transfer
                the_revision_of_a_read_is_one_at_which_it_was_so
            }
            waiting {
                a_wait_for_what_has_changed_already_ends_at_once
                a_wait_without_a_change_lasts_until_its_deadline
                a_sleeper_is_woken_by_every_kind_of_change
                a_commit_wakes_the_waiters_of_all_its_entries
                no_change_is_missed_between_a_read_and_a_wait
                two_who_take_turns_never_both_sleep
                a_cancelled_wait_says_so
            }
            watching {
                a_watch_from_one_past_a_range_misses_and_repeats_nothing
                what_happens_between_the_range_and_the_watch_is_told
                a_watch_from_zero_begins_with_the_whole_view
                a_watch_from_the_past_leads_to_the_present
                a_watch_tells_of_its_prefix_only
                a_new_incarnation_is_told_by_its_created
                a_sleeping_watcher_is_woken
                a_cancelled_watch_goes_on_where_it_was
                one_commit_is_never_split_over_two_batches
                the_view_after_each_batch_is_the_store_at_its_progress
                the_last_state_of_every_key_arrives_and_each_in_order
                a_slow_watcher_delays_nobody
                watchers_come_and_go_beside_each_other
            }
            leases {
                an_entry_says_which_lease_it_lives_by
                a_revoked_lease_leaves_nothing
                a_lease_ends_by_itself
                an_entry_of_a_dead_lease_can_be_created_anew
                a_renewed_lease_lasts_its_whole_time_again
                the_end_of_a_lease_can_be_asked_for
                the_end_of_a_lease_is_final
                a_put_without_a_lease_detaches_the_entry
                the_end_of_a_lease_is_a_change_to_those_who_wait
                a_watch_tells_what_went_with_its_lease
                a_commit_that_names_a_session_loses_once_that_is_over
            }
            random {
                random_operations_answer_as_the_model_does
            }
        }
    };
    (deaths, [$($then:tt)*], $with:tt) => {
        $($then)*! { $with
            deaths {
                a_death_ends_the_leases_of_the_dead
                a_death_is_a_change_to_those_who_wait
                the_work_of_the_dead_can_be_taken_over
            }
        }
    };
    (forgetting, [$($then:tt)*], $with:tt) => {
        $($then)*! { $with
            forgetting {
                a_watch_from_a_forgotten_revision_resyncs
                forgetting_is_not_noticed_by_those_who_keep_up
            }
        }
    };
}

/// The modules of a list and their functions. One that is on no list is unused, of which the compiler warns.
macro_rules! publish {
    ([] $($file:ident { $($promise:ident)* })*) => {
        $(
            mod $file;
            pub use $file::{$($promise),*};
        )*
    };
}

conformance_promises!(always, [publish], []);
conformance_promises!(deaths, [publish], []);
conformance_promises!(forgetting, [publish], []);
