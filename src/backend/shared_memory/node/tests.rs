//! What a node must keep, against an ordered map, and what nobody's bytes can make it do.

use std::collections::BTreeMap;
use std::hint::black_box;

use super::*;

type Names = BTreeMap<Vec<u8>, Place>;

/// Random numbers (xorshift) from a seed that is printed; SLOTGUARD_NODE_SEED asks for another one.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("SLOTGUARD_NODE_SEED").map_or(0x5107, |text| text.parse().expect("a number"));
        println!("SLOTGUARD_NODE_SEED={seed}");
        Self((seed ^ 0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A name of 1 to `longest` bytes out of few letters, so that names meet and are prefixes of one another.
    fn name(&mut self, longest: usize) -> Vec<u8> {
        let length = 1 + self.below(longest);
        (0..length).map(|_| b"ab\0\xff"[self.below(4)]).collect()
    }

    fn place(&mut self) -> Place {
        Place { record: self.next() as u32, incarnation: self.next() >> 24, leased: self.next() & 1 == 1 }
    }
}

fn place(record: u32) -> Place {
    Place { record, incarnation: u64::from(record) + 1, leased: record.is_multiple_of(2) }
}

fn parsed(bytes: &[u8]) -> Node<'_> {
    let node = Node::parse(bytes).expect("a writer's bytes are a node");
    assert!(node.is_checked(), "{bytes:?}");
    node
}

/// A node with these names; their order gives the record numbers.
fn node_of<N: AsRef<[u8]>>(level: u8, low: &[u8], high: Option<&[u8]>, names: &[N]) -> Vec<u8> {
    let (mut bare, mut bytes) = (Vec::new(), Vec::new());
    empty(level, low, high, &mut bare);
    let edits: Vec<_> = (0..).zip(names).map(|(record, name)| Edit::Put(name.as_ref(), place(record))).collect();
    assert!(edited(&Node::parse(&bare).unwrap(), &edits, &mut bytes));
    bytes
}

fn names_of(node: &Node<'_>) -> Names {
    node.entries().map(|(name, place)| (name.to_vec(), place)).collect()
}

/// Full as can be: names as long as asked for that sort by their number.
fn full_node(longest: usize) -> Vec<u8> {
    let names: Vec<_> = (0..u16::MAX)
        .map(|number| {
            let mut name = number.to_be_bytes().to_vec();
            name.resize(longest, b'x');
            name
        })
        .take((NODE_BYTES - HEADER) / (END + PLACE + longest))
        .collect();
    node_of(0, b"", None, &names)
}

#[test]
fn the_figures_of_the_text_hold() {
    assert_eq!((HEADER, END + PLACE), (6, 12));
    assert_eq!((NODE_BYTES - HEADER - 2 * 16) / entry_bytes(&[0; 16]), 144);
    assert_eq!((NODE_BYTES - HEADER - 2 * NAME_BYTES) / entry_bytes(&[0; NAME_BYTES]), 13);
    assert_eq!((144_u32.ilog2() + 1, 144 * END), (8, 288), "looks of a search, bytes of its table");
    assert!(((NODE_BYTES - HEADER) / entry_bytes(b"")).pow(2) < 1_000_000, "two levels without any name");
}

#[test]
fn a_node_is_laid_out_as_drawn() {
    let mut bare = Vec::new();
    empty(0, b"ab", Some(b"b"), &mut bare);
    assert_eq!(bare, b"N\0\x02\x01\0\0abb");
    let put = Edit::Put(b"ax", Place { record: 0x0102_0304, incarnation: 0x05_0607_0809, leased: true });
    let mut bytes = Vec::new();
    assert!(edited(&Node::parse(&bare).unwrap(), &[put], &mut bytes));
    assert_eq!(bytes, b"N\0\x02\x01\x01\0\x17\0abb\x04\x03\x02\x01\x09\x08\x07\x06\x05\x01ax");
}

