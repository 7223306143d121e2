//! Short ways to ask a store for what the promises speak of.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::{Backend, Meta, Op};
use crate::{Deadline, Error, ErrorKind, Outcome, Revision};

/// An entry, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) value: Vec<u8>,
    pub(super) meta: Meta,
}

/// What a range found, by name.
pub(super) type Contents = BTreeMap<String, State>;

/// Every backend can be asked these; what the contract rules out is a panic.
pub(super) trait Asking: Backend {
    /// The key of a good name.
    fn named(&self, name: &str) -> Self::Key {
        self.key(name).unwrap_or_else(|error| panic!("{name:?} is a good name: {error}"))
    }

    /// The entry, or `None`.
    fn state(&self, key: &Self::Key) -> Option<State> {
        self.state_and_revision(key).0
    }

    /// The entry, or `None`, and a revision at which it was so.
    fn state_and_revision(&self, key: &Self::Key) -> (Option<State>, Revision) {
        let mut value = b"left over".to_vec();
        let (meta, revision) = self.read(key, &mut value).expect("a read");
        if meta.is_none() {
            assert_eq!(value, b"", "the buffer is cleared where there is no entry");
        }
        (meta.map(|meta| State { value, meta }), revision)
    }

    /// The value, or `None`.
    fn value(&self, key: &Self::Key) -> Option<Vec<u8>> {
        self.state(key).map(|state| state.value)
    }

    /// The meta of an entry that must be there.
    fn meta(&self, key: &Self::Key) -> Meta {
        self.state(key).unwrap_or_else(|| panic!("there is an entry {key:?}")).meta
    }

    /// All entries under a prefix; their order is looked at on the way.
    fn contents(&self, prefix: &str) -> (Contents, Revision) {
        let mut contents = Contents::new();
        let revision = self.range(prefix, &mut |key, value, meta| {
            let name = key.as_ref();
            assert!(name.starts_with(prefix), "{name:?} does not begin with {prefix:?}");
            assert!(contents.last_key_value().is_none_or(|(last, _)| last.as_str() < name), "{name:?} is out of order");
            contents.insert(name.to_owned(), State { value: value.to_vec(), meta });
        });
        (contents, revision.expect("a range"))
    }

    /// A commit that must take place.
    fn apply(&self, ops: &[Op<'_, Self::Key>]) -> Revision {
        match self.commit(ops) {
            Ok(Outcome::Committed(revision)) => revision,
            other => panic!("nothing is in the way of this commit, yet: {other:?}\n{ops:#?}"),
        }
    }

    /// A commit that must lose.
    fn loses(&self, ops: &[Op<'_, Self::Key>]) {
        match self.commit(ops) {
            Ok(Outcome::Conflict) => {}
            other => panic!("a condition of this commit is false, yet: {other:?}\n{ops:#?}"),
        }
    }

    /// Puts a value under a name, whatever is there.
    fn set(&self, name: &str, value: &[u8]) -> Revision {
        self.apply(&[Op::put(&self.named(name), value)])
    }

    /// A commit that must be refused with this error, and nothing applied.
    fn refuses(&self, kind: ErrorKind, ops: &[Op<'_, Self::Key>]) -> Error {
        let before = self.contents("").0;
        match self.commit(ops) {
            Err(error) if error.kind() == kind => {
                assert_eq!(self.contents("").0, before, "nothing is applied after {error}");
                error
            }
            other => panic!("this commit is to be refused with {kind}, yet: {other:?}"),
        }
    }

    /// A lease that will not end by itself while a test runs.
    fn long_lease(&self) -> crate::Lease {
        let hours = Duration::from_secs(8 * 3600);
        self.grant(hours.clamp(Self::LIMITS.shortest_lease, Self::LIMITS.longest_lease)).expect("a lease of hours")
    }

    /// Waits, for as long as it takes, until the entry has changed.
    fn wait_for_change(&self, key: &Self::Key, newer_than: Revision) {
        assert!(self.wait(key, newer_than, &Deadline::never()).expect("a wait"), "this wait has no end but a change");
    }

    /// One look whether the entry has changed.
    fn has_changed(&self, key: &Self::Key, since: Revision) -> bool {
        self.wait(key, since, &Deadline::now()).expect("a look")
    }
}

impl<B: Backend> Asking for B {}

/// Which error came instead of an answer.
pub(super) fn fault<T>(result: crate::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("this is to be refused"),
        Err(error) => error.kind(),
    }
}
