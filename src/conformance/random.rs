//! Random operations, each done to a backend and to the model: what they answer and what they leave must agree.
//!
//! Revisions are other numbers on another backend; what must agree is how they compare with each other.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::asking::{Asking, Contents};
use super::dice::Dice;
use super::mirror::Mirror;
use super::subject::Subject;
use crate::backend::{Act, Backend, Model, Op, When};
use crate::{Deadline, Error, ErrorKind, Lease, Outcome, Result, Revision};

/// The environment variable that has one sequence repeated.
const SEED: &str = "SLOTGUARD_SEED";

const SEQUENCES: u64 = 300;
const OPERATIONS: usize = 200;
const KEYS: usize = 12;

/// 300 sequences of 200 operations over 12 keys, other ones in each run: commits of all kinds, leases, looks, watches,
/// mistakes. A failure prints the seed and how to repeat it.
pub fn random_operations_answer_as_the_model_does(subject: &impl Subject) {
    let store = subject.client();
    match std::env::var(SEED) {
        Ok(seed) => play(&store, seed.parse().unwrap_or_else(|_| panic!("{SEED} is a number, not {seed:?}"))),
        Err(_) => {
            let first = RandomState::new().hash_one("the first of the seeds");
            (0..SEQUENCES).for_each(|number| play(&store, first.wrapping_add(number)));
        }
    }
}

/// Says how to repeat a sequence that failed.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}; repeat it with: {SEED}={0} cargo test --test conformance random_operations", self.0);
        }
    }
}

type ModelKey = <Model as Backend>::Key;

/// One sequence.
fn play<B: Backend>(store: &B, seed: u64) {
    let _repeat = Repeat(seed);
    let mut dice = Dice::new(seed);
    let mut duel = Duel::new(store, seed);
    for _ in 0..OPERATIONS {
        match dice.below(100) {
            0..60 => duel.commit(&mut dice),
            60..66 => duel.mistake(&mut dice),
            66..74 => duel.look(&mut dice),
            74..82 => duel.wait(&mut dice),
            82..88 => duel.grant(),
            88..92 => duel.end_or_renew(&mut dice),
            92..96 => duel.follow(),
            _ => duel.watch_anew(&mut dice),
        }
        duel.compare();
    }
    duel.clean_up();
}

/// The same thing of either side.
#[derive(Clone, Copy, PartialEq)]
struct Pair<T, M = T> {
    theirs: T,
    models: M,
}

/// A backend and the model, in what should be the same state.
struct Duel<'a, B: Backend> {
    store: &'a B,
    model: Model,
    prefix: String,
    keys: Vec<Pair<B::Key, ModelKey>>,
    leases: Vec<Pair<Lease>>,
    /// Revisions of each key's incarnations and puts, the latest last.
    known: Vec<Vec<Pair<Revision>>>,
    /// The revisions of the ranges after each operation.
    moments: Vec<Pair<Revision>>,
    /// The revision of the backend's last change.
    latest: Revision,
    mirror: Mirror,
    watch: B::Watch<'a>,
}

/// An operation on one of the keys, with revisions and leases of either side.
#[derive(Clone, Copy)]
struct Step<'v> {
    key: usize,
    when: Pair<When>,
    act: Pair<Act<'v>>,
}

impl<'a, B: Backend> Duel<'a, B> {
    fn new(store: &'a B, seed: u64) -> Self {
        let prefix = format!("{seed:x}/");
        let model = Model::new();
        let name = |number: usize| format!("{prefix}{number}");
        let keys = (0..KEYS).map(|n| Pair { theirs: store.named(&name(n)), models: model.named(&name(n)) }).collect();
        let (mirror, watch) = Mirror::open(store, &prefix);
        let moments = vec![Pair { theirs: mirror.at, models: Revision(0) }];
        let known = vec![vec![Pair { theirs: Revision(0), models: Revision(0) }]; KEYS];
        Self { store, model, keys, leases: Vec::new(), known, moments, latest: mirror.at, mirror, watch, prefix }
    }

    /// A commit of one to six operations.
    fn commit(&mut self, dice: &mut Dice) {
        let value = self.value(dice);
        let mut steps = Vec::new();
        for _ in 0..=dice.below(6) {
            let step = self.step(dice, &value);
            if steps.iter().all(|earlier: &Step<'_>| earlier.key != step.key) {
                steps.push(step);
            }
        }
        self.try_both(&steps);
    }

