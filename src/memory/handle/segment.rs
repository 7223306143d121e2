//! A segment: records shared by the processes of one machine, without a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::Record;
use crate::clock::{Deadline, Revision, Version};
use crate::error::{Error, Mismatch, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::geometry::{Geometry, Shape};
use crate::memory::layout::header;
use crate::memory::layout::sections::{NODE_BYTES, NODE_RESERVE};
use crate::memory::liveness::attachment::Attachment;
use crate::memory::liveness::audit::Audit;
use crate::memory::liveness::locks::Locks;
use crate::memory::liveness::participants::Participant;
use crate::memory::liveness::recovery::Reaped;
use crate::memory::os::file::{self, Access};
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, SeqCst};

/// An attachment to a segment. Clones are the same attachment; the last one dropped gives its row and lanes back.
///
/// ```
/// use slotguard::Segment;
/// # fn main() -> slotguard::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("counters");
/// let segment = Segment::builder().records(16).payload(64).open_or_create(&path)?;
/// let (count, stamp) = segment.record(3)?.update(|old, draft| {
///     let count = old.try_into().map_or(0, u64::from_le_bytes) + 1;
///     draft.write(&count.to_le_bytes());
///     count
/// })?;
/// assert_eq!((count, stamp.version.0), (1, 1));
/// Segment::remove(&path)?;
/// # Ok(())
/// # }
/// ```
///
/// # When a process dies
/// Nothing acknowledged is lost, nobody waits for it for longer than two [`WAIT_SLICE`](crate::WAIT_SLICE)s, and what it
/// held (row, lanes, blocks, claims) is free again as soon as somebody needs it, at the latest at [`Segment::reap`].
///
/// # Forks
/// A forked child does not inherit the attachment: every call answers [`Error::Forked`] there, and
/// [`Segment::reopen`] makes an attachment of the child's own.
#[derive(Clone)]
pub struct Segment {
    pub(crate) inner: Arc<Attachment>,
}

impl Segment {
    /// Sets out to create, or to open with requirements.
    pub fn builder() -> SegmentBuilder {
        SegmentBuilder::default()
    }