#[test]
fn an_empty_node_says_what_it_was_made_with() {
    let longest = [7; NAME_BYTES];
    let bounds: [(&[u8], Option<&[u8]>); 5] =
        [(b"", None), (b"a", None), (b"", Some(b"\0")), (&longest[..254], Some(&longest)), (&longest, Some(b"\x08"))];
    for (low, high) in bounds {
        for level in [0, 1, 255] {
            let mut bytes = vec![1; 9];
            empty(level, low, high, &mut bytes);
            let node = Node::parse(&bytes).unwrap();
            assert_eq!((node.level(), node.low(), node.high()), (level, low, high));
            assert_eq!((node.len(), node.is_empty(), node.bytes()), (0, true, bytes.len()));
            assert_eq!(node.is_checked(), level == 0, "an inner node without a child answers for no name");
            assert_eq!((node.search(b"a"), node.child(b"a")), (Err(0), None));
            assert!(node.covers(low) && !high.is_some_and(|high| node.covers(high)));
            assert!(node.is_sparse() && node.has_room_for_longest());
        }
    }
}

#[test]
fn a_range_takes_its_low_and_leaves_its_high() {
    let bytes = node_of::<&[u8]>(0, b"b", Some(b"d"), &[]);
    let node = parsed(&bytes);
    for (name, inside) in [
        ("", false),
        ("a", false),
        ("az", false),
        ("b", true),
        ("b\0", true),
        ("czzz", true),
        ("d", false),
        ("d\0", false),
    ] {
        assert_eq!(node.covers(name.as_bytes()), inside, "{name:?}");
    }
}

#[test]
fn every_edit_of_every_small_node_is_as_in_a_map() {
    let universe: [&[u8]; 6] = [b"0", b"00", b"01", b"1", b"10", b"11"];
    let probes: [&[u8]; 5] = [b"", b"000", b"0\xff", b"2", b"1\0"];
    let mut into = Vec::new();
    for present in 0..1 << universe.len() {
        let kept: Vec<_> =
            universe.iter().enumerate().filter(|(at, _)| present >> at & 1 == 1).map(|(_, n)| *n).collect();
        let bytes = node_of(0, b"", None, &kept);
        let before = names_of(&parsed(&bytes));
        // Each name is left, put or removed.
        for choice in 0..3_usize.pow(universe.len() as u32) {
            let (mut edits, mut after) = (Vec::new(), before.clone());
            for (at, name) in universe.iter().enumerate() {
                match choice / 3_usize.pow(at as u32) % 3 {
                    0 => {}
                    1 => {
                        edits.push(Edit::Put(name, place(100 + at as u32)));
                        after.insert(name.to_vec(), place(100 + at as u32));
                    }
                    _ => {
                        edits.push(Edit::Remove(name));
                        after.remove(*name);
                    }
                }
            }
            assert!(edited(&parsed(&bytes), &edits, &mut into));
            let node = parsed(&into);
            assert!(node.entries().eq(after.iter().map(|(name, place)| (&name[..], *place))), "{kept:?} {edits:?}");
        }
        let node = parsed(&bytes);
        for name in universe.iter().chain(&probes) {
            let below = before.range(..name.to_vec()).count();
            let found = if before.contains_key(*name) { Ok(below) } else { Err(below) };
            assert_eq!(node.search(name), found, "{name:?} in {kept:?}");
        }
    }
}

#[test]
fn a_name_is_in_the_range_of_the_last_child_whose_separator_is_not_above_it() {
    let bytes = node_of::<&[u8]>(3, b"", Some(b"x"), &[b"", b"f", b"m", b"mm"]);
    let node = parsed(&bytes);
    for (name, child) in [("", 0), ("a", 0), ("f", 1), ("f\0", 1), ("lz", 1), ("m", 2), ("ma", 2), ("mm", 3), ("w", 3)]
    {
        assert_eq!(node.child(name.as_bytes()), Some(child), "{name:?}");
    }
    let bytes = node_of::<&[u8]>(1, b"f", None, &[b"f", b"m"]);
    assert_eq!(parsed(&bytes).child(b"e"), None, "below the first separator");
    let bytes = node_of::<&[u8]>(0, b"f", None, &[b"f", b"m"]);
    assert_eq!(parsed(&bytes).child(b"g"), None, "a leaf has no child");
}

