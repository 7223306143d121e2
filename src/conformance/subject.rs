//! What the suite needs of a backend besides the contract: clients of one store, time that passes, and, where a backend
//! can do such things, deaths and forgetting.

use std::time::Duration;

use crate::backend::{Backend, Model};
use crate::clock::Lease;

/// A store under test. Each test is given a new and empty one.
///
/// It must have room for 1,000 entries at once, 64 clients of four threads each, and values of 64 KiB in 32 of its
/// entries.
pub trait Subject: Send + Sync + 'static {
    /// The backend.
    type Store: Backend;

    /// A client of this subject's store, as independent of the others as another process's would be, if the backend
    /// knows such a thing.
    fn client(&self) -> Self::Store;

    /// Lets this much time pass for leases: moves a fake clock, or sleeps.
    fn pass(&self, time: Duration);
}

/// A subject whose clients can die: the list `deaths` of [`conformance_tests`](crate::conformance_tests).
pub trait Mortal: Subject {
    /// Ends the life of a client as killing its process would, without a word to the store.
    ///
    /// `leases` are what it was granted, for a backend that does not know whose they are.
    fn kill(&self, client: Self::Store, leases: &[Lease]);
}

/// A subject whose history can be forgotten at will: the list `forgetting` of
/// [`conformance_tests`](crate::conformance_tests).
pub trait Forgetful: Subject {
    /// Forgets all history up to now.
    fn forget(&self);
}

impl Subject for Model {
    type Store = Self;

    fn client(&self) -> Self {
        self.clone()
    }

    fn pass(&self, time: Duration) {
        self.advance(time);
    }
}

impl Mortal for Model {
    fn kill(&self, client: Self, leases: &[Lease]) {
        for lease in leases {
            client.kill_owner(*lease);
        }
    }
}

impl Forgetful for Model {
    fn forget(&self) {
        self.forget_history();
    }
}