    /// A commit that is likely to be refused.
    fn mistake(&mut self, dice: &mut Dice) {
        let value = self.value(dice);
        let mut steps: Vec<_> = (0..=dice.below(3)).map(|_| self.step(dice, &value)).collect();
        let nobodys = Lease(u64::MAX);
        match dice.below(4) {
            0 => steps.push(*dice.pick(&steps)),
            1 => steps.iter_mut().for_each(|step| step.act = Pair { theirs: Act::Check, models: Act::Check }),
            2 => steps[0].act = both(Act::Put { value: &value, lease: Some(nobodys) }),
            _ => steps.clear(),
        }
        self.try_both(&steps);
    }

    fn value(&self, dice: &mut Dice) -> Vec<u8> {
        let length = if dice.one_in(20) { dice.below(5_000) } else { dice.below(40) };
        vec![dice.below(256) as u8; length]
    }

    fn step<'v>(&self, dice: &mut Dice, value: &'v [u8]) -> Step<'v> {
        let key = dice.below(KEYS);
        let known = &self.known[key];
        // Mostly one of the last few, so that such conditions hold often enough.
        let revision = known[known.len() - 1 - dice.below(known.len().min(3))];
        let when = match dice.below(10) {
            0 | 1 => both(When::Exists),
            2 => both(When::Absent),
            3 | 4 => Pair { theirs: When::ModifiedAt(revision.theirs), models: When::ModifiedAt(revision.models) },
            5 => Pair { theirs: When::CreatedAt(revision.theirs), models: When::CreatedAt(revision.models) },
            _ => both(When::Always),
        };
        let act = match dice.below(10) {
            0 | 1 if !self.leases.is_empty() => {
                let lease = dice.pick(&self.leases);
                let put = |lease| Act::Put { value, lease: Some(lease) };
                Pair { theirs: put(lease.theirs), models: put(lease.models) }
            }
            2 | 3 => both(Act::Delete),
            4 => both(Act::Check),
            _ => both(Act::Put { value, lease: None }),
        };
        Step { key, when, act }
    }

    /// Commits to both; the answers must agree.
    fn try_both(&mut self, steps: &[Step<'_>]) {
        let before = self.model.contents("").1;
        let theirs: Vec<_> = steps
            .iter()
            .map(|step| Op { key: &self.keys[step.key].theirs, when: step.when.theirs, act: step.act.theirs })
            .collect();
        let models: Vec<_> = steps
            .iter()
            .map(|step| Op { key: &self.keys[step.key].models, when: step.when.models, act: step.act.models })
            .collect();
        let answers = (self.store.commit(&theirs), self.model.commit(&models));
        match &answers {
            (Ok(Outcome::Committed(theirs)), Ok(Outcome::Committed(models))) => {
                // A change has a revision of its own. Without one, any at which the conditions held will do.
                if *models > before {
                    assert!(*theirs > self.latest, "committed at {theirs} after {}", self.latest);
                    self.latest = *theirs;
                }
            }
            (Ok(Outcome::Conflict), Ok(Outcome::Conflict)) => {}
            (Err(theirs), Err(models)) if theirs.kind() == models.kind() => {}
            _ => panic!("{answers:?} (the backend, the model) to {theirs:#?}"),
        }
    }

    /// Reads one entry.
    fn look(&mut self, dice: &mut Dice) {
        let key = dice.pick(&self.keys);
        let (theirs, revision) = self.store.state_and_revision(&key.theirs);
        let models = self.model.state(&key.models);
        let told = |state: &super::asking::State| (state.value.clone(), state.meta.version);
        assert_eq!(theirs.as_ref().map(told), models.as_ref().map(told));
        assert!(!self.store.has_changed(&key.theirs, revision), "nothing has changed since it was read at {revision}");
    }

    /// Looks whether an entry has changed since some moment.
    fn wait(&mut self, dice: &mut Dice) {
        let key = dice.pick(&self.keys);
        let since = dice.pick(&self.moments);
        let theirs = self.store.has_changed(&key.theirs, since.theirs);
        let models = self.model.has_changed(&key.models, since.models);
        // Of an absent entry, a backend without history may say that a neighbour's change was one.
        let neighbour = theirs && self.model.state(&key.models).is_none();
        assert!(theirs == models || neighbour, "{:?} since {}: {theirs}, {models}", key.theirs, since.theirs);
    }

    fn grant(&mut self) {
        let pair = Pair { theirs: self.store.long_lease(), models: self.model.long_lease() };
        assert!(self.leases.iter().all(|other| other.theirs != pair.theirs), "{} was given out before", pair.theirs);
        self.leases.push(pair);
    }

    /// Revokes or renews a lease, perhaps one that is over.
    fn end_or_renew(&mut self, dice: &mut Dice) {
        if self.leases.is_empty() {
            return;
        }
        let lease = *dice.pick(&self.leases);
        let (theirs, models) = if dice.one_in(3) {
            let renewed = (self.store.renew(lease.theirs), self.model.renew(lease.models));
            (renewed.0.map(drop), renewed.1.map(drop))
        } else {
            (self.store.revoke(lease.theirs), self.model.revoke(lease.models))
        };
        assert_eq!(kind(theirs), kind(models), "of lease {}", lease.theirs);
    }

    /// Takes in what the watch has to tell.
    fn follow(&mut self) {
        self.mirror.catch_up(&mut self.watch);
        same(&self.mirror.view, &self.model.contents("").0);
    }

    /// Ends the watch and goes on with another, from where it was or from a new range.
    fn watch_anew(&mut self, dice: &mut Dice) {
        if dice.one_in(2) {
            (self.mirror, self.watch) = Mirror::open(self.store, &self.prefix);
        } else {
            self.watch = self.store.watch(&self.prefix, Revision(self.mirror.at.0 + 1)).expect("a watch from the past");
        }
        self.follow();
    }

    /// The contents must agree; notes the revisions seen.
    fn compare(&mut self) {
        let (theirs, at) = self.store.contents(&self.prefix);
        let (models, models_at) = self.model.contents(&self.prefix);
        same(&theirs, &models);
        assert!(at >= self.latest, "a range at {at} after a commit at {}", self.latest);
        self.moments.push(Pair { theirs: at, models: models_at });
        for (known, key) in self.known.iter_mut().zip(&self.keys) {
            let name = key.theirs.as_ref();
            let Some((theirs, models)) = theirs.get(name).zip(models.get(name)) else {
                continue;
            };
            let lease = self.leases.iter().find(|lease| Some(lease.theirs) == theirs.meta.lease);
            assert_eq!(lease.map(|lease| lease.models), models.meta.lease, "the lease of {name}");
            for (theirs, models) in
                [(theirs.meta.created, models.meta.created), (theirs.meta.modified, models.meta.modified)]
            {
                let pair = Pair { theirs, models };
                if !known.contains(&pair) {
                    known.push(pair);
                }
            }
        }
    }

    /// Leaves nothing in the store: the next sequence uses the same.
    fn clean_up(self) {
        for lease in self.leases {
            match self.store.revoke(lease.theirs) {
                Ok(()) | Err(Error::LeaseExpired { .. }) => {}
                Err(error) => panic!("lease {}: {error}", lease.theirs),
            }
        }
        self.store.apply(&self.keys.iter().map(|key| Op::delete(&key.theirs)).collect::<Vec<_>>());
        assert!(self.store.contents(&self.prefix).0.is_empty());
        assert!(!self.store.wait(&self.keys[0].theirs, Revision(u64::MAX), &Deadline::now()).expect("a look"));
    }
}

fn both<T: Copy>(one: T) -> Pair<T> {
    Pair { theirs: one, models: one }
}

fn kind(result: Result<()>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Names, values, versions, and the order of all revisions, must be the same.
fn same(theirs: &Contents, models: &Contents) {
    let plain = |contents: &Contents| {
        let ranks: BTreeSet<_> =
            contents.values().flat_map(|state| [state.meta.created, state.meta.modified]).collect();
        let rank = |revision: Revision| ranks.range(..revision).count();
        let row = |(name, state): (&String, &super::asking::State)| {
            let meta = state.meta;
            (
                name.clone(),
                state.value.clone(),
                meta.version,
                meta.lease.is_some(),
                rank(meta.created),
                rank(meta.modified),
            )
        };
        contents.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(plain(theirs), plain(models), "the backend (left) and the model (right) differ");
}
