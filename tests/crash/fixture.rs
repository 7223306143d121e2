//! A fresh segment with a survivor attached, and what the survivor must find when somebody else has been killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slotguard::{Audit, Claim, Deadline, Intent, Record, Segment, SegmentBuilder, Stamp, fnv1a64};

use super::diff::{Change, Diff};
use super::shared_page::SharedPage;
use super::tracee::{SyncPoint, Tracee};
use super::value::Sizes;

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_secs(3600);

/// How many can attach at once.
pub const ROWS: u32 = 6;

/// A segment with a survivor attached, while other processes operate on it and die.
pub trait Fixture {
    fn page(&self) -> &SharedPage;

    /// The survivor's attachment, to a segment that has a path.
    fn segment(&self) -> &Segment;

    /// A stopped child that is about to run beside another.
    fn another_tracee(&self, body: impl FnOnce(&Self, &SyncPoint<'_>)) -> Tracee {
        Tracee::new(self.page(), |sync| body(self, sync))
    }

    /// Tells whether anything in the segment has changed since the last call.
    fn diff(&self) -> impl FnMut(bool) -> Change {
        let mut diff = Diff::new(self.path());
        move |asked| diff.advance(asked)
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
        let Audit { blocks, under_heads, in_spares, free, missing, doubled, lanes_taken, rows_taken, pending, .. } =
            audit;
        assert_eq!((missing, doubled), (0, 0), "blocks missing and doubled: {audit:?}");
        assert_eq!(under_heads + in_spares + free, blocks, "every block is somewhere: {audit:?}");
        assert_eq!(pending, 0, "no change is left half done: {audit:?}");
        assert_eq!((rows_taken, lanes_taken), (alive, alive), "rows and lanes taken: {audit:?}");
    }
}

/// A few numbered records.
pub struct Records {
    pub path: PathBuf,
    pub page: SharedPage,
    pub sizes: Sizes,
    /// The survivor's attachment.
    pub segment: Segment,
}

impl Records {
    /// A small segment, so that all of it can be compared after each instruction. The survivor has made `history` changes.
    pub fn new(folder: &Path, sizes: Sizes, history: u64) -> Self {
        let fixture = Self::built(folder, sizes, Segment::builder().records(3).payloads(&sizes.classes(12)));
        for _ in 0..history {
            sizes.bump(fixture.record()).expect("an update");
        }
        fixture
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
        Self { path, page: SharedPage::new(), sizes, segment }
    }

    /// The record all is about.
    pub fn record(&self) -> Record<'_> {
        self.segment.record(0).expect("record 0")
    }

    pub fn observe(&self) -> Stamp {
        self.sizes.read(self.record())
    }

    /// The survivor changes the record, at once and exactly once.
    pub fn survivor_updates(&self) {
        let before = self.observe();
        let stamp = self.sizes.bump(self.record()).expect("the survivor's update succeeds at once");
        assert_eq!(stamp.version.0, before.version.0 + 1, "the survivor's update is one version");
        assert!(stamp.revision > before.revision, "a later change has a larger revision");
        assert_eq!(self.observe(), stamp, "the survivor's update is what is there");
    }

    /// The survivor takes over the record from a dead holder, at once; answers what that one had announced.
    pub fn survivor_claims(&self) -> Option<Intent> {
        let before = self.observe();
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
        assert_eq!(self.observe(), before, "claims change no value");
        abandoned
    }

    /// The intent that the operation in question announces.
    pub fn intended(&self, before: Stamp) -> Vec<u8> {
        self.sizes.value(before.version.0 + 1)
    }

    /// What the survivor is told of an intent must be what was announced.
    pub fn is_the_intent(&self, found: &Intent, before: Stamp) {
        assert_eq!(found.before, before.fingerprint, "the fingerprint before");
        assert_eq!(found.after, fnv1a64(&self.intended(before)), "the fingerprint after");
    }
}

impl Fixture for Records {
    fn page(&self) -> &SharedPage {
        &self.page
    }

    fn segment(&self) -> &Segment {
        &self.segment
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let removed = Segment::remove(&self.path);
        if !std::thread::panicking() {
            removed.expect("the segment is removed");
        }
    }
}