#[test]
fn a_node_may_be_exactly_full_and_not_a_byte_more() {
    let bytes = full_node(NAME_BYTES);
    let node = parsed(&bytes);
    assert_eq!(node.len(), 15, "the longest names, without bounds");
    let left = NODE_BYTES - node.bytes() - END - PLACE;
    let (fitting, longer) = (vec![b'~'; left], vec![b'~'; left + 1]);
    let mut into = Vec::new();
    assert!(edited(&node, &[Edit::Put(&fitting, place(1))], &mut into));
    assert_eq!(into.len(), NODE_BYTES);
    assert!(!edited(&node, &[Edit::Put(&longer, place(1))], &mut Vec::new()));

    let full = parsed(&into);
    assert!(!full.has_room_for_longest() && !full.is_sparse());
    assert!(!edited(&full, &[Edit::Put(b"~", place(1))], &mut Vec::new()));
    assert!(edited(&full, &[Edit::Put(&fitting, place(2))], &mut Vec::new()), "another place takes no room");
    assert!(edited(&full, &[Edit::Remove(full.name(0)), Edit::Put(b"~", place(1))], &mut Vec::new()));
    let mut over = into.clone();
    over.push(0);
    assert!(Node::parse(&over).is_none());
}

/// A leaf of exactly so many bytes.
fn leaf_of_bytes(bytes: usize) -> Vec<u8> {
    let mut names = Vec::new();
    let mut rest = bytes - HEADER;
    while rest > 0 {
        let length = if rest > 200 { 100 } else { rest - END - PLACE };
        names.push(vec![names.len() as u8; length]);
        rest -= END + PLACE + length;
    }
    node_of(0, b"", None, &names)
}

#[test]
fn room_for_the_longest_is_exact_and_sparse_is_less_than_a_quarter() {
    let longest = [0xff; NAME_BYTES];
    let most = NODE_BYTES - entry_bytes(&longest);
    for (bytes, has_room) in [(most - 1, true), (most, true), (most + 1, false)] {
        let leaf = leaf_of_bytes(bytes);
        assert_eq!((leaf.len(), parsed(&leaf).has_room_for_longest()), (bytes, has_room));
        assert_eq!(edited(&parsed(&leaf), &[Edit::Put(&longest, place(0))], &mut Vec::new()), has_room);
    }
    for (bytes, is_sparse) in [(NODE_BYTES / 4 - 1, true), (NODE_BYTES / 4, false)] {
        assert_eq!(parsed(&leaf_of_bytes(bytes)).is_sparse(), is_sparse);
    }
}

/// Cuts the node where it is best cut once the edits are applied, which leave it with `after`; `None` if there is no such place.
fn halves(node: &Node<'_>, edits: &[Edit<'_>], after: &Names) -> Option<[Vec<u8>; 2]> {
    let Some(separator) = separator(node, edits) else {
        assert!(after.len() < 2);
        return None;
    };
    let (first, last) = (after.keys().next().unwrap(), after.keys().next_back().unwrap());
    assert!(&first[..] < separator && separator <= &last[..], "neither part is to stay empty");
    let weight = |part: &mut dyn Iterator<Item = &Vec<u8>>| part.map(|name| entry_bytes(name)).sum::<usize>();
    let left = weight(&mut after.keys().filter(|name| &name[..] < separator));
    let right = weight(&mut after.keys().filter(|name| &name[..] >= separator));
    let largest = after.keys().map(|name| entry_bytes(name)).max().unwrap();
    assert!(left.abs_diff(right) <= largest + 2, "{left} and {right} bytes: about the same size");

    let (mut low, mut high) = (Vec::new(), Vec::new());
    split_at(node, separator, &mut low, &mut high);
    let (l, r) = (parsed(&low), parsed(&high));
    assert_eq!((l.level(), l.low(), l.high()), (node.level(), node.low(), Some(separator)));
    assert_eq!((r.level(), r.low(), r.high()), (node.level(), separator, node.high()));
    assert!(l.entries().chain(r.entries()).eq(node.entries()));
    Some([low, high])
}

