//! Creates a segment: in a file, without a name, or in a region of the `shared_memory` crate.

use std::path::Path;

use super::open::{attach, open_any};
use super::segment::Segment;
use crate::error::{Error, Mismatch, Result};
use crate::memory::block::arena::Arena;
use crate::memory::layout::geometry::{Geometry, Shape};
use crate::memory::layout::header;
use crate::memory::layout::sections::{NODE_BYTES, NODE_RESERVE};
#[cfg(feature = "shared_memory")]
use crate::memory::liveness::locks::{Locks, PLACING};
use crate::memory::os::file::{self, Access};
use crate::memory::os::host;
#[cfg(feature = "shared_memory")]
use crate::memory::os::region::{self, Shmem};

impl Segment {
    /// Sets out to create, or to open with requirements.
    pub fn builder() -> SegmentBuilder {
        SegmentBuilder::default()
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

    /// Creates the segment at `path` and attaches to it. A process that opens the path sees a whole segment or none.
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
        write_header(&Arena::new(file::map(&file, &geometry, None)?, geometry.clone()))?;
        attach(file, geometry, None)
    }

    /// Makes a segment in a region of the `shared_memory` crate and attaches to it. Mode and group stay the region's.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = slotguard::Segment::builder().records(4).lanes(4);
    /// let region = shared_memory::ShmemConf::new().size(builder.size()? as usize).create()?;
    /// let segment = builder.place_in(&region)?;
    /// segment.record(0)?.update(|_, draft| draft.write(b"here"))?;
    /// let same = slotguard::Segment::in_region(&region)?;
    /// assert_eq!(same.record(0)?.verify()?.version.0, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the region is smaller than [`SegmentBuilder::size`] or holds anything but zeros;
    /// [`Error::AlreadyExists`] if it holds a segment, or somebody is just placing one; [`Error::NoSpace`].
    #[cfg(feature = "shared_memory")]
    pub fn place_in(self, region: &Shmem) -> Result<Segment> {
        let geometry = self.geometry()?;
        let (file, path) = region::open(region)?;
        let length = file::length(&file, Some(&path))?;
        if length < geometry.size as u64 {
            let needed = geometry.size;
            return Err(Error::Invalid(format!("the region has {length} bytes and the segment needs {needed}")));
        }
        // One placer at a time; the kernel takes the lock from one that dies, and what it wrote is not yet a segment.
        let placing = Locks::open(|| file::open_again(&file))?;
        if !placing.try_lock(PLACING)? {
            return Err(Error::AlreadyExists { path });
        }
        let identity = header::read_identity(&file).map_err(|cause| file::refused("read", Some(&path), cause))?;
        if header::is_a_segment(&identity) {
            return Err(Error::AlreadyExists { path });
        }
        file::reserve(&file, geometry.size, Path::new("/dev/shm"))?;
        let arena = Arena::new(file::map(&file, &geometry, Some(&path))?, geometry.clone());
        // A placer that was killed has left at most words of a header without the magic number, which go first.
        arena.header().clear_identity();
        if !arena.is_all_zeros() {
            return Err(Error::Invalid(format!("the region {} holds something already", path.display())));
        }
        write_header(&arena)?;
        attach(file, geometry, Some(path))
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
        write_header(&Arena::new(file::map(&file, &geometry, Some(path))?, geometry.clone()))?;
        // Attached before it has a name: a failure leaves nothing there, and a remover finds our row taken.
        let segment = attach(file, geometry, Some(path.to_path_buf()))?;
        Ok(file::publish(&segment.inner.file, path)?.then_some(segment))
    }

    /// The sizes asked for, defaults filled in, as a layout.
    fn geometry(&self) -> Result<Geometry> {
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
    fn is_met_by(&self, segment: &Segment) -> Result<()> {
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

/// Writes the header; the rest of an empty segment is zeros.
fn write_header(arena: &Arena) -> Result<()> {
    let identity = header::identity_of(&arena.geometry, host::boot()?, host::random()?, host::real_time());
    arena.header().write_identity(&identity);
    Ok(())
}
