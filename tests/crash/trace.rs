//! The instructions a child executes from its sync point to its end, and how to bring another child to any of them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::diff::Change;
use super::scale::some_of;
use super::tracee::Tracee;
use harness::random::Random;

/// One undisturbed run, instruction by instruction. A point of it is a number of instructions executed.
pub struct Trace {
    /// The address of the instruction that comes next, for every point at which the child still was.
    path: Vec<u64>,
    /// The points that an instruction led to whose effect others could see.
    pub changes: Vec<usize>,
    /// Such points too, amid the copying of something word by word.
    copies: Vec<usize>,
    /// All points, but of loops that change nothing others see only the first two rounds.
    distinct: Vec<usize>,
    /// For each point, where to run on the way there before stepping the rest.
    landmarks: Vec<Landmark>,
}

/// Two earlier points of a trace; the second is reached from the first.
#[derive(Clone, Copy)]
struct Landmark {
    /// And which visit of its address, counted from the beginning, this is.
    far: (usize, usize),
    /// The same, counted from `far` on.
    near: (usize, usize),
}

/// Running to a breakpoint costs about so many steps a visit.
const VISIT: usize = 3;
/// Up to so many visits from the beginning a point is fit for being run to first.
const RARE: usize = 16;

impl Trace {
    /// Steps through all that the child does; after each step `look` says whether others could see a difference. It is told
    /// whether that step asked the kernel for something.
    pub fn of(mut tracee: Tracee, mut look: impl FnMut(bool) -> Change) -> Self {
        let mut trace = Self {
            path: vec![tracee.instruction()],
            changes: Vec::new(),
            copies: Vec::new(),
            distinct: vec![0],
            landmarks: Vec::new(),
        };
        let mut rounds = HashMap::new();
        let mut changes_seen = Vec::new();
        while tracee.step() {
            let change = look(is_system_call(*trace.path.last().expect("the point it was at")));
            if change != Change::None {
                changes_seen.push((trace.path.len(), change));
                rounds.clear();
            }
            let next = tracee.instruction();
            let round = rounds.entry(next).or_insert(0);
            *round += 1;
            if *round <= 2 {
                trace.distinct.push(trace.path.len());
            }
            trace.path.push(next);
        }
        // The last word of a copy is a change like any other.
        for (i, (point, change)) in changes_seen.iter().enumerate() {
            let goes_on = changes_seen.get(i + 1).is_some_and(|(_, next)| *next == Change::NextWord);
            if *change == Change::NextWord && goes_on {
                trace.copies.push(*point);
            } else {
                trace.changes.push(*point);
            }
        }
        trace.set_landmarks();
        trace
    }

    /// Only our own code is fit for breakpoints: which way the C library takes depends on the state of its heap and the
    /// alignment of what it copies.
    fn set_landmarks(&mut self) {
        let own = own_code();
        let (mut from_start, mut from_far) = (HashMap::new(), HashMap::new());
        let mut best = Landmark { far: (0, 1), near: (0, 1) };
        let (mut to_far, mut cost) = (0, 0);
        for (point, address) in self.path.iter().enumerate() {
            let visits = from_start.entry(*address).or_insert(0);
            *visits += 1;
            cost += 1;
            let is_own = own.contains(address);
            if is_own && *visits <= RARE && VISIT * *visits < cost {
                best = Landmark { far: (point, *visits), near: (point, 1) };
                (to_far, cost) = (VISIT * *visits, VISIT * *visits);
                from_far.clear();
                from_far.insert(*address, 1);
            } else {
                let visits = from_far.entry(*address).or_insert(0);
                *visits += 1;
                if is_own && to_far + VISIT * *visits < cost {
                    best.near = (point, *visits);
                    cost = to_far + VISIT * *visits;
                }
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

    /// How many of them others can tell from the one before.
    pub fn seen(&self) -> usize {
        self.changes.len() + self.copies.len()
    }

    /// Takes another child to the same point; `false` if it went another way and is somewhere else, or has ended.
    pub fn lead(&self, tracee: &mut Tracee, point: usize) -> bool {
        let Landmark { far, near } = self.landmarks[point];
        tracee.run_to(self.path[far.0], far.1)
            && tracee.run_to(self.path[near.0], near.1)
            && tracee.steps(point - near.0)
            && tracee.instruction() == self.path[point]
    }

    /// The first point, the last, each that others could tell from the one before, and of all of them `most`.
    ///
    /// Where there are more, they are taken from those that differ in more than the round of a loop; and of the words of
    /// what is copied, `most`.
    pub fn points(&self, random: &mut Random, most: usize) -> BTreeSet<usize> {
        let all: Vec<usize> = if self.length() <= most {
            (0..self.length()).collect()
        } else {
            some_of(random, 0..self.distinct.len(), most).map(|i| self.distinct[i]).collect()
        };
        let copies = some_of(random, 0..self.copies.len(), most).map(|i| self.copies[i]);
        all.into_iter().chain(copies).chain(self.changes.iter().copied()).chain([0, self.last()]).collect()
    }
}

/// Whether the instruction at this place of a child's code, which is ours, is `syscall`.
fn is_system_call(address: u64) -> bool {
    let place = address as *const [u8; 2];
    // SAFETY: the child was forked from us and has just executed what is there, so it is mapped here as well; every
    // instruction is followed by another byte of code or padding. Code does not change but for our breakpoints in a child.
    let bytes = unsafe { place.read() };
    bytes == [0x0f, 0x05]
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