#[test]
fn a_node_is_cut_where_its_halves_meet_once_the_edits_are_applied() {
    let full = full_node(NAME_BYTES);
    halves(&parsed(&full), &[], &names_of(&parsed(&full))).unwrap();
    // As many of the longest names as a commit can bring at once, on top of the fullest node they are put into and of an
    // empty one.
    for bytes in [leaf_of_bytes(NODE_BYTES - entry_bytes(&[0; NAME_BYTES])), node_of::<&[u8]>(0, b"", None, &[])] {
        let mut after = names_of(&parsed(&bytes));
        let added: Vec<_> = (0..32).map(|number| vec![128 + number; NAME_BYTES]).collect();
        after.extend(added.iter().map(|name| (name.clone(), place(5))));
        let edits: Vec<_> = added.iter().map(|name| Edit::Put(name, place(5))).collect();
        halves(&parsed(&bytes), &edits, &after).unwrap();
    }
}

#[test]
fn two_entries_are_cut_and_fewer_are_not() {
    let longest = [b'x'; NAME_BYTES];
    let lists: [&[&[u8]]; 5] = [&[], &[b"a"], &[b"a", b"b"], &[b"a", &longest], &[&longest, b"y"]];
    for names in lists {
        let bytes = node_of(0, b"a", Some(b"z"), names);
        let cut = halves(&parsed(&bytes), &[], &names_of(&parsed(&bytes)));
        assert_eq!(cut.is_some(), names.len() == 2, "{names:?}");
    }
}

#[test]
fn a_node_of_equal_names_is_cut_in_the_middle() {
    let bytes = full_node(16);
    let cut = halves(&parsed(&bytes), &[], &names_of(&parsed(&bytes))).unwrap();
    assert_eq!((parsed(&bytes).len(), cut.map(|half| parsed(&half).len())), (146, [73, 73]));
}

#[test]
fn only_neighbours_that_fit_are_joined() {
    let left = node_of::<&[u8]>(1, b"", Some(b"m"), &[b"", b"f"]);
    let right = node_of::<&[u8]>(1, b"m", Some(b"x"), &[b"m", b"q"]);
    let mut into = Vec::new();
    assert!(joined(&parsed(&left), &parsed(&right), &mut into));
    let node = parsed(&into);
    assert_eq!((node.level(), node.low(), node.high(), node.len()), (1, &b""[..], Some(&b"x"[..]), 4));
    assert_eq!(node.child(b"p"), Some(2));
    assert_eq!(node.bytes() + HEADER + 2, left.len() + right.len(), "a header and the common bound are saved");

    assert!(!joined(&parsed(&right), &parsed(&left), &mut into), "the wrong way round");
    let apart = node_of::<&[u8]>(1, b"n", None, &[b"n"]);
    assert!(!joined(&parsed(&left), &parsed(&apart), &mut into), "a gap between them");
    let leaf = node_of::<&[u8]>(0, b"m", Some(b"x"), &[b"m", b"q"]);
    assert!(!joined(&parsed(&left), &parsed(&leaf), &mut into), "another level");
    let endless = node_of::<&[u8]>(1, b"", None, &[b""]);
    assert!(!joined(&parsed(&endless), &parsed(&endless), &mut into), "the last of its level");

    // To the byte: 15 of the longest names, and one that fills up.
    let names: Vec<_> = (0..15).map(|number| vec![number; NAME_BYTES]).collect();
    let left = node_of(0, b"", Some(b"m"), &names);
    let room = NODE_BYTES - left.len() + 1 - END - PLACE;
    for (length, fits) in [(room, true), (room + 1, false)] {
        let right = node_of(0, b"m", None, &[vec![b'm'; length]]);
        assert_eq!(joined(&parsed(&left), &parsed(&right), &mut into), fits);
    }
}

