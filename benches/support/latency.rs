//! How long single operations took: a histogram that keeps three percent of precision from one tick to hours.

/// Buckets double in width every 32: 0..64 exactly, then 32 for each further power of two.
const BUCKETS: usize = 1920;
const PER_DOUBLING: u64 = 32;

/// Counts of operations by how many ticks they took.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u32>,
}

impl Histogram {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }

    /// Counts one operation of so many ticks.
    #[inline]
    pub fn add(&mut self, ticks: u64) {
        self.counts[bucket(ticks)] += 1;
    }

    /// Takes in what another one has seen.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// How many operations it has seen.
    pub fn samples(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The ticks within which the given share of operations was done; `0.5` is the median. Zero when nothing was seen.
    pub fn within(&self, share: f64) -> u64 {
        let wanted = (self.samples() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return middle(index);
            }
        }
        0
    }

    /// The non-empty buckets in words, for a process that hands them to its parent.
    pub fn to_text(&self) -> String {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| format!("{index}:{count}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Reads what [`to_text`](Self::to_text) wrote; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut histogram = Self::new();
        for word in text.split_whitespace() {
            let (index, count) = word.split_once(':')?;
            *histogram.counts.get_mut(index.parse::<usize>().ok()?)? = count.parse().ok()?;
        }
        Some(histogram)
    }
}

fn bucket(ticks: u64) -> usize {
    let bits = u64::from(u64::BITS - ticks.leading_zeros());
    let shift = bits.saturating_sub(6);
    (shift * PER_DOUBLING + (ticks >> shift)) as usize
}

/// The middle of a bucket, in ticks.
fn middle(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / PER_DOUBLING).saturating_sub(1);
    let first = (index - shift * PER_DOUBLING) << shift;
    first + ((1 << shift) >> 1)
}
