//! Which record a name stands for: a B+ tree made of records, so that it has no mechanism of its own.
//!
//! ```text
//!                     root  (the first record above the numbered ones, for ever)
//!                 level 1: "" ─► record, "m" ─► record           separators
//!                        ╱              ╲
//!      leaf ["", "m")                  leaf ["m", …)             level 0: name ─► (record, incarnation)
//!   "jobs/1" ─► record …              "users/ann" ─► record …
//! ```
//! * A node is a record whose value is a [`Node`]; an absent root is an empty leaf, so a new segment has an empty directory.
//! * **Lookup** descends by reads alone. Ranges partition the names at every moment, so one valid read of a leaf whose
//!   range holds the name decides presence: that read is the moment of the lookup. A node that is not what its parent
//!   promised (another incarnation, another level, another range) means that the parent has changed, or is damage if the
//!   parent has not.
//! * **Create and delete** are one commit over the leaf and the entry's record. Two creators of one name expect the same
//!   head of one leaf: one wins. Nothing is left behind by a deletion: the leaf is rewritten without the name, and a record
//!   is free because its head says absent.
//! * Only creators split and only deleters merge, each in a commit of its own that may be lost without harm. A node that
//!   could not take one more of the longest names is split on the way down, so a parent always has room for a separator.
//! * Every entry carries its record's incarnation, and so does every block: a name that went to another record since is
//!   noticed by the read one does anyway.

use super::alloc::RecordAllocator;
use super::node::{self, Edit, Node, Place};
use crate::error::{Error, Resource, Result};
use crate::memory::block::arena::Arena;
use crate::memory::block::meta::Next;
use crate::memory::block::spares::LaneHandle;
use crate::memory::commit::builder::CommitBuilder;
use crate::memory::handle::segment::Segment;
use crate::memory::layout::sections::{NODE_CLASS, NODE_RESERVE};
use crate::memory::layout::word::Head;
use crate::memory::record::next::next_value;
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::error::RetryBudget;

/// What a node's block says its value is.
pub(super) const NODE: u64 = u64::from_le_bytes(*b"dir/node");
/// More rounds than honest others cause an operation to take.
pub(super) const ROUNDS: u64 = 1 << 16;
/// More levels than names of 255 bytes need for 2^23 records.
const LEVELS: usize = 16;

/// A node as it was read on the way down.
pub(super) struct Visited {
    pub(super) record: u32,
    pub(super) seen: Observed,
    pub(super) bytes: Vec<u8>,
}

impl Visited {
    pub(super) fn node(&self) -> Node<'_> {
        Node::parse(&self.bytes).expect("a node that was parsed when it was read")
    }

    /// The revision of the node's last change; 0 for the empty root of a directory never used.
    pub(super) fn revision(&self) -> u64 {
        self.seen.modified()
    }
}

/// The nodes from the root to a leaf; buffers are used again.
#[derive(Default)]
pub(super) struct Path {
    nodes: Vec<Visited>,
    depth: usize,
}

impl Path {
    /// How many nodes it has.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn leaf(&self) -> &Visited {
        &self.nodes[self.depth - 1]
    }

    /// Takes the leaf out, for keeps.
    pub(super) fn into_leaf(mut self) -> Visited {
        self.nodes.truncate(self.depth);
        self.nodes.pop().expect("a path ends in a leaf")
    }

    fn push(&mut self, record: u32) -> &mut Visited {
        if self.depth == self.nodes.len() {
            self.nodes.push(Visited { record, seen: Observed::NOTHING, bytes: Vec::new() });
        }
        let node = &mut self.nodes[self.depth];
        node.record = record;
        self.depth += 1;
        node
    }
}

/// The directory of one attachment.
pub(super) struct Tree {
    segment: Segment,
    records: RecordAllocator,
    /// What tells the segment from every other.
    generation: u64,
}

impl Tree {
    pub(super) fn new(segment: Segment) -> Self {
        let arena = &segment.inner.arena;
        let (records, generation) = (RecordAllocator::new(arena), arena.header().generation());
        Self { records, generation, segment }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn arena(&self) -> &Arena {
        &self.segment.inner.arena
    }

    #[inline]
    pub(super) fn with_lane<R>(&self, work: impl FnOnce(&mut LaneHandle) -> Result<R>) -> Result<R> {
        self.segment.inner.with_lane(|lane, _| work(lane))
    }

    /// Accounts for what a public call answers: an error goes into the segment's table of distinct errors.
    #[inline]
    pub(super) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        self.segment.inner.note(0, result)
    }