#[test]
fn what_was_cut_and_handed_down_is_joined_to_the_same_bytes() {
    let root = full_node(16);
    let mut into = Vec::new();
    let cut = halves(&parsed(&root), &[], &names_of(&parsed(&root))).unwrap();
    let mut grown = Vec::new();
    root_of(1, place(1), parsed(&cut[1]).low(), place(2), &mut grown);
    for (number, child) in [(0_u16, 0), (72, 0), (73, 1), (145, 1)] {
        assert_eq!(parsed(&grown).child(parsed(&root).name(number.into())), Some(child));
    }
    assert!(joined(&parsed(&cut[0]), &parsed(&cut[1]), &mut into));
    assert_eq!(into, root);
}

#[test]
fn random_lives_of_nodes_are_as_in_a_map() {
    let mut random = Random::seeded();
    let (mut cuts, mut joins, mut fullest) = (0, 0, 0);
    for life in 0..60 {
        let longest = [6, 16, 60, NAME_BYTES][life % 4];
        let mut bytes = node_of::<&[u8]>(0, b"", None, &[]);
        let mut names = Names::new();
        let mut into = Vec::new();
        for _ in 0..120 {
            let node = parsed(&bytes);
            // More is put than removed; removals hit what is there and what is not.
            let mut changes = BTreeMap::new();
            for _ in 0..random.below(33) {
                let mut name = random.name(longest);
                if let Some(known) = names.keys().nth(random.below(names.len() + 1)) {
                    let kept = random.below(known.len() + 1);
                    match random.below(3) {
                        0 => name.clone_from(known),
                        1 => name = [&known[..kept], &name].concat(),
                        _ => {}
                    }
                    name.truncate(NAME_BYTES);
                }
                if node.covers(&name) {
                    let put = random.below(5) < 3;
                    changes.insert(name, put.then(|| random.place()));
                }
            }
            let edits: Vec<_> = changes
                .iter()
                .map(|(name, put)| put.map_or(Edit::Remove(name), |place| Edit::Put(name, place)))
                .collect();
            for (name, put) in &changes {
                match put {
                    Some(place) => names.insert(name.clone(), *place),
                    None => names.remove(name),
                };
            }
            let (low, high) = (node.low(), node.high());
            let size = HEADER
                + low.len()
                + high.map_or(0, <[u8]>::len)
                + names.keys().map(|name| END + PLACE + name.len()).sum::<usize>();
            let cut = halves(&node, &edits, &names);
            let fits = edited(&node, &edits, &mut into);
            assert_eq!(fits, size <= NODE_BYTES);
            if fits {
                let node = parsed(&into);
                assert_eq!((node.bytes(), node.low(), node.high()), (size, low, high));
                assert!(node.entries().eq(names.iter().map(|(name, place)| (&name[..], *place))));
                for (at, name) in names.keys().enumerate() {
                    assert_eq!(node.search(name), Ok(at));
                }
                fullest = fullest.max(size);
            }
            if let Some([left, right]) = &cut {
                let (left, right, mut both) = (parsed(left), parsed(right), Vec::new());
                assert!(joined(&left, &right, &mut both));
                assert_eq!(both, bytes, "the parts of a node make it again");
                joins += 1;
            }
            if fits {
                std::mem::swap(&mut bytes, &mut into);
            } else {
                cuts += 1;
                let [left, right] = cut.expect("what does not fit has two entries");
                bytes = if random.below(2) == 0 { left } else { right };
                names = names_of(&parsed(&bytes));
            }
        }
    }
    println!("{cuts} cuts, {joins} joins, fullest {fullest} bytes");
    assert!(cuts > 100 && joins > 100 && fullest > NODE_BYTES - 64, "the lives have seen what they are to see");
}

