//! The way a child takes from its cue to its end, and how to bring another child to any point of it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::puppet::Puppet;
use super::scale::Dice;

/// One undisturbed run, instruction by instruction. A point of it is a number of instructions executed.
pub struct Walk {
    /// The address of the instruction that comes next, for every point at which the child still was.
    path: Vec<u64>,
    /// The points that an instruction led to whose effect others could see.
    pub changes: Vec<usize>,
    /// For each point, where to run on the way there before stepping the rest: an earlier point, and which visit of its
    /// address that is.
    landmarks: Vec<(usize, usize)>,
}

impl Walk {
    /// Steps through all that the child does; after each step `has_changed` says whether others could see a difference.
    pub fn of(mut puppet: Puppet, mut has_changed: impl FnMut() -> bool) -> Self {
        let mut walk = Self { path: vec![puppet.instruction()], changes: Vec::new(), landmarks: Vec::new() };
        while puppet.step() {
            if has_changed() {
                walk.changes.push(walk.path.len());
            }
            walk.path.push(puppet.instruction());
        }
        walk.set_landmarks();
        walk
    }

    /// Running to a breakpoint costs about three steps a visit. Only our own code is fit for it: which way the C library
    /// takes depends on the state of its heap and the alignment of what it copies.
    fn set_landmarks(&mut self) {
        let own = own_code();
        let mut visits = HashMap::new();
        let (mut best, mut cost) = ((0, 1), 0);
        for (point, address) in self.path.iter().enumerate() {
            let visit = visits.entry(*address).or_insert(0);
            *visit += 1;
            cost += 1;
            if 3 * *visit < cost && own.contains(address) {
                (best, cost) = ((point, *visit), 3 * *visit);
            }
            self.landmarks.push(best);
        }
    }

    /// How many points there are.
    pub fn length(&self) -> usize {
        self.path.len()
    }

    /// The last point at which the child still is.
    pub fn last(&self) -> usize {
        self.length() - 1
    }

    /// Takes another child to the same point; `false` if it went another way and is somewhere else, or has ended.
    pub fn lead(&self, puppet: &mut Puppet, point: usize) -> bool {
        let (landmark, visit) = self.landmarks[point];
        puppet.run_to(self.path[landmark], visit)
            && puppet.steps(point - landmark)
            && puppet.instruction() == self.path[point]
    }

    /// The first point, the last, each that others could tell from the one before, and of all of them `most`.
    pub fn points(&self, dice: &mut Dice, most: usize) -> BTreeSet<usize> {
        let all = dice.some_of(0..self.length(), most);
        all.chain(self.changes.iter().copied()).chain([0, self.last()]).collect()
    }
}

/// Where the code of this program is.
fn own_code() -> Range<u64> {
    let here = own_code as fn() -> Range<u64> as usize as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("our own memory");
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    let ranges = maps.lines().filter_map(|line| line.split_once(' ')?.0.split_once('-'));
    let mut ranges = ranges.map(|(start, end)| number(start)..number(end));
    ranges.find(|range| range.contains(&here)).expect("this function is somewhere")
}
