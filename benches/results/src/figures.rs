//! Every number of a run by name, one value a round, so that a ratio compares values measured side by side.

use serde::{Deserialize, Serialize, Serializer};

/// One row's measurements of one kind.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The row's name and what of it was measured.
    pub name: String,
    /// What the values count.
    pub unit: String,
    /// One value a round, in the order measured.
    #[serde(serialize_with = "short")]
    pub rounds: Vec<f64>,
}

impl Figure {
    /// The middle of all rounds.
    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// The middle of all rounds with its unit, as a person would write it.
    pub fn text(&self) -> String {
        let value = self.median();
        match self.unit.as_str() {
            "ns" => time(value),
            "operations a second" => rate(value),
            "times" if value < 100.0 => format!("{value:.2}×"),
            "times" => format!("{value:.0}×"),
            unit => format!("{value:.0} {unit}"),
        }
    }
}

/// Everything measured so far.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures {
    all: Vec<Figure>,
}

impl Figures {
    /// Adds one round's value.
    pub fn add(&mut self, name: &str, unit: &str, value: f64) {
        match self.all.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.rounds.push(value),
            None => self.all.push(Figure { name: name.to_owned(), unit: unit.to_owned(), rounds: vec![value] }),
        }
    }

    /// All of them, in the order first measured.
    pub fn all(&self) -> &[Figure] {
        &self.all
    }

    /// The middle value of a row, if it was measured.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.find(name).map(Figure::median)
    }

    /// The middle of the ratios of two rows, round by round; `None` if either was not measured.
    pub fn ratio(&self, above: &str, below: &str) -> Option<f64> {
        let (above, below) = (self.find(above)?, self.find(below)?);
        let ratios: Vec<f64> = above.rounds.iter().zip(&below.rounds).map(|(above, below)| above / below).collect();
        Some(median(&ratios))
    }

    fn find(&self, name: &str) -> Option<&Figure> {
        self.all.iter().find(|figure| figure.name == name)
    }
}

/// Four digits after the point, which is more than any round repeats.
fn short<S: Serializer>(rounds: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rounds.iter().map(|value| (value * 1e4).round() / 1e4))
}

/// The middle value; the mean of the two middle ones when their number is even.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// Nanoseconds in the unit a person would choose.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns.is_nan() => "-".to_owned(),
        ns if ns < 99.95 => format!("{ns:.1} ns"),
        ns if ns < 9_999.5 => format!("{ns:.0} ns"),
        ns if ns < 9_999_500.0 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

/// Operations a second in the unit a person would choose.
pub fn rate(a_second: f64) -> String {
    match a_second {
        many if many >= 1e6 => format!("{:.1} M/s", many / 1e6),
        some if some >= 1e4 => format!("{:.0} k/s", some / 1e3),
        few => format!("{few:.0} /s"),
    }
}
