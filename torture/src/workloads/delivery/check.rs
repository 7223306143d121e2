//! What must hold of messages: each has its effect once at each member, and none before what caused it.
//!
//! The effects of a member lead back from its last to its first ([`chain`]), and each names the message it was for. So the
//! order in which a member was given messages is known, those of a killed process included. What a message was caused by
//! follows from the order in which its sender was given others before it sent this one: the clocks of the recipe have no
//! part in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::chain::{self, Chains};
use crate::check::recovery::{self, Recoveries};
use crate::check::{Execution, Final, Findings, Promise, order, reads};
use crate::history::{Entry, Kind, Outcome};
use crate::value::Author;
use crate::workloads::{Examined, Figure, count, slowest};

/// What is left when everybody has gone.
#[derive(Default)]
pub struct FinalState {
    /// By member: what it has done.
    pub data: Vec<Final>,
    /// By member: whether it could go on where it was, and the messages it was given then.
    pub rest: Vec<(bool, Vec<u64>)>,
    /// What should have gone with whoever put it.
    pub of_the_dead: Vec<String>,
}

/// Holds the history against what is left.
pub fn check(execution: &Execution<'_>, final_state: &FinalState) -> Examined {
    let execution = &Execution { finals: &final_state.data, ..*execution };
    let chains = chain::walk(execution);
    let mut once = chains.findings.clone();
    let mut order = order::check(execution.history);
    let post = Post::of(execution, &chains, final_state);
    post.none_is_sent_by_nobody(execution, &mut once);
    let members = final_state.data.len() as u16;
    for member in 0..members {
        post.is_given_each_once(member, members, &mut once);
        post.is_given_causes_first(member, members, &mut order);
    }
    let mut going_on = Recoveries::default();
    let of_the_dead = &final_state.of_the_dead;
    going_on.findings.expect(of_the_dead.is_empty(), || format!("entries of the dead are left: {of_the_dead:?}"));
    recovery::others_go_on(execution, |entry| matches!(entry.kind, Kind::Send | Kind::Deliver), &mut going_on);
    answers_are_explained(execution, &mut going_on.findings);
    let figures = figures(execution, &chains, &post, final_state, &going_on);
    let mut verdicts = reads::anomalies(execution.history);
    verdicts.add(Promise::P1, once);
    verdicts.add(Promise::P4, going_on.findings);
    verdicts.add(Promise::P6, order);
    Examined {
        verdicts,
        refused_late: refused_late(execution),
        recoveries: going_on.recoveries,
        figures,
        ..Examined::of(&chains)
    }
}

/// Everything that was sent and delivered.
struct Post {
    /// By member: what it was given, in its order.
    given: BTreeMap<u16, Vec<Given>>,
    /// Who sent a message, and which of its messages that are there it is, from 0 on.
    sent: BTreeMap<u64, Sent>,
    /// By member: how many it sent that are there.
    counts: BTreeMap<u16, usize>,
    /// Members that have not been given anything since they began anew.
    anew_at_last: BTreeSet<u16>,
    /// What was sent in vain and delivered all the same.
    ghosts: Vec<String>,
}

/// A message as somebody was given it.
#[derive(Clone, Copy)]
struct Given {
    message: u64,
    /// Before it the member may have begun anew: what was sent before that is not given to it.
    is_anew: bool,
}

struct Sent {
    sender: u16,
    index: usize,
    /// How many messages of each member its sender had been given before.
    causes: BTreeMap<u16, usize>,
}

impl Post {
    fn of(execution: &Execution<'_>, chains: &Chains, final_state: &FinalState) -> Self {
        let history = execution.history;
        let mut given: BTreeMap<u16, Vec<Given>> = BTreeMap::new();
        // By member: each effect with the place of its entry in the log, in the order of effects.
        let mut effects: BTreeMap<u16, Vec<(Author, u64)>> = BTreeMap::new();
        for (member, authors) in chains.authors.iter().enumerate() {
            let known = authors.iter().flatten().filter_map(|author| Some((*author, history.entry(*author)?.extra)));
            effects.insert(member as u16, known.collect());
        }
        let mut anew_at_last = BTreeSet::new();
        for (member, effects) in &effects {
            let anew = begins_anew(execution, *member);
            let mut last = Author { writer: 0, sequence: 0 };
            let list = given.entry(*member).or_default();
            for (author, message) in effects {
                let is_anew = anew.iter().any(|at| last < *at && at < author);
                list.push(Given { message: *message, is_anew });
                last = *author;
            }
            // What was acknowledged when all had left.
            let at_last = anew.iter().any(|at| last < *at);
            let (resumed, rest) =
                final_state.rest.get(usize::from(*member)).map_or((true, &[][..]), |(r, rest)| (*r, rest));
            let is_anew = at_last || !resumed;
            let rest_of_it = rest.iter().enumerate();
            list.extend(rest_of_it.map(|(at, message)| Given { message: *message, is_anew: is_anew && at == 0 }));
            if is_anew && rest.is_empty() {
                anew_at_last.insert(*member);
            }
        }
        let delivered: BTreeSet<u64> = given.values().flatten().map(|given| given.message).collect();
        let mut post = Self { given, sent: BTreeMap::new(), counts: BTreeMap::new(), anew_at_last, ghosts: Vec::new() };
        post.collect_what_was_sent(execution, &delivered);
        post.find_causes(execution, &effects);
        post
    }

