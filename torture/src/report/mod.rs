//! What people get to see: words and a table, `summary.json`, and `report.html` with its pictures.
//!
//! [`summary`] holds every number once; the table, the file for machines and the page are three views of it. A
//! [`picture`] is what is kept of a sustained phase for drawing, when its history is gone.

pub mod chart;
pub mod html;
pub mod lanes;
pub mod picture;
pub mod summary;
pub mod table;

use std::io;
use std::path::{Path, PathBuf};

use crate::examine::PhaseResult;
use summary::Summary;

/// Writes `torture/summary.json` and `torture/report.html` under the target directory; answers where.
pub fn write(summary: &Summary, phases: &[PhaseResult]) -> io::Result<(PathBuf, PathBuf)> {
    let folder = target_directory()?.join("torture");
    std::fs::create_dir_all(&folder)?;
    let (json, page) = (folder.join("summary.json"), folder.join("report.html"));
    replace(&json, &(serde_json::to_string_pretty(summary)? + "\n"))?;
    replace(&page, &html::page(summary, phases))?;
    Ok((json, page))
}

/// A reader of the file sees the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path)
}

/// `CARGO_TARGET_DIR` if it is set; else the directory this program was built into, which cargo has marked.
fn target_directory() -> io::Result<PathBuf> {
    if let Some(set) = std::env::var_os("CARGO_TARGET_DIR").filter(|set| !set.is_empty()) {
        return Ok(PathBuf::from(set));
    }
    let program = std::env::current_exe()?;
    let marked =
        program.ancestors().skip(1).find(|folder| folder.join("CACHEDIR.TAG").exists() || folder.ends_with("target"));
    Ok(marked.map_or_else(|| PathBuf::from("target"), Path::to_path_buf))
}

/// A number with its thousands apart: `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let pairs = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in pairs {
            assert_eq!(thousands(number), text);
        }
    }
}
