//! The identity of a segment: magic number, format, layout hash, sizes and checksum, verified before anything else is used.
//!
//! The words are written before the file has a name and never again. A process that attaches copies them once, verifies the
//! copy, and uses only the copy. The checksum tells damage from a difference of builds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::geometry::{Geometry, Shape};
use super::sections::{ENDIAN_TAG, FORMAT, Header, IDENTITY, MAGIC, MAX_CLASSES, layout_hash};
use crate::error::{Error, Mismatch, Result};
use crate::memory::fingerprint::fnv1a64;
use crate::memory::sync::atomics::Ordering::{Relaxed, Release};

/// Where each fact stands in the identity words.
mod at {
    pub(super) const MAGIC: usize = 0;
    /// `format:32 | byte order tag:32`.
    pub(super) const FORMAT: usize = 1;
    pub(super) const LAYOUT: usize = 2;
    pub(super) const SIZE: usize = 3;
    pub(super) const RECORDS: usize = 4;
    /// `lanes:32 | participants:32`.
    pub(super) const LANES: usize = 5;
    pub(super) const CLASSES: usize = 6;
    /// `payload:32 | blocks:32`, one a class.
    pub(super) const CLASS: usize = 7;
    pub(super) const BOOT: usize = 15;
    /// Random; tells two segments of one path apart.
    pub(super) const GENERATION: usize = 17;
    /// Nanoseconds of real time.
    pub(super) const CREATED: usize = 18;
    /// `keys:32 | nodes:32`.
    pub(super) const KEYS: usize = 19;
    pub(super) const CHECKSUM: usize = super::IDENTITY - 1;
}

/// The identity words, as stored or as read.
pub(crate) type Identity = [u64; IDENTITY];

/// Bytes of a file that must be read to know whether it is a segment.
const IDENTITY_BYTES: usize = IDENTITY * 8;

/// The identity words of a new segment.
pub(crate) fn identity_of(geometry: &Geometry, boot: [u64; 2], generation: u64, created: u64) -> Identity {
    let shape = &geometry.shape;
    let mut words = [0; IDENTITY];
    words[at::MAGIC] = MAGIC;
    words[at::FORMAT] = u64::from(FORMAT) << 32 | u64::from(ENDIAN_TAG);
    words[at::LAYOUT] = layout_hash();
    words[at::SIZE] = geometry.size as u64;
    words[at::RECORDS] = shape.records.into();
    words[at::LANES] = u64::from(shape.lanes) << 32 | u64::from(shape.participants);
    words[at::CLASSES] = shape.classes.len() as u64;
    for (i, (payload, blocks)) in shape.classes.iter().enumerate() {
        words[at::CLASS + i] = u64::from(*payload) << 32 | u64::from(*blocks);
    }
    words[at::BOOT..at::BOOT + 2].copy_from_slice(&boot);
    words[at::GENERATION] = generation;
    words[at::CREATED] = created;
    words[at::KEYS] = u64::from(shape.keys) << 32 | u64::from(shape.nodes);
    words[at::CHECKSUM] = checksum(&words);
    words
}

fn checksum(words: &Identity) -> u64 {
    let bytes: Vec<u8> = words[..at::CHECKSUM].iter().flat_map(|word| word.to_ne_bytes()).collect();
    fnv1a64(&bytes)
}

/// The identity words of a file's first bytes.
fn identity_from(bytes: &[u8; IDENTITY_BYTES]) -> Identity {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
}

