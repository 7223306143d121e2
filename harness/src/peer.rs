//! Starts peers of an isolated test: processes that answer its questions, in namespaces of their own if need be.
//!
//! ```no_run
//! use harness::peer::{answer_questions, with_peers};
//!
//! #[test]
//! fn a_peer_answers() {
//!     with_peers(
//!         |_folder| answer_questions(|words| words.join(" ")),
//!         |_folder, peers| {
//!             let mut peer = peers.start(&["--pid", "--fork"]);
//!             assert_eq!(peer.ask("how are you"), "how are you");
//!         },
//!     );
//! }
//! ```

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, ChildStdout, Stdio};

use crate::isolated::{self, FOLDER, again, test_of};
use crate::subprocess::Subprocess;

/// Set in a process that the inner process of a test starts beside itself.
const PEER: &str = "SLOTGUARD_TEST_PEER";
/// What a peer's answers begin with, so that they are told from what the test harness prints.
const ANSWER: &str = "@ ";

/// Runs `test` in a process of its own, which may start peers: processes that run `serve` until they are told to stop.
pub fn with_peers<F: FnOnce(&Path, &Peers)>(serve: impl FnOnce(&Path), test: F) {
    match isolated::inner_folder() {
        Some(folder) if env::var_os(PEER).is_some() => serve(&folder),
        Some(folder) => test(&folder.clone(), &Peers { test: test_of::<F>(), folder }),
        None => isolated::supervise::<F>(isolated::SECONDS, &[]),
    }
}

/// Starts the peers of a test.
#[derive(Debug)]
pub struct Peers {
    test: String,
    folder: PathBuf,
}

impl Peers {
    /// Starts a peer in new namespaces, named by options of `unshare`.
    pub fn start(&self, namespaces: &[&str]) -> Peer {
        let mut command = again(namespaces, &self.test);
        command.env(FOLDER, &self.folder).env(PEER, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Subprocess::spawn(&mut command)
            .expect("a peer (unshare needs root, or a kernel that lets users make namespaces)");
        let questions = process.child().stdin.take();
        let answers = BufReader::new(process.child().stdout.take().expect("a pipe"));
        Peer { process, questions, answers }
    }
}

/// A process that answers one line to each line; it ends when it is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Subprocess,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Asks for something and waits for the answer.
    pub fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.answer()
    }

    /// Asks for something that takes its time.
    pub fn tell(&mut self, question: &str) {
        let questions = self.questions.as_mut().expect("a peer that listens");
        writeln!(questions, "{question}").expect("a peer that listens");
    }

    /// The answer to what was told.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("a peer's answer");
            assert!(read > 0, "a peer ended before it answered");
            if let Some(answer) = line.strip_prefix(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Kills it, with what it runs in.
    pub fn kill(&mut self) {
        self.process.kill().expect("a process of ours");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its questions ends it.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

/// In a peer: answers every line of the standard input until it ends.
pub fn answer_questions(mut answer: impl FnMut(&[&str]) -> String) {
    for question in io::stdin().lines() {
        let question = question.expect("a question");
        let words: Vec<&str> = question.split_whitespace().collect();
        // The test harness may have left a line unfinished.
        println!("\n{ANSWER}{}", answer(&words));
    }
    process::exit(0);
}
