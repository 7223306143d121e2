//! What this program does when it is started by itself: be one worker process, keep the scratch folder, or try for silence.
//!
//! The first argument of such a start is a word that criterion would never be given; `main` looks for it first.

use std::{ffi::OsString, process::ExitCode};

use super::{crew, quiet, scratch};

const WORD: &str = "--slotguard-bench-errand";

/// One of the things this program starts itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Be one of the processes of a contended row; the job follows.
    Work,
    /// Make the scratch folder and remove it when the run is gone.
    Keep,
    /// Update without a waiter where any system call is death.
    Quiet,
    /// The same with one system call more, which must be noticed.
    QuietControl,
}

const ALL: [Errand; 4] = [Errand::Work, Errand::Keep, Errand::Quiet, Errand::QuietControl];

impl Errand {
    /// The arguments that start it.
    pub fn words(self) -> [&'static str; 2] {
        [WORD, self.name()]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Keep => "keep",
            Self::Quiet => "quiet",
            Self::QuietControl => "quiet-control",
        }
    }
}

/// Runs the errand this program was started for; `None` when it was started by a person.
pub fn run() -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first()?.to_str() != Some(WORD) {
        return None;
    }
    let name = words.get(1).and_then(|word| word.to_str()).unwrap_or("");
    let done = match ALL.into_iter().find(|errand| errand.name() == name) {
        Some(Errand::Work) => crew::work_for_the_parent(&words[2..]),
        Some(Errand::Keep) => scratch::keep(),
        Some(Errand::Quiet) => quiet::update_in_silence(false),
        Some(Errand::QuietControl) => quiet::update_in_silence(true),
        None => Err(std::io::Error::other(format!("no errand is named {name:?}"))),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    })
}
