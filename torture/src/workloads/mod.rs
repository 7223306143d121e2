//! The workloads on several records, on names and on recipes: transfers, keys that come and go, leases, watches, and what
//! people come for.
//!
//! Each is a folder: `mod.rs` says what there is and who does what, `work.rs` what a thread does, `check.rs` what must
//! hold of the history and of what is left. They are run and killed and stopped as single records are (see [`crate::run`]), and
//! their histories have the same form: an operation is written down before it is begun and completed when it returns.
//!
//! | workload | what goes on | what must hold |
//! |---|---|---|
//! | [`bank`] | transfers between accounts, and looks at all accounts at once | no transfer lost or done in part; each look shows one moment |
//! | [`churn`] | names created by one of several who want them, and deleted, for ever | one owner a name; nothing lost; room for as many at the end as at the beginning |
//! | [`leases`] | names held under leases, and writes that name the holder's token | one holder a name; late writes refused; a dead one's name is free in time |
//! | [`watch`] | pairs written together, and watchers who follow them | no pair ever torn apart; the last state arrives, also after a stop |
//!
//! Of the recipes, by the same means:
//!
//! | workload | what goes on | what must hold |
//! |---|---|---|
//! | `lock` ([`exclusion`]) | locks alone, with other readers, and several at once in any order; writes under the token | one holder, or readers only; late writes refused; the next one comes in time; no ticket left |
//! | `election` ([`exclusion`]) | candidates, writes under the term, observers | one leader a term; an ex-leader is refused; terms only grow for whoever looks |
//! | `guard` ([`exclusion`]) | rows of a file outside the store, changed in turns with an intent | every change of a row is counted once, in the rows' order, by its author or by who came next |
//! | `assignment` ([`assignment`]) | more nodes than slots join, are released, and swept away | one slot a node; who was released is refused; all slots can be had at the end |
//! | `delivery` ([`delivery`]) | members that send, and do something for each message with its acknowledgement | every message has its effect once at each member, none before what caused it |

pub mod assignment;
pub mod bank;
pub mod churn;
pub mod delivery;
pub mod exclusion;
pub mod fill;
pub mod leases;
mod left;
pub mod watch;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use slotguard::recipe::Result;
use slotguard::{Error, Segment};

use crate::check::chain::Chains;
use crate::check::recovery::{Recovery, Times};
use crate::check::{Promise, Scene, Verdicts};
use crate::client::Client;
use crate::history::{Kind, Outcome};
use crate::nemesis::Schedule;
use crate::report::thousands;

/// What a run has to know of a workload.
pub trait Scenario {
    fn schedule(&self) -> &Schedule;

    /// Makes the segment as the workers are to find it.
    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error>;

    /// What the threads of a slot do.
    fn cast(&self, slot: u32) -> Cast;

    /// Whether a slot goes on after its time until it sees the last word.
    fn goes_on(&self, _slot: u32) -> bool {
        false
    }

    /// The last word to those who go on, when all others have ended.
    fn close(&self, _segment: &Segment) -> Result<(), Error> {
        Ok(())
    }

    /// Looks at what is left, and holds it against the history. `scene.finals` is empty: which values there are to be
    /// looked at is the workload's to know.
    fn examine(&self, segment: &Segment, scene: &Scene<'_>) -> Result<Examined>;

    /// What a promise means here, in a few words; `None`: the workload has no part in it.
    fn words(&self, promise: Promise) -> Option<&'static str>;
}

/// What the threads of one process slot do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Cast {
    Bank(Vec<bank::Role>),
    Churn(Vec<churn::Role>),
    Leases(Vec<leases::Role>),
    Watch(Vec<watch::Role>),
    Exclusion(Vec<exclusion::Role>),
    Assignment(Vec<assignment::Role>),
    Delivery(Vec<delivery::Role>),
}

impl Cast {
    /// How many threads.
    pub fn len(&self) -> usize {
        match self {
            Self::Bank(roles) => roles.len(),
            Self::Churn(roles) => roles.len(),
            Self::Leases(roles) => roles.len(),
            Self::Watch(roles) => roles.len(),
            Self::Exclusion(roles) => roles.len(),
            Self::Assignment(roles) => roles.len(),
            Self::Delivery(roles) => roles.len(),
        }
    }

    /// The whole life of thread `number`.
    pub fn act(&self, client: &mut Client<'_>, number: usize) -> Result<()> {
        match self {
            Self::Bank(roles) => Ok(bank::act(roles[number], client)?),
            Self::Churn(roles) => Ok(churn::act(roles[number], client)?),
            Self::Leases(roles) => Ok(leases::act(roles[number], client)?),
            Self::Watch(roles) => Ok(watch::act(roles[number], client)?),
            Self::Exclusion(roles) => exclusion::act(roles[number], client),
            Self::Assignment(roles) => assignment::act(roles[number], client),
            Self::Delivery(roles) => delivery::act(roles[number], client),
        }
    }
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
pub fn count(scene: &Scene<'_>, kind: Kind, outcome: Outcome) -> u64 {
    scene.history.all().filter(|(_, entry)| entry.kind == kind && entry.outcome == outcome).count() as u64
}

/// How often, and how slow at most: two figures of one kind of recovery.
pub fn slowest(recoveries: &[Recovery], measured: &'static str, slowest: &'static str) -> [Figure; 2] {
    let times = Times::of(&recoveries.iter().collect::<Vec<_>>());
    [Figure::count(measured, times.measured), Figure::milliseconds(slowest, times.max_ms)]
}