    /// Attaches to the segment at `path`, whatever its sizes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotASegment`], [`Error::NotPermitted`], [`Error::Incompatible`],
    /// [`Error::Corrupt`] if its header is damaged, [`Error::Full`] if all participants' rows are taken by the living.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        open_any(path)?.ok_or_else(|| Error::NotFound { path: path.to_path_buf() })
    }

    /// Removes the segment at `path`: attached processes get [`Error::Retired`], the name is free at once, and the
    /// memory goes when the last of them has left.
    ///
    /// Works on segments of other builds and of an earlier boot, and on nothing that is no segment.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotASegment`], [`Error::NotPermitted`].
    pub fn remove(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !take_away(path, Which::Any)? {
            return Err(Error::NotFound { path: path.to_path_buf() });
        }
        Ok(())
    }

    /// A new attachment to the same segment, with a row of its own: the way on for a forked child.
    ///
    /// # Errors
    /// As [`Segment::open`]; [`Error::Retired`] if the segment has been removed.
    pub fn reopen(&self) -> Result<Self> {
        let file = std::fs::File::from(file::open_again(&self.inner.file)?);
        // Wherever the file has been moved since: it is this very segment that is asked for.
        attach(file, self.inner.arena.geometry.clone(), self.inner.path.clone())
    }

    /// The record with this number, 0 to [`Segment::records`] − 1.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    #[inline]
    pub fn record(&self, index: u32) -> Result<Record<'_>> {
        let records = self.records();
        if index >= records {
            return Err(Error::OutOfRange { record: index, records });
        }
        Ok(Record::new(self, index))
    }

    /// Waits until one of the records has another version than the one given with it; answers its number, the first in
    /// the order given if several have, or `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Cancelled`], [`Error::Retired`], [`Error::Corrupt`].
    pub fn wait_any(&self, seen: &[(u32, Version)], deadline: Deadline) -> Result<Option<u32>> {
        for (index, _) in seen {
            self.record(*index)?;
        }
        self.inner.wait_any(seen, &deadline)
    }

    /// The clock: every change acknowledged before this call has this revision or a smaller one.
    pub fn revision(&self) -> Revision {
        Revision(self.inner.arena.clock().load(Acquire))
    }

    /// How many records the segment has.
    #[inline]
    pub fn records(&self) -> u32 {
        self.inner.arena.geometry.shape.records
    }

    /// For how many keys and leases at once the segment has room; 0: it has no directory.
    pub fn keys(&self) -> u32 {
        self.inner.arena.geometry.shape.keys
    }

    /// Most bytes a value can have.
    pub fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }

    /// Bytes of the segment.
    pub fn size(&self) -> u64 {
        self.inner.arena.geometry.size as u64
    }

    /// Where the segment is; `None` if it is anonymous.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// Everybody attached, and the dead that nobody has recovered yet.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Retired`].
    pub fn participants(&self) -> Result<Vec<Participant>> {
        self.inner.check()?;
        Ok(self.inner.participants())
    }

    /// Recovers every dead participant now, instead of when somebody needs what it had: its unfinished changes are
    /// completed, its lanes and row are free.
    ///
    /// # Errors
    /// As [`Segment::participants`].
    pub fn reap(&self) -> Result<Reaped> {
        self.inner.check()?;
        Ok(self.inner.reap())
    }

    /// Counts where every block is.
    ///
    /// # Errors
    /// As [`Segment::participants`].
    pub fn audit(&self) -> Result<Audit> {
        self.inner.check()?;
        Ok(self.inner.arena.audit())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("path", &self.path())
            .field("records", &self.records())
            .field("size", &self.size())
            .field("row", &self.inner.me.row())
            .finish()
    }
}

/// What a segment is to be made with, or must at least have.
///
/// Defaults: 1,024 records, 256 lanes, 64 participants, and for each class (64 and 1,024 bytes) a block for every record
/// and lane: 3.0 MB.
#[derive(Clone, Debug)]
#[must_use]
pub struct SegmentBuilder {
    records: Option<u32>,
    keys: Option<u32>,
    name_bytes: Option<u32>,
    lanes: Option<u32>,
    participants: Option<u32>,
    classes: Option<Classes>,
    access: Access,
}

#[derive(Clone, Debug)]
enum Classes {
    /// One class, a block for every record and lane.
    Each(usize),
    Listed(Vec<(usize, u32)>),
}

impl Default for SegmentBuilder {
    fn default() -> Self {
        let access = Access { mode: 0o600, group: None };
        Self { records: None, keys: None, name_bytes: None, lanes: None, participants: None, classes: None, access }
    }
}

impl SegmentBuilder {
    /// How many records, 1 to 8,388,607.
    pub fn records(mut self, records: u32) -> Self {
        self.records = Some(records);
        self
    }

    /// Room for this many named entries and leases at once, 0 to 8 million; 0 unless said otherwise. See
    /// [`SharedMemory`](crate::backend::SharedMemory).
    ///
    /// Each costs 128 bytes, its block, and its place in the directory: see [`SegmentBuilder::name_bytes`].
    pub fn keys(mut self, keys: u32) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How many bytes the names of keys have on average, 1 to 255; 32 unless said otherwise.
    ///
    /// The directory gets room for that: three times (this + 16) bytes a key, since its nodes are half full on average and
    /// a quarter full at worst. Longer names work until that room is used up.
    pub fn name_bytes(mut self, bytes: u32) -> Self {
        self.name_bytes = Some(bytes);
        self
    }

    /// Every record can hold values of up to this many bytes (1 to 16 MiB), all at once: a block for each record and key,
    /// two for each lane, and 64 for commits under way.
    pub fn payload(mut self, bytes: usize) -> Self {
        self.classes = Some(Classes::Each(bytes));
        self
    }