    /// Whether a record read from the segment may be a key's.
    pub(super) fn is_key(&self, record: u32) -> bool {
        self.records.is_key(record)
    }

    /// Finds the leaf whose range holds `name`, and the nodes above it.
    pub(super) fn descend(&self, name: &[u8], path: &mut Path) -> Result<()> {
        let mut budget = RetryBudget::new();
        loop {
            match self.try_descend(name, path)? {
                None => return Ok(()),
                Some((record, parent)) => {
                    let what = "a node of the directory that its parent does not mean";
                    budget.again(what, record, parent, record.into())?;
                }
            }
        }
    }

    /// One way down; the record that was not as its parent said, with the parent's head, if it led nowhere.
    fn try_descend(&self, name: &[u8], path: &mut Path) -> Result<Option<(u32, u64)>> {
        let arena = self.arena();
        path.depth = 0;
        let (mut record, mut incarnation, mut level) = (self.records.root(), None, None);
        let mut parent = 0;
        loop {
            let visited = path.push(record);
            arena.read_into(record, Some(&mut visited.bytes), &mut visited.seen)?;
            let seen = &visited.seen;
            if seen.head.is_absent() && record == self.records.root() {
                node::empty(0, b"", None, &mut visited.bytes);
                return Ok(None);
            }
            let meant = !seen.head.is_absent()
                && seen.meta.kind == NODE
                && incarnation.is_none_or(|incarnation| seen.meta.incarnation == incarnation);
            let found = Node::parse(&visited.bytes).filter(|node| {
                let expected = level.is_none_or(|level| node.level() == level);
                meant && expected && node.covers(name)
            });
            let Some(node) = found else {
                return Ok(Some((record, parent)));
            };
            if node.level() == 0 {
                return Ok(None);
            }
            let child = node.child(name).map(|at| node.place(at)).filter(|place| self.records.is_node(place.record));
            let (level_below, head) = (node.level() - 1, seen.head.0);
            let Some(child) = child.filter(|_| path.depth < LEVELS) else {
                return Ok(Some((record, head)));
            };
            (record, incarnation, level, parent) = (child.record, Some(child.incarnation), Some(level_below), head);
        }
    }

    /// [`Tree::descend`] for one who will add to the leaf: splits every node on the way that is too full.
    pub(super) fn descend_with_room(&self, lane: &mut LaneHandle, name: &[u8], path: &mut Path) -> Result<()> {
        for _ in 0..ROUNDS {
            self.descend(name, path)?;
            let full = (0..path.depth).find(|&depth| !path.nodes[depth].node().has_room_for_longest());
            let Some(depth) = full else {
                return Ok(());
            };
            self.split(lane, path, depth, &[])?;
        }
        Err(Error::Outrun { what: "the directory of names".to_owned(), rounds: ROUNDS })
    }

