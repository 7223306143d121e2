//! What goes wrong with a state machine.

use crate::error::{Kind, next_moves};
use crate::recipe::Failure;
use crate::recipe::failure::and_undone;

/// The result of a state machine's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with a state machine. The state is unchanged then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// No rule leads from the present state to the one asked for.
    #[error("machine {machine:?} cannot go from {from} to {to}; {}", ways(from, possible))]
    NoTransition {
        /// The machine.
        machine: String,
        /// Its state.
        from: &'static str,
        /// The state asked for.
        to: &'static str,
        /// The states that rules lead to from here.
        possible: Vec<&'static str>,
    },
    /// An entry holds a state or a change that this program does not know. Nothing is repaired or wiped.
    #[error(
        "machine {machine:?} holds {found:?}, and the states known here are {}; use the build that wrote it, or another name",
        known.join(", ")
    )]
    UnknownState {
        /// The machine.
        machine: String,
        /// What is stored.
        found: String,
        /// The states of this program.
        known: Vec<&'static str>,
    },
    /// Two rules lead from one state to one other.
    #[error("two rules lead from {from} to {to}; make them one, whose guard or action tells the cases apart")]
    RuleTwice {
        /// The state before.
        from: &'static str,
        /// The state after.
        to: &'static str,
    },
    /// A transition's action failed, and its rollback has run.
    #[error("machine {machine:?}: the action from {from} to {to} failed: {cause}{}", and_undone(rollback))]
    ActionFailed {
        /// The machine.
        machine: String,
        /// Its state.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
        /// What the action said.
        cause: Failure,
        /// What the rollback said, if it failed as well.
        rollback: Option<Failure>,
    },
    /// The state was forced or reset while a transition's action ran. The rollback has run.
    #[error(
        "machine {machine:?}: the state was forced while the action from {from} to {to} ran{}; read the state and decide anew",
        and_undone(rollback)
    )]
    Overruled {
        /// The machine.
        machine: String,
        /// The state it was in.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
        /// What the rollback said, if it failed.
        rollback: Option<Failure>,
    },
    /// The store refused the commit that ends a transition, after the action. The rollback has run.
    #[error(
        "machine {machine:?}: the action from {from} to {to} ran, and the store refused its end: {cause}; the state is unchanged{}; mend the store, then try again",
        and_undone(rollback)
    )]
    EndRefused {
        /// The machine.
        machine: String,
        /// Its state.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
        /// What the store said.
        cause: Box<crate::Error>,
        /// What the rollback said, if it failed.
        rollback: Option<Failure>,
    },
    /// The store refused to free a machine after a transition that did not take place. If it even refused to tell
    /// whether the claim is ours, the rollback has not run: the next transition of any process runs it.
    #[error(
        "machine {machine:?} is occupied still by the transition from {from} to {to}, since the store refused to free it: {cause}{}; call this machine again or drop it, or end its session",
        why.as_ref().map_or_else(String::new, |why| format!("; before that: {why}"))
    )]
    NotFreed {
        /// The machine.
        machine: String,
        /// Its state.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
        /// Why the transition did not take place; `None` if another process had abandoned it.
        why: Option<Box<Error>>,
        /// What the store said.
        cause: Box<crate::Error>,
    },
    /// The session ended while a transition's action ran. The next transition of any process runs the rollback.
    #[error(
        "machine {machine:?}: the session ended during the transition from {from} to {to}, which others undo; open a new session and read the state"
    )]
    Lost {
        /// The machine.
        machine: String,
        /// The state it was in.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
    },
    /// A transition that an ended process had begun could not be undone. It will not be tried again.
    #[error(
        "machine {machine:?}: a process ended during the transition from {from} to {to}, and the rollback failed: {cause}; put outside things right by hand"
    )]
    RollbackFailed {
        /// The machine.
        machine: String,
        /// Its state.
        from: &'static str,
        /// The state it was to go to.
        to: &'static str,
        /// What the rollback said.
        cause: Failure,
    },
    /// All waits of the machine were cleared.
    #[error("machine {machine:?}: the wait for a transition to {to} was cleared; read the state and decide anew")]
    Cleared {
        /// The machine.
        machine: String,
        /// The state waited for.
        to: &'static str,
    },
    /// Changes were made faster than they were read.
    #[error(
        "machine {machine:?}: {missed} changes are not kept any more; change {next} is the next, look at the state"
    )]
    Missed {
        /// The machine.
        machine: String,
        /// How many are not kept.
        missed: u64,
        /// The number of the oldest that is kept.
        next: u64,
    },
    /// A reason is too long to keep.
    #[error("a reason of {length} bytes is longer than {limit}; shorten it")]
    LongReason {
        /// Its bytes.
        length: usize,
        /// Most bytes.
        limit: usize,
    },
}

impl Error {
    /// The caller's next move.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind().into(),
            // The store's refusal decides.
            Self::EndRefused { cause, .. } | Self::NotFreed { cause, .. } => cause.kind().into(),
            Self::NoTransition { .. } | Self::Overruled { .. } => Kind::Conflict,
            Self::UnknownState { .. } => Kind::Incompatible,
            Self::RuleTwice { .. } | Self::LongReason { .. } => Kind::Misuse,
            Self::ActionFailed { .. } => Kind::Failed,
            Self::Lost { .. } => Kind::Lost,
            Self::RollbackFailed { .. } => Kind::Indeterminate,
            Self::Cleared { .. } => Kind::Cancelled,
            Self::Missed { .. } => Kind::Unavailable,
        }
    }
}

next_moves!(Error);

fn ways(from: &str, possible: &[&str]) -> String {
    match possible {
        [] => format!("from {from} it can go nowhere"),
        _ => format!("possible are {}", possible.join(", ")),
    }
}
