//! Axes, ticks and marks: enough SVG for the report, with colours that the page sets for light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;

/// How values map to places.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    /// Powers of ten.
    Log {
        low: f64,
        high: f64,
    },
}

impl Scale {
    /// From 0 at the low end to 1 at the high end.
    fn part(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { low, high } => (value - low) / (high - low).max(1e-12),
            Self::Log { low, high } => (value.max(low) / low).log10() / (high / low).log10().max(1e-12),
        };
        part.clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { low, high } => {
                let step = nice_step((high - low) / 8.0);
                let first = (low / step).ceil() as i64;
                let last = (high / step).floor() as i64;
                (first..=last).map(|n| n as f64 * step).collect()
            }
            Self::Log { low, high } => {
                let (first, last) = (low.log10().ceil() as i32, high.log10().floor() as i32);
                (first..=last).map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(power * 10.0)
}

/// A drawing with an axis below and one at the left.
pub struct Chart {
    height: f64,
    x: Scale,
    y: Scale,
    body: String,
}

impl Chart {
    /// Axes with their titles, units included; `rows` replaces the ticks at the left by names, from the top.
    pub fn new(height: f64, x: (Scale, &str), y: (Scale, &str), rows: &[String]) -> Self {
        let mut chart = Self { height, x: x.0, y: y.0, body: String::new() };
        chart.axes(x.1, y.1, rows);
        chart
    }

    pub fn place_x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT)
    }

    pub fn place_y(&self, value: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - self.y.part(value) * (bottom - TOP)
    }

    fn axes(&mut self, x_title: &str, y_title: &str, rows: &[String]) {
        let (bottom, right) = (self.height - BOTTOM, WIDTH - RIGHT);
        for tick in self.x.ticks() {
            let x = self.place_x(tick);
            self.line("grid", (x, TOP), (x, bottom));
            self.text("tick middle", (x, bottom + 16.0), &number(tick));
        }
        if rows.is_empty() {
            for tick in self.y.ticks() {
                let y = self.place_y(tick);
                self.line("grid", (LEFT, y), (right, y));
                self.text("tick end", (LEFT - 6.0, y + 4.0), &number(tick));
            }
        }
        let row_height = (bottom - TOP) / rows.len().max(1) as f64;
        for (row, name) in rows.iter().enumerate() {
            let y = TOP + (row as f64 + 0.5) * row_height;
            self.text("tick end", (LEFT - 6.0, y + 4.0), name);
        }
        self.line("axis", (LEFT, bottom), (right, bottom));
        self.line("axis", (LEFT, TOP), (LEFT, bottom));
        self.text("label middle", ((LEFT + right) / 2.0, self.height - 8.0), x_title);
        let middle = (TOP + bottom) / 2.0;
        let _ = write!(
            self.body,
            "<text class=\"label middle\" transform=\"translate(14 {middle:.1}) rotate(-90)\">{}</text>",
            escape(y_title)
        );
    }

    /// Top and height of row `row` of `rows`.
    pub fn row(&self, row: usize, rows: usize) -> (f64, f64) {
        let height = (self.height - BOTTOM - TOP) / rows as f64;
        (TOP + row as f64 * height, height)
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = write!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    pub fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        let _ =
            write!(self.body, "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", at.0, at.1, escape(text));
    }

    /// A rectangle; `opacity` from 0 to 1, `title` shows when pointed at.
    pub fn bar(&mut self, class: &str, at: (f64, f64), size: (f64, f64), opacity: f64, title: &str) {
        let title = match title {
            "" => String::new(),
            text => format!("<title>{}</title>", escape(text)),
        };
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" opacity=\"{opacity:.2}\">{title}</rect>",
            at.0,
            at.1,
            size.0.max(0.6),
            size.1
        );
    }

    pub fn dot(&mut self, class: &str, value: (f64, f64)) {
        let (x, y) = (self.place_x(value.0), self.place_y(value.1));
        let _ = write!(self.body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>");
    }

    /// A line through values.
    pub fn curve(&mut self, class: &str, values: impl IntoIterator<Item = (f64, f64)>) {
        let mut points = String::new();
        for (x, y) in values {
            let _ = write!(points, "{:.1},{:.1} ", self.place_x(x), self.place_y(y));
        }
        let _ = write!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.trim_end());
    }

    /// A level line with words on it.
    pub fn level(&mut self, class: &str, value: f64, words: &str) {
        let y = self.place_y(value);
        self.line(class, (LEFT, y), (WIDTH - RIGHT, y));
        self.text("tick end", (WIDTH - RIGHT - 4.0, y - 4.0), words);
    }

    /// The whole drawing.
    pub fn svg(&self, title: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><title>{}</title>{}</svg>\n",
            self.height,
            escape(title),
            self.body
        )
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => super::thousands(value as u64),
        whole if whole >= 1.0 || whole == 0.0 => format!("{}", (value * 10.0).round() / 10.0),
        _ => format!("{value}"),
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        let linear = Scale::Linear { low: 0.0, high: 20.0 };
        assert_eq!(linear.ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        let log = Scale::Log { low: 0.5, high: 2_000.0 };
        assert_eq!(log.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn values_outside_the_axis_stay_in_the_drawing() {
        let scale = Scale::Linear { low: 0.0, high: 10.0 };
        let chart = Chart::new(200.0, (scale, "time (s)"), (scale, "n"), &[]);
        assert_eq!(chart.place_x(-5.0), LEFT);
        assert_eq!(chart.place_x(50.0), WIDTH - RIGHT);
        assert_eq!(chart.place_y(0.0), 200.0 - BOTTOM);
    }

    #[test]
    fn words_cannot_break_out_of_the_drawing() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
