//! What a child does to a fixture, and what must hold when it has been killed or stopped on the way.

use std::fmt::Debug;
use std::path::Path;

use super::fixture::Fixture;
use super::sweep::{Order, Verdict};
use super::tracee::{SyncPoint, Tracee};

/// One operation, run over and over, each time on a fresh fixture.
pub trait Scenario: Copy {
    type Fixture: Fixture;
    /// What others see of the fixture.
    type Observed: PartialEq + Debug;

    fn name(&self) -> &'static str;

    /// Builds the state before the operation.
    fn fixture(&self, folder: &Path) -> Self::Fixture;

    /// Runs in the child: prepares, reaches the sync point, operates, acknowledges.
    fn run(&self, fixture: &Self::Fixture, sync: &SyncPoint<'_>);

    /// Forks a child and stops it at its sync point. All are forked from this one place, so that all take the same path.
    fn author(&self, fixture: &Self::Fixture) -> Tracee {
        fixture.page().clear();
        Tracee::new(fixture.page(), |sync| self.run(fixture, sync))
    }

    /// Reads what others see; panics if it makes no sense.
    fn observe(&self, fixture: &Self::Fixture) -> Self::Observed;

    /// Checks the state after the author has died; `before` is what was seen when it had come to its sync point. `variant` is
    /// another number each time, for a check that has several ways of going on.
    fn check(&self, fixture: &Self::Fixture, before: Self::Observed, order: Order, variant: usize) -> Verdict;

    /// The survivor makes the same kind of change, at once and exactly once.
    fn change(&self, fixture: &Self::Fixture);

    /// The survivor goes on, so that every block in use changes hands.
    fn work(&self, fixture: &Self::Fixture) {
        for _ in 0..3 {
            self.change(fixture);
        }
    }

    /// Checks the result of an author that was neither killed nor stopped.
    fn succeeded(&self, _fixture: &Self::Fixture, _before: Self::Observed) {}
}
