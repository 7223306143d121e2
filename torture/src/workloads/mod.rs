//! What can be run: each workload is a folder here and a line of [`ALL`].
//!
//! In a folder `mod.rs` says what there is and which thread does what, `work.rs` what a thread does, `check.rs` what must
//! hold of the history and of what is found at the end. A workload says what it does for one [`Round`]; the run and each of
//! its worker processes compute that from the seed, so nothing but the round travels between them. All are run, killed and
//! stopped in one way (see [`crate::run`]), and all histories have one form: an operation is written down before it is
//! begun and completed when it returns.
//!
//! | workload | what goes on | what must hold |
//! |---|---|---|
//! | [`records`] | single records changed, read, waited for and claimed | no change lost or made twice; no claim written past its end |
//! | [`bank`] | transfers between accounts, and looks at all accounts at once | no transfer lost or done in part; each look shows one moment |
//! | [`churn`] | names created by one of several who want them, and deleted, for ever | one owner a name; nothing lost; room for as many at the end as at the beginning |
//! | [`leases`] | names held under leases, and writes that name the holder's token | one holder a name; late writes refused; a dead one's name is free in time |
//! | [`watch`] | pairs written together, and watchers who follow them | no pair ever torn apart; the last state arrives, also after a stop |
//!
//! Of the recipes:
//!
//! | workload | what goes on | what must hold |
//! |---|---|---|
//! | `lock` ([`exclusion`]) | locks alone, with other readers, and several at once in any order; writes under the token | one holder, or readers only; late writes refused; the next one comes in time; no ticket left |
//! | `election` ([`exclusion`]) | candidates, writes under the term, observers | one leader a term; an ex-leader is refused; an observer sees terms grow |
//! | `guard` ([`exclusion`]) | rows of a file outside the store, changed by one at a time with an intent | every change of a row is counted once, in the rows' order, by its author or by the next holder |
//! | [`assignment`] | more nodes than slots join, are released, and swept away | one slot a node; a released node is refused; all slots can be had at the end |
//! | [`delivery`] | members that send, and do something for each message with its acknowledgement | every message has its effect once at each member, none before what caused it |

mod assignment;
mod bank;
mod churn;
mod delivery;
mod exclusion;
mod fill;
mod final_state;
mod leases;
pub mod records;
mod watch;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use crate::check::chain::Chains;
use crate::check::recovery::{Recovery, Times};
use crate::check::{Execution, Promise, Verdicts};
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::nemesis::{Lifetime, Schedule};
use crate::report::picture::Picture;
use crate::report::thousands;

/// Every workload, in the order in which they run.
pub static ALL: [Workload; 10] = [
    workload(records::NAME, WHOLE, |round| Box::new(records::Plan::of(round))),
    workload("bank", QUARTER, |round| Box::new(bank::Plan::of(round))),
    workload("churn", QUARTER, |round| Box::new(churn::Plan::of(round))),
    workload("leases", QUARTER, |round| Box::new(leases::Plan::of(round))),
    workload("watch", QUARTER, |round| Box::new(watch::Plan::of(round))),
    workload("lock", FIFTH, |round| Box::new(exclusion::Plan::of(exclusion::Recipe::Lock, round))),
    workload("election", FIFTH, |round| Box::new(exclusion::Plan::of(exclusion::Recipe::Election, round))),
    workload("guard", FIFTH, |round| Box::new(exclusion::Plan::of(exclusion::Recipe::Guard, round))),
    workload("assignment", FIFTH, |round| Box::new(assignment::Plan::of(round))),
    workload("delivery", FIFTH, |round| Box::new(delivery::Plan::of(round))),
];

/// A line of [`ALL`].
pub struct Workload {
    pub name: &'static str,
    /// It lasts for one such part of `--seconds`.
    share: u32,
    plan: fn(Round) -> Box<dyn Scenario>,
}

const WHOLE: u32 = 1;
const QUARTER: u32 = 4;
const FIFTH: u32 = 5;

/// Shares of a short run are at least this long: enough for everything that must happen to happen.
const SHORTEST: Duration = Duration::from_secs(2);

const fn workload(name: &'static str, share: u32, plan: fn(Round) -> Box<dyn Scenario>) -> Workload {
    Workload { name, share, plan }
}