    /// Up to eight payload classes: (most bytes of a value, how many blocks), smallest first.
    ///
    /// A value takes a block of the smallest class that holds it, a larger one if those are in use. Besides one block for
    /// each value there is, every lane keeps a spare of the smallest class and of each class it has used.
    pub fn payloads(mut self, classes: &[(usize, u32)]) -> Self {
        self.classes = Some(Classes::Listed(classes.to_vec()));
        self
    }

    /// How many attachments at once, 1 to 1,024.
    pub fn participants(mut self, participants: u32) -> Self {
        self.participants = Some(participants);
        self
    }

    /// How many threads, of all processes together, can change records at once, 1 to 8,192. 2.8 kB each.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// The file's permission bits; 0600 unless said otherwise. The umask is not applied.
    pub fn mode(mut self, mode: u32) -> Self {
        self.access.mode = mode;
        self
    }

    /// The file's group.
    pub fn group(mut self, gid: u32) -> Self {
        self.access.group = Some(gid);
        self
    }

    /// Creates the segment at `path` and attaches to it. Whoever opens the path sees a whole segment or none.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::NoSpace`] with the bytes needed and free; [`Error::Unsupported`] on a file
    /// system without `O_TMPFILE` or `fallocate`; [`Error::NotPermitted`]; [`Error::Invalid`] for sizes that make no
    /// segment.
    pub fn create(self, path: impl AsRef<Path>) -> Result<Segment> {
        let path = path.as_ref();
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(Error::AlreadyExists { path: path.to_path_buf() });
        }
        self.create_new(path)?.ok_or_else(|| Error::AlreadyExists { path: path.to_path_buf() })
    }

    /// Attaches to the segment at `path`, refusing one smaller than the sizes set on this builder.
    ///
    /// # Errors
    /// As [`Segment::open`]; [`Error::Incompatible`] with [`Mismatch::Smaller`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Segment> {
        let segment = Segment::open(path)?;
        self.is_met_by(&segment)?;
        Ok(segment)
    }

    /// Attaches to the segment at `path`, which is created if there is none; of two racing creators one wins and both
    /// attach to its segment.
    ///
    /// # Errors
    /// As [`SegmentBuilder::create`] and [`SegmentBuilder::open`], but for `AlreadyExists` and `NotFound`.
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Segment> {
        let path = path.as_ref();
        // Somebody may remove the segment between our two looks; hardly many times in a row.
        for _ in 0..100 {
            if let Some(segment) = open_any(path)? {
                self.is_met_by(&segment)?;
                return Ok(segment);
            }
            match self.create_new(path) {
                Ok(Some(segment)) => return Ok(segment),
                Ok(None) | Err(Error::Retired) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Retired)
    }

    /// Creates a segment without a name, in memory, that can be neither cut nor extended: for one process and the
    /// children it forks, which attach through [`Segment::reopen`].
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Invalid`], [`Error::Io`].
    pub fn anonymous(self) -> Result<Segment> {
        let geometry = self.geometry()?;
        let file = file::create_sealed(geometry.size)?;
        initialise(&file, &geometry, None)?;
        attach(file, geometry, None)
    }

    /// Bytes a segment of these sizes needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sizes that make no segment.
    pub fn size(&self) -> Result<u64> {
        Ok(self.geometry()?.size as u64)
    }

    fn create_new(&self, path: &Path) -> Result<Option<Segment>> {
        let geometry = self.geometry()?;
        let file = file::create_unnamed(path, geometry.size, self.access)?;
        initialise(&file, &geometry, Some(path))?;
        // Attached before it has a name: a failure leaves nothing there, and who removes it finds our row taken.
        let segment = attach(file, geometry, Some(path.to_path_buf()))?;
        Ok(file::publish(&segment.inner.file, path)?.then_some(segment))
    }

    /// The sizes asked for, defaults filled in, as a layout.
    pub(crate) fn geometry(&self) -> Result<Geometry> {
        let (keys, lanes) = (self.keys.unwrap_or(0), self.lanes.unwrap_or(256));
        let records = self.records.unwrap_or(if keys > 0 { 1 } else { 1024 });
        let values = records.saturating_add(keys);
        // Every value there can be, a spare for every lane, and what commits have in their hands meanwhile.
        let each = |bytes: usize| (bytes, values.saturating_add(lanes.saturating_mul(2)).saturating_add(64));
        let some = |bytes: usize, part: u32| (bytes, (values / part).saturating_add(8));
        let classes = match &self.classes {
            // What has a name may have any length: few pay for the largest.
            None if keys > 0 => vec![each(64), some(1024, 4), some(8192, 32), some(65536, 256)],
            None => vec![each(64), each(1024)],
            Some(Classes::Each(bytes)) => vec![each(*bytes)],
            Some(Classes::Listed(classes)) => classes.clone(),
        };
        let classes: Vec<(u32, u32)> =
            classes.into_iter().map(|(bytes, n)| (u32::try_from(bytes).unwrap_or(u32::MAX), n)).collect();
        let participants = self.participants.unwrap_or(64);
        let nodes = nodes_for(keys, self.name_bytes.unwrap_or(32), lanes)?;
        if let Some((smallest, _)) = classes.first().filter(|(smallest, _)| keys > 0 && *smallest < LEASE_BYTES) {
            return Err(Error::Invalid(format!(
                "a segment with keys needs payloads of at least {LEASE_BYTES} bytes for its leases; its smallest has {smallest}"
            )));
        }
        Geometry::of(Shape { records, keys, nodes, lanes, participants, classes }).map_err(Error::Invalid)
    }

    /// Whether `segment` has what was asked for.
    pub(crate) fn is_met_by(&self, segment: &Segment) -> Result<()> {
        let shape = &segment.inner.arena.geometry.shape;
        let largest = |classes: &Classes| match classes {
            Classes::Each(bytes) => *bytes,
            Classes::Listed(classes) => classes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
        };
        let nodes = match (self.keys.or(self.name_bytes.map(|_| shape.keys)), self.name_bytes) {
            (Some(keys), Some(bytes)) => Some(nodes_for(keys, bytes, self.lanes.unwrap_or(shape.lanes))?),
            _ => None,
        };
        let asked = [
            ("records", self.records.map(u64::from), shape.records.into()),
            ("keys", self.keys.map(u64::from), shape.keys.into()),
            ("nodes for names", nodes.map(u64::from), shape.nodes.into()),
            ("lanes", self.lanes.map(u64::from), shape.lanes.into()),
            ("participants", self.participants.map(u64::from), shape.participants.into()),
            ("payload bytes", self.classes.as_ref().map(|c| largest(c) as u64), segment.max_payload() as u64),
        ];
        for (what, asked, found) in asked {
            if let Some(asked) = asked.filter(|asked| *asked > found) {
                let path = segment.inner.path.clone();
                return Err(Error::Incompatible { path, mismatch: Mismatch::Smaller { what, found, asked } });
            }
        }
        Ok(())
    }
}

/// Bytes of a lease's value: it must fit the spare that every lane keeps, or a full segment could not end one.
const LEASE_BYTES: u32 = 32;

/// Nodes of the directory for so many keys with names of so many bytes, what commits of so many lanes have in their hands,
/// and what is kept back for deletions.
fn nodes_for(keys: u32, name_bytes: u32, lanes: u32) -> Result<u32> {
    if !(1..=255).contains(&name_bytes) {
        return Err(Error::Invalid(format!("names must have 1 to 255 bytes on average, not {name_bytes}")));
    }
    let bytes = u64::from(keys) * u64::from(name_bytes + 16) * 3;
    let nodes = u32::try_from(bytes.div_ceil(u64::from(NODE_BYTES))).unwrap_or(u32::MAX);
    // Commits under way have nodes in their hands, and those of stopped processes keep them.
    let in_hands = lanes.saturating_mul(2).min(256);
    Ok(if keys == 0 { 0 } else { nodes.saturating_add(NODE_RESERVE + 8 + in_hands) })
}

/// Writes the header of a file nobody else can see; the rest of an empty segment is zeros.
fn initialise(file: &std::fs::File, geometry: &Geometry, path: Option<&Path>) -> Result<()> {
    let arena = Arena::new(file::map(file, geometry, path)?, geometry.clone());
    let identity = header::identity_of(geometry, host::boot()?, host::random()?, host::real_time());
    arena.header().write_identity(&identity);
    Ok(())
}

/// Which segment to take away from a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Any,
    /// One whose removal was begun and, if nobody is about to, not completed.
    Retired,
}

/// Marks the segment at `path` and takes its name away; `false` if there is none. A refusal changes nothing.
fn take_away(path: &Path, which: Which) -> Result<bool> {
    let Some((file, identity)) = file::open(path)? else {
        return Ok(false);
    };
    // One remover at a time: another one's name would go to a segment made since this one looked.
    file::lock_for_removal(&file, path)?;
    // Only a segment this build can read is marked; of any other we do not know where the mark is.
    let length = file::length(&file, Some(path))?;
    let geometry = header::check(&identity, Some(path), length, host::boot()?).ok();
    let arena = match geometry {
        Some(geometry) => Some(Arena::new(file::map(&file, &geometry, Some(path))?, geometry)),
        None => None,
    };
    let mark = arena.as_ref().map(|arena| &arena.header().retired.word);
    let begun = mark.is_some_and(|mark| mark.load(SeqCst) != 0);
    if !file::is_still_at(&file, path)? || which == Which::Retired && !begun {
        return Ok(true);
    }
    if let Some(mark) = mark {
        mark.store(1, SeqCst);
    }
    file::unlink(path).inspect_err(|_| {
        if let Some(mark) = mark.filter(|_| !begun) {
            mark.store(0, SeqCst);
        }
    })?;
    Ok(true)
}

/// Attaches to whatever segment is at `path` now; `None` if there is nothing.
fn open_any(path: &Path) -> Result<Option<Segment>> {
    for _ in 0..100 {
        let Some((file, identity)) = file::open(path)? else {
            return Ok(None);
        };
        let length = file::length(&file, Some(path))?;
        let geometry = header::check(&identity, Some(path), length, host::boot()?)?;
        match attach_at(path, file, geometry) {
            // Removed since we opened it: the path names another segment, or nothing, or its remover was killed halfway.
            Err(Error::Retired) => {
                take_away(path, Which::Retired)?;
            }
            attached => return attached.map(Some),
        }
    }
    Err(Error::Retired)
}

/// Attaches to `file`, which was found at `path`, and makes sure that it is still what the path names.
fn attach_at(path: &Path, file: std::fs::File, geometry: Geometry) -> Result<Segment> {
    let segment = attach(file, geometry, Some(path.to_path_buf()))?;
    if !file::is_still_at(&segment.inner.file, path)? {
        return Err(Error::Retired);
    }
    Ok(segment)
}

pub(crate) fn attach(file: std::fs::File, geometry: Geometry, path: Option<PathBuf>) -> Result<Segment> {
    file::fill_holes(&file, &geometry, path.as_deref())?;
    let map = file::map(&file, &geometry, path.as_deref())?;
    let locks = Locks::open(|| file::open_again(&file))?;
    let attachment = Attachment::attach(Arena::new(map, geometry), file, path, locks)?;
    // Only now: who removes the segment after this look finds our row taken, and the mark reaches us.
    if attachment.arena.header().retired.word.load(Relaxed) != 0 {
        return Err(Error::Retired);
    }
    Ok(Segment { inner: Arc::new(attachment) })
}
