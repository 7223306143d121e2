//! States, the rules that lead from one to another, and the program's code that runs on the way.

use std::fmt;

use super::error::{Error, Result};
use crate::clock::Token;
use crate::recipe::Failure;

/// The states of a machine: an enum and the names they are stored under. [`states!`](crate::states) makes both.
///
/// Names are 1 to 32 visible characters of ASCII without `>`, no two alike; otherwise it does not compile. They are what
/// is stored: an enum's order may change from build to build, its names may not.
pub trait State: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// Every state, once.
    const TABLE: &'static [(Self, &'static str)];

    /// The name that this state is stored under.
    ///
    /// # Panics
    /// If a table that was written by hand lacks the state.
    fn name(self) -> &'static str {
        let found = Self::TABLE.iter().find(|(state, _)| *state == self);
        found.expect("a state is in its table").1
    }

    /// Finds the state of this name.
    fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

/// Makes an enum and its [`State`](crate::recipe::state_machine::State).
///
/// ```
/// use slotguard::recipe::state_machine::State;
///
/// slotguard::states! {
///     /// The state of a job.
///     pub enum Job {
///         /// Not begun.
///         New = "NEW",
///         /// Over.
///         Done = "DONE",
///     }
/// }
/// assert_eq!((Job::New.name(), Job::from_name("DONE")), ("NEW", Some(Job::Done)));
/// ```
#[macro_export]
macro_rules! states {
    ($(#[$meta:meta])* $visible:vis enum $states:ident {
        $($(#[$of_state:meta])* $state:ident = $name:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visible enum $states {
            $($(#[$of_state])* $state),+
        }

        impl $crate::recipe::state_machine::State for $states {
            const TABLE: &'static [(Self, &'static str)] = &[$((Self::$state, $name)),+];
        }

        const _: () = assert!(
            $crate::recipe::state_machine::names_are_good(&[$(((), $name)),+]),
            "names of states are distinct, and 1 to 32 visible characters without `>`"
        );
    };
}

/// Tells whether these can be the names of states.
#[doc(hidden)]
pub const fn names_are_good<S>(table: &[(S, &str)]) -> bool {
    let mut at = 0;
    while at < table.len() {
        let name = table[at].1.as_bytes();
        if name.is_empty() || name.len() > 32 {
            return false;
        }
        let mut character = 0;
        while character < name.len() {
            if !name[character].is_ascii_graphic() || name[character] == b'>' {
                return false;
            }
            character += 1;
        }
        let mut before = 0;
        while before < at {
            if alike(table[before].1.as_bytes(), name) {
                return false;
            }
            before += 1;
        }
        at += 1;
    }
    true
}

const fn alike(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    one.len() == other.len()
}

/// A transition as its action or rollback sees it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a, S> {
    /// The state before.
    pub from: S,
    /// The state it is to go to.
    pub to: S,
    /// The reason that the transition's caller gave.
    pub reason: &'a str,
    /// Larger than the token of every transition begun earlier and of every abandoned one rolled back earlier: let outside
    /// systems refuse smaller ones. The rollback of one's own transition has its action's token.
    pub token: Token,
    /// In a rollback: whether the process that began the transition is gone. Its action may have run in part, in whole, or
    /// not at all.
    pub abandoned: bool,
}

type Guard<S> = Box<dyn Fn(S, &str) -> bool + Send + Sync>;
type Callback<S> = Box<dyn Fn(&Step<'_, S>) -> Result<(), Failure> + Send + Sync>;

/// A transition from some states to another, with the program's code that runs on the way.
pub struct Rule<S> {
    from: Vec<S>,
    pub(super) to: S,
    guard: Option<Guard<S>>,
    pub(super) action: Option<Callback<S>>,
    pub(super) rollback: Option<Callback<S>>,
}

impl<S: State> Rule<S> {
    /// Makes a rule that leads from each of these states to `to`.
    pub fn new(from: impl AsRef<[S]>, to: S) -> Self {
        Self { from: from.as_ref().to_vec(), to, guard: None, action: None, rollback: None }
    }

    /// Allows the transition only if `guard` accepts the present state and the caller's reason. It may be asked again after
    /// a lost race, so it should change nothing.
    #[must_use]
    pub fn guard(self, guard: impl Fn(S, &str) -> bool + Send + Sync + 'static) -> Self {
        Self { guard: Some(Box::new(guard)), ..self }
    }

    /// Runs `action` on the way: at most once a transition, by the call that won it. If it fails or panics, the state
    /// stays.
    #[must_use]
    pub fn action(self, action: impl Fn(&Step<'_, S>) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self { action: Some(Box::new(action)), ..self }
    }

    /// Runs `rollback` to undo an action that failed, or whose process died or lost its session.
    ///
    /// **It must be idempotent.** It runs once as long as no process dies or is stopped in it: after an action of one's own,
    /// or after a dead process's in the next process. If a process dies in it, or is stopped in it for longer than its
    /// lease, another process runs it from the beginning; one that was only stopped then goes on beside that or after it,
    /// even during a later transition. No store can revoke its outside effects. So let it write [`Step::token`] to the
    /// things it changes, and change nothing that has a larger one.
    #[must_use]
    pub fn rollback(self, rollback: impl Fn(&Step<'_, S>) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self { rollback: Some(Box::new(rollback)), ..self }
    }

    pub(super) fn allows(&self, from: S, reason: &str) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard(from, reason))
    }
}

/// The initial state and the transitions that are allowed.
#[derive(Debug)]
pub struct Rules<S> {
    initial: S,
    rules: Vec<Rule<S>>,
}

impl<S: State> Rules<S> {
    /// Makes rules with this initial state and no transition.
    pub fn new(initial: S) -> Self {
        const {
            assert!(
                names_are_good(S::TABLE),
                "names of states are distinct, and 1 to 32 visible characters without `>`"
            )
        };
        Self { initial, rules: Vec::new() }
    }

    /// Allows a transition that runs no code.
    #[must_use]
    pub fn allow(self, from: S, to: S) -> Self {
        self.rule(Rule::new([from], to))
    }

    /// Allows the transitions of a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule<S>) -> Self {
        self.rules.push(rule);
        self
    }

    /// Lists the pairs of states that a transition leads from and to, in the order of the rules.
    pub fn pairs(&self) -> impl Iterator<Item = (S, S)> + '_ {
        self.rules.iter().flat_map(|rule| rule.from.iter().map(|from| (*from, rule.to)))
    }

    pub(super) fn initial(&self) -> S {
        self.initial
    }

    pub(super) fn find(&self, from: S, to: S) -> Option<&Rule<S>> {
        self.rules.iter().find(|rule| rule.to == to && rule.from.contains(&from))
    }

    pub(super) fn possible(&self, from: S) -> Vec<S> {
        self.pairs().filter(|(before, _)| *before == from).map(|(_, to)| to).collect()
    }

    pub(super) fn leads_to(&self, to: S) -> bool {
        self.rules.iter().any(|rule| rule.to == to)
    }

    pub(super) fn check(&self) -> Result<()> {
        let pairs: Vec<_> = self.pairs().collect();
        for (at, (from, to)) in pairs.iter().enumerate() {
            if pairs[..at].contains(&(*from, *to)) {
                return Err(Error::RuleTwice { from: from.name(), to: to.name() });
            }
        }
        Ok(())
    }
}

impl<S: fmt::Debug> fmt::Debug for Rule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}
