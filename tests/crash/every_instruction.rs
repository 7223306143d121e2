//! Each operation that changes a segment, killed after each of its instructions.

use super::operation::{self, Operation};
use super::scale::{isolated, kills};
use super::sweep::sweep;

fn killed_anywhere(operation: Operation) {
    isolated(|folder| {
        sweep(folder, operation, kills());
    });
}

#[test]
fn an_update_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::UPDATE);
}

#[test]
fn a_first_update_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::FIRST_UPDATE);
}

#[test]
fn an_update_to_a_smaller_class_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::SMALLER);
}

#[test]
fn an_update_to_a_larger_class_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::LARGER);
}

#[test]
fn a_threads_first_update_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::FIRST_LANE);
}

#[test]
fn a_compare_and_swap_killed_at_any_instruction_is_in_or_not_in() {
    killed_anywhere(operation::SWAP);
}

#[test]
fn a_claim_killed_at_any_instruction_is_free_at_once() {
    killed_anywhere(operation::CLAIM);
}

#[test]
fn a_first_claim_killed_at_any_instruction_is_free_at_once() {
    killed_anywhere(operation::FIRST_CLAIM);
}

#[test]
fn an_intent_killed_at_any_instruction_is_found_by_the_next_holder_or_was_never_announced() {
    killed_anywhere(operation::CLAIM_AND_INTEND);
}

#[test]
fn a_renewal_killed_at_any_instruction_leaves_the_record_free() {
    killed_anywhere(operation::RENEW);
}

#[test]
fn a_commit_killed_at_any_instruction_is_in_or_leaves_its_intent() {
    killed_anywhere(operation::COMMIT);
}

#[test]
fn a_release_killed_at_any_instruction_leaves_the_record_free() {
    killed_anywhere(operation::RELEASE);
}

#[test]
fn attaching_killed_at_any_instruction_leaves_no_row() {
    killed_anywhere(operation::ATTACH);
}

#[test]
fn detaching_killed_at_any_instruction_leaves_no_row() {
    killed_anywhere(operation::DETACH);
}