    /// What was sent is what was acknowledged, and of what is in doubt that which arrived somewhere.
    fn collect_what_was_sent(&mut self, execution: &Execution<'_>, delivered: &BTreeSet<u64>) {
        for (author, entry) in execution.history.all().filter(|(_, entry)| entry.kind == Kind::Send) {
            let arrived = delivered.contains(&author.packed());
            let is_there = match entry.outcome {
                Outcome::Done => true,
                Outcome::InDoubt => arrived,
                refused => {
                    if arrived {
                        self.ghosts
                            .push(format!("{author:?} was told {refused:?}, and its message arrived all the same"));
                    }
                    false
                }
            };
            if is_there {
                let index = self.counts.entry(entry.record).or_default();
                let sent = Sent { sender: entry.record, index: *index, causes: BTreeMap::new() };
                *index += 1;
                self.sent.insert(author.packed(), sent);
            }
        }
    }

    /// What each message was caused by: all that its sender had been given before, and what it replies to.
    fn find_causes(&mut self, execution: &Execution<'_>, effects: &BTreeMap<u16, Vec<(Author, u64)>>) {
        let mut causes_of: Vec<(u64, BTreeMap<u16, usize>)> = Vec::new();
        for member in effects.keys() {
            let own = execution.history.all().filter(|(_, entry)| entry.kind == Kind::Send && entry.record == *member);
            let mut before = effects[member].iter().peekable();
            let mut causes = BTreeMap::new();
            for (author, entry) in own.filter(|(author, _)| self.sent.contains_key(&author.packed())) {
                // A reply is written down right before what it replies to.
                let until = Author { sequence: author.sequence + entry.extra, ..author };
                while let Some((_, message)) = before.next_if(|(given, _)| *given <= until) {
                    if let Some(sent) = self.sent.get(message) {
                        causes.insert(sent.sender, sent.index + 1);
                    }
                }
                causes_of.push((author.packed(), causes.clone()));
            }
        }
        for (message, causes) in causes_of {
            if let Some(sent) = self.sent.get_mut(&message) {
                sent.causes = causes;
            }
        }
    }

    fn given(&self, member: u16) -> &[Given] {
        self.given.get(&member).map_or(&[], Vec::as_slice)
    }

    fn none_is_sent_by_nobody(&self, execution: &Execution<'_>, findings: &mut Findings) {
        for words in &self.ghosts {
            findings.violation(|| words.clone());
        }
        // A member counts its messages in the order in which it sends them.
        let mut last: BTreeMap<u16, u64> = BTreeMap::new();
        for (author, entry) in
            execution.history.all().filter(|(_, entry)| entry.kind == Kind::Send && entry.outcome == Outcome::Done)
        {
            let before = last.insert(entry.record, entry.version).unwrap_or(0);
            findings.expect(entry.version > before, || {
                format!("member {}: {author:?} sent message {} after {before}", entry.record, entry.version)
            });
        }
    }

    /// Of each other member it is given every message there is, one after the other.
    fn is_given_each_once(&self, member: u16, members: u16, findings: &mut Findings) {
        // By sender: the next to come; `None`: any later one.
        let mut next: BTreeMap<u16, (usize, bool)> = BTreeMap::new();
        for given in self.given(member) {
            if given.is_anew {
                next.values_mut().for_each(|next| next.1 = true);
            }
            let Some(sent) = self.sent.get(&given.message) else {
                findings.violation(|| format!("member {member} was given {:#x}, which nobody sent", given.message));
                continue;
            };
            let (expected, or_later) = next.get(&sent.sender).copied().unwrap_or((0, true));
            let fits = sent.index == expected || or_later && sent.index > expected;
            findings.expect(fits && sent.sender != member, || {
                let what = if sent.index < expected { "once more or too late" } else { "too early" };
                format!(
                    "member {member} was given message {} of member {} {what}: the next was {expected}",
                    sent.index, sent.sender
                )
            });
            next.insert(sent.sender, (sent.index + 1, false));
        }
        for (sender, (next, or_later)) in next.iter().filter(|(sender, _)| **sender < members) {
            let count = self.counts.get(sender).copied().unwrap_or(0);
            let or_later = *or_later || self.anew_at_last.contains(&member);
            findings.expect(*next == count || or_later, || {
                format!("member {member} was given {next} of the {count} messages of member {sender}")
            });
        }
    }

