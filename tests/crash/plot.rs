//! What a child does in a scene, and what must hold there when it has been killed or stopped on the way.

use std::fmt::Debug;
use std::path::Path;

use super::puppet::{Cue, Puppet};
use super::scene::Stage;
use super::sweep::{Fate, Order};

/// One operation, played over and over, each time in a scene of its own.
pub trait Plot: Copy {
    type Scene: Stage;
    /// What others see of the scene.
    type View: PartialEq + Debug;

    fn name(&self) -> &'static str;

    /// As it is before anybody acts.
    fn scene(&self, folder: &Path) -> Self::Scene;

    /// The child's part: prepare, cue, act, acknowledge.
    fn play(&self, scene: &Self::Scene, cue: &Cue<'_>);

    /// A stopped child that is about to act. All are forked from this one place, so that the way of one is that of the next.
    fn author(&self, scene: &Self::Scene) -> Puppet {
        scene.board().clear();
        Puppet::new(scene.board(), |cue| self.play(scene, cue))
    }

    /// What there is to be seen; all of it must make sense.
    fn look(&self, scene: &Self::Scene) -> Self::View;

    /// All is as it must be after the author has died; `before` is what was seen when it had come to its cue. `turn` is
    /// another number each time, for a judge that has several ways of going on.
    fn judge(&self, scene: &Self::Scene, before: Self::View, order: Order, turn: usize) -> Fate;

    /// The survivor changes what this is about, at once and exactly once.
    fn change(&self, scene: &Self::Scene);

    /// It goes on, so that every block in play changes hands.
    fn work(&self, scene: &Self::Scene) {
        for _ in 0..3 {
            self.change(scene);
        }
    }

    /// Nobody was killed or stopped: that is what should have come of it.
    fn succeeded(&self, _scene: &Self::Scene, _before: Self::View) {}
}
