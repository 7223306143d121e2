//! Keeps the names of one stretch of the directory in order, with where each one leads: a node is one record's value.
//!
//! ```text
//!  mark 'N' │ level │ low: length │ high: length │ n        │ ends    │ low │ high │ entry 0 │ … │ entry n−1
//!  u8       │ u8    │ u8          │ u8           │ u16      │ n × u16 │ …   │ …    │
//!  0          1       2             3              4          6         6 + 2n
//!
//!  an entry:  record u32 │ incarnation:40 │ leased u8 │ name …
//! ```
//! All numbers are little-endian. `ends[i]` says where entry `i` ends; it begins where the one before it ends, so the table
//! gives every name's length too, and the last end is the length of the node. Entries ascend by the bytes of their names,
//! which lie in `low ≤ name < high`. Nothing lies below the empty name: a `high` of no bytes is no bound. In a leaf (level 0)
//! an entry is a key and its record; in an inner node a separator and a child, whose `low` it is. The first separator is
//! the node's own `low`.
//!
//! A node takes 6 bytes, its bounds, and 12 bytes and the name for each entry: 144 entries with names of 16 bytes, 13 with
//! the longest. A search among 144 names takes eight looks at most, each at one word of a table of 288 bytes and at the
//! beginning of one entry.
//!
//! Names are stored whole. Leaving out what all names of a node have in common would fit more of them into it, but then
//! no name could be borrowed from a node, a comparison would have two parts, and every name would be written anew where a
//! cut, a merge or one new name changes the common part; and 10⁶ keys would take three levels even if names took no room.
//!
//! # What others may have written
//! The bytes are another process's word. [`Node::parse`] looks at the header alone; every question after it has an answer
//! whatever the bytes are: an empty name, a record that no segment has. Where an answer leads, the incarnation of the
//! record found there decides whether it was meant. The writers make a valid node out of a valid one
//! ([`Node::is_checked`]); out of anything else they make some node of bounded size.

use std::cmp::Ordering;

use crate::memory::layout::word::Head;

/// The most bytes of a node.
pub(super) const NODE_BYTES: usize = 4096;
/// The most bytes of a name.
pub(super) const NAME_BYTES: usize = 255;

/// The first byte of every node: most other values are noticed by it at once.
const MARK: u8 = b'N';
const HEADER: usize = 6;
/// One word of the table.
const END: usize = size_of::<u16>();
/// What an entry holds besides its name.
const PLACE: usize = 10;

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The record of the key, or of the child.
    pub(super) record: u32,
    /// The incarnation of that record, below 2^40.
    pub(super) incarnation: u64,
    /// Whether the key may live by a lease.
    pub(super) leased: bool,
}

impl Place {
    /// What an entry says that is none.
    const NOWHERE: Self = Self { record: u32::MAX, incarnation: 0, leased: false };

    fn from_bytes([r0, r1, r2, r3, s0, s1, s2, s3, s4, leased]: [u8; PLACE]) -> Self {
        Self {
            record: u32::from_le_bytes([r0, r1, r2, r3]),
            incarnation: u64::from_le_bytes([s0, s1, s2, s3, s4, 0, 0, 0]),
            leased: leased != 0,
        }
    }

    fn to_bytes(self) -> [u8; PLACE] {
        debug_assert!(self.incarnation >> 40 == 0, "an incarnation has 40 bits");
        let [r0, r1, r2, r3] = self.record.to_le_bytes();
        let [s0, s1, s2, s3, s4, ..] = self.incarnation.to_le_bytes();
        [r0, r1, r2, r3, s0, s1, s2, s3, s4, u8::from(self.leased)]
    }
}

impl Place {
    /// Where an entry is to be that comes into a free record with this head.
    pub(super) fn next_in((record, head): (u32, Head)) -> Self {
        Self { record, incarnation: head.next(0).count(), leased: false }
    }

    /// `incarnation:40 | record:23`, never 0: no entry is in record 0.
    pub(super) fn word(self) -> u64 {
        Head::value(self.incarnation, self.record).0
    }

    pub(super) fn of_word(word: u64) -> Option<Self> {
        let head = Head(word);
        (word != 0).then_some(Self { record: head.block(), incarnation: head.count(), leased: false })
    }
}

