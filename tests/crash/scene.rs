//! A fresh segment with a survivor attached, and what the survivor must find when somebody else has been killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slotguard::{Audit, Claim, Deadline, Intent, Record, Segment, SegmentBuilder, Stamp, fnv1a64};

use super::board::Board;
use super::puppet::{Cue, Puppet};
use super::value::Sizes;
use super::watch::{Sight, Watch};

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_secs(3600);

/// How many can attach at once.
pub const ROWS: u32 = 6;

/// Where something happens to a segment while a survivor is attached.
pub trait Stage {
    fn board(&self) -> &Board;

    /// The survivor's attachment, to a segment that has a path.
    fn segment(&self) -> &Segment;

    /// A stopped child that is about to act beside another.
    fn another_puppet(&self, part: impl FnOnce(&Self, &Cue<'_>)) -> Puppet {
        Puppet::new(self.board(), |cue| part(self, cue))
    }

    /// Sees whether anything in the segment has changed since the last time.
    fn eye(&self) -> impl FnMut(bool) -> Sight {
        let mut watch = Watch::new(self.path());
        move |asked| watch.look(asked)
    }

    fn path(&self) -> &Path {
        self.segment().path().expect("a segment with a path")
    }

    /// In a child: an attachment of its own, and never dropped: a child that is done dies like all others.
    fn own(&self) -> &'static Segment {
        Box::leak(Box::new(self.segment().reopen().expect("an attachment of the child's own")))
    }

    /// Once the dead have been recovered every block, row and lane is where it belongs.
    fn all_is_recovered(&self) {
        self.segment().reap().expect("a recovery");
        self.nothing_is_amiss(1);
    }

    /// Every block is in one place and `alive` attachments have a row and a lane each.
    fn nothing_is_amiss(&self, alive: u32) {
        let audit = self.segment().audit().expect("an audit");
        let Audit { blocks, under_heads, in_cells, free, missing, doubled, lanes_taken, rows_taken, pending, .. } =
            audit;
        assert_eq!((missing, doubled), (0, 0), "blocks missing and doubled: {audit:?}");
        assert_eq!(under_heads + in_cells + free, blocks, "every block is somewhere: {audit:?}");
        assert_eq!(pending, 0, "no change is left half done: {audit:?}");
        assert_eq!((rows_taken, lanes_taken), (alive, alive), "rows and lanes taken: {audit:?}");
    }
}

/// A few numbered records.
pub struct Scene {
    pub path: PathBuf,
    pub board: Board,
    pub sizes: Sizes,
    /// The survivor's attachment.
    pub segment: Segment,
}

impl Scene {
    /// A small segment, so that all of it can be compared after each instruction. The survivor has made `history` changes.
    pub fn new(folder: &Path, sizes: Sizes, history: u64) -> Self {
        let scene = Self::built(folder, sizes, Segment::builder().records(3).payloads(&sizes.classes(12)));
        for _ in 0..history {
            sizes.bump(scene.record()).expect("an update");
        }
        scene
    }

    /// One with other records or blocks, which nobody has changed yet.
    pub fn built(folder: &Path, sizes: Sizes, builder: SegmentBuilder) -> Self {
        let path = folder.join("segment");
        let segment = builder.participants(ROWS).lanes(5).create(&path).expect("a segment");
        // The survivor has a lane of its own, also where it leaves record 0 alone. And it has done everything once: what a
        // process does the first time only, children forked later do not do.
        let other = segment.record(1).expect("record 1");
        sizes.bump(other).expect("an update");
        other.claim(Deadline::now(), LONG).and_then(Claim::release).expect("a claim and its release");
        Self { path, board: Board::new(), sizes, segment }
    }

    /// The record all is about.
    pub fn record(&self) -> Record<'_> {
        self.segment.record(0).expect("record 0")
    }

    pub fn look(&self) -> Stamp {
        self.sizes.read(self.record())
    }

    /// The survivor changes the record, at once and exactly once.
    pub fn survivor_updates(&self) {
        let before = self.look();
        let stamp = self.sizes.bump(self.record()).expect("the survivor's update succeeds at once");
        assert_eq!(stamp.version.0, before.version.0 + 1, "the survivor's update is one version");
        assert!(stamp.revision > before.revision, "a later change has a larger revision");
        assert_eq!(self.look(), stamp, "the survivor's update is what is there");
    }

    /// The survivor takes over the record from a dead holder, at once; answers what that one had announced.
    pub fn survivor_claims(&self) -> Option<Intent> {
        let before = self.look();
        let claim = || self.record().claim(Deadline::now(), LONG).expect("a dead holder's claim is free at once");
        let first = claim();
        let abandoned = first.abandoned().copied();
        first.release().expect("a claim that is ours");
        // The report stays until somebody says that it has been dealt with.
        let mut second = claim();
        assert_eq!(second.abandoned(), abandoned.as_ref(), "what was announced is found by every holder");
        if abandoned.is_some() {
            second.dismiss().expect("a claim that is ours");
        }
        second.release().expect("a claim that is ours");
        assert_eq!(self.look(), before, "claims change no value");
        abandoned
    }

    /// The intent that the deed in question announces.
    pub fn intended(&self, before: Stamp) -> Vec<u8> {
        self.sizes.value(before.version.0 + 1)
    }

    /// What the survivor is told of an intent must be what was announced.
    pub fn is_the_intent(&self, found: &Intent, before: Stamp) {
        assert_eq!(found.before, before.fingerprint, "the fingerprint before");
        assert_eq!(found.after, fnv1a64(&self.intended(before)), "the fingerprint after");
    }
}

impl Stage for Scene {
    fn board(&self) -> &Board {
        &self.board
    }

    fn segment(&self) -> &Segment {
        &self.segment
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let removed = Segment::remove(&self.path);
        if !std::thread::panicking() {
            removed.expect("the segment is removed");
        }
    }
}