/// The identity words of a file.
pub(crate) fn read_identity(file: &File) -> io::Result<Identity> {
    let mut bytes = [0; IDENTITY_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(identity_from(&bytes))
}

/// Bytes the segment says it has.
#[cfg(feature = "shared_memory")]
pub(crate) fn size(words: &Identity) -> u64 {
    words[at::SIZE]
}

/// Whether the words claim to be a segment of any build or machine.
pub(crate) fn is_a_segment(words: &Identity) -> bool {
    words[at::MAGIC] == MAGIC || words[at::MAGIC] == MAGIC.swap_bytes()
}

/// Checks the words of the segment at `path` against this build and machine, and works out where everything is.
pub(crate) fn check(words: &Identity, path: Option<&Path>, length: u64, boot: [u64; 2]) -> Result<Geometry> {
    let incompatible = |mismatch| Err(Error::Incompatible { path: path.map(Path::to_path_buf), mismatch });
    let (format, tag) = ((words[at::FORMAT] >> 32) as u32, words[at::FORMAT] as u32);
    if words[at::MAGIC] == MAGIC.swap_bytes() || tag != ENDIAN_TAG {
        return incompatible(Mismatch::Endianness);
    }
    if format != FORMAT {
        return incompatible(Mismatch::Format { found: format, ours: FORMAT });
    }
    if words[at::LAYOUT] != layout_hash() {
        return incompatible(Mismatch::Layout { found: words[at::LAYOUT], ours: layout_hash() });
    }
    let damaged = |what, found| Err(Error::Corrupt { what, place: 0, found });
    if words[at::CHECKSUM] != checksum(words) {
        return damaged("the header does not add up to its checksum", words[at::CHECKSUM]);
    }
    if words[at::BOOT..at::BOOT + 2] != boot {
        return incompatible(Mismatch::Boot);
    }
    if length != words[at::SIZE] {
        return incompatible(Mismatch::Size { found: length, expected: words[at::SIZE] });
    }
    let classes = words[at::CLASSES];
    if classes > MAX_CLASSES as u64 {
        return damaged("the header's number of classes", classes);
    }
    let pair = |word: u64| ((word >> 32) as u32, word as u32);
    let (lanes, participants) = pair(words[at::LANES]);
    let (keys, nodes) = pair(words[at::KEYS]);
    let Ok(records) = u32::try_from(words[at::RECORDS]) else {
        return damaged("the header's number of records", words[at::RECORDS]);
    };
    let classes = words[at::CLASS..at::CLASS + classes as usize].iter().map(|word| pair(*word)).collect();
    let Ok(geometry) = Geometry::of(Shape { records, keys, nodes, lanes, participants, classes }) else {
        return damaged("the header's sizes", words[at::RECORDS]);
    };
    if geometry.size as u64 != words[at::SIZE] {
        return damaged("the header's size", words[at::SIZE]);
    }
    Ok(geometry)
}

impl Header {
    /// What tells this segment from every other.
    pub(crate) fn generation(&self) -> u64 {
        self.identity[at::GENERATION].load(Relaxed)
    }

    /// Stores the identity into a segment that no other process uses yet, the magic number last.
    pub(crate) fn write_identity(&self, words: &Identity) {
        let places = &self.identity;
        for (place, word) in places.iter().zip(words).skip(1) {
            place.store(*word, Relaxed);
        }
        // Release: a process that finds the magic number finds the rest.
        places[at::MAGIC].store(words[at::MAGIC], Release);
    }

    /// Zeroes the identity words that a placer killed halfway has written.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn clear_identity(&self) {
        self.identity.iter().for_each(|place| place.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: [u64; 2] = [1, 2];

    fn good() -> (Geometry, Identity) {
        let classes = vec![(64, 20), (256, 4)];
        let shape = Shape { records: 10, keys: 5, nodes: 2, lanes: 4, participants: 2, classes };
        let geometry = Geometry::of(shape).unwrap();
        let words = identity_of(&geometry, BOOT, 7, 8);
        (geometry, words)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (geometry, words) = good();
        let found = check(&words, None, geometry.size as u64, BOOT).unwrap();
        assert_eq!(found.shape, geometry.shape);
        assert!(is_a_segment(&words));
    }

    #[test]
    fn a_flipped_bit_in_any_byte_of_the_identity_is_refused() {
        let (geometry, words) = good();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes: [u8; IDENTITY_BYTES] = bytes.clone().try_into().unwrap();
                bytes[i] ^= 1 << bit;
                let words = identity_from(&bytes);
                let refused = !is_a_segment(&words) || check(&words, None, geometry.size as u64, BOOT).is_err();
                assert!(refused, "byte {i} bit {bit}");
            }
        }
    }

    #[test]
    fn each_difference_has_its_own_name() {
        let (geometry, words) = good();
        let size = geometry.size as u64;
        let mismatch = |change: &dyn Fn(&mut Identity), length: u64, boot: [u64; 2]| {
            let mut words = words;
            change(&mut words);
            match check(&words, None, length, boot).unwrap_err() {
                Error::Incompatible { mismatch, .. } => mismatch,
                other => panic!("{other}"),
            }
        };
        let format = mismatch(&|w| w[at::FORMAT] = 9 << 32 | u64::from(ENDIAN_TAG), size, BOOT);
        assert_eq!(format, Mismatch::Format { found: 9, ours: FORMAT });
        let layout = mismatch(&|w| w[at::LAYOUT] = 5, size, BOOT);
        assert_eq!(layout, Mismatch::Layout { found: 5, ours: layout_hash() });
        let swapped = mismatch(&|w| w.iter_mut().for_each(|word| *word = word.swap_bytes()), size, BOOT);
        assert_eq!(swapped, Mismatch::Endianness);
        assert_eq!(mismatch(&|_| (), size, [3, 4]), Mismatch::Boot);
        assert_eq!(mismatch(&|_| (), size - 1, BOOT), Mismatch::Size { found: size - 1, expected: size });
    }

    #[test]
    fn sizes_that_pass_the_checksum_and_make_no_segment_are_damage() {
        let (geometry, words) = good();
        for (place, value) in [(at::CLASSES, 9), (at::RECORDS, 0), (at::RECORDS, 1 << 40), (at::LANES, 0)] {
            let mut words = words;
            words[place] = value;
            words[at::CHECKSUM] = checksum(&words);
            let error = check(&words, None, geometry.size as u64, BOOT).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
    }
}