/// A node, borrowed from the bytes of a record's value.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Node<'a> {
    /// The node these bytes are, unless they cannot be one: looks at the header only.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let &[mark, _level, low, high, count0, count1, ..] = bytes else { return None };
        let count = usize::from(u16::from_le_bytes([count0, count1]));
        let entries_begin = HEADER + END * count + usize::from(low) + usize::from(high);
        (mark == MARK && (entries_begin..=NODE_BYTES).contains(&bytes.len())).then_some(Self { bytes, count })
    }

    /// How far above the leaves it is; 0 is a leaf.
    pub(super) fn level(&self) -> u8 {
        self.bytes[1]
    }

    /// The first name of its range.
    pub(super) fn low(&self) -> &'a [u8] {
        let begin = HEADER + END * self.count;
        &self.bytes[begin..begin + usize::from(self.bytes[2])]
    }

    /// The first name past its range; `None` if the range has no end.
    pub(super) fn high(&self) -> Option<&'a [u8]> {
        let end = self.entries_begin();
        let high = &self.bytes[end - usize::from(self.bytes[3])..end];
        (!high.is_empty()).then_some(high)
    }

    /// Whether a name lies in its range.
    pub(super) fn covers(&self, name: &[u8]) -> bool {
        self.low() <= name && self.high().is_none_or(|high| name < high)
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The name of an entry; empty if there is no such entry.
    pub(super) fn name(&self, index: usize) -> &'a [u8] {
        self.entry(index).get(PLACE..).filter(|name| name.len() <= NAME_BYTES).unwrap_or_default()
    }

    /// Where an entry leads.
    pub(super) fn place(&self, index: usize) -> Place {
        self.entry(index).first_chunk().map_or(Place::NOWHERE, |bytes| Place::from_bytes(*bytes))
    }

    /// All entries, in the order of their names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a [u8], Place)> + Clone + use<'a> {
        let node = *self;
        (0..node.count).map(move |index| (node.name(index), node.place(index)))
    }

    /// Which entry has this name, or before which one it would stand.
    pub(super) fn search(&self, name: &[u8]) -> Result<usize, usize> {
        let (mut begin, mut end) = (0, self.count);
        while begin < end {
            let middle = begin + (end - begin) / 2;
            match self.name(middle).cmp(name) {
                Ordering::Less => begin = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => end = middle,
            }
        }
        Err(begin)
    }

    /// Which child's range holds this name; `None` if none does, and for a leaf.
    pub(super) fn child(&self, name: &[u8]) -> Option<usize> {
        if self.level() == 0 {
            return None;
        }
        self.search(name).map_or_else(|after| after.checked_sub(1), Some)
    }

    /// How many bytes it takes, of [`NODE_BYTES`].
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one more entry fits in, whatever its name.
    pub(super) fn has_room_for_longest(&self) -> bool {
        self.bytes() + END + PLACE + NAME_BYTES <= NODE_BYTES
    }

    /// Whether it takes less than a quarter of [`NODE_BYTES`].
    pub(super) fn is_sparse(&self) -> bool {
        self.bytes() < NODE_BYTES / 4
    }

    /// Whether all of it is as a writer leaves it: looks at every entry. A leaf has no empty name; an inner node has a
    /// child for every name of its range.
    pub(super) fn is_checked(&self) -> bool {
        let mut begin = self.entries_begin();
        for index in 0..self.count {
            let (end, name) = (self.end(index), self.name(index));
            let entry = begin + PLACE..=begin + PLACE + NAME_BYTES;
            if !entry.contains(&end) || end > self.bytes.len() || self.bytes[begin + PLACE - 1] > 1 {
                return false;
            }
            if !self.covers(name) || index > 0 && self.name(index - 1) >= name {
                return false;
            }
            begin = end;
        }
        begin == self.bytes.len()
            && self.high().is_none_or(|high| self.low() < high)
            && match self.level() {
                0 => self.is_empty() || !self.name(0).is_empty(),
                _ => !self.is_empty() && self.name(0) == self.low(),
            }
    }

    fn entries_begin(&self) -> usize {
        HEADER + END * self.count + usize::from(self.bytes[2]) + usize::from(self.bytes[3])
    }

    fn end(&self, index: usize) -> usize {
        let at = HEADER + END * index;
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    /// The bytes of an entry; none if there is no such entry, or if its ends are nonsense.
    fn entry(&self, index: usize) -> &'a [u8] {
        if index >= self.count {
            return &[];
        }
        let begin = if index == 0 { self.entries_begin() } else { self.end(index - 1) };
        self.bytes.get(begin..self.end(index)).unwrap_or_default()
    }

    fn range(&self) -> NodeRange<'a> {
        NodeRange { level: self.level(), low: self.low(), high: self.high() }
    }
}

/// One change of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit<'a> {
    /// Adds the name, or lets it lead somewhere else.
    Put(&'a [u8], Place),
    /// Takes the name out, if it is there.
    Remove(&'a [u8]),
}

impl<'a> Edit<'a> {
    pub(super) fn name(self) -> &'a [u8] {
        match self {
            Self::Put(name, _) | Self::Remove(name) => name,
        }
    }
}

/// Writes a node without entries.
pub(super) fn empty(level: u8, low: &[u8], high: Option<&[u8]>, into: &mut Vec<u8>) {
    let fits = write(NodeRange { level, low, high }, std::iter::empty(), into);
    debug_assert!(fits);
}

/// Writes the node with all edits applied; `false`, and nonsense in `into`, if that would take more than [`NODE_BYTES`].
///
/// The edits ascend strictly by name and lie within the node's range.
#[must_use]
pub(super) fn edited(node: &Node<'_>, edits: &[Edit<'_>], into: &mut Vec<u8>) -> bool {
    write(node.range(), Merged::of(node, edits), into)
}