/// Asks everything there is to ask and writes everything there is to write; whatever the bytes are, it ends, and what a
/// checked node says holds together.
fn ask_everything(bytes: &[u8], probes: &[&[u8]]) -> bool {
    let Some(node) = Node::parse(bytes) else { return false };
    let beyond = [node.len(), node.len() + 1, usize::from(u16::MAX), usize::MAX];
    for index in (0..node.len()).chain(beyond) {
        assert!(node.name(index).len() <= NAME_BYTES && node.place(index).incarnation >> 40 == 0);
    }
    assert!(beyond.iter().all(|&index| node.name(index).is_empty() && node.place(index) == Place::NOWHERE));
    assert_eq!(node.entries().count(), node.len());
    assert!(node.low().len() <= NAME_BYTES && node.high().is_none_or(|high| (1..=NAME_BYTES).contains(&high.len())));
    black_box((node.level(), node.is_empty(), node.is_sparse(), node.has_room_for_longest(), node.bytes()));
    for name in probes {
        black_box(node.covers(name));
        assert!(node.search(name).map_or_else(|at| at <= node.len(), |at| at < node.len()));
        assert!(node.child(name).is_none_or(|at| at < node.len()));
    }
    let checked = node.is_checked();
    if checked {
        assert!((0..node.len()).all(|index| node.search(node.name(index)) == Ok(index)));
        assert!(node.entries().all(|(name, _)| node.covers(name)));
    }

    let edits: Vec<_> = probes.iter().map(|name| Edit::Put(name, place(1))).collect();
    let mut into = Vec::new();
    if edited(&node, &edits, &mut into) {
        assert!(into.len() <= NODE_BYTES && Node::parse(&into).is_some());
    }
    if joined(&node, &node, &mut into) {
        assert!(into.len() <= NODE_BYTES && Node::parse(&into).is_some());
    }
    if let Some(name) = separator(&node, &edits).filter(|name| checked && node.covers(name)) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        split_at(&node, name, &mut left, &mut right);
        assert!(Node::parse(&left).is_some() && Node::parse(&right).is_some());
    }
    checked
}

const PROBES: [&[u8]; 4] = [b"", b"key 03", b"key 03xxxx", b"\xff\xff"];

#[test]
fn no_single_byte_makes_a_node_panic() {
    let names: Vec<_> = (0..5).map(|number| format!("key {number:02}{}", "x".repeat(number))).collect();
    for (level, low) in [(0, &b"k"[..]), (1, b"key 00")] {
        let valid = node_of(level, low, Some(b"l"), &names);
        assert!(ask_everything(&valid, &PROBES));
        let mut broken = valid.clone();
        for at in 0..valid.len() {
            for value in 0..=u8::MAX {
                broken[at] = value;
                ask_everything(&broken, &PROBES);
            }
            broken[at] = valid[at];
        }
        for length in 0..valid.len() {
            assert!(!ask_everything(&valid[..length], &PROBES), "cut to {length} bytes");
        }
    }
    for longest in [2, 16, NAME_BYTES] {
        let valid = full_node(longest);
        let mut broken = valid.clone();
        let entries_begin = HEADER + END * parsed(&valid).len();
        for at in (0..entries_begin).chain((entries_begin..valid.len()).step_by(17)) {
            broken[at] ^= 1 << (at % 8);
            ask_everything(&broken, &PROBES);
            broken[at] = valid[at];
        }
    }
}

#[test]
fn no_garbage_makes_a_node_panic() {
    let mut random = Random::seeded();
    let mut parsed = 0;
    for round in 0..1500 {
        let length = random.below(NODE_BYTES + 2);
        let mut bytes: Vec<_> = (0..length).map(|_| random.next() as u8).collect();
        // Two of three rounds get a header that will do; of these, every second one a table that points inside.
        if round % 3 > 0 && length > HEADER {
            bytes[0] = MARK;
            let count = random.below((length - HEADER) / END + 1);
            bytes[4..HEADER].copy_from_slice(&(count as u16).to_le_bytes());
            for at in 0..if round % 2 == 0 { count } else { 0 } {
                let end = random.below(length) as u16;
                bytes[HEADER + END * at..][..END].copy_from_slice(&end.to_le_bytes());
            }
        }
        parsed += usize::from(Node::parse(&bytes).is_some());
        ask_everything(&bytes, &PROBES);
    }
    println!("{parsed} of 1500 parsed");
    assert!(parsed > 500);
}

