//! A goal: a ratio to something measured in the same run, what it should come to, and what it came to.

use serde::{Deserialize, Serialize};

/// One goal and what was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Goal {
    /// What is compared with what.
    pub what: String,
    /// What it should come to.
    pub bound: Bound,
    /// What it came to; `None` when a row it needs was not measured.
    pub measured: Option<f64>,
    /// What the bound and the measured value count.
    pub unit: Unit,
}

/// What a measured ratio, or time, should come to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So much or less.
    AtMost(f64),
    /// So much or more.
    AtLeast(f64),
}

/// What a goal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Times the other row.
    #[serde(rename = "times")]
    Times,
    /// Microseconds.
    #[serde(rename = "µs")]
    Microseconds,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Things.
    #[serde(rename = "count")]
    Count,
}

/// A ratio that should be small.
pub fn at_most(what: impl Into<String>, most: f64, measured: Option<f64>) -> Goal {
    Goal { what: what.into(), bound: Bound::AtMost(most), measured, unit: Unit::Times }
}

/// A ratio that should be large.
pub fn at_least(what: impl Into<String>, least: f64, measured: Option<f64>) -> Goal {
    Goal { what: what.into(), bound: Bound::AtLeast(least), measured, unit: Unit::Times }
}

impl Goal {
    /// Whether it is met; `None` when it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtMost(most) => measured <= most,
            Bound::AtLeast(least) => measured >= least,
        })
    }

    /// The goal in words.
    pub fn goal(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("≤ {}", self.show(most)),
            Bound::AtLeast(least) => format!("≥ {}", self.show(least)),
        }
    }

    /// The measured value in words.
    pub fn value(&self) -> String {
        self.measured.map_or_else(|| "-".to_owned(), |value| self.show(value))
    }

    /// The verdict in words.
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "NOT met",
            None => "not measured",
        }
    }

    fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Times => format!("{value:.2}×"),
            Unit::Microseconds => format!("{value:.2} µs"),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::Count => format!("{value:.0}"),
        }
    }
}