/// The name at which the node, with all edits applied, is best cut in two: the parts before it and from it on are about the
/// same size. `None` of fewer than two entries.
pub(super) fn separator<'a>(node: &Node<'a>, edits: &'a [Edit<'a>]) -> Option<&'a [u8]> {
    let mut names = Merged::of(node, edits).map(|(name, _)| name);
    let (count, weight) = weigh(Merged::of(node, edits));
    let mut left = entry_bytes(names.next()?);
    // An entry belongs to the part that most of it lies in; the last to the second part, whatever its size.
    names.take(count - 1).enumerate().find_map(|(at, name)| {
        left += entry_bytes(name);
        (at + 2 == count || left - entry_bytes(name) / 2 > weight / 2).then_some(name)
    })
}

/// Cuts the node in two at a name of its range: in its middle, unless it has room for the longest name, which is a bound of
/// both parts.
pub(super) fn split_at(node: &Node<'_>, separator: &[u8], left: &mut Vec<u8>, right: &mut Vec<u8>) {
    let NodeRange { level, low, high } = node.range();
    let before = node.search(separator).unwrap_or_else(|at| at);
    let fits = write(NodeRange { level, low, high: Some(separator) }, node.entries().take(before), left)
        && write(NodeRange { level, low: separator, high }, node.entries().skip(before), right);
    assert!(fits, "a part of a node fits a node");
}

/// Writes a root over two nodes that meet at `separator`.
pub(super) fn root_of(level: u8, left: Place, separator: &[u8], right: Place, into: &mut Vec<u8>) {
    let fits =
        write(NodeRange { level, low: b"", high: None }, [(&b""[..], left), (separator, right)].into_iter(), into);
    assert!(fits, "two separators fit a node");
}

/// Writes two neighbours as one node; `false`, and nonsense in `into`, if that would take more than [`NODE_BYTES`] or if
/// they are no neighbours. Two that are at most half full always fit.
#[must_use]
pub(super) fn joined(left: &Node<'_>, right: &Node<'_>, into: &mut Vec<u8>) -> bool {
    let range = NodeRange { high: right.high(), ..left.range() };
    left.level() == right.level()
        && left.high() == Some(right.low())
        && write(range, left.entries().chain(right.entries()), into)
}

/// All of a node but its entries.
struct NodeRange<'a> {
    level: u8,
    low: &'a [u8],
    high: Option<&'a [u8]>,
}

/// What an entry adds to a node.
fn entry_bytes(name: &[u8]) -> usize {
    END + PLACE + name.len()
}

/// How many entries these are, and what they add to a node together.
fn weigh<'a>(entries: impl Iterator<Item = (&'a [u8], Place)>) -> (usize, usize) {
    entries.fold((0, 0), |(count, weight), (name, _)| (count + 1, weight + entry_bytes(name)))
}

/// Every writer's end: the entries are gone through twice, so that nothing is moved or kept beside.
fn write<'a>(
    range: NodeRange<'_>,
    entries: impl Iterator<Item = (&'a [u8], Place)> + Clone,
    into: &mut Vec<u8>,
) -> bool {
    let (low, high) = (range.low, range.high.unwrap_or_default());
    debug_assert!(low.len() <= NAME_BYTES && high.len() <= NAME_BYTES);
    let (count, weight) = weigh(entries.clone());
    let total = HEADER + low.len() + high.len() + weight;
    if total > NODE_BYTES {
        return false;
    }
    into.clear();
    into.reserve(total);
    // The counts and lengths fit: a node has fewer than 2^16 bytes and a bound at most 255.
    into.extend([MARK, range.level, low.len() as u8, high.len() as u8]);
    into.extend((count as u16).to_le_bytes());
    into.resize(HEADER + END * count, 0);
    into.extend(low);
    into.extend(high);
    for (index, (name, place)) in entries.enumerate() {
        debug_assert!(name.len() <= NAME_BYTES);
        into.extend(place.to_bytes());
        into.extend(name);
        let (at, end) = (HEADER + END * index, into.len() as u16);
        into[at..at + END].copy_from_slice(&end.to_le_bytes());
    }
    true
}

/// The entries of a node with edits applied.
#[derive(Clone)]
struct Merged<'a> {
    node: Node<'a>,
    /// The next entry of the node.
    at: usize,
    /// Those still to come.
    edits: &'a [Edit<'a>],
}

impl<'a> Merged<'a> {
    fn of(node: &Node<'a>, edits: &'a [Edit<'a>]) -> Self {
        Self { node: *node, at: 0, edits }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = (&'a [u8], Place);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((edit, later)) = self.edits.split_first() else {
                let index = self.at;
                self.at = self.node.len().min(index + 1);
                return (index < self.node.len()).then(|| (self.node.name(index), self.node.place(index)));
            };
            if self.at < self.node.len() {
                let name = self.node.name(self.at);
                match name.cmp(edit.name()) {
                    Ordering::Less => {
                        self.at += 1;
                        return Some((name, self.node.place(self.at - 1)));
                    }
                    // The edit takes the entry's place, or takes it out.
                    Ordering::Equal => self.at += 1,
                    Ordering::Greater => {}
                }
            }
            self.edits = later;
            if let Edit::Put(name, place) = *edit {
                return Some((name, place));
            }
        }
    }
}

#[cfg(test)]
mod tests;
