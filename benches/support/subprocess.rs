//! What a bench does when it is started by itself: be one worker process, keep the scratch folder, and what else it needs
//! a process of its own for.
//!
//! The first argument of such a start is a word that no person would give; `main` looks for it first.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use super::scratch;

const WORD: &str = "--slotguard-bench-role";

/// The name of the role of the scratch folder's keeper, which every bench has.
pub const KEEP: &str = "keep";

/// Something to do in a process of its own: its name, and what does it with the words that follow the name.
pub type Role<'a> = (&'static str, &'a dyn Fn(&[OsString]) -> io::Result<()>);

/// This very program, started for the role with this name.
pub fn command(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([WORD, name]);
    Ok(command)
}

/// Runs the role this program was started for; `None` when it was started by a person.
pub fn run(roles: &[Role<'_>]) -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first()?.to_str() != Some(WORD) {
        return None;
    }
    let name = words.get(1).and_then(|word| word.to_str()).unwrap_or("");
    let done = match roles.iter().find(|(known, _)| *known == name) {
        Some((_, role)) => role(&words[2..]),
        None if name == KEEP => scratch::keep(),
        None => Err(io::Error::other(format!("no role is named {name:?}"))),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Lets a process that is about to be started not outlive this one, however this one ends.
pub fn dies_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only one system call is made, and it is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?))
    };
}