#[test]
fn entries_that_lie_over_one_another_stay_within_bounds() {
    // As many entries as there can be, each of them the whole rest of the node or nothing.
    let count = (NODE_BYTES - HEADER) / END;
    let mut bytes = vec![0; NODE_BYTES];
    bytes[0] = MARK;
    bytes[4..HEADER].copy_from_slice(&(count as u16).to_le_bytes());
    for at in 0..count {
        let end: u16 = if at % 2 == 0 { 100 } else { 100 + (PLACE + NAME_BYTES) as u16 };
        bytes[HEADER + END * at..][..END].copy_from_slice(&end.to_le_bytes());
    }
    assert_eq!(Node::parse(&bytes).unwrap().name(1).len(), NAME_BYTES);
    assert!(!ask_everything(&bytes, &PROBES));
}

#[test]
fn what_is_no_node_is_refused() {
    let valid = node_of::<&[u8]>(0, b"a", Some(b"c"), &[b"a", b"b"]);
    assert!(Node::parse(b"").is_none() && Node::parse(&valid[..HEADER - 1]).is_none());
    for (at, value) in [(0, b'n'), (4, 200), (5, 1), (2, 200), (3, 200)] {
        let mut broken = valid.clone();
        broken[at] = value;
        assert!(Node::parse(&broken).is_none(), "byte {at} = {value}");
    }
}

#[test]
fn an_audit_sees_each_kind_of_damage() {
    let valid = node_of::<&[u8]>(0, b"b", Some(b"f"), &[b"b", b"c", b"e"]);
    // Header, three ends, two bounds, then entries of eleven bytes.
    let first_name = HEADER + 3 * END + 2 + PLACE;
    let faults: [(&str, &[(usize, u8)]); 8] = [
        ("two names out of order", &[(first_name, b'd')]),
        ("one name twice", &[(first_name, b'c')]),
        ("a name below the range", &[(first_name, b'a')]),
        ("a name at the end of the range", &[(first_name + 22, b'f')]),
        ("leased neither yes nor no", &[(first_name - 1, 2)]),
        ("an entry too short", &[(HEADER, valid[HEADER] - 2)]),
        ("an end before the last byte", &[(HEADER + 2 * END, valid[HEADER + 2 * END] - 1)]),
        ("an inner node that begins above its range", &[(1, 1), (first_name, b'b'), (first_name - PLACE - 2, b'a')]),
    ];
    assert!(Node::parse(&valid).unwrap().is_checked());
    for (error, bytes) in faults {
        let mut broken = valid.clone();
        for &(at, value) in bytes {
            broken[at] = value;
        }
        assert!(!Node::parse(&broken).unwrap().is_checked(), "{error}");
    }
    let mut longer = valid.clone();
    longer.push(0);
    assert!(!Node::parse(&longer).unwrap().is_checked(), "a byte past the last entry");
    for (high, valid) in [(b"b", false), (b"c", true)] {
        let bare = node_of::<&[u8]>(0, b"b", Some(high), &[]);
        assert_eq!(Node::parse(&bare).unwrap().is_checked(), valid, "a range from b to {high:?}");
    }
    let nameless = node_of::<&[u8]>(0, b"", None, &[b""]);
    assert!(!Node::parse(&nameless).unwrap().is_checked(), "a key without a name");
    let nameless = node_of::<&[u8]>(1, b"", None, &[b""]);
    assert!(Node::parse(&nameless).unwrap().is_checked(), "the first separator of a level");
}