    /// Before a message it has been given what that message's sender had been given before sending it.
    fn is_given_causes_first(&self, member: u16, members: u16, findings: &mut Findings) {
        let mut had: BTreeMap<u16, usize> = BTreeMap::new();
        for given in self.given(member) {
            if given.is_anew {
                // What it is not given was there before it began.
                had.clear();
            }
            let Some(sent) = self.sent.get(&given.message) else {
                continue;
            };
            let others = (0..members).filter(|other| *other != member && *other != sent.sender);
            for other in others {
                let (Some(caused_by), Some(had)) = (sent.causes.get(&other), had.get(&other)) else {
                    continue;
                };
                findings.expect(had >= caused_by, || {
                    format!(
                        "member {member} was given message {} of member {} before message {} of member {other}, \
                         which had caused it",
                        sent.index,
                        sent.sender,
                        caused_by - 1
                    )
                });
            }
            had.insert(sent.sender, sent.index + 1);
        }
    }
}

/// Where in its log a member joined without going on where it was, or may have.
fn begins_anew(execution: &Execution<'_>, member: u16) -> Vec<Author> {
    let is_anew = |entry: &Entry| {
        entry.kind == Kind::Join
            && entry.record == member
            && match entry.outcome {
                Outcome::Done => entry.version == 0,
                outcome => outcome == Outcome::InDoubt,
            }
    };
    execution.history.all().filter(|(_, entry)| is_anew(entry)).map(|(author, _)| author).collect()
}

fn refused_late(execution: &Execution<'_>) -> u64 {
    count(execution, Kind::Send, Outcome::LeaseLost) + count(execution, Kind::Deliver, Outcome::LeaseLost)
}

fn figures(
    execution: &Execution<'_>,
    chains: &Chains,
    post: &Post,
    final_state: &FinalState,
    going_on: &Recoveries,
) -> Vec<Figure> {
    let count = |kind, outcome| count(execution, kind, outcome);
    let joins = execution.history.all().filter(|(_, entry)| entry.kind == Kind::Join && entry.outcome == Outcome::Done);
    let (resumed, anew): (Vec<u64>, Vec<u64>) = joins.map(|(_, entry)| entry.version).partition(|how| *how == 1);
    let caused = post.sent.values().filter(|sent| !sent.causes.is_empty()).count() as u64;
    let rest = final_state.rest.iter().map(|(_, rest)| rest.len() as u64).sum();
    let mut figures = vec![
        Figure::needed("messages sent", post.sent.len() as u64),
        Figure::needed("of these caused by others", caused),
        Figure::needed("effects acknowledged with their messages", chains.acknowledged),
        Figure::count("effects in doubt after a kill", chains.in_doubt),
        Figure::count("of these had taken effect", chains.took_effect),
        Figure::count("given to members after the end", rest),
        Figure::needed("members that went on where they were", resumed.len() as u64),
        Figure::count("members that began, or had been dropped and began anew", anew.len() as u64),
        Figure::count("messages that had to wait for room", count(Kind::Send, Outcome::Declined)),
        Figure::needed("late messages and acknowledgements refused", refused_late(execution)),
    ];
    figures.extend(slowest(&going_on.recoveries, "kills after which others went on", "slowest to go on"));
    figures
}

fn answers_are_explained(execution: &Execution<'_>, findings: &mut Findings) {
    for (author, entry) in execution.history.all() {
        let explained = match entry.outcome {
            Outcome::Done | Outcome::InDoubt => true,
            Outcome::LeaseLost => true,
            // There is no room for as long as others are behind.
            Outcome::Declined => matches!(entry.kind, Kind::Send | Kind::Deliver),
            // Somebody whose session has not ended yet has the number.
            Outcome::Held => entry.kind == Kind::Join,
            _ => false,
        };
        findings.expect(explained, || format!("{:?} by {author:?} was told {:?}", entry.kind, entry.outcome));
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
