//! The bar that moves while a run goes on: on a terminal only, without colours where nobody wants them.

use std::io::{IsTerminal, Write};

/// Where a run stands; silent when the standard error is no terminal.
pub struct Progress {
    shows: bool,
    colours: bool,
    /// What the whole run is made of: the phases' names and how long each is expected to take.
    phases: Vec<(String, f64)>,
    current: usize,
}

const WIDTH: usize = 30;

impl Progress {
    pub fn new(phases: Vec<(String, f64)>) -> Self {
        Self {
            shows: std::io::stderr().is_terminal(),
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            phases,
            current: 0,
        }
    }

    /// Phase `number` begins.
    pub fn begin(&mut self, number: usize) {
        self.current = number;
        self.within(0.0, String::new);
    }

    /// `part` of the current phase is done.
    pub fn within(&self, part: f64, words: impl FnOnce() -> String) {
        if !self.shows {
            return;
        }
        let line = self.line(part, &words());
        // A terminal that is gone is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }

    /// Takes the bar away, so that words can follow.
    pub fn clear(&self) {
        if self.shows {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    fn line(&self, part: f64, words: &str) -> String {
        let total: f64 = self.phases.iter().map(|(_, length)| length).sum();
        let before: f64 = self.phases[..self.current].iter().map(|(_, length)| length).sum();
        let (name, length) = &self.phases[self.current];
        let done = (before + length * part.clamp(0.0, 1.0)) / total.max(1e-9);
        let filled = (done * WIDTH as f64).round() as usize;
        let (bar, rest) = ("━".repeat(filled), "━".repeat(WIDTH - filled.min(WIDTH)));
        let (on, dim, off) = match self.colours {
            true => ("\x1b[32m", "\x1b[2m", "\x1b[0m"),
            false => ("", "", ""),
        };
        let rest = if self.colours { rest } else { " ".repeat(rest.chars().count()) };
        format!("{on}{bar}{off}{dim}{rest}{off} {:3.0} %  {name}  {words}", done * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_the_phases_and_speaks_plainly_without_colours() {
        let mut progress = Progress {
            shows: true,
            colours: false,
            phases: vec![("first".into(), 1.0), ("second".into(), 3.0)],
            current: 0,
        };
        assert!(progress.line(0.0, "").contains("  0 %  first"));
        progress.current = 1;
        let line = progress.line(0.5, "7 kills");
        assert!(line.contains(" 62 %  second  7 kills") && !line.contains('\x1b'), "{line}");
        progress.colours = true;
        assert!(progress.line(0.5, "").contains("\x1b[32m"));
    }
}
