//! Where each section of a segment begins, worked out from the sizes the segment was made with.

use super::sections::{
    BlockHead, ERRORS, ErrorRow, GROUP, Header, Lane, MAX_CLASSES, MAX_PARTICIPANTS, MAX_PAYLOAD, NODE_BYTES,
    RecordHead, Row,
};
use super::word::{MAX_BLOCKS, MAX_LANES};

/// The sizes a segment is made with: numbers of records, lanes, participants and blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Records known by their number.
    pub(crate) records: u32,
    /// Records for named entries and leases; 0: the segment has no directory.
    pub(crate) keys: u32,
    /// Records and blocks for the directory's nodes, the root included.
    pub(crate) nodes: u32,
    pub(crate) lanes: u32,
    pub(crate) participants: u32,
    /// (payload bytes, blocks), smallest payload first.
    pub(crate) classes: Vec<(u32, u32)>,
}

/// One payload class and where its blocks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) payload: u32,
    /// Index of the first block; indices start at 1, since 0 means absent.
    pub(crate) first: u32,
    pub(crate) blocks: u32,
    pub(crate) offset: usize,
    pub(crate) stride: usize,
}

/// A [`Shape`] with every offset worked out.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(crate) shape: Shape,
    pub(crate) errors: usize,
    pub(crate) rows: usize,
    pub(crate) lanes: usize,
    pub(crate) heads: usize,
    pub(crate) groups: usize,
    pub(crate) taken: usize,
    pub(crate) classes: Vec<Class>,
    /// The class of the directory's nodes; empty where there are no keys.
    pub(crate) nodes: Class,
    /// All blocks; their indices are 1..=blocks.
    pub(crate) blocks: u32,
    pub(crate) size: usize,
}

impl Geometry {
    /// Computes the offsets; the error names the number that is out of range.
    pub(crate) fn of(shape: Shape) -> Result<Self, String> {
        let within = |what: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) { Ok(()) } else { Err(format!("{what} must be 1 to {most}, not {value}")) }
        };
        let most = u64::from(MAX_BLOCKS);
        within("records", shape.records.into(), most)?;
        if shape.keys > 0 {
            within("keys", shape.keys.into(), most)?;
            within("nodes", shape.nodes.into(), most)?;
        } else if shape.nodes > 0 {
            return Err(String::from("a segment without keys has no nodes"));
        }
        let records = u64::from(shape.records) + u64::from(shape.keys) + u64::from(shape.nodes);
        within("records, keys and nodes together", records, most)?;
        let records = records as u32;
        within("lanes", shape.lanes.into(), MAX_LANES.into())?;
        within("participants", shape.participants.into(), MAX_PARTICIPANTS.into())?;
        within("payload classes", shape.classes.len() as u64, MAX_CLASSES as u64)?;
        let mut at = size_of::<Header>();
        let mut place = |bytes: usize, align: usize| -> Result<usize, String> {
            let offset = at.next_multiple_of(align);
            at = offset
                .checked_add(bytes)
                .filter(|end| *end < 1 << 46)
                .ok_or("the segment would be larger than 64 TiB")?;
            Ok(offset)
        };
        let errors = place(ERRORS * size_of::<ErrorRow>(), 128)?;
        let rows = place(shape.participants as usize * size_of::<Row>(), 128)?;
        let lanes = place(shape.lanes as usize * size_of::<Lane>(), 128)?;
        let heads = place(records as usize * size_of::<RecordHead>(), 128)?;
        let groups = place(records.div_ceil(GROUP) as usize * 8, 128)?;
        let blocks = shape.classes.iter().try_fold(u64::from(shape.nodes), |sum, (payload, count)| {
            within("payload bytes of a class", (*payload).into(), MAX_PAYLOAD as u64)?;
            within("blocks of a class", (*count).into(), MAX_BLOCKS.into())?;
            Ok::<_, String>(sum + u64::from(*count))
        })?;
        within("blocks of all classes", blocks, MAX_BLOCKS.into())?;
        let taken = place(blocks.div_ceil(64) as usize * 8, 128)?;
        let mut classes: Vec<Class> = Vec::new();
        for (payload, count) in &shape.classes {
            if classes.last().is_some_and(|last| last.payload >= *payload) {
                return Err(format!("payload classes must grow: {payload} comes after a class as large"));
            }
            let first = classes.last().map_or(1, |last| last.first + last.blocks);
            let stride = (size_of::<BlockHead>() + *payload as usize).next_multiple_of(64);
            let offset = place(stride * *count as usize, 128)?;
            classes.push(Class { payload: *payload, first, blocks: *count, offset, stride });
        }
        let first = classes.last().map_or(1, |last| last.first + last.blocks);
        let stride = (size_of::<BlockHead>() + NODE_BYTES as usize).next_multiple_of(64);
        let offset = place(stride * shape.nodes as usize, 128)?;
        let nodes = Class { payload: NODE_BYTES, first, blocks: shape.nodes, offset, stride };
        let size = at.next_multiple_of(4096);
        Ok(Self { shape, errors, rows, lanes, heads, groups, taken, classes, nodes, blocks: blocks as u32, size })
    }

    /// All records: numbered ones, those of keys, those of nodes, in this order.
    pub(crate) fn records(&self) -> u32 {
        self.shape.records + self.shape.keys + self.shape.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let classes = vec![(8, 10), (64, 5), (1000, 2)];
        Shape { records: 100, keys: 30, nodes: 6, lanes: 4, participants: 3, classes }
    }

    #[test]
    fn sections_do_not_overlap() {
        let g = Geometry::of(shape()).unwrap();
        let mut starts = vec![g.errors, g.rows, g.lanes, g.heads, g.groups, g.taken];
        starts.extend(g.classes.iter().map(|c| c.offset));
        assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(g.errors, 4096);
        assert_eq!((g.blocks, g.records()), (17 + 6, 136));
        assert!(g.classes[2].offset + 2 * g.classes[2].stride <= g.nodes.offset);
        assert!(g.nodes.offset + 6 * g.nodes.stride <= g.size);
        assert_eq!(g.nodes.first, 18);
    }

    #[test]
    fn numbers_that_make_no_segment_are_named() {
        let with = |change: fn(&mut Shape)| {
            let mut shape = shape();
            change(&mut shape);
            Geometry::of(shape).unwrap_err()
        };
        assert!(with(|s| s.records = 0).contains("records must be 1 to"));
        assert!(with(|s| s.keys = MAX_BLOCKS).contains("together must be 1 to"));
        assert!(with(|s| s.nodes = 0).contains("nodes must be 1 to"));
        assert!(with(|s| s.keys = 0).contains("without keys"));
        assert!(with(|s| s.lanes = 9000).contains("not 9000"));
        assert!(with(|s| s.participants = 1025).contains("participants must be 1 to 1024"));
        assert!(with(|s| s.classes.clear()).contains("payload classes"));
        assert!(with(|s| s.classes = vec![(64, 1), (64, 1)]).contains("must grow"));
        assert!(with(|s| s.classes = vec![(u32::MAX, 1)]).contains("payload bytes"));
        assert!(with(|s| s.classes = vec![(8, MAX_BLOCKS), (16, 1)]).contains("blocks of all classes"));
        assert!(with(|s| s.classes = vec![(16 << 20, 8_000_000)]).contains("larger than 64 TiB"));
    }
}