impl Workload {
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|workload| workload.name == name)
    }

    /// How long it lasts in a run of so many seconds.
    pub fn length(&self, seconds: u64) -> Duration {
        let whole = Duration::from_secs(seconds);
        if self.share == WHOLE { whole } else { (whole / self.share).max(SHORTEST) }
    }

    /// What goes on in a round: for equal rounds the same, in whatever process.
    pub fn plan(&self, round: Round) -> Box<dyn Scenario> {
        (self.plan)(round)
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Workload {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Workload {}

impl Serialize for Workload {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// One stretch of a workload on a segment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The seed of the run.
    pub seed: u64,
    /// From 0, in a long run.
    pub number: u64,
    pub length: Duration,
}

/// What goes on in a round of a workload, and what must hold of it.
pub trait Scenario: fmt::Debug + Sync {
    /// The process slots, and what is done to them.
    fn schedule(&self) -> &Schedule;

    /// Makes the segment as the workers are to find it.
    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error>;

    /// The whole life of one thread of a slot.
    fn act(&self, slot: u32, thread: usize, client: &mut Client<'_>) -> Result<()>;

    /// Whether a slot goes on after its time until [`close`](Self::close) has told it to end.
    fn goes_on(&self, _slot: u32) -> bool {
        false
    }

    /// Ends those who go on, in a process of its own, when all others have ended.
    fn close(&self, _client: &mut Client<'_>) -> Result<()> {
        Ok(())
    }

    /// Checks the history, and what is found at the end. `execution.finals` is empty: which values there are to be looked at
    /// is the workload's to know.
    fn examine(&self, segment: &Segment, execution: &Execution<'_>) -> Result<Examined>;

    /// What a promise means here, in a few words; `None`: the workload has no part in it.
    fn words(&self, promise: Promise) -> Option<&'static str>;
}

/// What the threads of each slot do.
fn roles<R>(slots: impl IntoIterator<Item = (Lifetime, Vec<R>)>) -> Vec<Vec<R>> {
    slots.into_iter().map(|(_, roles)| roles).collect()
}

/// What the checks of a workload found.
#[derive(Debug, Default)]
pub struct Examined {
    pub verdicts: Verdicts,
    pub acknowledged: u64,
    /// Acknowledged operations that are in what is left.
    pub found: u64,
    pub in_doubt: u64,
    /// Operations in doubt that are in what is left.
    pub took_effect: u64,
    pub refused_late: u64,
    pub recoveries: Vec<Recovery>,
    pub figures: Vec<Figure>,
    /// Drawn of single records only.
    pub picture: Option<Picture>,
}

impl Examined {
    /// What became of the writes.
    pub fn of(chains: &Chains) -> Self {
        let Chains { acknowledged, found, in_doubt, took_effect, .. } = *chains;
        Self { acknowledged, found, in_doubt, took_effect, ..Self::default() }
    }

    #[cfg(test)]
    fn sound(self) -> Self {
        assert_eq!(self.verdicts.violations(), 0, "{:?}", self.verdicts);
        self
    }

    #[cfg(test)]
    fn breaks(&self, promise: Promise, words: &str) {
        let found = &self.verdicts.0[&promise];
        assert!(found.examples.iter().any(|example| example.contains(words)), "{:?}", found.examples);
    }
}

/// One number of a workload, for its section of the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub words: &'static str,
    pub number: Number,
    /// Whether a run in which this is zero has shown nothing, and fails.
    pub needed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Number {
    Count(u64),
    Milliseconds(f64),
}

impl Figure {
    pub fn count(words: &'static str, count: u64) -> Self {
        Self { words, number: Number::Count(count), needed: false }
    }

    /// As [`count`](Self::count), of something without which the run has shown nothing.
    pub fn needed(words: &'static str, count: u64) -> Self {
        Self { needed: true, ..Self::count(words, count) }
    }

    pub fn milliseconds(words: &'static str, milliseconds: f64) -> Self {
        Self { words, number: Number::Milliseconds(milliseconds), needed: false }
    }

    /// Whether it shows that nothing was exercised.
    pub fn is_missing(&self) -> bool {
        self.needed && self.number == Number::Count(0)
    }
}

impl Number {
    /// That of two rounds together: all of them counted, the slowest measured.
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(one), Self::Count(two)) => Self::Count(one + two),
            (Self::Milliseconds(one), Self::Milliseconds(two)) => Self::Milliseconds(one.max(two)),
            (one, _) => one,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.write_str(&thousands(*count)),
            Self::Milliseconds(milliseconds) => write!(f, "{milliseconds:.1} ms"),
        }
    }
}

/// How many operations of a kind came to an outcome.
pub fn count(execution: &Execution<'_>, kind: Kind, outcome: Outcome) -> u64 {
    execution.history.all().filter(|(_, entry)| entry.kind == kind && entry.outcome == outcome).count() as u64
}

/// How often, and how slow at most: two figures of one kind of recovery.
pub fn slowest(recoveries: &[Recovery], measured: &'static str, slowest: &'static str) -> [Figure; 2] {
    let times = Times::of(&recoveries.iter().collect::<Vec<_>>());
    [Figure::count(measured, times.measured), Figure::milliseconds(slowest, times.max_ms)]
}
