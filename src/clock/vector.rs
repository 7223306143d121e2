//! (placeholder until the real file lands; overwrite it)
#![allow(missing_docs)]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorClock(Vec<(u32, u64)>);
#[derive(Debug)]
pub enum Causality {
    Before,
    After,
    Equal,
    Concurrent,
}
#[derive(Debug)]
pub struct ClockOverflow;
impl VectorClock {
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0.iter().copied()
    }
    pub fn get(&self, p: u32) -> u64 {
        self.0.iter().find(|e| e.0 == p).map_or(0, |e| e.1)
    }
}
impl FromIterator<(u32, u64)> for VectorClock {
    fn from_iter<I: IntoIterator<Item = (u32, u64)>>(i: I) -> Self {
        Self(i.into_iter().filter(|e| e.1 != 0).collect())
    }
}