    /// Splits the node at `depth` of the path where it is best cut in two once `edits` are applied, which they are not yet;
    /// others may have been first, which is as good.
    pub(super) fn split(&self, lane: &mut LaneHandle, path: &Path, depth: usize, edits: &[Edit<'_>]) -> Result<()> {
        self.keep_reserve()?;
        let visited = &path.nodes[depth];
        let node = self.validated(visited)?;
        let Some(separator) = node::separator(&node, edits).filter(|name| node.covers(name) && *name != node.low())
        else {
            return Err(damaged("a node that cannot be split", visited.record, visited.seen.head.0));
        };
        let (mut left, mut right, mut above) = (Vec::new(), Vec::new(), Vec::new());
        node::split_at(&node, separator, &mut left, &mut right);
        let mut commit = lane.build_commit(self.arena());
        let right_at = self.free_node(&[])?;
        self.stage_new(&mut commit, right_at, &right)?;
        let right_at = Place::next_in(right_at);
        if depth == 0 {
            let left_at = self.free_node(&[right_at.record])?;
            self.stage_new(&mut commit, left_at, &left)?;
            node::root_of(node.level() + 1, Place::next_in(left_at), separator, right_at, &mut above);
            self.stage_node(&mut commit, visited, &above)?;
        } else {
            let parent = &path.nodes[depth - 1];
            if !node::edited(&self.validated(parent)?, &[Edit::Put(separator, right_at)], &mut above) {
                return Err(damaged("a parent without room", parent.record, parent.seen.head.0));
            }
            self.stage_node(&mut commit, visited, &left)?;
            self.stage_node(&mut commit, parent, &above)?;
        }
        self.finish(commit)
    }

    /// Gives a sparse node's content to a neighbour under the same parent, or the other way round, and frees its record;
    /// and a root's only child its place. Best effort: whoever is in the way makes it unnecessary or repeats it.
    pub(super) fn merge(&self, lane: &mut LaneHandle, name: &[u8]) -> Result<()> {
        let mut path = Path::default();
        for _ in 0..LEVELS {
            self.descend(name, &mut path)?;
            if path.depth > 1 && path.nodes[0].node().len() == 1 && path.nodes[0].seen.head.block() != 0 {
                self.lower_root(lane, &path)?;
                continue;
            }
            let sparse = (1..path.depth).rev().find(|&depth| path.nodes[depth].node().is_sparse());
            let Some(depth) = sparse else {
                return Ok(());
            };
            if !self.merge_at(lane, &path, depth)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn merge_at(&self, lane: &mut LaneHandle, path: &Path, depth: usize) -> Result<bool> {
        let (parent, own) = (&path.nodes[depth - 1], &path.nodes[depth]);
        let above = self.validated(parent)?;
        self.validated(own)?;
        let Ok(at) = above.search(own.node().low()) else {
            return Ok(false);
        };
        for neighbour in [at + 1, at.wrapping_sub(1)] {
            if neighbour >= above.len() {
                continue;
            }
            let place = above.place(neighbour);
            let mut other = Visited { record: place.record, seen: Observed::NOTHING, bytes: Vec::new() };
            if !self.records.is_node(place.record) || !self.visit(&mut other, place.incarnation)? {
                continue;
            }
            let (left, right) = if neighbour > at { (own, &other) } else { (&other, own) };
            let mut joined = Vec::new();
            let adjacent =
                left.node().high() == Some(right.node().low()) && left.node().level() == right.node().level();
            if !adjacent
                || !node::joined(&left.node(), &right.node(), &mut joined)
                || joined.len() > node::NODE_BYTES / 4 * 3
            {
                continue;
            }
            let mut without = Vec::new();
            let separator = above.name(at.max(neighbour));
            if !node::edited(&above, &[Edit::Remove(separator)], &mut without) {
                return Ok(false);
            }
            let mut commit = lane.build_commit(self.arena());
            self.stage_node(&mut commit, left, &joined)?;
            self.stage_node(&mut commit, parent, &without)?;
            commit.stage_delete(self.arena(), right.record, right.seen.head);
            self.finish(commit)?;
            self.mark_free(right.record);
            return Ok(true);
        }
        Ok(false)
    }

    /// The root's only child moves into the root.
    fn lower_root(&self, lane: &mut LaneHandle, path: &Path) -> Result<()> {
        let (root, child) = (&path.nodes[0], &path.nodes[1]);
        let mut commit = lane.build_commit(self.arena());
        self.stage_node(&mut commit, root, &child.bytes)?;
        commit.stage_delete(self.arena(), child.record, child.seen.head);
        self.finish(commit)?;
        self.mark_free(child.record);
        Ok(())
    }

    /// Reads a node that is not on the path; whether it is the incarnation meant.
    fn visit(&self, visited: &mut Visited, incarnation: u64) -> Result<bool> {
        let record = visited.record;
        self.arena().read_into(record, Some(&mut visited.bytes), &mut visited.seen)?;
        let seen = &visited.seen;
        let meant = !seen.head.is_absent() && seen.meta.kind == NODE && seen.meta.incarnation == incarnation;
        Ok(meant && Node::parse(&visited.bytes).is_some_and(|node| node.is_checked()))
    }

    /// A node that somebody is about to rewrite: all of it must make sense.
    pub(super) fn validated<'v>(&self, visited: &'v Visited) -> Result<Node<'v>> {
        let node = visited.node();
        if node.is_checked() {
            return Ok(node);
        }
        Err(damaged("a node of the directory whose entries make no sense", visited.record, visited.seen.head.0))
    }

    /// Stages a node's next content.
    pub(super) fn stage_node(&self, lane: &mut LaneHandle, visited: &Visited, bytes: &[u8]) -> Result<()> {
        let next = next_node(visited.record, &visited.seen);
        Ok(lane.stage_put(self.arena(), &visited.seen, &next, bytes, true)?)
    }

    fn stage_new(&self, lane: &mut LaneHandle, (record, head): (u32, Head), bytes: &[u8]) -> Result<()> {
        let seen = Observed { head, ..Observed::NOTHING };
        Ok(lane.stage_put(self.arena(), &seen, &next_node(record, &seen), bytes, true)?)
    }

    /// Commits what is staged; whether it took place is for a new look to tell.
    fn finish(&self, mut commit: CommitBuilder<'_>) -> Result<()> {
        if commit.commit(self.arena())? == Published::Lost {
            commit.back_off(self.arena());
        }
        Ok(())
    }

    /// Every number of the resource, all in use.
    pub(super) fn full(&self, what: Resource) -> Error {
        let limit = match what {
            Resource::Keys => self.records.keys(),
            _ => self.records.nodes() + 1,
        };
        Error::Full { what, limit: limit.into(), holders: Vec::new() }
    }

    /// Refuses to grow the directory into what deletions need.
    pub(super) fn keep_reserve(&self) -> Result<()> {
        let enough = self.arena().has_free(NODE_CLASS, NODE_RESERVE + 1);
        if enough { Ok(()) } else { Err(self.full(Resource::Directory)) }
    }

    /// A free record for an entry beside those of `leaf`.
    pub(super) fn free_key(&self, leaf: &Node<'_>, name: &[u8], skip: &[u32]) -> Result<(u32, Head)> {
        self.records.free_key(self.arena(), leaf, name, skip).ok_or_else(|| self.full(Resource::Keys))
    }

    fn free_node(&self, skip: &[u32]) -> Result<(u32, Head)> {
        self.records.free_node(self.arena(), skip).ok_or_else(|| self.full(Resource::Directory))
    }

    /// Marks a record free that has become so, or was not taken after all.
    pub(super) fn mark_free(&self, record: u32) {
        self.records.mark_free(record);
    }

    /// Visits every entry whose name begins with `prefix` (of the empty prefix: all but hidden ones), in the order of names,
    /// leaf by leaf as each is at its moment.
    pub(super) fn walk(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], Place) -> Result<()>) -> Result<()> {
        self.walk_leaves(prefix, |leaf, from| {
            let entries = leaf.node().entries().skip_while(|(name, _)| *name < from);
            entries.take_while(|(name, _)| name.starts_with(prefix)).try_for_each(|(name, place)| visit(name, place))
        })
    }

    /// Visits the leaves that may have names with `prefix`, in order, each as it is at its moment, and with the first name
    /// that no leaf before it could have.
    pub(super) fn walk_leaves(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&Visited, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut path = Path::default();
        let mut from = lower_bound(prefix).to_vec();
        for _ in 0..self.most_leaves() {
            self.descend(&from, &mut path)?;
            visit(path.leaf(), &from)?;
            // A leaf that ends where it begins would keep us here for ever.
            let next = path.leaf().node().high().filter(|high| *high > from.as_slice());
            let Some(next) = next.filter(|high| *high <= prefix || high.starts_with(prefix)) else { return Ok(()) };
            from = next.to_vec();
        }
        Err(damaged("a directory with more leaves than nodes", self.records.root(), self.most_leaves().into()))
    }

    /// More leaves than a walk can meet, even if each is split while it goes on.
    fn most_leaves(&self) -> u32 {
        2 * self.records.nodes() + 2
    }
}

/// The smallest name a user's key with this prefix can have: hidden names begin with NUL.
pub(super) fn lower_bound(prefix: &[u8]) -> &[u8] {
    if prefix.is_empty() { &[1] } else { prefix }
}

/// Stamps wrap modulo 2^40.
pub(super) const COUNTS: u64 = (1 << 40) - 1;

/// The header of a node's next block. It bears no fingerprint: hashing 4 KiB would be most of what a creation costs, and
/// nodes are checked by what they mean.
fn next_node<'a>(record: u32, seen: &'a Observed) -> Next<'a> {
    Next { fingerprint: 0, ..next_value(record, seen, &[], NODE) }
}

/// An error that tells what makes no sense, in which record, and what was found there.
pub(super) fn damaged(what: &'static str, record: u32, found: u64) -> Error {
    Error::Corrupt { what, place: record.into(), found }
}
